/* SPDX-License-Identifier: Apache-2.0 */
/* checkpoint, restore: a container's processes to files and back. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/failpoint.h"
#include "base/fs.h"
#include "base/str.h"
#include "runtime/cgroup.h"
#include "runtime/checkpoint.h"
#include "runtime/command.h"
#include "runtime/container.h"
#include "runtime/foreground.h"
#include "runtime/hooks.h"
#include "runtime/spawn.h"
#include "runtime/spec.h"

struct checkpoint_words {
	struct checkpoint_options o;
	struct option_list empty_ns;
	/* Of a restore. */
	const char *bundle, *config, *pid_file, *console_socket;
	bool detach, keep;
};

#define COMMON_OPTIONS                                                                             \
	OPTION(struct checkpoint_words, o.image_path, "image-path", 0, OPTION_TEXT, "DIR",         \
	       "the images of the processes (default: checkpoint)"),                               \
		OPTION(struct checkpoint_words, o.work_path, "work-path", 0, OPTION_TEXT, "DIR",   \
	               "CRIU's log and temporary files (default: with the images)"),               \
		OPTION(struct checkpoint_words, o.tcp_established, "tcp-established", 0,           \
	               OPTION_FLAG, NULL, "allow open TCP connections"),                           \
		OPTION(struct checkpoint_words, o.ext_unix_sk, "ext-unix-sk", 0, OPTION_FLAG,      \
	               NULL, "allow unix sockets connected to the outside"),                       \
		OPTION(struct checkpoint_words, o.shell_job, "shell-job", 0, OPTION_FLAG, NULL,    \
	               "allow a terminal and a session of the outside"),                           \
		OPTION(struct checkpoint_words, o.file_locks, "file-locks", 0, OPTION_FLAG, NULL,  \
	               "allow file locks"),                                                        \
		OPTION(struct checkpoint_words, o.auto_dedup, "auto-dedup", 0, OPTION_FLAG, NULL,  \
	               "keep a page of memory in one image only"),                                 \
		OPTION(struct checkpoint_words, o.lazy_pages, "lazy-pages", 0, OPTION_FLAG, NULL,  \
	               "memory follows when it is touched"),                                       \
		OPTION(struct checkpoint_words, empty_ns, "empty-ns", 0, OPTION_LIST, "network",   \
	               "leave out what is in the namespace"),                                      \
		OPTION(struct checkpoint_words, o.cgroups_mode, "manage-cgroups-mode", 0,          \
	               OPTION_CHOICE, "soft|full|strict|ignore",                                   \
	               "what of cgroups is restored (default: soft)")

static const struct option_entry checkpoint_options[] = {
	COMMON_OPTIONS,
	OPTION(struct checkpoint_words, o.leave_running, "leave-running", 0, OPTION_FLAG, NULL,
               "the container runs on"),
	OPTION(struct checkpoint_words, o.pre_dump, "pre-dump", 0, OPTION_FLAG, NULL,
               "write only memory, ahead of a checkpoint; the container runs on"),
	OPTION(struct checkpoint_words, o.parent_path, "parent-path", 0, OPTION_TEXT, "DIR",
               "the pre-dump before this, relative to the images"),
	OPTION(struct checkpoint_words, o.page_server, "page-server", 0, OPTION_TEXT,
               "ADDRESS:PORT", "send memory there"),
	OPTION(struct checkpoint_words, o.status_fd, "status-fd", 0, OPTION_COUNT, "FD",
               "a byte comes there when lazy pages can be served"),
	OPTIONS_END,
};

