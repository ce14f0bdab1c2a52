/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/err.h"
#include "cluster/fits.h"
#include "cluster/scheduler_state.h"

/*
 * preempt - room for a task where nothing fits, at the expense of tasks of lower priority.
 *
 * The task gets its node at once, so that nobody else takes the room, and is held: its node is not told of it
 * before those that were sent away have stopped. That is written in the task, and a new leader goes on with it.
 * Those that were sent away are followed in their slots, as after a drain, and wait like others.
 *
 * Chosen is the node where the highest priority that is lost is lowest, then where fewest tasks are lost; what is
 * being stopped there anyhow counts as gone. Only reservations count: a task that reserves nothing takes no room,
 * so nobody gains by its end. Priorities are those of the services now, so a task never displaces an equal, and what
 * was displaced cannot displace in return.
 *
 * In a window only so many tasks are sent away: a mistake in one priority does not empty the cluster at once.
 */

#define WINDOW_MS     10000
#define WINDOW_LEAST  10 /* tasks in a window, in a small cluster */
#define WINDOW_PART   20 /* in a large one: the cluster's tasks over this */
#define WHY_MAX       160
#define NOBODY        INT64_MIN /* no priority is lost */
#define NOT_AVAILABLE SIZE_MAX

/* What it would cost to put the task on a node. */
struct offer {
	struct mirror_node *node;
	int64_t highest; /* priority that is lost */
	size_t count;    /* tasks that are; NOT_AVAILABLE: it cannot be had */
};

struct search {
	struct control *c;
	const struct mirror_task *task; /* one of those that wait, all alike */
	struct model_resources want;
	int64_t priority;
	struct mirror_task **victims; /* owned; of the last node looked at */
	size_t count, cap;
};

static int64_t priority_of(const struct mirror_task *task)
{
	return task->service ? task->service->s->spec.priority : 0;
}

static const struct model_resources *reserved(const struct mirror_task *task)
{
	return &task->t->spec.resources.reservations;
}

static void add(struct model_resources *room, const struct mirror_task *task, int64_t sign)
{
	room->nano_cpus += sign * reserved(task)->nano_cpus;
	room->memory_bytes += sign * reserved(task)->memory_bytes;
}

static bool is_stopping(const struct mirror_task *task)
{
	return task->t->desired > TASK_RUNNING;
}

/* ---- who could go ---- */

static bool is_victim(const struct search *s, const struct mirror_task *task)
{
	const struct model_resources *has = reserved(task);

	return task->counted && task->service && !is_stopping(task) &&
	       priority_of(task) < s->priority &&
	       ((s->want.nano_cpus > 0 && has->nano_cpus > 0) ||
	        (s->want.memory_bytes > 0 && has->memory_bytes > 0));
}

/* The cheapest first: the lowest priority, then what does not run yet, then the youngest. */
static int compare(const void *left, const void *right)
{
	const struct mirror_task *a = *(struct mirror_task *const *)left;
	const struct mirror_task *b = *(struct mirror_task *const *)right;

	if (priority_of(a) != priority_of(b))
		return priority_of(a) < priority_of(b) ? -1 : 1;
	if ((a->running_ms < 0) != (b->running_ms < 0))
		return a->running_ms < 0 ? -1 : 1;
	if (a->running_ms != b->running_ms)
		return a->running_ms > b->running_ms ? -1 : 1;
	return 0;
}

static int add_victim(struct search *s, struct mirror_task *task, struct err *err)
{
	if (s->count == s->cap) {
		size_t cap = s->cap ? s->cap * 2 : 64;
		struct mirror_task **grown = reallocarray(s->victims, cap, sizeof(void *));

		if (!grown)
			return err_nomem(err);
		s->victims = grown;
		s->cap = cap;
	}
	s->victims[s->count++] = task;
	return 0;
}

/* Lists the node's possible victims; returns through `room` what is free when all that is being stopped is gone. */
static int list_victims(struct search *s, const struct mirror_node *node,
                        struct model_resources *room, struct err *err)
{
	struct mirror_task *task;

	s->count = 0;
	*room = node->n->description.resources;
	TAILQ_FOREACH(task, &node->tasks, of_node)
	{
		if (task->counted && !is_stopping(task))
			add(room, task, -1);
		if (is_victim(s, task) && add_victim(s, task, err) < 0)
			return -1;
	}
	return 0;
}

