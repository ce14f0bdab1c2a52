/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "cluster/control_state.h"
#include "cluster/service.h"

/* explain - why the tasks of a service do not run yet. */

#define TASKS_MAX 100 /* explained; what is beyond waits for the same */

/* Another task of its slot that was told to stop and has not. */
static bool is_held(const struct mirror_task *task)
{
	const struct mirror_task *other;

	TAILQ_FOREACH(other, &task->service->tasks, of_service)
	if (other != task && other->t->slot == task->t->slot &&
	    (task->t->slot > 0 || str_eq(other->t->node_id, task->t->node_id)) &&
	    other->t->desired > TASK_RUNNING && other->t->status.state >= TASK_ASSIGNED &&
	    !task_state_is_final(other->t->status.state))
		return true;
	return false;
}

/* What the slot's last task was sent away for. */
static const char *displaced_by(const struct mirror_task *task)
{
	const struct mirror_task *other, *last = NULL;

	TAILQ_FOREACH(other, &task->service->tasks, of_service)
	if (other != task && other->t->slot == task->t->slot &&
	    (task->t->slot > 0 || str_eq(other->t->node_id, task->t->node_id)) &&
	    (!last || other->t->generation > last->t->generation))
		last = other;
	return last ? last->t->displaced : NULL;
}

static void say_why(const struct control *c, const struct mirror_task *task, struct buf *out)
{
	const struct task_status *status = &task->t->status;

	if (task->t->status.state < TASK_ASSIGNED && displaced_by(task))
		buf_addf(out, "the task before it %s: ", displaced_by(task));
	if (task->t->desired == TASK_READY && task->start_ms > c->now.mono_ms)
		buf_addf(out, "restart delay: %lld ms left",
		         (long long)(task->start_ms - c->now.mono_ms));
	else if (task->t->desired == TASK_READY && is_held(task))
		buf_add(out, "the task before it in its slot is being stopped");
	else if (!str_empty(status->error))
		buf_add(out, status->error);
	else
		buf_add(out, status->message ? status->message : "");
}

static int explain_task(struct control *c, const struct mirror_task *task, struct json *list,
                        struct err *err)
{
	auto_buf struct buf why = BUF_INIT(ERR_MSG_MAX);
	struct json *one = json_object(), *filters = json_array(), *nodes = json_array();
	int rc = 0;

	say_why(c, task, &why);
	if (task->t->status.state < TASK_ASSIGNED)
		rc = scheduler_explain(c, task, filters, nodes, err);
	json_set(one, "ID", json_string(task->o.id));
	json_set(one, "Slot", json_int(task->t->slot));
	json_set(one, "NodeID", json_string(task->t->node_id ? task->t->node_id : ""));
	json_set(one, "State", json_string(task_state_name(task->t->status.state)));
	json_set(one, "Why", json_string(buf_str(&why)));
	json_set(one, "Filters", filters);
	json_set(one, "Nodes", nodes);
	return json_append(list, one) < 0 ? err_nomem(err) : rc;
}

int service_explain(struct control *c, const char *ref, struct buf *out, struct err *err)
{
	const struct service *s = service_find(c, ref, err);
	const struct mirror_service *service = s ? mirror_find_service(&c->m, s->id) : NULL;
	const struct mirror_task *task;
	int64_t running = 0;

	if (!service)
		return -1;
	auto_type(json) doc = json_object();
	auto_type(json) list = json_array();
	TAILQ_FOREACH(task, &service->tasks, of_service)
	{
		if (task->t->desired > TASK_RUNNING)
			continue;
		if (task->t->status.state == TASK_RUNNING)
			running++;
		else if (json_count(list) < TASKS_MAX && explain_task(c, task, list, err) < 0)
			return -1;
	}
	json_set(doc, "ID", json_string(s->id));
	json_set(doc, "Name", json_string(s->spec.name));
	json_set(doc, "Running", json_int(running));
	if (json_set(doc, "Tasks", json_ref(list)) < 0)
		return err_nomem(err);
	return json_write(doc, out, err);
}
