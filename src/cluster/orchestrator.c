/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/id.h"
#include "base/str.h"
#include "cluster/control_state.h"

/* orchestrator - as many slots as the service wants, each with one wanted task; and jobs, whose slots are done
 * when their task has completed. */

/* ---- making tasks ---- */

static int64_t next_generation(const struct slot *slot)
{
	return slot->count ? slot->tasks[slot->count - 1]->t->generation + 1 : 1;
}

struct mirror_task *orchestrator_add(struct control *c, struct mirror_service *service,
                                     const struct slot *slot, const struct mirror_task *like,
                                     struct err *err)
{
	const struct service *s = service->s;
	char id[ID_SWARM_MAX], stamp[CLOCK_TEXT_MAX];
	struct model_version iteration = {.index = (uint64_t)s->spec_version - 1};
	struct task t = {
		.id = id,
		.spec_raw = like ? like->t->spec_raw : s->spec.task_raw,
		.spec_version = like ? like->t->spec_version : s->spec_version,
		.ports = like ? like->t->ports : s->endpoint.ports,
		.service_id = s->id,
		.service_name = s->spec.name,
		.slot = slot->number,
		.node_id = slot->number == 0 ? (char *)slot->node_id : NULL,
		.generation = next_generation(slot),
		.job_iteration = service_mode_is_job(s->spec.mode) ? &iteration : NULL,
		.status.message = (char *)"pending task scheduling",
	};

	control_make_id(c, id);
	t.created_at = t.updated_at = t.status.timestamp = control_stamp(c, stamp);
	/* One that needs addresses is not for the scheduler before it has them. */
	task_set_state(&t.status, allocator_wants(c, like ? &like->t->spec : &s->spec.task)
	                                  ? TASK_NEW
	                                  : TASK_PENDING);
	task_set_desired(&t, TASK_READY);
	c->schedule = true;
	return mirror_add_task(&c->m, &t, err);
}

int orchestrator_replace(struct control *c, struct mirror_service *service, const struct slot *slot,
                         bool start_first, struct err *err)
{
	if (!start_first)
		mirror_set_desired(&c->m, slot->wanted, TASK_SHUTDOWN);
	return orchestrator_add(c, service, slot, NULL, err) ? 0 : -1;
}

static void remove_slot(struct control *c, const struct slot *slot)
{
	for (size_t i = 0; i < slot->count; i++)
		mirror_set_desired(&c->m, slot->tasks[i], TASK_REMOVE);
}

/* ---- replicated ---- */

static bool is_live(const struct slot *slot)
{
	return slot->wanted || slot->done;
}

static int scale_up(struct control *c, struct mirror_service *service, const struct slots *slots,
                    int64_t missing, struct err *err)
{
	size_t at = 0; /* slots are in the order of their numbers */

	for (int64_t number = 1; missing > 0; number++) {
		struct slot empty = {.number = number};
		const struct slot *slot = &empty;

		while (at < slots->count && slots->items[at].number < number)
			at++;
		if (at < slots->count && slots->items[at].number == number)
			slot = &slots->items[at];
		if (is_live(slot))
			continue;
		if (!orchestrator_add(c, service, slot, NULL, err))
			return -1;
		missing--;
	}
	return 0;
}

static bool is_running(const struct slot *slot)
{
	return slot->wanted && slot->wanted->t->status.state == TASK_RUNNING;
}

static size_t crowd(const struct slot *slot)
{
	return slot->wanted && slot->wanted->node ? slot->wanted->node->mine : 0;
}

/* Does a go before b, when slots must go? What does not run yet, then from the node with most
 * tasks of the service, then the newest. */
static bool goes_before(const struct slot *a, const struct slot *b)
{
	if (is_running(a) != is_running(b))
		return !is_running(a);
	if (crowd(a) != crowd(b))
		return crowd(a) > crowd(b);
	return a->number > b->number;
}

static void count_crowds(struct control *c, const struct slots *slots)
{
	for (size_t i = 0; i < c->m.nodes.count; i++)
		mirror_node_at(&c->m, i)->mine = 0;
	for (size_t i = 0; i < slots->count; i++)
		if (slots->items[i].wanted && slots->items[i].wanted->node)
			slots->items[i].wanted->node->mine++;
}

static void scale_down(struct control *c, const struct slots *slots, int64_t surplus)
{
	count_crowds(c, slots);
	for (; surplus > 0; surplus--) {
		struct slot *victim = NULL;

		for (size_t i = 0; i < slots->count; i++) {
			struct slot *slot = &slots->items[i];

			if (is_live(slot) && (!victim || goes_before(slot, victim)))
				victim = slot;
		}
		if (!victim)
			return;
		if (victim->wanted && victim->wanted->node)
			victim->wanted->node->mine--;
		remove_slot(c, victim);
		victim->wanted = NULL;
		victim->done = false;
	}
}