/* One alone that is enough, of no higher priority than those taken; the smallest such. */
static struct mirror_task *find_one(const struct search *s, const struct model_resources *room,
                                    int64_t highest)
{
	struct mirror_task *best = NULL;

	for (size_t i = 0; i < s->count; i++) {
		struct model_resources with = *room;

		add(&with, s->victims[i], 1);
		if (priority_of(s->victims[i]) > highest || !fits_in(&with, &s->want))
			continue;
		if (!best || fits_in(reserved(best), reserved(s->victims[i])))
			best = s->victims[i];
	}
	return best;
}

/* Leaves in the list a set of which none can be spared. False: all of them together are not enough. */
static bool choose_victims(struct search *s, struct model_resources room)
{
	struct model_resources before = room;
	size_t taken = 0, kept = 0;

	if (s->count > 1)
		qsort(s->victims, s->count, sizeof(void *), compare);
	for (; taken < s->count && !fits_in(&room, &s->want); taken++)
		add(&room, s->victims[taken], 1);
	if (!fits_in(&room, &s->want))
		return false;
	if (taken > 1) {
		struct mirror_task *one = find_one(s, &before, priority_of(s->victims[taken - 1]));
		if (one) {
			s->victims[0] = one;
			s->count = 1;
			return true;
		}
	}
	for (size_t i = taken; i-- > 0;) { /* the dearest is spared first */
		struct model_resources without = room;

		add(&without, s->victims[i], -1);
		if (fits_in(&without, &s->want)) {
			room = without;
			s->victims[i] = NULL;
		}
	}
	for (size_t i = 0; i < taken; i++)
		if (s->victims[i])
			s->victims[kept++] = s->victims[i];
	s->count = kept;
	return true;
}

/* Fills the offer, and the search's victims with what it costs. */
static int look_at(struct search *s, struct mirror_node *node, struct offer *offer, struct err *err)
{
	enum filter filter = scheduler_rule_out_but(node, s->task, FILTER_RESOURCES);
	struct model_resources room;

	*offer = (struct offer){.node = node, .highest = NOBODY, .count = NOT_AVAILABLE};
	if (filter != FILTERS || !fits_in(&node->n->description.resources, &s->want))
		return 0;
	if (list_victims(s, node, &room, err) < 0)
		return -1;
	if (!choose_victims(s, room))
		return 0;
	offer->count = s->count;
	for (size_t i = 0; i < s->count; i++)
		if (priority_of(s->victims[i]) > offer->highest)
			offer->highest = priority_of(s->victims[i]);
	return 0;
}

static bool is_cheaper(const struct offer *a, const struct offer *b)
{
	if (a->count == NOT_AVAILABLE || b->count == NOT_AVAILABLE)
		return b->count == NOT_AVAILABLE && a->count != NOT_AVAILABLE;
	if (a->highest != b->highest)
		return a->highest < b->highest;
	if (a->count != b->count)
		return a->count < b->count;
	return a->node->mine < b->node->mine;
}

/* ---- how many may go ---- */

static size_t most_in_window(const struct control *c)
{
	int64_t active = 0;

	for (size_t i = 0; i < c->m.nodes.count; i++)
		active += mirror_node_at(&c->m, i)->active;
	return active / WINDOW_PART > WINDOW_LEAST ? (size_t)(active / WINDOW_PART) : WINDOW_LEAST;
}

/* A task that alone costs more than a window has is not refused for ever: it gets one of its own. */
static bool may_spend(struct control *c, size_t count)
{
	struct scheduler *s = c->scheduler;

	if (count == 0)
		return true;
	if (s->evicted == 0 || c->now.mono_ms >= s->window_ms + WINDOW_MS) {
		s->window_ms = c->now.mono_ms;
		s->evicted = 0;
	}
	if (s->evicted > 0 && s->evicted + count > most_in_window(c)) {
		s->again_ms = s->window_ms + WINDOW_MS;
		return false;
	}
	s->evicted += count;
	return true;
}

int64_t preempt_next(const struct control *c)
{
	return c->scheduler && c->scheduler->again_ms > 0 ? c->scheduler->again_ms : INT64_MAX;
}

void preempt_tick(struct control *c)
{
	if (c->now.mono_ms < preempt_next(c))
		return;
	c->scheduler->again_ms = 0;
	c->schedule = true;
	c->m.woken = true;
}

/* ---- making room ---- */

/* A paused update must not go on by way of this. */
static int follow_alike(struct control *c, struct mirror_task *victim, struct err *err)
{
	auto_slots struct slots slots = {0};

	if (!restart_keeps_spec(victim->service, victim))
		return 0; /* the orchestrator sees to it */
	if (slots_list(&slots, victim->service, err) < 0)
		return -1;
	for (size_t i = 0; i < slots.count; i++)
		if (slots.items[i].number == victim->t->slot && victim->t->slot > 0)
			return orchestrator_add(c, victim->service, &slots.items[i], victim, err)
			               ? 0
			               : -1;
	return 0;
}

