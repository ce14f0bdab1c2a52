/* SPDX-License-Identifier: Apache-2.0 */
/* create, run, start: a container's birth. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

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
#include "runtime/hooks.h"
#include "runtime/rootless.h"
#include "runtime/spawn.h"
#include "runtime/spec.h"

struct create_options {
	const char *bundle, *config, *pid_file, *console_socket;
	int64_t preserve_fds;
	bool no_pivot, no_new_keyring, detach, keep;
};

#define CREATE_OPTIONS                                                                             \
	OPTION(struct create_options, bundle, "bundle", 'b', OPTION_TEXT, "DIR",                   \
	       "the bundle (default: the current directory)"),                                     \
		OPTION(struct create_options, config, "config", 'f', OPTION_TEXT, "FILE",          \
	               "the config, if it is not config.json in the bundle"),                      \
		OPTION(struct create_options, pid_file, "pid-file", 0, OPTION_TEXT, "FILE",        \
	               "write the first process's id there"),                                      \
		OPTION(struct create_options, console_socket, "console-socket", 0, OPTION_TEXT,    \
	               "SOCKET", "send the terminal's master to this unix socket"),                \
		OPTION(struct create_options, preserve_fds, "preserve-fds", 0, OPTION_COUNT, "N",  \
	               "pass descriptors 3 to 2+N on"),                                            \
		OPTION(struct create_options, no_pivot, "no-pivot", 0, OPTION_FLAG, NULL,          \
	               "move the root into place instead of pivot_root (for an initramfs)"),       \
		OPTION(struct create_options, no_new_keyring, "no-new-keyring", 0, OPTION_FLAG,    \
	               NULL, "keep the caller's session keyring")

static const struct option_entry create_options[] = {
	CREATE_OPTIONS,
	{"no-subreaper", 0, OPTION_UNUSED, 0, NULL, "accepted: no subreaper is ever made"},
	OPTIONS_END,
};

static const struct option_entry run_options[] = {
	CREATE_OPTIONS,
	OPTION(struct create_options, detach, "detach", 'd', OPTION_FLAG, NULL,
               "do not wait for the end"),
	OPTION(struct create_options, keep, "keep", 0, OPTION_FLAG, NULL,
               "do not delete the container when it has ended"),
	{"no-subreaper", 0, OPTION_UNUSED, 0, NULL, "accepted: no subreaper is ever made"},
	OPTIONS_END,
};

/* They must be the caller's, not whatever we open next. */
static int check_preserved(int64_t count, struct err *err)
{
	for (int fd = 3; fd < 3 + count; fd++)
		if (fcntl(fd, F_GETFD) < 0)
			return err_set(err, ERR_INVALID,
			               "--preserve-fds: descriptor %d is not open", fd);
	return 0;
}

static int check_console(const struct oci_spec *spec, const struct create_options *o, bool detached,
                         struct err *err)
{
	if (spec->process.terminal && detached && !o->console_socket)
		return err_set(err, ERR_INVALID,
		               "process.terminal: needs --console-socket when detached");
	if (!spec->process.terminal && o->console_socket)
		return err_set(err, ERR_INVALID,
		               "--console-socket: the config asks for no terminal");
	return 0;
}

static int spawn(const struct command_globals *g, struct container *c,
                 const struct create_options *o, int start_fd, struct spawned *p, struct err *err)
{
	struct spawn_options options = SPAWN_OPTIONS_INIT;
	auto_close int bundle = fs_trusted_open_dir(c->bundle, false, err);

	if (bundle < 0)
		return -1;
	options.id = c->id;
	options.bundle_fd = bundle;
	options.bundle_path = c->bundle;
	options.place = container_place(c);
	options.place.may_do_without = str_eq(g->rootless, "true") ||
	                               (!str_eq(g->rootless, "false") && rootless_is_inside());
	options.no_pivot = o->no_pivot;
	options.no_new_keyring = o->no_new_keyring;
	options.preserve_fds = (size_t)o->preserve_fds;
	options.start_fd = start_fd;
	options.check_program = start_fd >= 0; /* as engines expect it of create */
	return spawn_container(c->spec, &options, p, err);
}

static void undo(struct container *c, const struct spawned *p)
{
	if (p->pid > 0) {
		(void)kill(p->pid, SIGKILL);
		(void)waitpid(p->pid, NULL, 0);
	}
	(void)container_remove(c, p->cgroup, NULL);
}

static int announce(struct container *c, const struct create_options *o, const struct spawned *p,
                    struct err *err)
{
	if (FAILPOINT("create.spawned", err) < 0 || container_save(c, p->pid, p->cgroup, err) < 0 ||
	    FAILPOINT("create.saved", err) < 0)
		return -1;
	if (o->console_socket && foreground_send_console(o->console_socket, p->console_fd, err) < 0)
		return -1;
	return o->pid_file ? foreground_write_pid(o->pid_file, p->pid, err) : 0;
}

static struct container *make(const struct command_globals *g, const struct create_options *o,
                              char **words, struct err *err)
{
	const char *id = command_take_id(words, err);

	if (!id || check_preserved(o->preserve_fds, err) < 0)
		return NULL;
	const struct container_new new = {.root = g->root,
	                                  .bundle = o->bundle ? o->bundle : ".",
	                                  .config = o->config,
	                                  .manager = g->manager};
	auto_type(container) c = container_create(&new, id, err);
	if (!c)
		return NULL;
	if (g->is_rootless && rootless_translate(c->spec, err) < 0) {
		(void)container_remove(c, NULL, NULL);
		return NULL;
	}
	return move_ptr(c);
}

