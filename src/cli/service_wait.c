/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/service_wait.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/json.h"
#include "base/str.h"
#include "cli/api.h"
#include "cli/out.h"

#define POLL_MS        200
#define MONITOR_NS     5000000000LL /* how long it must stay, unless the spec says */
#define LINES_MAX      20           /* more tasks than that have no line of their own */
#define LINE_MAX_BYTES 4096

struct watch {
	struct cli *cli;
	const char *id;
	bool quiet;
	bool rollback;           /* asked for */
	bool fell_back;          /* not asked for, but begun */
	int drawn;               /* lines on the terminal to draw over */
	struct buf last;         /* what was shown last */
	int64_t stable_since_ms; /* 0: not converged */
};

/* What the daemon says now. */
struct view {
	struct json *service, *tasks, *nodes;
	int64_t wanted, running;
};

static void view_done(struct view *v)
{
	json_free(v->service);
	json_free(v->tasks);
	json_free(v->nodes);
}

static int look(struct watch *w, struct view *v, struct err *err)
{
	auto_buf struct buf path = BUF_INIT(API_PATH_MAX), filters = BUF_INIT(LINE_MAX_BYTES);
	const char *service = api_path(w->cli, "/services/", w->id, NULL, err);
	const char *nodes = api_path(w->cli, "/nodes", NULL, NULL, err);

	*v = (struct view){0};
	buf_addf(&filters, "{\"service\":{\"%s\":true},\"_up-to-date\":{\"true\":true}}", w->id);
	api_begin(&path, "/tasks", NULL, NULL);
	api_query(&path, "filters", buf_str(&filters));
	if (!service || !nodes || !(v->service = api_get(w->cli, service, err)) ||
	    !(v->tasks = api_get(w->cli, buf_str(&path), err)) ||
	    !(v->nodes = api_get(w->cli, nodes, err)))
		return -1;
	return 0;
}

/* ---- counting ---- */

static bool node_is_there(const struct view *v, const char *id)
{
	for (size_t i = 0; i < json_count(v->nodes); i++) {
		const struct json *node = json_at(v->nodes, i);
		if (str_eq(json_get_string(node, "ID"), id))
			return !str_eq(json_get_string(json_get(node, "Status"), "State"), "down");
	}
	return false;
}

static const char *state_of(const struct json *task)
{
	const char *state = json_get_string(json_get(task, "Status"), "State");

	return state ? state : "new";
}

/* Does it count: wanted to run, and not on a machine that is gone? */
static bool is_live(const struct view *v, const struct json *task)
{
	const char *desired = json_get_string(task, "DesiredState");
	const char *node = json_get_string(task, "NodeID");

	if (!str_eq(desired, "running") && !str_eq(desired, "ready"))
		return false;
	return str_empty(node) || node_is_there(v, node);
}

/* A job is through when its tasks of this run have completed. False: it is none. */
static bool count_job(struct view *v)
{
	const struct json *mode = json_get(json_get(v->service, "Spec"), "Mode");
	const struct json *job = json_get(mode, "ReplicatedJob");
	const struct json *run = json_get(json_get(v->service, "JobStatus"), "JobIteration");
	int64_t tasks = 0;

	if (!job && !json_get(mode, "GlobalJob"))
		return false;
	for (size_t i = 0; i < json_count(v->tasks); i++) {
		const struct json *task = json_at(v->tasks, i);
		bool complete = str_eq(state_of(task), "complete");

		if (json_get_int(json_get(task, "JobIteration"), "Index", 0) !=
		    json_get_int(run, "Index", 0))
			continue;
		v->running += complete;
		tasks += complete || str_eq(json_get_string(task, "DesiredState"), "complete");
	}
	v->wanted = job ? json_get_int(job, "TotalCompletions", 1) : tasks;
	return true;
}

/* A replicated service has slots; a global one a task for each node that it may run on. */
static void count(struct view *v)
{
	const struct json *mode = json_get(json_get(v->service, "Spec"), "Mode");
	const struct json *replicated = json_get(mode, "Replicated");
	int64_t live = 0;

	if (count_job(v))
		return;
	for (size_t i = 0; i < json_count(v->tasks); i++) {
		const struct json *task = json_at(v->tasks, i);
		if (!is_live(v, task))
			continue;
		live++;
		v->running += str_eq(state_of(task), "running") &&
		              str_eq(json_get_string(task, "DesiredState"), "running");
	}
	v->wanted = json_is_object(replicated) ? json_get_int(replicated, "Replicas", 1) : live;
}

static bool has_converged(const struct view *v)
{
	const char *update = json_get_string(json_get(v->service, "UpdateStatus"), "State");
	const struct json *mode = json_get(json_get(v->service, "Spec"), "Mode");
	bool global = json_get(mode, "Global") || json_get(mode, "GlobalJob");

	if (str_eq(update, "updating") || str_eq(update, "rollback_started"))
		return false;
	return v->running == v->wanted && (v->wanted > 0 || !global);
}

