/* SPDX-License-Identifier: Apache-2.0 */
/* buoy-runtime: makes containers from OCI bundles; `serve` is the engine's launcher. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/mount.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/failpoint.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/str.h"
#include "runtime/command.h"
#include "runtime/container.h"
#include "runtime/help.h"
#include "runtime/rootless.h"
#include "runtime/serve.h"

#define SEALED_MARK   "_BUOY_RUNTIME_SEALED"
#define ROOTLESS_MARK "_BUOY_RUNTIME_ROOTLESS" /* the root, for ourselves in a user namespace */

const struct command *const command_list_all[] = {
	&command_create,   &command_start,  &command_run,     &command_exec,       &command_state,
	&command_kill,     &command_delete, &command_list,    &command_ps,         &command_pause,
	&command_resume,   &command_update, &command_events,  &command_checkpoint, &command_restore,
	&command_features, &command_spec,   &command_manpage, &command_completion, NULL,
};

const struct option_entry command_no_options[] = {OPTIONS_END};

const struct option_entry command_global_options[] = {
	OPTION(struct command_globals, root, "root", 0, OPTION_TEXT, "DIR",
               "state of containers (default: " COMMAND_ROOT ")"),
	OPTION(struct command_globals, log, "log", 0, OPTION_TEXT, "FILE",
               "write errors there, too"),
	OPTION(struct command_globals, log_format, "log-format", 0, OPTION_CHOICE, "text|json",
               "how to write them (default: text)"),
	{"log-level", 0, OPTION_UNUSED, 0, "LEVEL", "accepted: errors are all that is written"},
	OPTION(struct command_globals, cgroup_manager, "cgroup-manager", 0, OPTION_CHOICE,
               "cgroupfs|systemd|disabled", "who makes cgroups (default: cgroupfs)"),
	OPTION(struct command_globals, systemd_cgroup, "systemd-cgroup", 0, OPTION_FLAG, NULL,
               "the same as --cgroup-manager systemd: cgroupsPath is slice:prefix:name"),
	OPTION(struct command_globals, rootless, "rootless", 0, OPTION_CHOICE, "true|false|auto",
               "containers of an ordinary user, in a user namespace of his own (default: auto)"),
	OPTION(struct command_globals, debug, "debug", 0, OPTION_FLAG, NULL,
               "also write what was asked for, and how it ended, to the log or stderr"),
	OPTION(struct command_globals, criu, "criu", 0, OPTION_TEXT, "PATH",
               "the CRIU that makes checkpoints (default: criu)"),
	OPTION(struct command_globals, version, "version", 'v', OPTION_FLAG, NULL,
               "print the version"),
	OPTIONS_END,
};

/* Whether containers are an ordinary user's, and where they are kept then. */
static int find_rootless(struct command_globals *g, struct err *err)
{
	const char *marked = getenv(ROOTLESS_MARK);
	/* Root of a user namespace, as podman's callers are, has no /run either. */
	bool user = !str_eq(g->rootless, "false") &&
	            (geteuid() != 0 ||
	             (!g->root && !marked && getenv("XDG_RUNTIME_DIR") && rootless_is_inside()));

	g->is_rootless = marked && geteuid() == 0;
	if (!g->root && g->is_rootless) {
		(void)snprintf(g->default_root, sizeof(g->default_root), "%s", marked);
		g->root = g->default_root;
	}
	(void)unsetenv(ROOTLESS_MARK);
	if (!g->root && user) {
		if (rootless_default_root(g->default_root, sizeof(g->default_root), err) < 0)
			return -1;
		g->root = g->default_root;
	}
	if (!g->root)
		g->root = COMMAND_ROOT;
	return 0;
}

