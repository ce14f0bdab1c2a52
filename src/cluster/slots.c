/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "cluster/control_state.h"

/* slots - a service's tasks as the loops look at them; see control_state.h. */

static const char *node_of(const struct task *t)
{
	return t->node_id ? t->node_id : "";
}

static int compare_slot(const struct task *a, const struct task *b)
{
	if (a->slot != b->slot)
		return a->slot < b->slot ? -1 : 1;
	return a->slot == 0 ? strcmp(node_of(a), node_of(b)) : 0;
}

static int compare(const void *left, const void *right)
{
	const struct task *a = (*(struct mirror_task *const *)left)->t;
	const struct task *b = (*(struct mirror_task *const *)right)->t;
	int order = compare_slot(a, b);

	if (order != 0)
		return order;
	if (a->generation != b->generation)
		return a->generation < b->generation ? -1 : 1;
	return strcmp(a->id, b->id);
}

static void describe(struct slot *slot, const struct mirror_service *service)
{
	const struct mirror_task *newest = slot->tasks[slot->count - 1];

	for (size_t i = slot->count; i-- > 0;) {
		if (slot->tasks[i]->t->desired > TASK_RUNNING)
			continue;
		if (!slot->wanted)
			slot->wanted = slot->tasks[i];
		else if (!slot->older)
			slot->older = slot->tasks[i];
	}
	slot->done = !slot->wanted && newest->t->done &&
	             newest->t->spec_version == service->s->spec_version;
}

int slots_list(struct slots *slots, struct mirror_service *service, struct err *err)
{
	struct slots made = {0};
	struct mirror_task *task;
	size_t count = 0, filled = 0;

	TAILQ_FOREACH(task, &service->tasks, of_service)
	count++;
	made.tasks = calloc(count + 1, sizeof(void *));
	made.items = calloc(count + 1, sizeof(*made.items));
	if (!made.tasks || !made.items) {
		slots_done(&made);
		return err_nomem(err);
	}
	TAILQ_FOREACH(task, &service->tasks, of_service)
	made.tasks[filled++] = task;
	qsort(made.tasks, count, sizeof(void *), compare);
	for (size_t i = 0; i < count; i++) {
		const struct task *t = made.tasks[i]->t;

		if (i == 0 || compare_slot(made.tasks[i - 1]->t, t) != 0)
			made.items[made.count++] = (struct slot){
				.number = t->slot, .node_id = node_of(t), .tasks = &made.tasks[i]};
		made.items[made.count - 1].count++;
	}
	for (size_t i = 0; i < made.count; i++)
		describe(&made.items[i], service);
	*slots = made;
	return 0;
}

void slots_done(struct slots *slots)
{
	free(slots->items);
	free(slots->tasks);
	*slots = (struct slots){0};
}