static const struct option_entry restore_options[] = {
	COMMON_OPTIONS,
	OPTION(struct checkpoint_words, bundle, "bundle", 'b', OPTION_TEXT, "DIR",
               "the bundle (default: the current directory)"),
	OPTION(struct checkpoint_words, config, "config", 'f', OPTION_TEXT, "FILE",
               "the config, if it is not config.json in the bundle"),
	OPTION(struct checkpoint_words, detach, "detach", 'd', OPTION_FLAG, NULL,
               "do not wait for the end"),
	OPTION(struct checkpoint_words, keep, "keep", 0, OPTION_FLAG, NULL,
               "do not delete the container when it has ended"),
	OPTION(struct checkpoint_words, pid_file, "pid-file", 0, OPTION_TEXT, "FILE",
               "write the first process's id there"),
	OPTION(struct checkpoint_words, console_socket, "console-socket", 0, OPTION_TEXT, "SOCKET",
               "send the terminal's master to this unix socket"),
	OPTION(struct checkpoint_words, o.lsm_profile, "lsm-profile", 0, OPTION_TEXT, "TYPE:NAME",
               "another AppArmor profile or SELinux label than it had"),
	OPTION(struct checkpoint_words, o.lsm_mount_context, "lsm-mount-context", 0, OPTION_TEXT,
               "CONTEXT", "another SELinux context of mounts than they had"),
	{"no-pivot", 0, OPTION_UNUSED, 0, NULL, "accepted: CRIU enters the root"},
	{"no-subreaper", 0, OPTION_UNUSED, 0, NULL, "accepted: no subreaper is ever made"},
	OPTIONS_END,
};

static int check_words(const struct command_globals *g, struct checkpoint_words *w, struct err *err)
{
	if (g->is_rootless || geteuid() != 0)
		return err_set(err, ERR_UNSUPPORTED,
		               "CRIU needs root, and not of a user namespace");
	for (size_t i = 0; i < w->empty_ns.count; i++)
		if (!str_eq(w->empty_ns.items[i], "network"))
			return err_set(err, ERR_INVALID, "--empty-ns: '%s' is not network",
			               w->empty_ns.items[i]);
	w->o.empty_network = w->empty_ns.count > 0;
	w->o.criu = g->criu;
	return 0;
}

/* ---- checkpoint ---- */

/* Whoever waits for it in the foreground leaves the rest to us as long as this is there. */
static int mark(const struct container *c, struct err *err)
{
	return fs_write_atomic(c->dir_fd, CONTAINER_CHECKPOINT_MARK, "", 0, 0600, err);
}

static int take_down(struct container *c, struct err *err)
{
	const struct hooks_state state = {.id = c->id, .status = "stopped", .bundle = c->bundle};

	if (FAILPOINT("checkpoint.written", err) < 0 || container_remove(c, NULL, err) < 0)
		return -1;
	hooks_run_poststop(c->spec, &state, command_warn);
	return 0;
}

static int checkpoint(const struct command_globals *g, const void *options, char **words,
                      struct err *err)
{
	struct checkpoint_words w = *(const struct checkpoint_words *)options;
	const char *id = command_take_id(words, err);

	if (!id || check_words(g, &w, err) < 0)
		return -1;
	auto_type(container) c = container_open(g->root, id, err);
	if (!c)
		return -1;
	enum container_status status = container_status(c);
	if (status != CONTAINER_RUNNING && status != CONTAINER_PAUSED)
		return err_set(err, ERR_CONFLICT, "container %s is %s: there is nothing to write",
		               id, container_status_name(status));
	bool stays = w.o.leave_running || w.o.pre_dump;
	if (!stays && (mark(c, err) < 0 || FAILPOINT("checkpoint.marked", err) < 0)) {
		(void)fs_unlink(c->dir_fd, CONTAINER_CHECKPOINT_MARK, NULL);
		return -1;
	}
	if (checkpoint_dump(c, &w.o, err) < 0) {
		(void)fs_unlink(c->dir_fd, CONTAINER_CHECKPOINT_MARK, NULL);
		return -1;
	}
	return stays ? 0 : take_down(c, err);
}