static int send_away(struct control *c, struct mirror_task *victim, const struct mirror_task *by,
                     struct err *err)
{
	char why[WHY_MAX], where[24] = "";

	if (by->t->slot > 0)
		snprintf(where, sizeof(where), ".%lld", (long long)by->t->slot);
	snprintf(why, sizeof(why), "made room for %s%s of priority %lld", by->service->s->spec.name,
	         where, (long long)priority_of(by));
	victim->t->displaced = arena_strdup(&victim->o.arena, why, err);
	if (!victim->t->displaced ||
	    mirror_set_error(&c->m, victim, victim->t->status.message, why, err) < 0)
		return -1;
	mirror_set_desired(&c->m, victim, TASK_SHUTDOWN);
	c->schedule = true;
	return follow_alike(c, victim, err);
}

/* The search has just looked at the node: its victims are those to send away. */
static int take(struct search *s, struct mirror_task *task, struct mirror_node *node,
                struct err *err)
{
	struct control *c = s->c;

	for (size_t i = 0; i < s->count; i++)
		if (send_away(c, s->victims[i], task, err) < 0)
			return -1;
	task->t->held = node->held = c->m.held = true;
	if (mirror_assign(&c->m, task, node, err) < 0)
		return -1;
	node->mine++;
	scheduler_note(c->scheduler, node);
	return mirror_set_error(&c->m, task, "waits until others have made room", NULL, err);
}

bool preempt_may(const struct control *c, const struct mirror_task *task)
{
	const struct model_resources *want = reserved(task);

	return priority_of(task) > c->scheduler->lowest &&
	       (want->nano_cpus > 0 || want->memory_bytes > 0);
}

static int place_all(struct search *s, struct offer *offers, size_t count,
                     struct mirror_task **tasks, size_t wanted, struct err *err)
{
	size_t placed = 0;

	for (; placed < wanted; placed++) {
		struct offer *best = &offers[0];

		for (size_t i = 1; i < count; i++)
			if (is_cheaper(&offers[i], best))
				best = &offers[i];
		if (best->count == NOT_AVAILABLE || !may_spend(s->c, best->count))
			break;
		if (look_at(s, best->node, best, err) < 0 ||
		    take(s, tasks[placed], best->node, err) < 0 ||
		    look_at(s, best->node, best, err) < 0)
			return -1;
	}
	return (int)placed;
}

int preempt_place(struct control *c, struct mirror_task **tasks, size_t count, struct err *err)
{
	const struct mirror_task *first = tasks[0];
	struct search s = {
		.c = c, .task = first, .want = *reserved(first), .priority = priority_of(first)};
	size_t nodes = first->node ? 1 : c->m.nodes.count;
	int rc = 0;

	if (nodes == 0 || !preempt_may(c, first))
		return 0;
	auto_free struct offer *offers = calloc(nodes, sizeof(*offers));
	if (!offers)
		return err_nomem(err);
	for (size_t i = 0; rc == 0 && i < nodes; i++)
		rc = look_at(&s, first->node ? first->node : mirror_node_at(&c->m, i), &offers[i],
		             err);
	if (rc == 0)
		rc = place_all(&s, offers, nodes, tasks, count, err);
	free(s.victims);
	return rc;
}

/* ---- letting them go ---- */

static bool is_held(const struct mirror_task *task)
{
	return task->t->held && !is_stopping(task);
}

/* True: some are still held. */
static bool release_on(struct control *c, struct mirror_node *node)
{
	struct model_resources room = node->n->description.resources;
	struct mirror_task *task;
	bool stopping = false, left = false;

	TAILQ_FOREACH(task, &node->tasks, of_node)
	{
		if (task->counted && !is_held(task))
			add(&room, task, -1);
		stopping = stopping || (task->counted && is_stopping(task));
	}
	TAILQ_FOREACH(task, &node->tasks, of_node)
	{
		if (!task->counted || !is_held(task))
			continue;
		if (stopping && !fits_in(&room, reserved(task))) {
			left = true;
			continue;
		}
		add(&room, task, -1);
		task->t->held = false;
		task->send = true;
		mirror_touch(&c->m, &task->o);
	}
	return left;
}

void preempt_release(struct control *c)
{
	if (!c->m.held)
		return;
	c->m.held = false;
	for (size_t i = 0; i < c->m.nodes.count; i++) {
		struct mirror_node *node = mirror_node_at(&c->m, i);

		node->held = node->held && release_on(c, node);
		c->m.held = c->m.held || node->held;
	}
}