static int run_replicated(struct control *c, struct mirror_service *service, struct err *err)
{
	auto_slots struct slots slots = {0};
	int64_t live = 0;

	if (slots_list(&slots, service, err) < 0)
		return -1;
	for (size_t i = 0; i < slots.count; i++)
		live += is_live(&slots.items[i]);
	if (live < service->s->spec.replicas)
		return scale_up(c, service, &slots, service->s->spec.replicas - live, err);
	scale_down(c, &slots, live - service->s->spec.replicas);
	return 0;
}

/* ---- global ---- */

static const struct slot *slot_on(const struct slots *slots, const char *node_id)
{
	for (size_t i = 0; i < slots->count; i++)
		if (strcmp(slots->items[i].node_id, node_id) == 0)
			return &slots->items[i];
	return NULL;
}

static int fill_node(struct control *c, struct mirror_service *service, const struct slots *slots,
                     const struct mirror_node *node, struct err *err)
{
	struct slot empty = {.node_id = node->o.id};
	const struct slot *slot = slot_on(slots, node->o.id);

	if (!node->alive || !str_eq(node->n->spec.availability, "active") ||
	    !scheduler_allows(node, &service->s->spec.task) || (slot && is_live(slot)))
		return 0;
	return orchestrator_add(c, service, slot ? slot : &empty, NULL, err) ? 0 : -1;
}

static int run_global(struct control *c, struct mirror_service *service, struct err *err)
{
	auto_slots struct slots slots = {0};

	if (slots_list(&slots, service, err) < 0)
		return -1;
	for (size_t i = 0; i < slots.count; i++) {
		const struct slot *slot = &slots.items[i];
		const struct mirror_node *node = mirror_find_node(&c->m, slot->node_id);

		if (!node)
			remove_slot(c, slot);
		else if (slot->wanted && (str_eq(node->n->spec.availability, "drain") ||
		                          !scheduler_allows(node, &slot->wanted->t->spec)))
			mirror_set_desired(&c->m, slot->wanted, TASK_SHUTDOWN);
	}
	for (size_t i = 0; i < c->m.nodes.count; i++)
		if (fill_node(c, service, &slots, mirror_node_at(&c->m, i), err) < 0)
			return -1;
	return 0;
}

/* ---- jobs ---- */

/* Tasks of an earlier run of the job make way for the next. True: there were some. */
static bool stop_earlier_run(struct control *c, const struct mirror_service *service,
                             const struct slots *slots)
{
	bool some = false;

	for (size_t i = 0; i < slots->count; i++) {
		const struct slot *slot = &slots->items[i];

		if (!slot->wanted || slot->wanted->t->spec_version == service->s->spec_version)
			continue;
		mirror_set_desired(&c->m, slot->wanted, TASK_SHUTDOWN);
		some = true;
	}
	return some;
}

static void remove_surplus(struct control *c, const struct slots *slots, int64_t total)
{
	for (size_t i = 0; i < slots->count; i++)
		if (slots->items[i].number > total)
			remove_slot(c, &slots->items[i]);
}

static int run_job(struct control *c, struct mirror_service *service, struct err *err)
{
	auto_slots struct slots slots = {0};
	const struct service_spec *spec = &service->s->spec;
	int64_t live = 0, active = 0;

	if (slots_list(&slots, service, err) < 0)
		return -1;
	if (stop_earlier_run(c, service, &slots))
		return 0; /* looked at again in this very step, without them */
	if (spec->mode == SERVICE_GLOBAL_JOB)
		return run_global(c, service, err);
	remove_surplus(c, &slots, spec->replicas);
	for (size_t i = 0; i < slots.count; i++) {
		const struct slot *slot = &slots.items[i];

		live += slot->number <= spec->replicas && is_live(slot);
		active += slot->number <= spec->replicas && slot->wanted;
	}
	int64_t missing = spec->replicas - live;
	if (spec->max_concurrent > 0 && missing > spec->max_concurrent - active)
		missing = spec->max_concurrent - active;
	return scale_up(c, service, &slots, missing, err);
}

/* ---- drain ---- */

static int leave_drained(struct control *c, struct mirror_service *service, struct err *err)
{
	auto_slots struct slots slots = {0};

	if (slots_list(&slots, service, err) < 0)
		return -1;
	for (size_t i = 0; i < slots.count; i++) {
		const struct slot *slot = &slots.items[i];
		const struct mirror_node *node = slot->wanted ? slot->wanted->node : NULL;

		if (node && str_eq(node->n->spec.availability, "drain") &&
		    orchestrator_replace(c, service, slot, false, err) < 0)
			return -1;
	}
	return 0;
}

int orchestrator_run(struct control *c, struct mirror_service *service, struct err *err)
{
	enum service_mode mode = service->s->spec.mode;

	if (mode == SERVICE_GLOBAL)
		return run_global(c, service, err);
	int rc = service_mode_is_job(mode) ? run_job(c, service, err)
	                                   : run_replicated(c, service, err);
	if (rc < 0 || mode == SERVICE_GLOBAL_JOB)
		return rc;
	return leave_drained(c, service, err);
}
