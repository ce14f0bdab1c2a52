/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/hint.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "base/fs.h"
#include "base/str.h"
#include "engine/check.h"
#include "engine/private.h"
#include "engine/rootfs.h"

#define USUAL_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* "", "0", "root", "0:5", ...: it has nothing to gain. */
static bool is_root(const char *user)
{
	size_t len = user ? strcspn(user, ":") : 0;

	return len == 0 || (len == 1 && *user == '0') ||
	       (len == 4 && strncmp(user, "root", 4) == 0);
}

static const char *what_it_has(int root_fd, const char *path)
{
	auto_close int fd = fs_open_in(root_fd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0, NULL);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return NULL;
	if (st.st_mode & S_ISUID)
		return "is set-user-ID";
	if ((st.st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP))
		return "is set-group-ID";
	return fgetxattr(fd, "security.capability", NULL, 0) > 0 ? "has file capabilities" : NULL;
}

static const char *path_of(const struct json_strings *env)
{
	for (size_t i = env->count; i > 0; i--)
		if (str_starts(env->items[i - 1], "PATH="))
			return env->items[i - 1] + 5;
	return USUAL_PATH;
}

/* Looked up as execvp would; the first one that is there counts. */
static const char *look_up(int root_fd, const char *name, const struct json_strings *env)
{
	if (strchr(name, '/'))
		return what_it_has(root_fd, name);
	for (const char *dir = path_of(env); *dir;) {
		char full[PATH_MAX];
		size_t len = strcspn(dir, ":");
		int n = snprintf(full, sizeof(full), "%.*s/%s", (int)len, dir, name);
		auto_close int fd =
			n < (int)sizeof(full) ? fs_open_in(root_fd, full, O_PATH, 0, NULL) : -1;
		if (fd >= 0)
			return what_it_has(root_fd, full);
		dir += len + (dir[len] == ':');
	}
	return NULL;
}

static bool has_nnp(const struct config *config)
{
	const struct api_host_config *h = &config->create.host;
	struct check_security security;

	return !h->privileged && check_security_options(&h->security_opt, &security, NULL) == 0 &&
	       security.no_new_privileges;
}

static void hint(struct json *out, int root_fd, const char *name, const struct json_strings *env)
{
	const char *what = root_fd < 0 ? NULL : look_up(root_fd, name, env);
	char text[512];

	if (!what)
		return;
	snprintf(text, sizeof(text),
	         "%.200s %s, which gives it nothing in this container (no_new_privs); if it "
	         "fails, --security-opt no-new-privileges=false may help",
	         name, what);
	(void)json_append(out, json_string(text));
}

static struct config *config_of(struct container *c)
{
	pthread_mutex_lock(&c->lock);
	struct config *config = config_ref(c->config);
	pthread_mutex_unlock(&c->lock);
	return config;
}

/* In dockerd's words. */
static void hint_memory(struct json *out, const struct engine *engine, const struct config *config)
{
	const struct api_host_config *h = &config->create.host;

	if (!engine->memory_v2)
		return;
	if (json_num(h->memory_swappiness, -1) >= 0)
		(void)json_append(out, json_string("Your kernel does not support memory swappiness "
		                                   "capabilities or the cgroup is not mounted. "
		                                   "Memory swappiness discarded."));
	if (json_truth(h->oom_kill_disable))
		(void)json_append(out, json_string("Your kernel does not support OomKillDisable. "
		                                   "OomKillDisable discarded."));
}

struct json *hint_container(struct engine *engine, const char *ref)
{
	struct json *out = json_array();
	auto_type(container) c = container_get(engine, ref, NULL);
	auto_type(config) config = c ? config_of(c) : NULL;

	if (config)
		hint_memory(out, engine, config);
	if (!config || is_root(config->create.config.user) || !has_nnp(config) || !config->argv[0])
		return out;
	auto_close int root = rootfs_image_open(engine, c->image_id, NULL);
	hint(out, root, config->argv[0], &config->create.config.env);
	return out;
}

struct json *hint_exec(struct engine *engine, const char *ref, const char *user,
                       const struct json_strings *command)
{
	struct json *out = json_array();
	auto_type(container) c = container_get(engine, ref, NULL);
	auto_type(config) config = c ? config_of(c) : NULL;

	if (!config || is_root(str_empty(user) ? config->create.config.user : user) ||
	    !has_nnp(config) || command->count == 0)
		return out;
	auto_close int root = container_rootfs_open(engine, ref, NULL);
	hint(out, root, command->items[0], &config->create.config.env);
	return out;
}
