/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"
#include "cluster/control_state.h"

/* reaper - forgets tasks: what was to be removed and has ended, what never had a node, and the
 * older history of each slot. */

#define HISTORY 5 /* ended tasks kept per slot */

/* Nothing of it can be on a node. */
static bool is_nowhere(const struct mirror_task *task)
{
	return task->t->status.state < TASK_ASSIGNED || task_state_is_final(task->t->status.state);
}

static bool is_over(const struct mirror_task *task)
{
	if (task->t->desired == TASK_REMOVE)
		return is_nowhere(task);
	return task->t->desired > TASK_RUNNING && task->t->status.state < TASK_ASSIGNED;
}

static void reap_slot(struct control *c, const struct slot *slot)
{
	size_t keep = c->config.history > 0 ? (size_t)c->config.history : HISTORY;

	for (size_t i = slot->count; i-- > 0;) { /* the newest first */
		struct mirror_task *task = slot->tasks[i];
		bool ended = task->t->desired > TASK_RUNNING &&
		             task_state_is_final(task->t->status.state);

		if (!is_over(task) && ended && keep > 0)
			keep--;
		else if (is_over(task) || ended)
			mirror_remove_task(&c->m, task);
	}
}

int reaper_run(struct control *c, struct mirror_service *service, struct err *err)
{
	auto_slots struct slots slots = {0};

	if (slots_list(&slots, service, err) < 0)
		return -1;
	for (size_t i = 0; i < slots.count; i++)
		reap_slot(c, &slots.items[i]);
	return 0;
}

void reaper_loose(struct control *c)
{
	struct mirror_task *task = TAILQ_FIRST(&c->m.loose);

	while (task) {
		struct mirror_task *next = TAILQ_NEXT(task, of_service);

		mirror_set_desired(&c->m, task, TASK_REMOVE);
		if (is_nowhere(task))
			mirror_remove_task(&c->m, task);
		task = next;
	}
}