/* Updates that stopped by themselves are an answer as well. */
static int check_update(const struct view *v, struct err *err)
{
	const struct json *status = json_get(v->service, "UpdateStatus");
	const char *state = json_get_string(status, "State");
	const char *message = json_get_string(status, "Message");

	if (str_eq(state, "paused"))
		return err_set(err, ERR_CONFLICT, "service update paused: %s",
		               message ? message : "");
	if (str_eq(state, "rollback_paused"))
		return err_set(err, ERR_CONFLICT, "service rollback paused: %s",
		               message ? message : "");
	return 0;
}

/* ---- showing ---- */

/* "1/3: running" for each slot; the error of one that does not start. */
static void add_slots(const struct view *v, struct buf *text)
{
	for (int64_t slot = 1; slot <= v->wanted && v->wanted <= LINES_MAX; slot++) {
		const char *state = "", *error = NULL;
		for (size_t i = 0; i < json_count(v->tasks); i++) {
			const struct json *task = json_at(v->tasks, i);
			if (json_get_int(task, "Slot", 0) != slot)
				continue;
			const char *why = json_get_string(json_get(task, "Status"), "Err");
			if (!str_empty(why))
				error = why;
			if (is_live(v, task))
				state = state_of(task);
		}
		if (str_eq(state, "running") || !error)
			buf_addf(text, "%lld/%lld: %s\n", (long long)slot, (long long)v->wanted,
			         state);
		else
			buf_addf(text, "%lld/%lld: %s (%.200s)\n", (long long)slot,
			         (long long)v->wanted, state, error);
	}
}

static int lines_of(const char *text)
{
	int n = 0;

	for (; *text; text++)
		n += *text == '\n';
	return n;
}

static void show(struct watch *w, const char *text)
{
	if (w->quiet || str_eq(buf_str(&w->last), text))
		return;
	if (w->cli->out_tty && w->drawn > 0)
		printf("\033[%dA\033[J", w->drawn);
	out_text(stdout, text, w->cli->out_tty);
	fflush(stdout);
	w->drawn = lines_of(text);
	buf_clear(&w->last);
	buf_add(&w->last, text);
}

static void show_view(struct watch *w, const struct view *v)
{
	auto_buf struct buf text = BUF_INIT(64u << 10);

	buf_addf(&text, "overall progress: %lld out of %lld task%s\n", (long long)v->running,
	         (long long)v->wanted, v->wanted == 1 ? "" : "s");
	if (w->cli->out_tty)
		add_slots(v, &text);
	if (w->stable_since_ms != 0)
		buf_add(&text, "verify: waiting to see that the tasks are stable\n");
	show(w, buf_str(&text));
}

/* ---- waiting ---- */

static int64_t monitor_ms(const struct view *v)
{
	const struct json *config = json_get(json_get(v->service, "Spec"), "UpdateConfig");
	int64_t ns = json_get_int(config, "Monitor", MONITOR_NS);

	return (ns > 0 ? ns : MONITOR_NS) / 1000000;
}

/* 1: it is over; 0: not yet. */
static int step(struct watch *w, struct err *err)
{
	__attribute__((cleanup(view_done))) struct view v;
	int64_t now = clock_mono_ms();

	if (look(w, &v, err) < 0 || check_update(&v, err) < 0)
		return -1;
	count(&v);
	w->fell_back = w->fell_back ||
	               str_eq(json_get_string(json_get(v.service, "UpdateStatus"), "State"),
	                      "rollback_started");
	if (!has_converged(&v))
		w->stable_since_ms = 0;
	else if (w->stable_since_ms == 0)
		w->stable_since_ms = now;
	show_view(w, &v);
	return w->stable_since_ms != 0 && now - w->stable_since_ms >= monitor_ms(&v);
}

/* An update that failed was undone: what runs now is the old spec. */
static int check_end(const struct watch *w, struct err *err)
{
	if (w->fell_back && !w->rollback)
		return err_set(err, ERR_CONFLICT,
		               "the update failed, and the service was rolled back");
	return 0;
}

int service_wait(struct cli *cli, const char *ref, bool quiet, bool rollback, struct err *err)
{
	const char *path = api_path(cli, "/services/", ref, NULL, err);
	auto_type(json) service = path ? api_get(cli, path, err) : NULL;
	struct watch w = {.cli = cli,
	                  .id = json_get_string(service, "ID"),
	                  .quiet = quiet,
	                  .rollback = rollback,
	                  .last = BUF_INIT(64u << 10)};
	int rc = service ? 0 : -1;

	if (rc == 0 && !w.id)
		rc = err_set(err, ERR_INTERNAL, "the daemon's service has no ID");
	while (rc == 0) {
		rc = step(&w, err);
		if (rc == 0)
			clock_sleep_ms(POLL_MS);
	}
	buf_free(&w.last);
	if (rc < 0 || check_end(&w, err) < 0)
		return -1;
	if (!quiet)
		printf("verify: Service %s converged\n", ref);
	return 0;
}
