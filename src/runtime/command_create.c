/* SPDX-License-Identifier: Apache-2.0 */
/* create, run, start: a container's birth. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
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
#include "runtime/cgroup.h"
#include "runtime/command.h"
#include "runtime/container.h"
#include "runtime/foreground.h"
#include "runtime/hooks.h"
#include "runtime/spawn.h"
#include "runtime/spec.h"

struct create_options {
	const char *bundle, *pid_file, *console_socket;
	int64_t preserve_fds;
	bool no_pivot, no_new_keyring, detach, keep;
};

static int parse(int argc, char **argv, struct create_options *o, struct err *err)
{
	enum {
		PID_FILE = 256,
		CONSOLE,
		PRESERVE,
		NO_PIVOT,
		NO_KEYRING,
		NO_SUBREAPER,
		KEEP
	};
	static const struct option options[] = {
		{"bundle", required_argument, NULL, 'b'},
		{"pid-file", required_argument, NULL, PID_FILE},
		{"console-socket", required_argument, NULL, CONSOLE},
		{"preserve-fds", required_argument, NULL, PRESERVE},
		{"no-pivot", no_argument, NULL, NO_PIVOT},
		{"no-new-keyring", no_argument, NULL, NO_KEYRING},
		{"no-subreaper", no_argument, NULL, NO_SUBREAPER},
		{"detach", no_argument, NULL, 'd'},
		{"keep", no_argument, NULL, KEEP},
		{0},
	};
	int c;

	*o = (struct create_options){.bundle = "."};
	while ((c = getopt_long(argc, argv, "b:d", options, NULL)) != -1) {
		switch (c) {
		case 'b':
			o->bundle = optarg;
			break;
		case PID_FILE:
			o->pid_file = optarg;
			break;
		case CONSOLE:
			o->console_socket = optarg;
			break;
		case PRESERVE:
			if (id_parse_int(optarg, "--preserve-fds", 0, 1024, &o->preserve_fds, err) <
			    0)
				return -1;
			break;
		case NO_PIVOT:
			o->no_pivot = true;
			break;
		case NO_KEYRING:
			o->no_new_keyring = true;
			break;
		case NO_SUBREAPER: /* we reap only what we made */
			break;
		case 'd':
			o->detach = true;
			break;
		case KEEP:
			o->keep = true;
			break;
		default:
			return err_set(err, ERR_INVALID, "unknown or incomplete option");
		}
	}
	return 0;
}

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

static int spawn(struct container *c, const struct create_options *o, int start_fd,
                 struct spawned *p, struct err *err)
{
	struct spawn_options options = SPAWN_OPTIONS_INIT;
	auto_close int bundle = fs_trusted_open_dir(c->bundle, false, err);

	if (bundle < 0)
		return -1;
	options.id = c->id;
	options.bundle_fd = bundle;
	options.bundle_path = c->bundle;
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
	if (FAILPOINT("create.spawned", err) < 0 || container_save(c, p->pid, err) < 0 ||
	    FAILPOINT("create.saved", err) < 0)
		return -1;
	if (o->console_socket && foreground_send_console(o->console_socket, p->console_fd, err) < 0)
		return -1;
	return o->pid_file ? foreground_write_pid(o->pid_file, p->pid, err) : 0;
}

int command_create(const struct command_globals *g, int argc, char **argv, struct err *err)
{
	__attribute__((cleanup(spawned_done))) struct spawned p = SPAWNED_INIT;
	struct create_options o;

	if (parse(argc, argv, &o, err) < 0)
		return -1;
	const char *id = command_take_id(argc, argv, err);
	if (!id || check_preserved(o.preserve_fds, err) < 0)
		return -1;
	auto_type(container) c = container_create(g->root, id, o.bundle, err);
	if (!c)
		return -1;
	auto_close int start_fd =
		fs_listen_unix(c->dir_fd, "start.sock", SOCK_SEQPACKET, 0600, err);
	if (start_fd < 0 || FAILPOINT("create.socket", err) < 0 ||
	    check_console(c->spec, &o, true, err) < 0 || spawn(c, &o, start_fd, &p, err) < 0 ||
	    announce(c, &o, &p, err) < 0) {
		undo(c, &p);
		return -1;
	}
	return 0;
}

/* ---- run ---- */

static void warn(const struct err *why)
{
	fprintf(stderr, "buoy-runtime: warning: %s\n", why->msg);
}

static void run_poststop(const struct container *c)
{
	const struct hooks_state state = {.id = c->id, .status = "stopped", .bundle = c->bundle};

	hooks_run_poststop(c->spec, &state, warn);
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
	                      .cgroup = p->cgroup};
	(void)container_remove(c, p->cgroup, NULL);
	run_poststop(c);
	command_report(g, why);
	return status < 0 ? 1 : WEXITSTATUS(status);
}

int command_run(const struct command_globals *g, int argc, char **argv, struct err *err)
{
	__attribute__((cleanup(spawned_done))) struct spawned p = SPAWNED_INIT;
	struct create_options o;
	struct err why = ERR_INIT;

	if (parse(argc, argv, &o, err) < 0)
		return -1;
	const char *id = command_take_id(argc, argv, err);
	if (!id || check_preserved(o.preserve_fds, err) < 0)
		return -1;
	auto_type(container) c = container_create(g->root, id, o.bundle, err);
	if (!c)
		return -1;
	if (check_console(c->spec, &o, o.detach, err) < 0 || spawn(c, &o, -1, &p, err) < 0 ||
	    announce(c, &o, &p, err) < 0) {
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
	if (o.detach)
		return 0;
	if (o.console_socket)
		close(move_fd(&p.console_fd)); /* the other side's now */
	int status = foreground_wait(&p, err);
	(void)FAILPOINT("run.ended", NULL);
	if (!o.keep && container_remove(c, p.cgroup, status < 0 ? NULL : err) < 0)
		return -1;
	if (!o.keep)
		run_poststop(c);
	return status;
}

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

int command_start(const struct command_globals *g, int argc, char **argv, struct err *err)
{
	static const struct option none[] = {{0}};

	if (getopt_long(argc, argv, "", none, NULL) != -1)
		return err_set(err, ERR_INVALID, "start takes no options");
	const char *id = command_take_id(argc, argv, err);
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
