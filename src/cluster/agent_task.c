/* SPDX-License-Identifier: Apache-2.0 */
/* One task, step by step, to what is desired. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/map.h"
#include "base/pool.h"
#include "base/str.h"
#include "cluster/agent_state.h"

#define STEP_ARENA  (16u << 20)
#define EXIT_ENGINE 127 /* a program that could not be started */
#define DRAIN_MS    300 /* until all machines have heard that no new connections shall come */

/* One look at a task, on the stack of its thread. */
struct step {
	struct agent *agent;
	struct record *record; /* ours alone: it is busy */
	struct arena arena;
	struct agent_work work;
	struct agent_container container;
	enum task_state state, desired;
	bool dropped;
};

/* ---- what to say ---- */

struct saying {
	enum task_state state;
	const char *message;
	const char *error; /* NULL: all is well */
};

static int write_status(struct step *s, const struct saying *say, struct buf *text, struct err *err)
{
	char stamp[CLOCK_TEXT_MAX];
	struct agent_container *c = &s->container;
	struct task_container container = {
		.container_id = c->id, .pid = c->pid, .exit_code = c->exit_code};
	struct task_status status = {
		.timestamp = clock_format(clock_wall_ns(), stamp),
		.message = (char *)say->message,
		.error = (char *)say->error,
		.container = *c->id ? &container : NULL,
	};

	if (c->running) {
		status.ports.ports = c->ports;
		status.address = c->address;
	}
	task_set_state(&status, say->state);
	return json_encode_text(&task_status_table, &status, text, err);
}

/* States only rise. What could not be written down is said all the same: it is the truth now. */
static void tell(struct step *s, const struct saying *say)
{
	struct agent *agent = s->agent;
	struct record *record = s->record;
	struct buf text = BUF_INIT(MODEL_TEXT_MAX);
	struct err err = ERR_INIT;

	if (say->state < s->state)
		return;
	if (write_status(s, say, &text, &err) < 0) {
		log_error(&agent->log, "no status", "task=%s error=%s", record->id, err.msg);
		buf_free(&text);
		return;
	}
	pthread_mutex_lock(&agent->lock);
	free(record->status);
	record->status = buf_take(&text, NULL);
	record->state = s->state = say->state;
	record->status_version = ++agent->news;
	/* The rest is seen again by looking. */
	if ((say->state == TASK_STARTING || task_state_is_final(say->state)) &&
	    book_save_status(agent, record, &err) < 0)
		log_error(&agent->log, "status not written", "task=%s error=%s", record->id,
		          err.msg);
	if (say->state >= TASK_RUNNING && agent->table)
		agent->table_stale = true;
	pthread_cond_broadcast(&agent->woken);
	pthread_mutex_unlock(&agent->lock);
	log_info(&agent->log, "task", "id=%s state=%s error=%s", record->id,
	         task_state_name(say->state), say->error ? say->error : "");
}

/* ---- neighbours in the slot ---- */

static bool holds_slot(const struct record *other, const struct record *mine)
{
	return other != mine && str_eq(other->slot, mine->slot) &&
	       (other->desired > TASK_RUNNING || other->dropped) && other->state >= TASK_STARTING &&
	       !task_state_is_final(other->state);
}

static bool slot_is_held(struct agent *agent, const struct record *mine)
{
	const char *id;
	void *other;
	bool held = false;

	pthread_mutex_lock(&agent->lock);
	map_for_each (agent->records, iter, &id, &other)
		held |= holds_slot(other, mine);
	pthread_mutex_unlock(&agent->lock);
	return held;
}

/* The task has ended: others of its slot may have waited for that. */
static void wake_neighbours(struct step *s)
{
	const char *id;
	void *value;

	pthread_mutex_lock(&s->agent->lock);
	map_for_each (s->agent->records, iter, &id, &value) {
		struct record *other = value;

		if (other != s->record && str_eq(other->slot, s->record->slot) &&
		    !task_state_is_final(other->state))
			task_kick(s->agent, other);
	}
	pthread_mutex_unlock(&s->agent->lock);
}

static void end(struct step *s, const struct saying *say)
{
	tell(s, say);
	wake_neighbours(s);
}

/* ---- steps; each returns true when another one may follow at once ---- */