static int parse_globals(int argc, char **argv, struct command_globals *g, struct err *err)
{
	*g = (struct command_globals){.root = NULL};
	int used = options_parse("", command_global_options, true, argc, argv, g, err);
	if (used == -1)
		return -1;
	if (used == OPTIONS_HELP || g->version)
		return used;
	if (find_rootless(g, err) < 0)
		return -1;
	if (g->systemd_cgroup)
		g->manager = PLACE_SYSTEMD;
	if (g->cgroup_manager && place_parse_manager(g->cgroup_manager, &g->manager, err) < 0)
		return -1;
	return used;
}

/* ---- keeping our own program file out of the container's reach ---- */

/* In a mount namespace that was made since, /proc/self/exe still leads to the mount in the old one, which cannot be
 * cloned: the same file by its name can. */
static int open_self(struct err *err)
{
	char path[PATH_MAX];
	struct stat running, named;
	auto_close int exe = fs_trusted_open("/proc/self/exe", O_PATH, 0, err);

	ssize_t len = exe < 0 ? -1 : readlink("/proc/self/exe", path, sizeof(path) - 1);
	if (len <= 0)
		return move_fd(&exe);
	path[len] = '\0';
	auto_close int again = fs_trusted_open(path, O_PATH, 0, NULL);
	if (again >= 0 && fstat(exe, &running) == 0 && fstat(again, &named) == 0 &&
	    running.st_ino == named.st_ino && running.st_dev == named.st_dev)
		return move_fd(&again);
	return move_fd(&exe);
}

/*
 * Whoever is root in a container can open /proc/<pid>/exe of a process that is about to join it, and
 * write through it once nobody runs it. So what runs there is executed from a detached, read-only
 * mount of the file, which shares the page cache with it and can never be opened for writing.
 */
static int run_from_readonly(char **argv, struct err *err)
{
	struct statvfs now;

	if (statvfs("/proc/self/exe", &now) < 0)
		return err_sys(err, "/proc/self/exe");
	bool marked = getenv(SEALED_MARK) != NULL;
	(void)unsetenv(SEALED_MARK);
	if (now.f_flag & ST_RDONLY)
		return 0;
	if (marked)
		return err_set(err, ERR_INTERNAL, "cannot protect the program file");

	auto_close int self = open_self(err);
	if (self < 0)
		return -1;
	auto_close int mount = fs_mount_clone(self, false, err);
	if (mount < 0 ||
	    fs_mount_setattr(mount, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID, 0, 0, false, err) < 0)
		return -1;
	if (setenv(SEALED_MARK, "1", 1) < 0)
		return err_nomem(err);
	execveat(mount, "", argv, environ, AT_EMPTY_PATH);
	return err_sys(err, "execute from a read-only mount");
}

/* An ordinary user has the rights that it takes only in a user namespace of his own. */
static int become_rootless(const struct command_globals *g, const struct command *command,
                           char **words, struct err *err)
{
	if (geteuid() == 0 || str_eq(g->rootless, "false"))
		return 0;
	if (!command->joins && rootless_enter(err) < 0)
		return -1;
	if (command->joins && words[0]) {
		auto_type(container) c = container_open(g->root, words[0], err);
		if (!c || (container_is_alive(c) && rootless_join((pid_t)c->pid, err) < 0))
			return -1;
	}
	return setenv(ROOTLESS_MARK, g->root, 1) < 0 ? err_nomem(err) : 0;
}

/* Descriptors that we open must never become 0, 1 or 2. */
static int fill_stdio(struct err *err)
{
	for (;;) {
		int fd = fs_trusted_open("/dev/null", O_RDWR, 0, err);
		if (fd < 0)
			return -1;
		if (fd > STDERR_FILENO) {
			close(fd);
			return 0;
		}
		(void)fcntl(fd, F_SETFD, 0);
	}
}

/* Where errors go beside stderr, if anywhere: a line at a time, as several of us may write to the same file. */
static int open_log(const struct command_globals *g, struct log *log)
{
	int fd = g->log ? fs_trusted_open(g->log, O_WRONLY | O_APPEND | O_CREAT, 0644, NULL) : -1;

	*log = (struct log){.fd = fd,
	                    .level = g->debug ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO,
	                    .json = str_eq(g->log_format, "json")};
	return fd;
}

