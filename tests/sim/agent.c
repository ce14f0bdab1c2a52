/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "sim.h"

/* agent - the least that proto.h asks of a node's agent. */

#define HELLO_MS        700
#define STALL_MS        3500
#define EMPTIED_PERCENT 2
#define DIES_PER_MILLE  2    /* a running container, per step, while faults last */
#define SLOW_MS         6000 /* so long may a container take to stop */

void agent_init(struct world *w, size_t i)
{
	struct agent *a = &w->agents[i];

	snprintf(a->id, sizeof(a->id), "node%zu", i);
	a->up = true;
	a->sequence = 1;
	a->master = i % w->master_count;
	a->heard_ms = w->now_ms;
}

static struct agent_task *find(struct agent *a, const char *id)
{
	for (size_t i = 0; i < a->count; i++)
		if (strcmp(a->tasks[i].id, id) == 0)
			return &a->tasks[i];
	return NULL;
}

static void forget(struct world *w, size_t i, struct agent_task *task)
{
	struct agent *a = &w->agents[i];

	check_forget(w, i, task->id);
	*task = a->tasks[--a->count];
}

/* ---- its disk ---- */

static void save_task(struct world *w, struct agent_task *task)
{
	if (w->broken == SIM_BREAK_DURABLE && world_chance(w, 70))
		return;
	task->saved = task->state;
	task->kept = true;
}

static void save_epoch(struct world *w, struct agent *a)
{
	if (w->broken != SIM_BREAK_DURABLE)
		a->saved_epoch = a->epoch;
}

static void set_state(struct world *w, struct agent_task *task, enum task_state state)
{
	if (state <= task->state)
		return;
	task->state = state;
	task->acknowledged = false;
	task->changed_seq = 0;
	save_task(w, task);
}

/* What was not written is not there. */
static void read_disk(struct agent *a)
{
	a->epoch = a->saved_epoch;
	for (size_t i = a->count; i-- > 0;) {
		struct agent_task *task = &a->tasks[i];

		task->state = task->saved;
		if (!task->kept)
			*task = a->tasks[--a->count];
	}
}

/* ---- what happens to the machine ---- */

static void lose_memory(struct world *w, struct agent *a)
{
	a->connected = false;
	a->session = 0;
	a->applied = 0;
	a->line++;
	a->hello_at_ms = w->now_ms;
	for (size_t i = 0; i < a->count; i++)
		a->tasks[i].changed_seq = 0;
}

void agent_crash(struct world *w, size_t i)
{
	struct agent *a = &w->agents[i];

	a->up = false;
	read_disk(a);
	lose_memory(w, a);
	for (size_t k = 0; k < a->count; k++) {
		struct agent_task *task = &a->tasks[k];

		task->container = false;
		if (task->state >= TASK_STARTING)
			set_state(w, task, TASK_FAILED); /* found dead when the machine is back */
	}
}

void agent_restart(struct world *w, size_t i)
{
	lose_memory(w, &w->agents[i]);
}

/* ---- speaking ---- */

static size_t collect(struct agent *a, struct proto_status *out, bool all)
{
	size_t count = 0;

	for (size_t i = 0; i < a->count; i++) {
		struct agent_task *task = &a->tasks[i];

		if (!all && task->acknowledged)
			continue;
		if (task->state < TASK_ACCEPTED)
			continue;
		out[count] = (struct proto_status){.task_id = task->id};
		task_set_state(&out[count++].status, task->state);
		if (!all && task->changed_seq == 0)
			task->changed_seq = a->sequence;
	}
	return count;
}

static char *encode(struct world *w, const struct json_table *table, const void *message)
{
	struct buf text = BUF_INIT(1 << 20);

	if (json_encode_text(table, message, &text, NULL) < 0)
		world_fail(w, "cannot encode a message");
	return buf_take(&text, NULL);
}

static void say(struct world *w, size_t i, bool hello, char *text)
{
	world_send(w, (struct event){.kind = EVENT_TO_MASTER,
	                             .master = w->agents[i].master,
	                             .node = i,
	                             .line = w->agents[i].line,
	                             .hello = hello,
	                             .text = text});
}

static void say_hello(struct world *w, size_t i)
{
	struct agent *a = &w->agents[i];
	struct proto_status statuses[SIM_TASKS];
	struct proto_hello hello = {
		.protocol = PROTO_VERSION,
		.node_id = a->id,
		.epoch = a->epoch,
		.addr = a->id,
		.description = {.hostname = a->id,
	                        .resources = {.nano_cpus = 8000000000, .memory_bytes = 8LL << 30}}};

	hello.statuses = (struct json_array){
		.items = statuses, .count = collect(a, statuses, true), .present = true};
	a->hello_at_ms = w->now_ms + HELLO_MS;
	say(w, i, true, encode(w, &proto_hello_table, &hello));
}

