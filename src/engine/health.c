/* SPDX-License-Identifier: Apache-2.0 */
/* health - asks a container at intervals whether it is well, by an exec in it. */

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/loop.h"
#include "base/str.h"
#include "engine/exec.h"
#include "engine/private.h"

#define SECOND_NS  INT64_C(1000000000)
#define LOG_MAX    5
#define OUTPUT_MAX 4096
#define RETRIES    3

struct probe {
	int64_t start_ns, end_ns;
	int exit_code;
	char *output;
};

struct health {
	const char *status; /* "starting" "healthy" "unhealthy" */
	int64_t streak;
	struct probe log[LOG_MAX]; /* oldest first */
	size_t count;
	bool stopped;
};

struct round { /* one probe to come */
	struct container *c;
	uint64_t run;
	int64_t delay_ms;
	struct loop_source *timer;
};

static void round_free(struct round *round)
{
	container_free(round->c);
	free(round);
}

static const struct api_healthcheck *check_of(const struct config *config)
{
	const struct api_healthcheck *check = config->create.config.healthcheck;

	if (!check || check->test.count < 2 || str_eq(check->test.items[0], "NONE"))
		return NULL;
	return check;
}

void health_free(struct health *health)
{
	if (!health)
		return;
	for (size_t i = 0; i < health->count; i++)
		free(health->log[i].output);
	free(health);
}

/* lock held */
static void record(struct health *health, const struct probe *probe)
{
	if (health->count == LOG_MAX) {
		free(health->log[0].output);
		memmove(&health->log[0], &health->log[1], (LOG_MAX - 1) * sizeof(health->log[0]));
		health->count--;
	}
	health->log[health->count++] = *probe;
}

/* lock held. Returns the new status if it changed, else NULL. */
static const char *judge(struct container *c, const struct api_healthcheck *check, int code,
                         int64_t now_ns)
{
	struct health *health = c->health;
	const char *before = health->status;
	int64_t retries = check->retries > 0 ? check->retries : RETRIES;

	if (code == 0) {
		health->streak = 0;
		health->status = "healthy";
	} else {
		bool grace = now_ns - c->started_ns < check->start_period &&
		             str_eq(health->status, "starting");
		if (!grace)
			health->streak++;
		if (health->streak >= retries)
			health->status = "unhealthy";
	}
	return str_eq(before, health->status) ? NULL : health->status;
}

static int run_probe(struct container *c, const struct config *config,
                     const struct api_healthcheck *check, struct buf *output)
{
	const struct json_strings *test = &check->test;
	const struct json_strings *shell = &config->create.config.shell;
	int64_t timeout = check->timeout > 0 ? check->timeout : 30 * SECOND_NS;
	char *line[8] = {(char *)"/bin/sh", (char *)"-c"};
	struct api_exec_create create = {0};
	struct err err = ERR_INIT;
	struct exec_answer answer = {.output = output};

	if (str_eq(test->items[0], "CMD-SHELL")) {
		size_t n = 2;
		if (shell->count > 0 && shell->count < 7)
			for (n = 0; n < shell->count; n++)
				line[n] = shell->items[n];
		line[n] = test->items[1];
		create.cmd = (struct json_strings){line, n + 1, true};
	} else {
		create.cmd = (struct json_strings){test->items + 1, test->count - 1, true};
	}
	if (exec_run(c->engine, c->id, &create, timeout / 1000000, &answer, &err) == 0)
		return answer.code;
	buf_clear(output);
	if (err_is(&err, ERR_TIMEOUT))
		buf_addf(output, "Health check exceeded timeout (%lldms)",
		         (long long)(timeout / 1000000));
	else
		buf_add(output, err.msg);
	return -1;
}

static int64_t next_ms(const struct container *c, const struct api_healthcheck *check,
                       int64_t now_ns)
{
	int64_t interval = check->interval > 0 ? check->interval : 30 * SECOND_NS;

	if (check->start_period > 0 && now_ns - c->started_ns < check->start_period &&
	    str_eq(c->health->status, "starting"))
		interval = check->start_interval > 0  ? check->start_interval
		           : interval < 5 * SECOND_NS ? interval
		                                      : 5 * SECOND_NS;
	return interval / 1000000;
}