static bool fail_later(struct step *s, const char *what, const struct err *err)
{
	log_warn(&s->agent->log, what, "task=%s error=%s", s->record->id, err->msg);
	pthread_mutex_lock(&s->agent->lock);
	s->record->retry = true;
	pthread_mutex_unlock(&s->agent->lock);
	return false;
}

static int look(struct step *s, struct err *err)
{
	const struct agent_executor *x = &s->agent->executor;

	s->container = (struct agent_container){0};
	return x->look(x->arg, s->record->id, &s->arena, &s->container, err);
}

static bool forget(struct step *s)
{
	const struct agent_executor *x = &s->agent->executor;
	struct err err = ERR_INIT;

	if (x->remove(x->arg, s->record->id, &err) < 0)
		return fail_later(s, "container not removed", &err);
	pthread_mutex_lock(&s->agent->lock);
	int rc = book_forget(s->agent, s->record->id, &err);
	s->record->gone = rc == 0;
	pthread_mutex_unlock(&s->agent->lock);
	return rc < 0 ? fail_later(s, "task not forgotten", &err) : false;
}

/* The table of endpoints without the task went out together with the order to stop it. Who calls it meanwhile
 * shall still find it. */
static void let_drain(const struct step *s)
{
	const struct task *t = s->work.task;

	if (s->state == TASK_RUNNING && (t->ports.count > 0 || t->networks.count > 0))
		clock_sleep_ms(DRAIN_MS);
}

static bool shut_down(struct step *s)
{
	const struct agent_executor *x = &s->agent->executor;
	struct err err = ERR_INIT;

	if (look(s, &err) < 0)
		return fail_later(s, "container not seen", &err);
	if (s->container.running)
		let_drain(s);
	if (s->container.running && (x->stop(x->arg, &s->work, &err) < 0 || look(s, &err) < 0))
		return fail_later(s, "container not stopped", &err);
	if (s->container.running)
		return fail_later(s, "container not stopped",
		                  &(struct err){.msg = "it still runs"});
	end(s, &(struct saying){TASK_SHUTDOWN, "shutdown", NULL});
	return s->dropped;
}

/* Without the leader a task's secrets cannot be had: it waits, and says for what. */
static bool wait_for_files(struct step *s, const struct err *err)
{
	if (err->kind != ERR_NOT_FOUND && err->kind != ERR_DENIED && err->kind != ERR_INVALID) {
		tell(s,
		     &(struct saying){TASK_PREPARING, "waiting for secrets and configs", err->msg});
		return fail_later(s, "secrets and configs not fetched", err);
	}
	end(s, &(struct saying){TASK_REJECTED, "preparing", err->msg});
	return false;
}

static bool prepare(struct step *s)
{
	const struct agent_executor *x = &s->agent->executor;
	struct err err = ERR_INIT;

	tell(s, &(struct saying){TASK_PREPARING, "preparing", NULL});
	if (files_fetch(s->agent, &s->work, &s->arena, &err) < 0)
		return wait_for_files(s, &err);
	int rc = x->prepare(x->arg, &s->work, &err);
	files_wipe(&s->work);
	if (rc < 0) {
		if (err.kind == ERR_CANCELED)
			return fail_later(s, "task not prepared", &err);
		end(s, &(struct saying){TASK_REJECTED, "preparing", err.msg});
		return false;
	}
	if (s->desired < TASK_RUNNING)
		tell(s, &(struct saying){TASK_READY, "prepared", NULL});
	else
		s->state = TASK_READY; /* nobody waits to hear it */
	return true;
}

static void exited(struct step *s)
{
	const struct agent_container *c = &s->container;
	char error[300];

	if (c->exit_code == 0 && str_empty(c->error)) {
		end(s, &(struct saying){TASK_COMPLETE, "finished", NULL});
		return;
	}
	if (str_empty(c->error))
		snprintf(error, sizeof(error), "task: non-zero exit (%lld)",
		         (long long)c->exit_code);
	else
		snprintf(error, sizeof(error), "task: non-zero exit (%lld): %.200s",
		         (long long)c->exit_code, c->error);
	end(s, &(struct saying){TASK_FAILED, "started", error});
}

