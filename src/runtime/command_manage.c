/* SPDX-License-Identifier: Apache-2.0 */
/* kill, delete, pause, resume: what is done to containers that are there. */
#include <errno.h>
#include <regex.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/failpoint.h"
#include "base/id.h"
#include "base/str.h"
#include "runtime/cgroup.h"
#include "runtime/command.h"
#include "runtime/container.h"
#include "runtime/hooks.h"
#include "runtime/spec.h"

#define STOP_WAIT_MS 10000

/* ---- by pattern ---- */

/* What is done to one container. */
typedef int (*each_fn)(const struct command_globals *g, const void *arg, const char *id,
                       struct err *err);

struct matching {
	const struct command_globals *g;
	each_fn fn;
	const void *arg;
	regex_t pattern;
	size_t failed;
	struct err first;
};

static int match_one(void *arg, const char *id)
{
	struct matching *m = arg;
	struct err why = ERR_INIT;

	if (regexec(&m->pattern, id, 0, NULL, 0) != 0 || m->fn(m->g, m->arg, id, &why) == 0)
		return 0;
	if (m->failed++ == 0)
		m->first = why;
	return 0;
}

/* All whose id has a match of the extended regular expression. One that fails does not keep the others from it;
 * the first failure is the result. */
static int for_matching(const struct command_globals *g, const char *pattern, each_fn fn,
                        const void *arg, struct err *err)
{
	struct matching m = {.g = g, .fn = fn, .arg = arg};
	char words[128];

	int rc = regcomp(&m.pattern, pattern, REG_EXTENDED | REG_NOSUB);
	if (rc != 0) {
		(void)regerror(rc, &m.pattern, words, sizeof(words));
		return err_set(err, ERR_INVALID, "--regex: '%s': %s", pattern, words);
	}
	rc = container_list(g->root, match_one, &m, err);
	regfree(&m.pattern);
	if (rc == 0 && m.failed > 0) {
		if (err)
			*err = m.first;
		return -1;
	}
	return rc;
}

/* ---- signals ---- */

/* "9", "0" (is it there?), "KILL", "SIGKILL", "RTMIN+1". */
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
	if (id_parse_int(text, "signal", 0, 64, &number, NULL) < 0)
		return err_set(err, ERR_INVALID, "unknown signal '%s'", text);
	*signal = (int)number;
	return 0;
}

struct kill_options {
	bool all, regex;
	int signal; /* filled by the words */
};

static const struct option_entry kill_options[] = {
	OPTION(struct kill_options, all, "all", 'a', OPTION_FLAG, NULL,
               "signal every process of the container"),
	OPTION(struct kill_options, regex, "regex", 'r', OPTION_FLAG, NULL,
               "ID is a regular expression: all containers that match"),
	OPTIONS_END,
};

static int kill_one(const struct command_globals *g, const void *arg, const char *id,
                    struct err *err)
{
	const struct kill_options *o = arg;
	auto_type(container) k = container_open(g->root, id, err);

	if (!k)
		return -1;
	if (o->all) {
		auto_type(cgroup) cg = container_cgroup(k, err);
		return cg ? cgroup_kill(cg, o->signal, err) : -1;
	}
	if (!container_is_alive(k))
		return err_set(err, ERR_CONFLICT, "container not running");
	if (kill((pid_t)k->pid, o->signal) < 0)
		return err_sys(err, "container %s: kill", k->id);
	return 0;
}

static int send_signal(const struct command_globals *g, const void *options, char **words,
                       struct err *err)
{
	struct kill_options o = *(const struct kill_options *)options;

	o.signal = SIGTERM;
	if (!words[0] || (words[1] && words[2]))
		return err_set(err, ERR_INVALID, "kill: takes a container id and a signal");
	if (words[1] && parse_signal(words[1], &o.signal, err) < 0)
		return -1;
	return o.regex ? for_matching(g, words[0], kill_one, &o, err)
	               : kill_one(g, &o, words[0], err);
}

