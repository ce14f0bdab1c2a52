/* SPDX-License-Identifier: Apache-2.0 */
/* state, list, kill, delete, ps, pause, resume: containers that are there. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/failpoint.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/json.h"
#include "base/str.h"
#include "runtime/cgroup.h"
#include "runtime/command.h"
#include "runtime/container.h"
#include "runtime/hooks.h"
#include "runtime/spec.h"

#define PIDS_MAX     65536
#define STOP_WAIT_MS 10000

const char *command_take_id(int argc, char **argv, struct err *err)
{
	if (argc - optind == 1)
		return argv[optind];
	err_set(err, ERR_INVALID, "%s: takes exactly one container id", argv[0]);
	return NULL;
}

static struct container *open_only(const struct command_globals *g, int argc, char **argv,
                                   struct err *err)
{
	static const struct option none[] = {{0}};

	if (getopt_long(argc, argv, "", none, NULL) != -1) {
		err_set(err, ERR_INVALID, "%s: unknown option", argv[0]);
		return NULL;
	}
	const char *id = command_take_id(argc, argv, err);
	return id ? container_open(g->root, id, err) : NULL;
}

static int print_json(const struct json *j, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(16 << 20);

	if (json_write_pretty(j, &text, err) < 0 || buf_check(&text, err) < 0)
		return -1;
	puts(buf_str(&text));
	return 0;
}

int command_state(const struct command_globals *g, int argc, char **argv, struct err *err)
{
	auto_type(container) c = open_only(g, argc, argv, err);
	auto_type(json) j = c ? container_state(c, err) : NULL;

	return j ? print_json(j, err) : -1;
}

/* ---- list ---- */

struct list {
	const char *root;
	struct json *all;
	bool quiet, json;
};

static int list_one(void *arg, const char *id)
{
	struct list *list = arg;
	auto_type(container) c = container_open(list->root, id, NULL);

	if (list->quiet) {
		puts(id);
		return 0;
	}
	auto_type(json) j = c ? container_state(c, NULL) : NULL;
	if (!j)
		return 0; /* just going away */
	if (list->json)
		return json_append(list->all, move_ptr(j));
	printf("%-24s %-8lld %-9s %-40s %-31s %s\n", id, (long long)json_get_int(j, "pid", 0),
	       json_get_string(j, "status"), json_get_string(j, "bundle"),
	       json_get_string(j, "created"), json_get_string(j, "owner"));
	return 0;
}

static int check_format(const char *format, bool *json, struct err *err)
{
	*json = str_eq(format, "json");
	if (*json || str_eq(format, "table"))
		return 0;
	return err_set(err, ERR_INVALID, "--format: '%s' is not table or json", format);
}

int command_list(const struct command_globals *g, int argc, char **argv, struct err *err)
{
	static const struct option options[] = {
		{"format", required_argument, NULL, 'f'}, {"quiet", no_argument, NULL, 'q'}, {0}};
	auto_type(json) all = json_array();
	struct list list = {.root = g->root, .all = all};
	int c;

	while ((c = getopt_long(argc, argv, "f:q", options, NULL)) != -1) {
		if (c == 'q')
			list.quiet = true;
		else if (c != 'f' || check_format(optarg, &list.json, err) < 0)
			return c == 'f' ? -1 : err_set(err, ERR_INVALID, "list: unknown option");
	}
	if (!list.quiet && !list.json)
		printf("%-24s %-8s %-9s %-40s %-31s %s\n", "ID", "PID", "STATUS", "BUNDLE",
		       "CREATED", "OWNER");
	if (container_list(g->root, list_one, &list, err) < 0)
		return -1;
	return list.json && !list.quiet ? print_json(all, err) : 0;
}

/* ---- signals ---- */

/* "9", "KILL", "SIGKILL", "RTMIN+1". */
static int parse_signal(const char *text, int *signal, struct err *err)
{
	const char *name = str_starts(text, "SIG") ? text + 3 : text;
	int64_t number;

	for (int i = 1; i < 32; i++) {
		const char *abbrev = sigabbrev_np(i);
		if (abbrev && strcasecmp(abbrev, name) == 0) {
			*signal = i;
			return 0;
		}
	}
	if (str_starts(name, "RTMIN+") &&
	    id_parse_int(name + 6, "signal", 0, SIGRTMAX - SIGRTMIN, &number, NULL) == 0) {
		*signal = SIGRTMIN + (int)number;
		return 0;
	}
	if (id_parse_int(text, "signal", 1, 64, &number, NULL) < 0)
		return err_set(err, ERR_INVALID, "unknown signal '%s'", text);
	*signal = (int)number;
	return 0;
}

int command_kill(const struct command_globals *g, int argc, char **argv, struct err *err)
{
	static const struct option options[] = {{"all", no_argument, NULL, 'a'}, {0}};
	bool all = false;
	int c, signal = SIGTERM;

	while ((c = getopt_long(argc, argv, "a", options, NULL)) != -1) {
		if (c != 'a')
			return err_set(err, ERR_INVALID, "kill: unknown option");
		all = true;
	}
	if (argc - optind < 1 || argc - optind > 2)
		return err_set(err, ERR_INVALID, "kill: takes a container id and a signal");
	if (argc - optind == 2 && parse_signal(argv[optind + 1], &signal, err) < 0)
		return -1;
	auto_type(container) k = container_open(g->root, argv[optind], err);
	if (!k)
		return -1;
	if (all) {
		auto_type(cgroup) cg = container_cgroup(k, err);
		return cg ? cgroup_kill(cg, signal, err) : -1;
	}
	if (!container_is_alive(k))
		return err_set(err, ERR_CONFLICT, "container not running");
	if (kill((pid_t)k->pid, signal) < 0)
		return err_sys(err, "container %s: kill", k->id);
	return 0;
}