const struct command command_checkpoint = {
	.name = "checkpoint",
	.arguments = "[OPTIONS] ID",
	.summary =
		"write a container's processes to files, with CRIU; it is gone then, unless it is to run on",
	.options = checkpoint_options,
	.options_size = sizeof(struct checkpoint_words),
	.run = checkpoint,
	.failed_exit = 1,
};

/* ---- restore ---- */

static void undo(struct container *c, struct checkpoint_restored *r)
{
	const struct hooks_state state = {.id = c->id, .status = "stopped", .bundle = c->bundle};

	if (r->pid > 0) {
		(void)kill(r->pid, SIGKILL);
		(void)waitpid(r->pid, NULL, 0);
	}
	(void)container_remove(c, r->cgroup, NULL);
	if (r->hooks_begun)
		hooks_run_poststop(c->spec, &state, command_warn);
}

static int announce(const struct checkpoint_words *w, const struct checkpoint_restored *r,
                    struct err *err)
{
	if (w->console_socket && r->console_fd < 0)
		return err_set(err, ERR_INVALID, "--console-socket: it had no terminal");
	if (w->console_socket && foreground_send_console(w->console_socket, r->console_fd, err) < 0)
		return -1;
	return w->pid_file ? foreground_write_pid(w->pid_file, r->pid, err) : 0;
}

static int wait_end(struct container *c, const struct checkpoint_words *w,
                    struct checkpoint_restored *r, struct err *err)
{
	const struct hooks_state state = {.id = c->id, .status = "stopped", .bundle = c->bundle};
	struct spawned p = SPAWNED_INIT;

	p.pid = r->pid;
	p.pidfd = (int)syscall(SYS_pidfd_open, r->pid, 0);
	if (p.pidfd < 0)
		return err_sys(err, "wait for process %d", (int)r->pid);
	p.console_fd = w->console_socket ? -1 : r->console_fd;
	int status = foreground_wait(&p, err);
	close(p.pidfd);
	r->pid = -1;
	if (w->keep || container_is_taken(c))
		return status;
	if (container_remove(c, r->cgroup, status < 0 ? NULL : err) < 0)
		return -1;
	hooks_run_poststop(c->spec, &state, command_warn);
	return status;
}

static int restore_made(struct container *c, const struct checkpoint_words *w,
                        struct checkpoint_restored *r, struct err *err)
{
	if (c->spec->process.terminal && w->detach && !w->console_socket) {
		(void)container_remove(c, NULL, NULL);
		return err_set(err, ERR_INVALID,
		               "process.terminal: needs --console-socket when detached");
	}
	if (checkpoint_restore(c, &w->o, r, err) < 0 || announce(w, r, err) < 0) {
		undo(c, r);
		return -1;
	}
	if (w->detach)
		return 0;
	if (w->console_socket)
		cleanup_close(&r->console_fd); /* the other side's now */
	return wait_end(c, w, r, err);
}

static int restore(const struct command_globals *g, const void *options, char **words,
                   struct err *err)
{
	struct checkpoint_words w = *(const struct checkpoint_words *)options;
	struct checkpoint_restored r = CHECKPOINT_RESTORED_INIT;
	const char *id = command_take_id(words, err);

	if (!id || check_words(g, &w, err) < 0)
		return -1;
	const struct container_new new = {.root = g->root,
	                                  .bundle = w.bundle ? w.bundle : ".",
	                                  .config = w.config,
	                                  .manager = g->manager};
	auto_type(container) c = container_create(&new, id, err);
	if (!c)
		return -1;
	int rc = restore_made(c, &w, &r, err);
	cleanup_close(&r.console_fd);
	cgroup_free(r.cgroup);
	return rc;
}

const struct command command_restore = {
	.name = "restore",
	.arguments = "[OPTIONS] ID",
	.summary = "make a container from what checkpoint has written",
	.options = restore_options,
	.options_size = sizeof(struct checkpoint_words),
	.run = restore,
	.failed_exit = 1,
};
