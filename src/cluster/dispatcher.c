/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "cluster/control_state.h"

/*
 * dispatcher - tells each node what it shall have: everything when it connects (or was seen to
 * lag), then what changed. Runs after the commit, so that a node never hears of what may be
 * forgotten.
 */

/* Room for one message: tasks in a row as the JSON table wants them, ids of removed ones. */
struct draft {
	struct mirror_node *node;
	struct task *tasks; /* owned; copies of structs whose pointers are borrowed */
	char **removed;     /* owned; ids borrowed */
	size_t task_count, removed_count;
};

static void draft_done(struct draft *draft)
{
	free(draft->tasks);
	free(draft->removed);
}

#define auto_draft __attribute__((cleanup(draft_done)))

static int draft_init(struct draft *draft, struct mirror_node *node, size_t most, struct err *err)
{
	*draft = (struct draft){.node = node};
	draft->tasks = calloc(most + 1, sizeof(*draft->tasks));
	draft->removed = calloc(most + 1, sizeof(*draft->removed));
	return draft->tasks && draft->removed ? 0 : err_nomem(err);
}

static int enqueue(struct control *c, struct mirror_node *node, const struct proto_assignments *set,
                   struct err *err)
{
	auto_buf struct buf text = BUF_INIT(PROTO_TEXT_MAX);
	struct control_message *m = calloc(1, sizeof(*m));

	if (!m)
		return err_nomem(err);
	if (json_encode_text(&proto_assignments_table, set, &text, err) == 0) {
		m->len = text.len;
		m->text = buf_take(&text, err);
	}
	if (!m->text) {
		free(m);
		return -1;
	}
	snprintf(m->node_id, sizeof(m->node_id), "%s", node->o.id);
	m->session = node->session;
	if (c->last)
		c->last->next = m;
	else
		c->first = m;
	c->last = m;
	node->sent = set->to;
	node->sent_ms = c->now.mono_ms;
	return 0;
}

static int send_draft(struct control *c, struct draft *draft, bool whole, struct err *err)
{
	struct proto_assignments set = {
		.type = (char *)(whole ? PROTO_COMPLETE : PROTO_INCREMENT),
		.epoch = control_epoch(c),
		.session = draft->node->session,
		.from = whole ? 0 : draft->node->sent,
		.to = draft->node->sent + 1,
		.heartbeat_ms =
			c->config.heartbeat_ms > 0 ? c->config.heartbeat_ms : PROTO_HEARTBEAT_MS,
		.empty = whole && draft->task_count == 0,
		.tasks = {.items = draft->tasks, .count = draft->task_count, .present = true},
		.removed = {.items = draft->removed,
	                    .count = draft->removed_count,
	                    .present = true},
	};

	return enqueue(c, draft->node, &set, err);
}

/* Room must be made for some first. */
static bool is_told(const struct mirror_task *task)
{
	return task->t->status.state >= TASK_ASSIGNED &&
	       !(task->t->held && task->t->desired <= TASK_RUNNING);
}

static int send_complete(struct control *c, struct mirror_node *node, struct err *err)
{
	auto_draft struct draft draft = {0};
	struct mirror_task *task;
	size_t count = 0;

	TAILQ_FOREACH(task, &node->tasks, of_node)
	count++;
	if (draft_init(&draft, node, count, err) < 0)
		return -1;
	TAILQ_FOREACH(task, &node->tasks, of_node)
	if (is_told(task))
		draft.tasks[draft.task_count++] = *task->t;
	return send_draft(c, &draft, true, err);
}

static void add_changes(struct control *c, struct draft *draft)
{
	struct mirror_object *o;

	TAILQ_FOREACH(o, &c->m.dirty, in_dirty)
	{
		struct mirror_task *task = (struct mirror_task *)o;

		if (o->kind != STORE_TASK || task->node != draft->node || !is_told(task))
			continue;
		if (o->removed)
			draft->removed[draft->removed_count++] = task->t->id;
		else if (task->send)
			draft->tasks[draft->task_count++] = *task->t;
	}
}

/* How many of the changed objects concern each node. */
static size_t count_changes(struct control *c)
{
	struct mirror_object *o;
	size_t total = 0;

	for (size_t i = 0; i < c->m.nodes.count; i++)
		mirror_node_at(&c->m, i)->mine = 0;
	TAILQ_FOREACH(o, &c->m.dirty, in_dirty)
	{
		struct mirror_task *task = (struct mirror_task *)o;

		if (o->kind != STORE_TASK || !task->node || (!o->removed && !task->send))
			continue;
		task->node->mine++;
		total++;
	}
	return total;
}

static int send_increments(struct control *c, struct err *err)
{
	if (count_changes(c) == 0)
		return 0;
	for (size_t i = 0; i < c->m.nodes.count; i++) {
		struct mirror_node *node = mirror_node_at(&c->m, i);
		auto_draft struct draft draft = {0};

		if (node->session == 0 || node->mine == 0 || node->whole)
			continue;
		if (draft_init(&draft, node, node->mine, err) < 0)
			return -1;
		add_changes(c, &draft);
		if (draft.task_count + draft.removed_count > 0 &&
		    send_draft(c, &draft, false, err) < 0)
			return -1;
	}
	return 0;
}

int dispatcher_run(struct control *c, struct err *err)
{
	if (send_increments(c, err) < 0)
		return -1;
	for (size_t i = 0; i < c->m.nodes.count; i++) {
		struct mirror_node *node = mirror_node_at(&c->m, i);

		if (!node->whole)
			continue;
		node->whole = false;
		if (node->session != 0 && send_complete(c, node, err) < 0)
			return -1;
	}
	return 0;
}
