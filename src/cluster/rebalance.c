/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/err.h"
#include "base/str.h"
#include "cluster/constraint.h"
#include "cluster/scheduler_state.h"

/*
 * rebalance - moves tasks of services that ask for it to where the scheduler would put them now: after a machine came
 * or came back, mostly.
 *
 * A service is looked at when it rests: no update, every slot's task runs, and has for a while. Then one of its tasks is
 * taken away in thought and the placer is asked for a node. The move is made if it brings the service nearer to what its
 * preferences, or else the nodes, ask for: there are fewer of its tasks there afterwards than there were here before. So
 * each move lowers what is uneven, and there is a last one. It is made in the order of the service's updates, one at a
 * time for a service and few in a window for the cluster.
 */

#define CALM_MS   5000 /* so long all have run; and between two looks */
#define WINDOW_MS 10000
#define MOVES     4  /* of all services in a window */
#define SOURCES   16 /* nodes to take a task from that are tried in a look, the most crowded first */

/* ---- resting ---- */

static bool is_updating(const struct service *s)
{
	return s->update_status && !str_ends(s->update_status->state, "completed");
}

/* Every slot has one task, which runs. Since when, if so. */
static bool rests(const struct mirror_service *service, const struct slots *slots,
                  int64_t *since_ms)
{
	int64_t running = 0;

	*since_ms = INT64_MIN;
	for (size_t i = 0; i < slots->count; i++) {
		const struct slot *slot = &slots->items[i];

		for (size_t k = 0; k < slot->count; k++)
			if (slot->tasks[k] != slot->wanted &&
			    !task_state_is_final(slot->tasks[k]->t->status.state))
				return false;
		if (!slot->wanted)
			continue;
		if (slot->wanted->t->status.state != TASK_RUNNING || !slot->wanted->node)
			return false;
		if (slot->wanted->running_ms > *since_ms)
			*since_ms = slot->wanted->running_ms;
		running++;
	}
	return running > 1 && running == service->s->spec.replicas;
}

/* ---- what a move is worth ---- */

static bool same_value(const struct service_preference *p, const struct mirror_node *a,
                       const struct mirror_node *b)
{
	const char *by = p->spread.descriptor ? p->spread.descriptor : "";
	const char *x = constraint_value(by, strlen(by), a->n);
	const char *y = constraint_value(by, strlen(by), b->n);

	return str_eq(x ? x : "", y ? y : "");
}

/* Tasks of the service but this one where the first `levels` preferences have the node's values. */
static size_t count_like(const struct mirror_task *task, const struct mirror_node *node,
                         size_t levels)
{
	const struct service_preference *items = task->t->spec.placement.preferences.items;
	const struct mirror_task *other;
	size_t count = 0;

	TAILQ_FOREACH(other, &task->service->tasks, of_service)
	{
		bool like = other != task && scheduler_is_mine(other);

		for (size_t i = 0; like && i < levels; i++)
			like = same_value(&items[i], other->node, node);
		count += like;
	}
	return count;
}

static size_t count_on(const struct mirror_task *task, const struct mirror_node *node)
{
	const struct mirror_task *other;
	size_t count = 0;

	TAILQ_FOREACH(other, &task->service->tasks, of_service)
	count += other != task && other->node == node && scheduler_is_mine(other);
	return count;
}

static bool is_worth_it(const struct mirror_task *task, const struct mirror_node *to)
{
	const struct json_array *preferences = &task->t->spec.placement.preferences;
	const struct service_preference *items = preferences->items;

	for (size_t i = 0; i < preferences->count; i++)
		if (!same_value(&items[i], task->node, to))
			return count_like(task, task->node, i + 1) > count_like(task, to, i + 1);
	return count_on(task, task->node) > count_on(task, to);
}

/* ---- moving ---- */

static bool may_move(struct control *c)
{
	struct scheduler *s = c->scheduler;

	if (c->now.mono_ms >= s->moves_since_ms + WINDOW_MS) {
		s->moves_since_ms = c->now.mono_ms;
		s->moves = 0;
	}
	return s->moves < MOVES;
}

static const struct slot *most_crowded(const struct slots *slots)
{
	const struct slot *most = NULL;

	for (size_t i = 0; i < slots->count; i++) {
		const struct slot *slot = &slots->items[i];

		if (slot->wanted && slot->wanted->node->mine > 0 &&
		    (!most || slot->wanted->node->mine > most->wanted->node->mine))
			most = slot;
	}
	return most;
}

static int move_one(struct control *c, struct mirror_service *service, const struct slots *slots,
                    struct err *err)
{
	const struct slot *slot;
	struct mirror_node *to;

	scheduler_count_mine(c, service);
	for (int i = 0; i < SOURCES && (slot = most_crowded(slots)) != NULL; i++) {
		if (scheduler_ask(c, service, slot->wanted, &to, err) < 0)
			return -1;
		slot->wanted->node->mine = 0; /* has been tried */
		if (!to || to == slot->wanted->node || !is_worth_it(slot->wanted, to))
			continue;
		c->scheduler->moves++;
		return orchestrator_replace(c, service, slot,
		                            str_eq(service->s->spec.update.order, "start-first"),
		                            err);
	}
	control_wake(service, c->now.mono_ms + CALM_MS);
	return 0;
}

int rebalance_run(struct control *c, struct mirror_service *service, struct err *err)
{
	auto_slots struct slots slots = {0};
	int64_t since_ms;

	if (!service->s->spec.rebalance || service->s->spec.mode != SERVICE_REPLICATED ||
	    is_updating(service->s))
		return 0;
	if (slots_list(&slots, service, err) < 0)
		return -1;
	if (!rests(service, &slots, &since_ms))
		return 0; /* looked at again when that changes */
	if (c->now.mono_ms < since_ms + CALM_MS || !c->scheduler) {
		control_wake(service, since_ms + CALM_MS);
		return 0;
	}
	if (may_move(c))
		return move_one(c, service, &slots, err);
	control_wake(service, c->scheduler->moves_since_ms + WINDOW_MS);
	return 0;
}