static bool start(struct step *s)
{
	const struct agent_executor *x = &s->agent->executor;
	struct err err = ERR_INIT;

	if (slot_is_held(s->agent, s->record))
		return false; /* its end kicks us */
	tell(s, &(struct saying){TASK_STARTING, "starting", NULL});
	if (x->start(x->arg, &s->work, &err) == 0)
		return true;
	if (err.kind == ERR_CANCELED)
		return fail_later(s, "container not started", &err);
	(void)look(s, NULL);
	if (s->container.exit_code == 0)
		s->container.exit_code = EXIT_ENGINE;
	end(s, &(struct saying){TASK_FAILED, "starting", err.msg});
	return false;
}

static bool is_unhealthy(struct step *s)
{
	const struct agent_executor *x = &s->agent->executor;
	struct err err = ERR_INIT;

	if (x->stop(x->arg, &s->work, &err) < 0)
		return fail_later(s, "container not stopped", &err);
	(void)look(s, NULL);
	end(s,
	    &(struct saying){TASK_FAILED, "started", "task: non-zero exit: unhealthy container"});
	return false;
}

/* It was started, now or long ago: how is it? */
static bool watch(struct step *s)
{
	struct err err = ERR_INIT;

	if (look(s, &err) < 0)
		return fail_later(s, "container not seen", &err);
	if (!*s->container.id) {
		end(s, &(struct saying){TASK_FAILED, "started", "the container is gone"});
		return false;
	}
	if (!s->container.started && s->state <= TASK_STARTING)
		return start(s); /* we were killed just before */
	if (!s->container.running) {
		exited(s);
		return false;
	}
	if (s->container.health == AGENT_HEALTH_BAD)
		return is_unhealthy(s);
	if (s->container.health == AGENT_HEALTH_STARTING || s->state == TASK_RUNNING)
		return false;
	tell(s, &(struct saying){TASK_RUNNING, "started", NULL});
	return false;
}

static bool go(struct step *s)
{
	if (task_state_is_final(s->state))
		return s->dropped ? forget(s) : false;
	if (s->dropped || s->desired > TASK_RUNNING)
		return shut_down(s);
	if (s->state < TASK_READY && !prepare(s))
		return false;
	if (s->desired < TASK_RUNNING)
		return false;
	return s->state < TASK_STARTING ? start(s) : watch(s);
}

/* ---- the thread ---- */

struct errand {
	struct agent *agent;
	struct record *record;
};

/* With the lock held. */
static int begin(struct step *s, struct agent *agent, struct record *record, struct err *err)
{
	*s = (struct step){.agent = agent,
	                   .record = record,
	                   .arena = ARENA_INIT(STEP_ARENA),
	                   .state = record->state,
	                   .desired = record->desired,
	                   .dropped = record->dropped};
	record->again = false;
	record->retry = false;
	s->work = (struct agent_work){
		.task = task_decode(record->text, strlen(record->text), &s->arena, err),
		.node_id = agent->node_id,
		.node_name = agent->node_name,
	};
	return s->work.task ? 0 : -1;
}

/* One step. True: another one must follow. */
static bool take_step(struct agent *agent, struct record *record)
{
	struct step s;
	struct err err = ERR_INIT;

	pthread_mutex_lock(&agent->lock);
	bool stop = agent->stop;
	int rc = stop ? 0 : begin(&s, agent, record, &err);
	pthread_mutex_unlock(&agent->lock);
	if (stop)
		return false;
	bool more = rc == 0 && go(&s);
	arena_done(&s.arena);
	if (rc < 0)
		log_error(&agent->log, "task not understood", "task=%s error=%s", record->id,
		          err.msg);
	return more;
}

static void run(void *arg)
{
	struct errand *errand = arg;
	struct agent *agent = errand->agent;
	struct record *record = errand->record;
	bool more = true;

	free(errand);
	while (more) {
		more = take_step(agent, record);
		pthread_mutex_lock(&agent->lock);
		more = !agent->stop && !record->gone && (more || record->again);
		record->busy = more;
		bool gone = record->gone;
		if (gone)
			map_remove(agent->records, record->id);
		pthread_mutex_unlock(&agent->lock);
		if (gone)
			record_free(record);
	}
}

void task_kick(struct agent *agent, struct record *record)
{
	if (record->busy) {
		record->again = true;
		return;
	}
	struct errand *errand = calloc(1, sizeof(*errand));
	if (errand)
		*errand = (struct errand){agent, record};
	record->busy = errand && !agent->stop && pool_add(agent->pool, run, errand, NULL) == 0;
	record->retry = !record->busy;
	if (!record->busy)
		free(errand);
}