static void report(struct world *w, size_t i)
{
	struct agent *a = &w->agents[i];
	struct proto_status statuses[SIM_TASKS];
	struct proto_report message = {.protocol = PROTO_VERSION,
	                               .node_id = a->id,
	                               .epoch = a->epoch,
	                               .session = a->session,
	                               .sequence = a->sequence,
	                               .applied = a->applied};

	message.statuses = (struct json_array){
		.items = statuses, .count = collect(a, statuses, false), .present = true};
	a->sequence++;
	a->beat_at_ms = w->now_ms + SIM_BEAT_MS;
	if (w->broken == SIM_BREAK_ACK)
		for (size_t k = 0; k < a->count; k++)
			a->tasks[k].acknowledged = true;
	say(w, i, false, encode(w, &proto_report_table, &message));
}

/* ---- working ---- */

/* A predecessor on this very node that was told to stop goes first. */
static bool has_neighbour(const struct agent *a, const struct agent_task *task)
{
	for (size_t i = 0; i < a->count; i++)
		if (&a->tasks[i] != task && a->tasks[i].container &&
		    a->tasks[i].desired > TASK_RUNNING && a->tasks[i].slot == task->slot &&
		    strcmp(a->tasks[i].service, task->service) == 0)
			return true;
	return false;
}

static void stop(struct world *w, struct agent_task *task)
{
	if (!task->container) {
		set_state(w, task, TASK_SHUTDOWN);
		return;
	}
	if (task->stops_at_ms == 0)
		task->stops_at_ms =
			w->now_ms +
			(int64_t)world_random(w, world_chance(w, w->slow_percent) ? SLOW_MS : 600);
	if (w->now_ms < task->stops_at_ms)
		return;
	task->container = false;
	set_state(w, task, TASK_SHUTDOWN);
}

static void start(struct world *w, size_t i, struct agent_task *task)
{
	const struct agent *a = &w->agents[i];

	if (w->broken != SIM_BREAK_SLOT && has_neighbour(a, task))
		return;
	set_state(w, task, TASK_STARTING);
	if (strcmp(task->image, "bad") == 0 || (!w->calm && world_chance(w, 2))) {
		set_state(w, task, TASK_FAILED);
		return;
	}
	task->container = true;
	set_state(w, task, TASK_RUNNING);
	check_started(w, i, task);
}

static void advance(struct world *w, size_t i, struct agent_task *task)
{
	if (task->state > TASK_RUNNING)
		return;
	if (task->desired > TASK_RUNNING) {
		stop(w, task);
	} else if (task->container) {
		if (!w->calm && world_random(w, 1000) < DIES_PER_MILLE) {
			task->container = false;
			set_state(w, task, world_chance(w, 50) ? TASK_FAILED : TASK_COMPLETE);
		}
	} else if (task->state < TASK_READY) {
		set_state(w, task, task->state < TASK_ACCEPTED ? TASK_ACCEPTED : TASK_READY);
	} else if (task->desired == TASK_RUNNING) {
		start(w, i, task);
	}
}

/* The next of the managers: this one does not lead, or does not answer. */
static void move_on(struct world *w, struct agent *a)
{
	a->connected = false;
	a->session = 0;
	a->line++;
	a->master = (a->master + 1) % w->master_count;
	a->hello_at_ms = w->now_ms + 50 + (int64_t)world_random(w, 100);
}

static void greet(struct world *w, size_t i)
{
	struct agent *a = &w->agents[i];

	if (w->now_ms < a->hello_at_ms)
		return;
	if (w->now_ms - a->heard_ms > STALL_MS) {
		move_on(w, a);
		a->heard_ms = w->now_ms - STALL_MS + HELLO_MS;
	}
	say_hello(w, i);
}

void agent_step(struct world *w, size_t i)
{
	struct agent *a = &w->agents[i];
	bool news = false;

	if (!a->up || w->now_ms < a->paused_until_ms)
		return;
	for (size_t k = 0; k < a->count; k++) {
		advance(w, i, &a->tasks[k]);
		news = news || (!a->tasks[k].acknowledged && a->tasks[k].changed_seq == 0 &&
		                a->tasks[k].state >= TASK_ACCEPTED);
	}
	if (a->connected && w->now_ms - a->heard_ms > STALL_MS)
		move_on(w, a);
	if (!a->connected) {
		greet(w, i);
	} else if (news || w->now_ms >= a->beat_at_ms) {
		report(w, i);
	}
}

/* ---- listening ---- */