const struct command command_kill = {
	.name = "kill",
	.arguments = "[OPTIONS] ID [SIGNAL]",
	.summary = "send a signal (TERM) to the first process",
	.options = kill_options,
	.options_size = sizeof(struct kill_options),
	.run = send_signal,
	.failed_exit = 1,
};

/* ---- delete ---- */

struct delete_options {
	bool force, regex;
};

static const struct option_entry delete_options[] = {
	OPTION(struct delete_options, force, "force", 'f', OPTION_FLAG, NULL,
               "kill it first, if it runs; none there is success"),
	OPTION(struct delete_options, regex, "regex", 'r', OPTION_FLAG, NULL,
               "ID is a regular expression: all containers that match"),
	OPTIONS_END,
};

static void wait_dead(const struct container *c)
{
	int64_t deadline = clock_mono_ms() + STOP_WAIT_MS;

	while (container_is_alive(c) && clock_mono_ms() < deadline)
		clock_sleep_ms(2);
}

/* Ends what runs, then takes everything away. */
static int delete_opened(struct container *k, struct err *err)
{
	const struct hooks_state state = {
		.id = k->id, .status = "stopped", .bundle = k->bundle, .pid = 0};

	if (container_is_alive(k)) {
		auto_type(cgroup) cg = container_cgroup(k, NULL);
		(void)kill((pid_t)k->pid, SIGKILL);
		if (cg)
			(void)cgroup_kill(cg, SIGKILL, NULL);
		wait_dead(k);
	}
	if (FAILPOINT("delete.killed", err) < 0 || container_remove(k, NULL, err) < 0)
		return -1;
	hooks_run_poststop(k->spec, &state, command_warn);
	return 0;
}

static int delete_one(const struct command_globals *g, const void *arg, const char *id,
                      struct err *err)
{
	const struct delete_options *o = arg;
	struct err why = ERR_INIT;
	auto_type(container) k = container_open(g->root, id, &why);

	if (!k && o->force && why.kind == ERR_NOT_FOUND)
		return container_remove_half(g->root, id, err);
	if (!k) {
		if (err)
			*err = why;
		return -1;
	}
	enum container_status status = container_status(k);
	if (!o->force && status != CONTAINER_STOPPED && status != CONTAINER_CREATED)
		return err_set(err, ERR_CONFLICT, "container %s is %s: stop it or use --force", id,
		               container_status_name(status));
	return delete_opened(k, err);
}

static int delete (const struct command_globals *g, const void *options, char **words,
                   struct err *err)
{
	const struct delete_options *o = options;
	const char *id = command_take_id(words, err);

	if (!id)
		return -1;
	return o->regex ? for_matching(g, id, delete_one, o, err) : delete_one(g, o, id, err);
}

const struct command command_delete = {
	.name = "delete",
	.arguments = "[OPTIONS] ID",
	.summary = "remove a container that has ended, or was never started",
	.options = delete_options,
	.options_size = sizeof(struct delete_options),
	.run = delete,
	.failed_exit = 1,
};

/* ---- the cgroup ---- */

static int freeze(const struct command_globals *g, char **words, bool frozen, struct err *err)
{
	const char *id = command_take_id(words, err);
	auto_type(container) c = id ? container_open(g->root, id, err) : NULL;

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

static int suspend(const struct command_globals *g, const void *options, char **words,
                   struct err *err)
{
	(void)options;
	return freeze(g, words, true, err);
}

const struct command command_pause = {
	.name = "pause",
	.arguments = "ID",
	.summary = "freeze all processes of a container",
	.options = command_no_options,
	.run = suspend,
	.failed_exit = 1,
};

static int resume(const struct command_globals *g, const void *options, char **words,
                  struct err *err)
{
	(void)options;
	return freeze(g, words, false, err);
}

const struct command command_resume = {
	.name = "resume",
	.arguments = "ID",
	.summary = "let them go on",
	.options = command_no_options,
	.run = resume,
	.failed_exit = 1,
};
