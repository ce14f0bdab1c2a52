/* SPDX-License-Identifier: Apache-2.0 */
/* buoy-runtime: makes containers from OCI bundles; `serve` is the engine's launcher. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/mount.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/failpoint.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/str.h"
#include "runtime/command.h"
#include "runtime/serve.h"

#define DEFAULT_ROOT "/run/buoy-runtime"
#define SEALED_MARK  "_BUOY_RUNTIME_SEALED"

static const struct command {
	const char *name;
	int (*run)(const struct command_globals *g, int argc, char **argv, struct err *err);
	const char *arguments, *help;
	bool enters;     /* runs inside a container: our program file must be out of reach */
	int failed_exit; /* status for an error of ours */
} commands[] = {
	{"create", command_create, "[--bundle DIR] ID", "make a container, ready to start", true,
         1},
	{"start", command_start, "ID", "let a created container run its program", false, 1},
	{"run", command_run, "[--bundle DIR] [-d] ID", "create and start; wait for the end", true,
         1},
	{"exec", command_exec, "[-t] [-d] ID PROGRAM...", "run one more program in a container",
         true, 255},
	{"state", command_state, "ID", "print the state as JSON", false, 1},
	{"kill", command_kill, "[--all] ID [SIGNAL]", "send a signal (TERM)", false, 1},
	{"delete", command_delete, "[--force] ID", "remove a stopped container", false, 1},
	{"list", command_list, "[-q] [-f table|json]", "list containers", false, 1},
	{"ps", command_ps, "[-f table|json] ID", "list a container's processes", false, 1},
	{"pause", command_pause, "ID", "freeze all processes", false, 1},
	{"resume", command_resume, "ID", "thaw them", false, 1},
	{"update", command_update, "[--resources FILE] ID", "change limits", false, 1},
	{"events", command_events, "[--stats] ID", "print statistics and OOM kills, as JSON lines",
         false, 1},
	{"features", command_features, "", "print what this runtime can do, as JSON", false, 1},
	{"spec", command_spec, "[--bundle DIR]", "write a default config.json", false, 1},
};

static void print_help(FILE *out)
{
	fprintf(out, "usage: buoy-runtime [OPTIONS] COMMAND ...\n\nCommands:\n");
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		fprintf(out, "  %-9s %-27s %s\n", commands[i].name, commands[i].arguments,
		        commands[i].help);
	fprintf(out, "  %-9s %-27s %s\n\nOptions:\n", "serve", "", "the engine's launcher");
	fprintf(out, "  --root DIR            state of containers (" DEFAULT_ROOT ")\n"
	             "  --log FILE            write errors there, too\n"
	             "  --log-format FORMAT   text or json\n"
	             "  --debug               accepted\n"
	             "  --version, --help\n");
}

static int parse_globals(int argc, char **argv, struct command_globals *g, struct err *err)
{
	enum {
		ROOT = 256,
		LOG,
		FORMAT,
		LEVEL,
		DEBUG,
		SYSTEMD,
		ROOTLESS,
		CRIU
	};
	static const struct option options[] = {
		{"root", required_argument, NULL, ROOT},
		{"log", required_argument, NULL, LOG},
		{"log-format", required_argument, NULL, FORMAT},
		{"log-level", required_argument, NULL, LEVEL},
		{"debug", no_argument, NULL, DEBUG},
		{"systemd-cgroup", no_argument, NULL, SYSTEMD},
		{"rootless", required_argument, NULL, ROOTLESS},
		{"criu", required_argument, NULL, CRIU},
		{"version", no_argument, NULL, 'v'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	int c;

	*g = (struct command_globals){.root = DEFAULT_ROOT};
	while ((c = getopt_long(argc, argv, "+vh", options, NULL)) != -1) {
		switch (c) {
		case ROOT:
			g->root = optarg;
			break;
		case LOG:
			g->log = optarg;
			break;
		case FORMAT:
			g->log_json = str_eq(optarg, "json");
			if (!g->log_json && !str_eq(optarg, "text"))
				return err_set(err, ERR_INVALID,
				               "--log-format: '%s' is not text or json", optarg);
			break;
		case DEBUG:
		case LEVEL:
			g->debug = true;
			break;
		case ROOTLESS: /* "auto" and "false" are how it is anyway */
			if (str_eq(optarg, "true"))
				return err_set(err, ERR_UNSUPPORTED,
				               "--rootless true: not supported");
			break;
		case CRIU:
			break;
		case SYSTEMD:
			return err_set(err, ERR_UNSUPPORTED,
			               "--systemd-cgroup: not supported; set the engine's cgroup "
			               "driver to cgroupfs");
		case 'v':
			printf("buoy-runtime version " BUOY_VERSION "\nspec: 1.2.0\n");
			return 1;
		case 'h':
			print_help(stdout);
			return 1;
		default:
			return err_set(err, ERR_INVALID,
			               "unknown or incomplete option (see --help)");
		}
	}
	return 0;
}

/* ---- keeping our own program file out of the container's reach ---- */

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

	auto_close int self = fs_trusted_open("/proc/self/exe", O_PATH, 0, err);
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

void command_report(const struct command_globals *g, const struct err *why)
{
	fprintf(stderr, "buoy-runtime: %s\n", why->msg);
	if (g->log) {
		auto_close int fd =
			fs_trusted_open(g->log, O_WRONLY | O_APPEND | O_CREAT, 0644, NULL);
		struct log log = {.fd = fd, .level = LOG_LEVEL_INFO, .json = g->log_json};
		if (fd >= 0)
			log_write(&log, LOG_LEVEL_ERROR, why->msg, "%s", "");
	}
}

static int report(const struct command_globals *g, const struct err *err, int status)
{
	command_report(g, err);
	return status;
}

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		if (str_eq(commands[i].name, name))
			return &commands[i];
	return NULL;
}

static int run_command(const struct command_globals *g, int argc, char **argv, char **all)
{
	struct err err = ERR_INIT;
	const struct command *command = find_command(argv[0]);

	if (!command) {
		(void)err_set(&err, ERR_INVALID, "unknown command '%s' (see --help)", argv[0]);
		return report(g, &err, 1);
	}
	if (command->enters && run_from_readonly(all, &err) < 0)
		return report(g, &err, command->failed_exit);
	optind = 0;
	int status = command->run(g, argc, argv, &err);
	if (status < 0)
		return report(g, &err, command->failed_exit);
	return fflush(stdout) == 0 ? status : 1;
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
	int rc = parse_globals(argc, argv, &g, &err);
	if (rc < 0)
		return report(&g, &err, 1);
	if (rc > 0)
		return 0;
	if (optind >= argc) {
		print_help(stderr);
		return 1;
	}
	if (str_eq(argv[optind], "serve")) {
		if (run_from_readonly(argv, &err) < 0)
			return report(&g, &err, 1);
		return serve_main(argc - optind, argv + optind);
	}
	return run_command(&g, argc - optind, argv + optind, argv);
}