static void accept_task(struct world *w, size_t i, const struct task *t)
{
	struct agent *a = &w->agents[i];
	struct agent_task *task = find(a, t->id);

	if (!task) {
		check_accept(w, i, t->id);
		if (a->count == SIM_TASKS)
			world_fail(w, "node %zu has too many tasks", i);
		task = &a->tasks[a->count++];
		*task = (struct agent_task){
			.slot = t->slot, .state = TASK_ASSIGNED, .saved = TASK_ASSIGNED};
		snprintf(task->id, sizeof(task->id), "%s", t->id);
		snprintf(task->service, sizeof(task->service), "%s", t->service_id);
		snprintf(task->image, sizeof(task->image), "%s", t->spec.container.image);
	}
	if (t->desired > task->desired)
		task->desired = t->desired;
}

static bool is_named(const struct proto_assignments *set, const char *id)
{
	const struct task *tasks = set->tasks.items;

	for (size_t i = 0; i < set->tasks.count; i++)
		if (str_eq(tasks[i].id, id))
			return true;
	return false;
}

static void apply(struct world *w, size_t i, const struct proto_assignments *set)
{
	struct agent *a = &w->agents[i];
	const struct task *tasks = set->tasks.items;
	bool whole = str_eq(set->type, PROTO_COMPLETE);

	for (size_t k = a->count; whole && k-- > 0;)
		if (!is_named(set, a->tasks[k].id))
			forget(w, i, &a->tasks[k]); /* its container is killed, too */
	for (size_t k = 0; k < set->removed.count; k++) {
		struct agent_task *task = find(a, set->removed.items[k]);

		if (task)
			forget(w, i, task);
	}
	for (size_t k = 0; k < set->tasks.count; k++)
		accept_task(w, i, &tasks[k]);
	a->applied = set->to;
	for (size_t k = 0; k < a->count; k++)
		if (!a->tasks[k].kept)
			save_task(w, &a->tasks[k]);
}

static bool is_older(const struct agent *a, const struct proto_assignments *set)
{
	return set->epoch < a->epoch || (set->epoch == a->epoch && set->session < a->session);
}

static void take_assignments(struct world *w, size_t i, const struct proto_assignments *set)
{
	struct agent *a = &w->agents[i];
	bool whole = str_eq(set->type, PROTO_COMPLETE);
	bool same = set->epoch == a->epoch && set->session == a->session;

	if (w->broken != SIM_BREAK_EPOCH && is_older(a, set))
		return;
	if (whole && set->tasks.count == 0 && !set->empty && w->broken != SIM_BREAK_EMPTY)
		return;
	if (!whole && w->broken != SIM_BREAK_FROM) {
		if (!same || set->to <= a->applied)
			return;
		if (set->from != a->applied) {
			a->connected = false; /* something was missed */
			return;
		}
	}
	if (whole && same && set->to <= a->applied)
		return;
	a->epoch = set->epoch;
	save_epoch(w, a);
	a->session = set->session;
	apply(w, i, set);
	if (whole)
		a->connected = true;
}

static void take_reply(struct agent *a, const struct proto_reply *reply)
{
	if (reply->epoch < a->epoch)
		return;
	if (reply->resync && (reply->epoch > a->epoch || reply->session != a->session))
		a->connected = false;
	for (size_t i = 0; i < a->count; i++) {
		struct agent_task *task = &a->tasks[i];

		if (task->changed_seq > 0 && task->changed_seq <= reply->acknowledged)
			task->acknowledged = true;
	}
}

static void read_message(struct world *w, const struct event *event)
{
	auto_arena struct arena arena = ARENA_INIT(64 << 20);
	struct proto_assignments set;
	struct proto_reply reply = {0};
	struct err err = ERR_INIT;
	size_t len = strlen(event->text);

	if (event->hello) {
		if (proto_assignments_decode(event->text, len, &arena, &set, &err) < 0)
			world_fail(w, "unreadable assignments: %s", err.msg);
		if (!w->calm && str_eq(set.type, PROTO_COMPLETE) &&
		    world_chance(w, EMPTIED_PERCENT))
			set.tasks.count = 0; /* by who knows what, and without saying so */
		take_assignments(w, event->node, &set);
		return;
	}
	if (json_decode_text(event->text, len, &proto_reply_table, &arena, &reply, &err) < 0)
		world_fail(w, "unreadable reply: %s", err.msg);
	take_reply(&w->agents[event->node], &reply);
}

void agent_take(struct world *w, const struct event *event)
{
	struct agent *a = &w->agents[event->node];

	if (!a->up || event->line != a->line)
		return;
	if (!event->text) {
		move_on(w, a);
		return;
	}
	a->heard_ms = w->now_ms;
	read_message(w, event);
}
