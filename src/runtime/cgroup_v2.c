/* SPDX-License-Identifier: Apache-2.0 */
/* What only version 2 has: controllers that are handed down level by level, and files by name. */
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/str.h"
#include "runtime/cgroup_impl.h"
#include "runtime/spec.h"

#define LIST_MAX  4096
#define VALUE_MAX 4096

/* "cpu memory hugetlb\n" */
static bool lists(int dir_fd, const char *controller)
{
	auto_buf struct buf text = BUF_INIT(LIST_MAX);
	size_t len = strlen(controller);

	if (fs_read(dir_fd, "cgroup.controllers", LIST_MAX, &text, NULL) < 0)
		return false;
	for (const char *p = buf_str(&text); *p;) {
		size_t word = strcspn(p, " \n");
		if (word == len && strncmp(p, controller, len) == 0)
			return true;
		p += word;
		p += strspn(p, " \n");
	}
	return false;
}

/* From the mount's root to the parent of the cgroup. */
static void hand_down(const struct cgroup *cg, const struct cgroup_place *place,
                      const char *controller)
{
	char word[64];
	auto_close int fd = fs_trusted_open_dir(place->hierarchy.mount, false, NULL);

	snprintf(word, sizeof(word), "+%s", controller);
	for (const char *p = cg->path; fd >= 0 && *p;) {
		char name[256];
		p += strspn(p, "/");
		size_t len = strcspn(p, "/");
		if (len == 0 || len >= sizeof(name))
			return;
		(void)fs_write_existing(fd, "cgroup.subtree_control", word, strlen(word), NULL);
		snprintf(name, sizeof(name), "%.*s", (int)len, p);
		int next = fs_open_dir(fd, name, NULL);
		close(fd);
		fd = next;
		p += len;
	}
}

int cgroup_require(struct cgroup *cg, struct cgroup_place *place, const char *controller,
                   struct err *err)
{
	if (!place->hierarchy.v2 || lists(place->fd, controller))
		return 0;
	hand_down(cg, place, controller);
	if (lists(place->fd, controller))
		return 0;
	return err_set(err, ERR_UNSUPPORTED, "the %s controller cannot be enabled in cgroup %s",
	               controller, cg->path);
}

/* Files of the cgroup itself, which say where processes are and not what they may use. */
static bool is_limit(const char *file)
{
	return !strchr(file, '/') &&
	       (!str_starts(file, "cgroup.") || str_starts(file, "cgroup.max.") ||
	        str_eq(file, "cgroup.pressure"));
}

/* "io.max" takes one device a write, so what comes as several lines goes line by line. */
static int write_lines(struct cgroup_place *place, const char *file, const char *text,
                       struct err *err)
{
	char line[VALUE_MAX];

	if (!*text)
		return cgroup_write(place, file, "", err);
	while (*text) {
		size_t len = strcspn(text, "\n");
		if (len >= sizeof(line))
			return err_set(err, ERR_LIMIT, "a line is longer than %d bytes",
			               VALUE_MAX - 1);
		memcpy(line, text, len);
		line[len] = '\0';
		if (len > 0 && cgroup_write(place, file, line, err) < 0)
			return -1;
		text += len + (text[len] == '\n');
	}
	return 0;
}

static int write_unified(struct cgroup *cg, const struct json_pair *pair, struct err *err)
{
	struct cgroup_place *place = cgroup_find(cg, "");
	char controller[64];

	if (!place || !place->hierarchy.v2)
		return err_set(err, ERR_UNSUPPORTED, "needs cgroup version 2");
	if (!is_limit(pair->key) || strcspn(pair->key, ".") >= sizeof(controller))
		return err_set(err, ERR_INVALID, "is not a controller's file");
	snprintf(controller, sizeof(controller), "%.*s", (int)strcspn(pair->key, "."), pair->key);
	if (!str_eq(controller, "cgroup") && cgroup_require(cg, place, controller, err) < 0)
		return -1;
	return write_lines(place, pair->key, pair->value, err);
}

int cgroup_apply_unified(struct cgroup *cg, const struct oci_resources *r, struct err *err)
{
	for (size_t i = 0; i < r->unified.count; i++)
		if (write_unified(cg, &r->unified.items[i], err) < 0)
			return err_wrap(err, "linux.resources.unified.%s", r->unified.items[i].key);
	return 0;
}
