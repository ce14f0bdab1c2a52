/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/task.h"

#include <stdio.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "cluster/control_state.h"
#include "cluster/filter.h"

/* A task of a service is also known as NAME.SLOT. */
static bool is_called(const struct task *t, const char *name)
{
	char text[MODEL_NAME_MAX + 64];

	if (t->slot > 0)
		snprintf(text, sizeof(text), "%s.%lld", t->service_name ? t->service_name : "",
		         (long long)t->slot);
	else
		snprintf(text, sizeof(text), "%s.%s", t->service_name ? t->service_name : "",
		         t->node_id ? t->node_id : "");
	return str_eq(text, name);
}

const struct task *task_find(const struct control *c, const char *ref, struct err *err)
{
	const struct mirror_task *found = mirror_find_task(&c->m, ref);
	size_t matches = 0;

	if (found)
		return found->t;
	for (size_t i = 0; i < c->m.tasks.count && *ref; i++) {
		const struct mirror_task *task = mirror_task_at(&c->m, i);

		if (str_starts(task->o.id, ref) ||
		    (task->t->desired <= TASK_RUNNING && is_called(task->t, ref))) {
			found = task;
			matches++;
		}
	}
	if (matches == 1)
		return found->t;
	if (matches == 0)
		err_set(err, ERR_NOT_FOUND, "task %s not found", ref);
	else
		err_set(err, ERR_INVALID, "task %s is ambiguous (%zu matches found)", ref, matches);
	return NULL;
}

/* As Docker shows it: a job's task is wanted to complete, not to run, and jobs count their slots from 0. */
static bool shall_complete(const struct task *t)
{
	return t->job_iteration && (t->desired <= TASK_RUNNING || t->status.state == TASK_COMPLETE);
}

static struct task shown(const struct task *t)
{
	struct task copy = *t;

	if (shall_complete(t))
		task_set_desired(&copy, TASK_COMPLETE);
	if (t->job_iteration && t->slot > 0)
		copy.slot--;
	return copy;
}

int task_inspect(struct control *c, const char *ref, struct buf *out, struct err *err)
{
	const struct task *t = task_find(c, ref, err);

	if (!t)
		return -1;
	struct task copy = shown(t);
	return json_encode_text(&task_table, &copy, out, err);
}

/* What a filter's value is compared with. */
struct subject {
	const struct mirror_task *task;
};

static bool is_of_service(const char *value, const void *arg)
{
	const struct task *t = ((const struct subject *)arg)->task->t;

	return str_eq(value, t->service_id) || str_eq(value, t->service_name);
}

static bool is_on_node(const char *value, const void *arg)
{
	const struct mirror_task *task = ((const struct subject *)arg)->task;

	return str_eq(value, task->t->node_id) ||
	       (task->node && str_eq(value, task->node->n->description.hostname));
}

static bool is_named(const char *value, const void *arg)
{
	const struct task *t = ((const struct subject *)arg)->task->t;

	return is_called(t, value) || str_eq(value, t->service_name) || str_starts(t->id, value);
}

static bool wants_state(const char *value, const void *arg)
{
	const struct task *t = ((const struct subject *)arg)->task->t;

	if (str_eq(value, "accepted")) /* Docker's word for "on its way" */
		return t->desired < TASK_READY;
	if (str_eq(value, "complete"))
		return shall_complete(t);
	/* A successor that waits for its time is one that shall run. */
	return str_eq(value, t->desired_name) ||
	       (str_eq(value, "running") && t->desired == TASK_READY) ||
	       (str_eq(value, "shutdown") && t->desired == TASK_REMOVE);
}

static bool is_up_to_date(const char *value, const void *arg)
{
	const struct mirror_task *task = ((const struct subject *)arg)->task;
	bool current = task->service && task->t->spec_version == task->service->s->spec_version;

	return current == (str_eq(value, "true") || str_eq(value, "1"));
}

/* `docker stack ps` finds its tasks by a label that it put on their containers. */
static bool has_labels(const struct json *filters, const struct task *t)
{
	return filter_labels(filters, "label", &t->labels) ||
	       filter_labels(filters, "label", &t->spec.container.labels);
}

static bool matches(const struct json *filters, const struct mirror_task *task)
{
	struct subject subject = {.task = task};

	return filter_prefix(filters, "id", task->o.id) &&
	       filter_any(filters, "service", is_of_service, &subject) &&
	       filter_any(filters, "node", is_on_node, &subject) &&
	       filter_any(filters, "name", is_named, &subject) &&
	       filter_any(filters, "desired-state", wants_state, &subject) &&
	       filter_any(filters, "_up-to-date", is_up_to_date, &subject) &&
	       has_labels(filters, task->t);
}

int task_list(struct control *c, const struct json *filters, struct buf *out, struct err *err)
{
	static const char *const allowed[] = {"id",          "name",    "service",
	                                      "node",        "label",   "desired-state",
	                                      "_up-to-date", "runtime", NULL};
	auto_type(json) list = json_array();

	if (filter_allow(filters, allowed, err) < 0)
		return -1;
	for (size_t i = 0; i < c->m.tasks.count; i++) {
		const struct mirror_task *task = mirror_task_at(&c->m, i);

		if (!matches(filters, task))
			continue;
		struct task copy = shown(task->t);
		if (json_append(list, json_encode(&task_table, &copy, err)) < 0)
			return err_nomem(err);
	}
	return json_write(list, out, err);
}