static int create(const struct command_globals *g, const void *options, char **words,
                  struct err *err)
{
	__attribute__((cleanup(spawned_done))) struct spawned p = SPAWNED_INIT;
	const struct create_options *o = options;
	auto_type(container) c = make(g, o, words, err);

	if (!c)
		return -1;
	auto_close int start_fd =
		fs_listen_unix(c->dir_fd, "start.sock", SOCK_SEQPACKET, 0600, err);
	if (start_fd < 0 || FAILPOINT("create.socket", err) < 0 ||
	    check_console(c->spec, o, true, err) < 0 || spawn(g, c, o, start_fd, &p, err) < 0 ||
	    announce(c, o, &p, err) < 0) {
		undo(c, &p);
		return -1;
	}
	return 0;
}

const struct command command_create = {
	.name = "create",
	.arguments = "[OPTIONS] ID",
	.summary = "make a container, ready to start",
	.options = create_options,
	.options_size = sizeof(struct create_options),
	.run = create,
	.enters = true,
	.failed_exit = 1,
};

/* ---- run ---- */

static void run_poststop(const struct container *c)
{
	const struct hooks_state state = {.id = c->id, .status = "stopped", .bundle = c->bundle};

	hooks_run_poststop(c->spec, &state, command_warn);
}

/* A failure stops the container (runtime.md, step 9). */
static int run_poststart(const struct container *c, struct err *err)
{
	const struct hooks_state state = {
		.id = c->id, .status = "running", .bundle = c->bundle, .pid = (pid_t)c->pid};

	if (hooks_run(c->spec, SPEC_HOOK_POSTSTART, &state, err) == 0)
		return 0;
	(void)kill((pid_t)c->pid, SIGKILL);
	return -1;
}

/* 127 and 126, as a shell has them, when the program could not be executed. */
static int failed_start(const struct command_globals *g, struct container *c, struct spawned *p,
                        const struct err *why)
{
	int status;

	if (waitpid(p->pid, &status, 0) < 0 || !WIFEXITED(status))
		status = -1;
	*p = (struct spawned){.pid = -1,
	                      .pidfd = p->pidfd,
	                      .control_fd = p->control_fd,
	                      .console_fd = p->console_fd,
	                      .agent = p->agent,
	                      .birth = p->birth,
	                      .cgroup = p->cgroup};
	(void)container_remove(c, p->cgroup, NULL);
	run_poststop(c);
	command_report(g, why);
	return status < 0 ? 1 : WEXITSTATUS(status);
}

static int run(const struct command_globals *g, const void *options, char **words, struct err *err)
{
	__attribute__((cleanup(spawned_done))) struct spawned p = SPAWNED_INIT;
	const struct create_options *o = options;
	struct err why = ERR_INIT;
	auto_type(container) c = make(g, o, words, err);

	if (!c)
		return -1;
	if (check_console(c->spec, o, o->detach, err) < 0 || spawn(g, c, o, -1, &p, err) < 0 ||
	    announce(c, o, &p, err) < 0) {
		undo(c, &p);
		return -1;
	}
	if (spawn_release(&p, &why) < 0)
		return failed_start(g, c, &p, &why);
	if (FAILPOINT("run.released", err) < 0 || run_poststart(c, err) < 0) {
		undo(c, &p);
		run_poststop(c);
		return -1;
	}
	if (o->detach)
		return 0;
	if (o->console_socket)
		close(move_fd(&p.console_fd)); /* the other side's now */
	int status = foreground_wait(&p, err);
	(void)FAILPOINT("run.ended", NULL);
	if (container_is_taken(c))
		return status;
	if (!o->keep && container_remove(c, p.cgroup, status < 0 ? NULL : err) < 0)
		return -1;
	if (!o->keep)
		run_poststop(c);
	return status;
}

const struct command command_run = {
	.name = "run",
	.arguments = "[OPTIONS] ID",
	.summary = "create and start; wait for the end and exit with its code",
	.options = run_options,
	.options_size = sizeof(struct create_options),
	.run = run,
	.enters = true,
	.failed_exit = 1,
};

/* ---- start ---- */

static int release(const struct container *c, int fd, struct err *err)
{
	const struct hooks_state state = {
		.id = c->id, .status = "creating", .bundle = c->bundle, .pid = (pid_t)c->pid};
	struct notify_agent agent;

	if (notify_agent_make(c->spec, &state, state.pid, &agent, err) < 0) {
		close(fd);
		return -1;
	}
	int rc = spawn_release_by(fd, &agent, err);
	notify_agent_done(&agent);
	return rc;
}

static int start(const struct command_globals *g, const void *options, char **words,
                 struct err *err)
{
	const char *id = command_take_id(words, err);

	(void)options;
	auto_type(container) c = id ? container_open(g->root, id, err) : NULL;
	if (!c)
		return -1;
	enum container_status status = container_status(c);
	if (status != CONTAINER_CREATED)
		return err_set(err, ERR_CONFLICT, "container %s is %s, not created", id,
		               container_status_name(status));
	auto_close int fd = fs_connect_unix(c->dir_fd, "start.sock", SOCK_SEQPACKET, err);
	if (fd < 0)
		return err_wrap(err, "container %s", id);
	/* Away with it first: whoever comes second finds the container running. */
	if (FAILPOINT("start.connected", err) < 0 || fs_unlink(c->dir_fd, "start.sock", err) < 0 ||
	    FAILPOINT("start.unlinked", err) < 0 || release(c, move_fd(&fd), err) < 0 ||
	    FAILPOINT("start.released", err) < 0)
		return -1;
	return run_poststart(c, err);
}

const struct command command_start = {
	.name = "start",
	.arguments = "ID",
	.summary = "let a created container run its program",
	.options = command_no_options,
	.run = start,
	.failed_exit = 1,
};