static void wait_dead(const struct container *c)
{
	int64_t deadline = clock_mono_ms() + STOP_WAIT_MS;

	while (container_is_alive(c) && clock_mono_ms() < deadline)
		clock_sleep_ms(2);
}

static void warn(const struct err *why)
{
	fprintf(stderr, "buoy-runtime: warning: %s\n", why->msg);
}

int command_delete(const struct command_globals *g, int argc, char **argv, struct err *err)
{
	static const struct option options[] = {{"force", no_argument, NULL, 'f'}, {0}};
	struct err why = ERR_INIT;
	bool force = false;
	int c;

	while ((c = getopt_long(argc, argv, "f", options, NULL)) != -1) {
		if (c != 'f')
			return err_set(err, ERR_INVALID, "delete: unknown option");
		force = true;
	}
	const char *id = command_take_id(argc, argv, err);
	if (!id)
		return -1;
	auto_type(container) k = container_open(g->root, id, &why);
	if (!k && force && why.kind == ERR_NOT_FOUND)
		return container_remove_half(g->root, id, err);
	if (!k) {
		*err = why;
		return -1;
	}
	enum container_status status = container_status(k);
	if (!force && status != CONTAINER_STOPPED && status != CONTAINER_CREATED)
		return err_set(err, ERR_CONFLICT, "container %s is %s: stop it or use --force", id,
		               container_status_name(status));
	const struct hooks_state state = {
		.id = id, .status = "stopped", .bundle = k->bundle, .pid = 0};
	if (container_is_alive(k)) {
		auto_type(cgroup) cg = container_cgroup(k, NULL);
		(void)kill((pid_t)k->pid, SIGKILL);
		if (cg)
			(void)cgroup_kill(cg, SIGKILL, NULL);
		wait_dead(k);
	}
	if (FAILPOINT("delete.killed", err) < 0 || container_remove(k, NULL, err) < 0)
		return -1;
	hooks_run_poststop(k->spec, &state, warn);
	return 0;
}

/* ---- the cgroup ---- */

static int freeze(const struct command_globals *g, int argc, char **argv, bool frozen,
                  struct err *err)
{
	auto_type(container) c = open_only(g, argc, argv, err);
	if (!c)
		return -1;
	enum container_status status = container_status(c);
	bool fits = frozen ? status == CONTAINER_RUNNING || status == CONTAINER_CREATED
	                   : status == CONTAINER_PAUSED;
	if (!fits)
		return err_set(err, ERR_CONFLICT, "container %s is %s", c->id,
		               container_status_name(status));
	auto_type(cgroup) cg = container_cgroup(c, err);
	return cg ? cgroup_freeze(cg, frozen, err) : -1;
}

int command_pause(const struct command_globals *g, int argc, char **argv, struct err *err)
{
	return freeze(g, argc, argv, true, err);
}

int command_resume(const struct command_globals *g, int argc, char **argv, struct err *err)
{
	return freeze(g, argc, argv, false, err);
}

static void print_process(pid_t pid)
{
	auto_buf struct buf line = BUF_INIT(64 << 10);
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
	(void)fs_trusted_read(path, 32 << 10, &line, NULL);
	for (size_t i = 0; i + 1 < line.len; i++)
		if ((unsigned char)line.data[i] < 0x20)
			line.data[i] = ' ';
	printf("%-8d %s\n", pid, buf_str(&line));
}

int command_ps(const struct command_globals *g, int argc, char **argv, struct err *err)
{
	static const struct option options[] = {{"format", required_argument, NULL, 'f'}, {0}};
	auto_free pid_t *pids = calloc(PIDS_MAX, sizeof(*pids));
	bool json = false;
	int c;

	if (!pids)
		return err_nomem(err);
	while ((c = getopt_long(argc, argv, "+f:", options, NULL)) != -1)
		if (c != 'f' || check_format(optarg, &json, err) < 0)
			return c == 'f' ? -1 : err_set(err, ERR_INVALID, "ps: unknown option");
	const char *id = command_take_id(argc, argv, err);
	auto_type(container) k = id ? container_open(g->root, id, err) : NULL;
	auto_type(cgroup) cg = k ? container_cgroup(k, err) : NULL;
	if (!cg)
		return -1;
	ssize_t count = cgroup_pids(cg, pids, PIDS_MAX, err);
	if (count < 0)
		return -1;
	if (count > PIDS_MAX)
		count = PIDS_MAX;

	auto_type(json) all = json_array();
	if (!json)
		printf("%-8s %s\n", "PID", "CMD");
	for (ssize_t i = 0; i < count; i++) {
		if (json)
			json_append(all, json_int(pids[i]));
		else
			print_process(pids[i]);
	}
	return json ? print_json(all, err) : 0;
}
