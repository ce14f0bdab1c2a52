/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"
#include "base/str.h"
#include "cluster/control_state.h"

/* collector - takes what agents observed. A state only rises; the leader's own words (new, pending,
 * assigned, remove, orphaned) are not theirs to say; and a node speaks of its own tasks only. */

static bool is_an_agents_word(enum task_state state)
{
	return state >= TASK_ACCEPTED && state <= TASK_REJECTED;
}

static bool same_container(const struct task_container *a, const struct task_container *b)
{
	if (!a || !b)
		return a == b;
	return str_eq(a->container_id, b->container_id) && a->pid == b->pid &&
	       a->exit_code == b->exit_code;
}

static bool same_ports(const struct json_array *a, const struct json_array *b)
{
	const struct model_port *p = a->items, *q = b->items;

	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++)
		if (p[i].target_port != q[i].target_port ||
		    p[i].published_port != q[i].published_port ||
		    !str_eq(p[i].protocol, q[i].protocol))
			return false;
	return true;
}

static bool says_more(const struct task_status *now, const struct task_status *next)
{
	return !str_eq(now->message, next->message) || !str_eq(now->error, next->error) ||
	       !str_eq(now->address, next->address) ||
	       !same_container(now->container, next->container) ||
	       !same_ports(&now->ports.ports, &next->ports.ports);
}

/* Why it was stopped is the leader's to say. */
static struct task_status complete(const struct mirror_task *task, const struct task_status *given)
{
	struct task_status status = *given;

	if (task->t->displaced && str_empty(status.error))
		status.error = task->t->displaced;
	return status;
}

static int take_one(struct control *c, struct mirror_node *node, const struct proto_status *given,
                    struct err *err)
{
	struct mirror_task *task = mirror_find_task(&c->m, given->task_id);
	enum task_state next = given->status.state;

	if (!task || task->node != node || !is_an_agents_word(next))
		return 0;
	struct task_status status = complete(task, &given->status);
	enum task_state now = task->t->status.state;
	bool rises = next > now || (c->config.unsafe & CONTROL_UNSAFE_STATES);
	bool same = next == now && !task_state_is_final(now);
	if (now < TASK_ASSIGNED || (!rises && !same) ||
	    (next == now && !says_more(&task->t->status, &status)))
		return 0;
	if (task_state_is_final(next))
		c->schedule = true; /* room for others */
	return mirror_set_status(&c->m, task, &status, err);
}

int collector_take(struct control *c, struct mirror_node *node, const struct json_array *statuses,
                   struct err *err)
{
	const struct proto_status *items = statuses->items;

	for (size_t i = 0; i < statuses->count; i++)
		if (take_one(c, node, &items[i], err) < 0)
			return -1;
	return 0;
}
