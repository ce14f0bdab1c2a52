/* SPDX-License-Identifier: Apache-2.0 */
/* exec: one more process in a running container. */
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

struct exec_options {
	const char *process, *pid_file, *console_socket, *cwd, *user;
	const char *apparmor, *process_label;
	struct option_list env, caps, groups, cgroups;
	int64_t preserve_fds;
	bool detach, tty, no_new_privs, ignore_paused;
};

static const struct option_entry exec_options[] = {
	OPTION(struct exec_options, process, "process", 'p', OPTION_TEXT, "FILE",
               "an OCI process object: what to run and as whom"),
	OPTION(struct exec_options, user, "user", 'u', OPTION_TEXT, "UID[:GID]",
               "run as this user"),
	OPTION(struct exec_options, groups, "additional-gids", 'g', OPTION_LIST, "GID",
               "a supplementary group; repeatable"),
	OPTION(struct exec_options, cwd, "cwd", 0, OPTION_TEXT, "DIR", "the working directory"),
	OPTION(struct exec_options, env, "env", 'e', OPTION_LIST, "NAME=VALUE",
               "an environment variable; repeatable"),
	OPTION(struct exec_options, caps, "cap", 'c', OPTION_LIST, "CAP",
               "a capability more; repeatable"),
	OPTION(struct exec_options, no_new_privs, "no-new-privs", 0, OPTION_FLAG, NULL,
               "no program may raise its privileges"),
	OPTION(struct exec_options, apparmor, "apparmor", 0, OPTION_TEXT, "PROFILE",
               "the AppArmor profile"),
	OPTION(struct exec_options, process_label, "process-label", 0, OPTION_TEXT, "LABEL",
               "the SELinux label"),
	OPTION(struct exec_options, cgroups, "cgroup", 0, OPTION_LIST, "[CONTROLLER[,...]:]PATH",
               "a cgroup below the container's, which is there; repeatable with controllers"),
	OPTION(struct exec_options, tty, "tty", 't', OPTION_FLAG, NULL, "give it a terminal"),
	OPTION(struct exec_options, detach, "detach", 'd', OPTION_FLAG, NULL,
               "do not wait for the end"),
	OPTION(struct exec_options, console_socket, "console-socket", 0, OPTION_TEXT, "SOCKET",
               "send the terminal's master to this unix socket"),
	OPTION(struct exec_options, pid_file, "pid-file", 0, OPTION_TEXT, "FILE",
               "write the process's id there"),
	OPTION(struct exec_options, preserve_fds, "preserve-fds", 0, OPTION_COUNT, "N",
               "pass descriptors 3 to 2+N on"),
	OPTION(struct exec_options, ignore_paused, "ignore-paused", 0, OPTION_FLAG, NULL,
               "also in a paused container: it runs once that is resumed"),
	{"no-subreaper", 0, OPTION_UNUSED, 0, NULL, "accepted: no subreaper is ever made"},
	OPTIONS_END,
};

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
	if (o->groups.count == 0)
		return 0;
	process->user.groups = arena_array(arena, o->groups.count, sizeof(uint32_t), err);
	if (!process->user.groups)
		return -1;
	for (size_t i = 0; i < o->groups.count; i++)
		if (id_parse_u32(o->groups.items[i], &process->user.groups[i], err) < 0)
			return err_wrap(err, "--additional-gids");
	process->user.group_count = o->groups.count;
	return 0;
}

static int apply_caps(struct oci_process *process, const struct exec_options *o, struct err *err)
{
	for (size_t i = 0; i < o->caps.count; i++) {
		int cap = spec_parse_capability(o->caps.items[i], err);
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
	char **env = arena_array(arena, have + o->env.count + 1, sizeof(*env), err);

	if (!env)
		return -1;
	for (size_t i = 0; i < have; i++)
		env[i] = process->env.items[i];
	for (size_t i = 0; i < o->env.count; i++) {
		if (!strchr(o->env.items[i], '='))
			return err_set(err, ERR_INVALID, "--env: '%s' is not NAME=value",
			               o->env.items[i]);
		env[have + i] = arena_strdup(arena, o->env.items[i], err);
		if (!env[have + i])
			return -1;
	}
	process->env.items = env;
	process->env.count = have + o->env.count;
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
	if (o->apparmor)
		process->apparmor_profile = arena_strdup(&c->arena, o->apparmor, err);
	if (o->process_label)
		process->selinux_label = arena_strdup(&c->arena, o->process_label, err);
	if ((o->apparmor && !process->apparmor_profile) ||
	    (o->process_label && !process->selinux_label))
		return NULL;
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
	options.place = container_place(c);
	options.cgroups = o->cgroups.items;
	options.cgroup_count = o->cgroups.count;
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

static int exec(const struct command_globals *g, const void *options, char **words, struct err *err)
{
	const struct exec_options *o = options;

	if (!words[0])
		return err_set(err, ERR_INVALID, "exec: no container id given");
	auto_type(container) c = container_open(g->root, words[0], err);
	if (!c || check_target(c, o, err) < 0)
		return -1;
	struct oci_process *process = o->process ? process_from_file(c, o->process, err)
	                                         : process_from_args(c, o, words + 1, err);
	if (!process)
		return -1;
	return execute(g, c, o, process, err);
}

const struct command command_exec = {
	.name = "exec",
	.arguments = "[OPTIONS] ID PROGRAM [ARGUMENT]...",
	.summary = "run one more program in a container",
	.options = exec_options,
	.options_size = sizeof(struct exec_options),
	.run = exec,
	.enters = true,
	.joins = true,
	.first_word_ends = true,
	.failed_exit = 255,
};
