/* SPDX-License-Identifier: Apache-2.0 */
/* exec: one more process in a running container. */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/failpoint.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/str.h"
#include "runtime/cgroup.h"
#include "runtime/command.h"
#include "runtime/container.h"
#include "runtime/foreground.h"
#include "runtime/spawn.h"
#include "runtime/spec.h"

#define WORDS_MAX 1024

struct exec_options {
	const char *process, *pid_file, *console_socket, *cwd, *user;
	const char *env[WORDS_MAX];
	size_t env_count;
	const char *caps[64];
	size_t cap_count;
	const char *groups[64];
	size_t group_count;
	int64_t preserve_fds;
	bool detach, tty, no_new_privs, ignore_paused;
};

enum {
	PID_FILE = 256,
	CONSOLE,
	CWD,
	PRESERVE,
	NO_NEW_PRIVS,
	IGNORE_PAUSED
};

static int add_word(const char **words, size_t *count, size_t max, const char *word,
                    struct err *err)
{
	if (*count == max)
		return err_set(err, ERR_LIMIT, "an option is there more than %zu times", max);
	words[(*count)++] = word;
	return 0;
}

static int take_option(struct exec_options *o, int c, struct err *err)
{
	switch (c) {
	case 'p':
		o->process = optarg;
		return 0;
	case PID_FILE:
		o->pid_file = optarg;
		return 0;
	case CONSOLE:
		o->console_socket = optarg;
		return 0;
	case CWD:
		o->cwd = optarg;
		return 0;
	case 'u':
		o->user = optarg;
		return 0;
	case 'e':
		return add_word(o->env, &o->env_count, WORDS_MAX, optarg, err);
	case 'c':
		return add_word(o->caps, &o->cap_count, ARRAY_LEN(o->caps), optarg, err);
	case 'g':
		return add_word(o->groups, &o->group_count, ARRAY_LEN(o->groups), optarg, err);
	case PRESERVE:
		return id_parse_int(optarg, "--preserve-fds", 0, 1024, &o->preserve_fds, err);
	case 'd':
		o->detach = true;
		return 0;
	case 't':
		o->tty = true;
		return 0;
	case NO_NEW_PRIVS:
		o->no_new_privs = true;
		return 0;
	case IGNORE_PAUSED:
		o->ignore_paused = true;
		return 0;
	default:
		return err_set(err, ERR_INVALID, "unknown or incomplete option");
	}
}

static int parse(int argc, char **argv, struct exec_options *o, struct err *err)
{
	static const struct option options[] = {
		{"process", required_argument, NULL, 'p'},
		{"pid-file", required_argument, NULL, PID_FILE},
		{"console-socket", required_argument, NULL, CONSOLE},
		{"cwd", required_argument, NULL, CWD},
		{"user", required_argument, NULL, 'u'},
		{"env", required_argument, NULL, 'e'},
		{"cap", required_argument, NULL, 'c'},
		{"additional-gids", required_argument, NULL, 'g'},
		{"preserve-fds", required_argument, NULL, PRESERVE},
		{"detach", no_argument, NULL, 'd'},
		{"tty", no_argument, NULL, 't'},
		{"no-new-privs", no_argument, NULL, NO_NEW_PRIVS},
		{"ignore-paused", no_argument, NULL, IGNORE_PAUSED},
		{0},
	};
	int c;

	/* '+': what follows the id belongs to the program. */
	while ((c = getopt_long(argc, argv, "+p:u:e:c:g:dt", options, NULL)) != -1)
		if (take_option(o, c, err) < 0)
			return -1;
	return 0;
}

/* "1000", "1000:100": numbers only, as names would have to be looked up in the image. */
static int apply_user(struct oci_process *process, const char *text, struct err *err)
{
	char uid_text[16];
	const char *colon = strchr(text, ':');
	size_t len = colon ? (size_t)(colon - text) : strlen(text);
	uint32_t uid, gid = (uint32_t)process->user.gid;

	if (len >= sizeof(uid_text))
		return err_set(err, ERR_INVALID, "--user: '%s' is not UID or UID:GID", text);
	memcpy(uid_text, text, len);
	uid_text[len] = '\0';
	if (id_parse_u32(uid_text, &uid, err) < 0 ||
	    (colon && id_parse_u32(colon + 1, &gid, err) < 0))
		return err_wrap(err, "--user");
	process->user.uid = uid;
	process->user.gid = gid;
	return 0;
}

static int apply_groups(struct oci_process *process, const struct exec_options *o,
                        struct arena *arena, struct err *err)
{
	if (o->group_count == 0)
		return 0;
	process->user.groups = arena_array(arena, o->group_count, sizeof(uint32_t), err);
	if (!process->user.groups)
		return -1;
	for (size_t i = 0; i < o->group_count; i++)
		if (id_parse_u32(o->groups[i], &process->user.groups[i], err) < 0)
			return err_wrap(err, "--additional-gids");
	process->user.group_count = o->group_count;
	return 0;
}