void command_report(const struct command_globals *g, const struct err *why)
{
	struct log log;
	auto_close int fd = open_log(g, &log);

	fprintf(stderr, "buoy-runtime: %s\n", why->msg);
	if (fd >= 0)
		log_write(&log, LOG_LEVEL_ERROR, why->msg, "%s", "");
}

static void debug_command(const struct command_globals *g, int argc, char **argv, int status)
{
	auto_buf struct buf line = BUF_INIT(4096);
	struct log log;
	auto_close int fd = open_log(g, &log);

	for (int i = 0; i < argc; i++)
		buf_addf(&line, "%s%s", i ? " " : "", argv[i]);
	if (fd < 0)
		log.fd = STDERR_FILENO;
	log_write(&log, LOG_LEVEL_DEBUG, buf_str(&line), "status=%d", status);
}

static int report(const struct command_globals *g, const struct err *err, int status)
{
	command_report(g, err);
	return status;
}

void command_warn(const struct err *why)
{
	fprintf(stderr, "buoy-runtime: warning: %s\n", why->msg);
}

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; command_list_all[i]; i++)
		if (str_eq(command_list_all[i]->name, name))
			return command_list_all[i];
	return NULL;
}

static int run_parsed(const struct command_globals *g, const struct command *command, int argc,
                      char **argv, char **all)
{
	auto_free void *options = calloc(1, command->options_size + 1);
	struct err err = ERR_INIT;

	if (!options) {
		(void)err_nomem(&err);
		return report(g, &err, command->failed_exit);
	}
	int used = options_parse(command->name, command->options, command->first_word_ends, argc,
	                         argv, options, &err);
	if (used == OPTIONS_HELP) {
		help_command(stdout, command);
		return fflush(stdout) == 0 ? 0 : 1;
	}
	if (used >= 0 && command->enters &&
	    (become_rootless(g, command, argv + used, &err) < 0 ||
	     run_from_readonly(all, &err) < 0))
		used = -1;
	int status = used < 0 ? -1 : command->run(g, options, argv + used, &err);
	if (status < 0)
		return report(g, &err, command->failed_exit);
	return fflush(stdout) == 0 ? status : 1;
}

static int run_command(const struct command_globals *g, int argc, char **argv, char **all)
{
	struct err err = ERR_INIT;
	const struct command *command = find_command(argv[0]);

	if (!command) {
		(void)err_set(&err, ERR_INVALID, "unknown command '%s' (see --help)", argv[0]);
		return report(g, &err, 1);
	}
	int status = run_parsed(g, command, argc, argv, all);
	if (g->debug)
		debug_command(g, argc, argv, status);
	return status;
}

int main(int argc, char **argv)
{
	struct command_globals g;
	struct err err = ERR_INIT;

	/* execveat() from a descriptor would otherwise show its number as our name. */
	(void)prctl(PR_SET_NAME, "buoy-runtime", 0, 0, 0);
	umask(022);
	if (fill_stdio(&err) < 0 || failpoint_init(&err) < 0)
		return report(&(struct command_globals){0}, &err, 1);
	int used = parse_globals(argc, argv, &g, &err);
	if (used == -1)
		return report(&g, &err, 1);
	if (g.version)
		return printf("buoy-runtime version " BUOY_VERSION "\nspec: 1.3.0\n") < 0;
	if (used == OPTIONS_HELP || used >= argc) {
		help_program(used >= argc ? stderr : stdout);
		return used >= argc;
	}
	if (str_eq(argv[used], "serve")) {
		if (run_from_readonly(argv, &err) < 0)
			return report(&g, &err, 1);
		return serve_main(argc - used, argv + used);
	}
	return run_command(&g, argc - used, argv + used, argv);
}