static bool current(struct container *c, const struct round *round) /* lock held */
{
	return c->run == round->run && container_is_up(c) && c->health && !c->health->stopped &&
	       !atomic_load(&c->engine->stopping);
}

static void round_begin(void *arg);

static void probe_job(void *arg)
{
	struct round *round = arg;
	struct container *c = round->c;
	auto_type(config) config = container_config(c);
	const struct api_healthcheck *check = check_of(config);
	auto_buf struct buf output = BUF_INIT(OUTPUT_MAX);
	struct probe probe = {.start_ns = clock_wall_ns()};
	const char *changed = NULL;

	pthread_mutex_lock(&c->lock);
	bool go = check && current(c, round);
	bool paused = c->status == STATUS_PAUSED;
	pthread_mutex_unlock(&c->lock);
	if (go && !paused)
		probe.exit_code = run_probe(c, config, check, &output);
	probe.end_ns = clock_wall_ns();
	pthread_mutex_lock(&c->lock);
	go = go && current(c, round);
	if (go && !paused) {
		probe.output = strdup(buf_str(&output));
		record(c->health, &probe);
		changed = judge(c, check, probe.exit_code, probe.end_ns);
	}
	if (go)
		round->delay_ms = next_ms(c, check, probe.end_ns);
	pthread_mutex_unlock(&c->lock);
	if (changed) {
		char action[64];
		snprintf(action, sizeof(action), "health_status: %s", changed);
		container_event(c, action, NULL, NULL);
	}
	if (!go || loop_post(c->engine->loop, round_begin, round, NULL) < 0)
		round_free(round);
}

static void on_due(void *arg)
{
	struct round *round = arg;

	loop_source_free(round->timer);
	round->timer = NULL;
	engine_later(round->c->engine, probe_job, round);
}

static void round_begin(void *arg)
{
	struct round *round = arg;

	round->timer = loop_add_timer(round->c->engine->loop, round->delay_ms, on_due, round, NULL);
	if (!round->timer)
		round_free(round);
}

void health_start(struct container *c)
{
	auto_type(config) config = container_config(c);
	const struct api_healthcheck *check = check_of(config);
	struct round *round = check ? calloc(1, sizeof(*round)) : NULL;
	struct health *health = round ? calloc(1, sizeof(*health)) : NULL;

	if (!health) {
		free(round);
		return;
	}
	health->status = "starting";
	round->c = container_ref(c);
	pthread_mutex_lock(&c->lock);
	health_free(c->health);
	c->health = health;
	round->run = c->run;
	round->delay_ms = next_ms(c, check, clock_wall_ns());
	pthread_mutex_unlock(&c->lock);
	if (loop_post(c->engine->loop, round_begin, round, NULL) < 0)
		round_free(round);
}

void health_stop(struct container *c)
{
	pthread_mutex_lock(&c->lock);
	if (c->health)
		c->health->stopped = true;
	pthread_mutex_unlock(&c->lock);
}

int health_view(struct container *c, struct arena *arena, struct container_view *out,
                struct err *err)
{
	const struct health *health = c->health;

	if (!health)
		return 0;
	out->health = health->stopped && str_eq(health->status, "starting") ? "unhealthy"
	                                                                    : health->status;
	out->health_failing_streak = health->streak;
	out->health_log = arena_array(arena, health->count + 1, sizeof(*out->health_log), err);
	if (!out->health_log)
		return -1;
	for (size_t i = 0; i < health->count; i++) {
		const struct probe *p = &health->log[i];
		out->health_log[i] = (struct container_health_probe){
			p->start_ns, p->end_ns, p->exit_code,
			arena_strdup(arena, p->output ? p->output : "", err)};
		if (!out->health_log[i].output)
			return -1;
	}
	out->health_log_count = health->count;
	return 0;
}