static int apply_caps(struct oci_process *process, const struct exec_options *o, struct err *err)
{
	for (size_t i = 0; i < o->cap_count; i++) {
		int cap = spec_parse_capability(o->caps[i], err);
		if (cap < 0)
			return err_wrap(err, "--cap");
		process->capabilities.mask[SPEC_CAP_BOUNDING] |= 1ULL << cap;
		process->capabilities.mask[SPEC_CAP_EFFECTIVE] |= 1ULL << cap;
		process->capabilities.mask[SPEC_CAP_PERMITTED] |= 1ULL << cap;
	}
	return 0;
}

static int apply_env(struct oci_process *process, const struct exec_options *o, struct arena *arena,
                     struct err *err)
{
	size_t have = process->env.count;
	char **env = arena_array(arena, have + o->env_count + 1, sizeof(*env), err);

	if (!env)
		return -1;
	for (size_t i = 0; i < have; i++)
		env[i] = process->env.items[i];
	for (size_t i = 0; i < o->env_count; i++) {
		if (!strchr(o->env[i], '='))
			return err_set(err, ERR_INVALID, "--env: '%s' is not NAME=value",
			               o->env[i]);
		env[have + i] = arena_strdup(arena, o->env[i], err);
		if (!env[have + i])
			return -1;
	}
	process->env.items = env;
	process->env.count = have + o->env_count;
	return 0;
}

/* The container's own process, changed by the options. */
static struct oci_process *process_from_args(struct container *c, const struct exec_options *o,
                                             char **args, struct err *err)
{
	struct oci_process *process =
		arena_memdup(&c->arena, &c->spec->process, sizeof(*process), err);
	size_t count = 0;

	if (!process)
		return NULL;
	while (args[count])
		count++;
	if (count == 0) {
		err_set(err, ERR_INVALID, "exec: no program given");
		return NULL;
	}
	process->args.items = args;
	process->args.count = count;
	process->terminal = o->tty;
	process->no_new_privileges |= o->no_new_privs;
	if (o->cwd)
		process->cwd = arena_strdup(&c->arena, o->cwd, err);
	if (!process->cwd || (o->user && apply_user(process, o->user, err) < 0) ||
	    apply_groups(process, o, &c->arena, err) < 0 || apply_caps(process, o, err) < 0 ||
	    apply_env(process, o, &c->arena, err) < 0)
		return NULL;
	return process;
}

static struct oci_process *process_from_file(struct container *c, const char *path, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(SPEC_TEXT_MAX);

	if (fs_trusted_read(path, SPEC_TEXT_MAX, &text, err) < 0)
		return NULL;
	struct oci_process *process = spec_parse_process(text.data, text.len, &c->arena, err);
	if (!process)
		err_wrap(err, "%s", path);
	return process;
}

static int check_target(struct container *c, const struct exec_options *o, struct err *err)
{
	enum container_status status = container_status(c);

	if (status == CONTAINER_PAUSED && !o->ignore_paused)
		return err_set(err, ERR_CONFLICT, "container %s is paused", c->id);
	if (status == CONTAINER_STOPPED || status == CONTAINER_CREATING)
		return err_set(err, ERR_CONFLICT, "container %s is not running", c->id);
	return 0;
}

static int announce(const struct exec_options *o, const struct spawned *p, struct err *err)
{
	if (o->console_socket && foreground_send_console(o->console_socket, p->console_fd, err) < 0)
		return -1;
	return o->pid_file ? foreground_write_pid(o->pid_file, p->pid, err) : 0;
}

static int execute(const struct command_globals *g, struct container *c,
                   const struct exec_options *o, const struct oci_process *process, struct err *err)
{
	__attribute__((cleanup(spawned_done))) struct spawned p = SPAWNED_INIT;
	struct spawn_options options = SPAWN_OPTIONS_INIT;
	struct err why = ERR_INIT;

	options.id = c->id;
	options.preserve_fds = (size_t)o->preserve_fds;
	if (process->terminal && o->detach && !o->console_socket)
		return err_set(err, ERR_INVALID, "a terminal needs --console-socket when detached");
	if (spawn_exec(c->spec, process, (pid_t)c->pid, &options, &p, err) < 0)
		return -1;
	if (FAILPOINT("exec.spawned", err) < 0 || announce(o, &p, err) < 0 ||
	    FAILPOINT("exec.announced", err) < 0) {
		(void)kill(p.pid, SIGKILL);
		(void)waitpid(p.pid, NULL, 0);
		return -1;
	}
	if (spawn_release(&p, &why) < 0) {
		int status = foreground_wait(&p, err);
		command_report(g, &why);
		return status;
	}
	if (o->detach)
		return 0;
	if (o->console_socket)
		close(move_fd(&p.console_fd));
	return foreground_wait(&p, err);
}

int command_exec(const struct command_globals *g, int argc, char **argv, struct err *err)
{
	auto_free struct exec_options *o = calloc(1, sizeof(*o));

	if (!o)
		return err_nomem(err);
	if (parse(argc, argv, o, err) < 0)
		return -1;
	if (optind >= argc)
		return err_set(err, ERR_INVALID, "exec: no container id given");
	auto_type(container) c = container_open(g->root, argv[optind], err);
	if (!c || check_target(c, o, err) < 0)
		return -1;
	struct oci_process *process = o->process ? process_from_file(c, o->process, err)
	                                         : process_from_args(c, o, argv + optind + 1, err);
	if (!process)
		return -1;
	return execute(g, c, o, process, err);
}
