/* SPDX-License-Identifier: Apache-2.0 */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "base/str.h"
#include "cluster/constraint.h"
#include "cluster/control_state.h"
#include "cluster/fits.h"

/*
 * scheduler - gives waiting tasks a node, or says why none will do.
 *
 * All waiting tasks of a service are one batch. A node must pass every filter; among those that
 * do, the one with the fewest tasks of the service wins, then the least loaded. Waiting tasks are
 * looked at again only when c->schedule says that something changed.
 */

#define FAILURES_MANY      5 /* ended badly on a node: it is asked last */
#define FAILURES_WINDOW_MS (INT64_C(5) * 60 * 1000)

enum filter {
	FILTER_READY,
	FILTER_CONSTRAINTS,
	FILTER_RESOURCES,
	FILTER_PORTS,
	FILTER_REPLICAS,
	FILTERS,
};

static const char *const filter_names[FILTERS] = {
	[FILTER_READY] = "ready",           [FILTER_CONSTRAINTS] = "constraints",
	[FILTER_RESOURCES] = "resources",   [FILTER_PORTS] = "ports",
	[FILTER_REPLICAS] = "max-replicas",
};

static const char *const filter_words[FILTERS] = {
	[FILTER_READY] = "not available for new tasks on",
	[FILTER_CONSTRAINTS] = "scheduling constraints not satisfied on",
	[FILTER_RESOURCES] = "insufficient resources on",
	[FILTER_PORTS] = "host-mode port already in use on",
	[FILTER_REPLICAS] = "max replicas per node limit exceed on",
};

/* The nodes of one value of the spread preference. */
struct group {
	const char *value; /* borrowed from a node */
	size_t tasks;
};

struct batch {
	struct control *c;
	struct mirror_service *service;
	const char *spread; /* key of the first preference, or NULL */
	struct group *groups;
	size_t group_count;
	size_t out[FILTERS]; /* nodes ruled out, per filter, for the task at hand */
};

/* ---- filters ---- */

static bool is_ready(const struct mirror_node *node)
{
	return node->alive && str_eq(node->n->status.state, "ready") &&
	       str_eq(node->n->spec.availability, "active");
}

bool scheduler_allows(const struct mirror_node *node, const struct service_task *spec)
{
	for (size_t i = 0; i < spec->placement.constraints.count; i++) {
		struct constraint constraint;

		if (constraint_parse(spec->placement.constraints.items[i], &constraint, NULL) < 0 ||
		    !constraint_match(&constraint, node->n))
			return false;
	}
	return true;
}

static bool has_host_port(const struct service_endpoint *endpoint, const struct model_port *port)
{
	const struct model_port *ports = endpoint->ports.items;

	for (size_t i = 0; i < endpoint->ports.count; i++)
		if (str_eq(ports[i].publish_mode, "host") &&
		    ports[i].published_port == port->published_port &&
		    str_eq(ports[i].protocol, port->protocol))
			return true;
	return false;
}

static bool port_is_taken(const struct mirror_node *node, const struct mirror_task *except,
                          const struct model_port *port)
{
	const struct mirror_task *task;

	TAILQ_FOREACH(task, &node->tasks, of_node)
	if (task != except && task->counted && task->service &&
	    has_host_port(&task->service->s->endpoint, port))
		return true;
	return false;
}

static bool ports_are_free(const struct mirror_node *node, const struct mirror_task *task)
{
	const struct service_endpoint *endpoint = &task->service->s->endpoint;
	const struct model_port *ports = endpoint->ports.items;

	for (size_t i = 0; i < endpoint->ports.count; i++)
		if (str_eq(ports[i].publish_mode, "host") && ports[i].published_port > 0 &&
		    port_is_taken(node, task, &ports[i]))
			return false;
	return true;
}

/* The first filter that rules the node out; FILTERS: none does. */
static enum filter rule_out(const struct mirror_node *node, const struct mirror_task *task)
{
	const struct service_task *spec = &task->t->spec;

	if (!is_ready(node))
		return FILTER_READY;
	if (!scheduler_allows(node, spec))
		return FILTER_CONSTRAINTS;
	if (!fits(&node->n->description.resources, &node->used, &spec->resources.reservations))
		return FILTER_RESOURCES;
	if (!ports_are_free(node, task))
		return FILTER_PORTS;
	if (spec->placement.max_replicas > 0 && (int64_t)node->mine >= spec->placement.max_replicas)
		return FILTER_REPLICAS;
	return FILTERS;
}

/* ---- the batch ---- */

static struct group *group_of(struct batch *batch, const struct mirror_node *node)
{
	if (!batch->spread)
		return NULL;
	const char *value = constraint_value(batch->spread, strlen(batch->spread), node->n);

	for (size_t i = 0; i < batch->group_count; i++)
		if (str_eq(batch->groups[i].value, value ? value : ""))
			return &batch->groups[i];
	batch->groups[batch->group_count] = (struct group){.value = value ? value : ""};
	return &batch->groups[batch->group_count++];
}

static bool failed_lately(const struct control *c, const struct mirror_task *task)
{
	enum task_state state = task->t->status.state;

	return (state == TASK_FAILED || state == TASK_REJECTED) && task->ended_ms >= 0 &&
	       task->ended_ms + FAILURES_WINDOW_MS > c->now.mono_ms;
}

static int batch_init(struct batch *batch, struct control *c, struct mirror_service *service,
                      struct err *err)
{
	const struct json_array *preferences = &service->s->spec.task.placement.preferences;
	struct mirror_task *task;

	*batch = (struct batch){.c = c, .service = service};
	if (preferences->count > 0)
		batch->spread =
			((struct service_preference *)preferences->items)[0].spread.descriptor;
	batch->groups = calloc(c->m.nodes.count + 1, sizeof(*batch->groups));
	if (!batch->groups)
		return err_nomem(err);
	for (size_t i = 0; i < c->m.nodes.count; i++)
		mirror_node_at(&c->m, i)->mine = mirror_node_at(&c->m, i)->failed = 0;
	TAILQ_FOREACH(task, &service->tasks, of_service)
	{
		if (!task->node)
			continue;
		if (failed_lately(c, task))
			task->node->failed++;
		if (task->t->desired > TASK_RUNNING || task->t->status.state < TASK_ASSIGNED)
			continue;
		task->node->mine++;
		struct group *group = group_of(batch, task->node);
		if (group)
			group->tasks++;
	}
	return 0;
}

static int64_t percent(int64_t part, int64_t whole)
{
	return whole > 0 ? part / ((whole + 99) / 100) : 0;
}

static int64_t load_of(const struct mirror_node *node)
{
	const struct model_resources *total = &node->n->description.resources;

	return percent(node->used.nano_cpus, total->nano_cpus) +
	       percent(node->used.memory_bytes, total->memory_bytes);
}

static int order(int64_t a, int64_t b)
{
	return (a > b) - (a < b);
}

/* Negative: a is the better place. Both passed the filters. */
static int compare(struct batch *batch, const struct mirror_node *a, const struct mirror_node *b)
{
	int by = order(a->failed >= FAILURES_MANY, b->failed >= FAILURES_MANY);

	if (by == 0 && batch->spread)
		by = order((int64_t)group_of(batch, a)->tasks, (int64_t)group_of(batch, b)->tasks);
	if (by == 0)
		by = order((int64_t)a->mine, (int64_t)b->mine);
	if (by == 0)
		by = order(a->active, b->active);
	return by ? by : order(load_of(a), load_of(b));
}

static struct mirror_node *choose(struct batch *batch, const struct mirror_task *task)
{
	struct control *c = batch->c;
	struct mirror_node *best = NULL;

	memset(batch->out, 0, sizeof(batch->out));
	for (size_t i = 0; i < c->m.nodes.count; i++) {
		struct mirror_node *node = mirror_node_at(&c->m, i);

		if (task->node && task->node != node) /* a global task has its node already */
			continue;
		enum filter filter = rule_out(node, task);
		if (filter != FILTERS)
			batch->out[filter]++;
		else if (!best || compare(batch, node, best) < 0)
			best = node;
	}
	return best;
}

/* "no suitable node (insufficient resources on 2 nodes; ...)", the most frequent reason first. */
static void explain(const struct batch *batch, struct buf *out)
{
	size_t left[FILTERS], reasons = 0;

	memcpy(left, batch->out, sizeof(left));
	buf_add(out, "no suitable node");
	for (;;) {
		size_t most = 0;

		for (size_t i = 1; i < FILTERS; i++)
			if (left[i] > left[most])
				most = i;
		if (left[most] == 0)
			break;
		buf_addf(out, "%s%s %zu node%s", reasons++ ? "; " : " (", filter_words[most],
		         left[most], left[most] == 1 ? "" : "s");
		left[most] = 0;
	}
	if (reasons)
		buf_add(out, ")");
}

/* ---- explaining without placing ---- */

static int explain_node(const struct mirror_node *node, enum filter filter, struct json *list,
                        struct err *err)
{
	struct json *one = json_object();

	json_set(one, "ID", json_string(node->o.id));
	json_set(one, "Hostname",
	         json_string(node->n->description.hostname ? node->n->description.hostname : ""));
	json_set(one, "Filter", json_string(filter == FILTERS ? "" : filter_names[filter]));
	return json_append(list, one) < 0 ? err_nomem(err) : 0;
}

static int explain_filters(const struct batch *batch, struct json *list, struct err *err)
{
	for (size_t i = 0; i < FILTERS; i++) {
		struct json *one = json_object();

		json_set(one, "Name", json_string(filter_names[i]));
		json_set(one, "Reason", json_string(filter_words[i]));
		json_set(one, "Nodes", json_int((int64_t)batch->out[i]));
		if (json_append(list, one) < 0)
			return err_nomem(err);
	}
	return 0;
}

int scheduler_explain(struct control *c, const struct mirror_task *task, struct json *filters,
                      struct json *nodes, struct err *err)
{
	struct batch batch;
	int rc = 0;

	if (batch_init(&batch, c, task->service, err) < 0)
		return -1;
	for (size_t i = 0; rc == 0 && i < c->m.nodes.count; i++) {
		const struct mirror_node *node = mirror_node_at(&c->m, i);

		if (task->t->node_id && *task->t->node_id && !str_eq(task->t->node_id, node->o.id))
			continue; /* a global task is for that node alone */
		enum filter filter = rule_out(node, task);
		if (filter != FILTERS)
			batch.out[filter]++;
		rc = explain_node(node, filter, nodes, err);
	}
	if (rc == 0)
		rc = explain_filters(&batch, filters, err);
	free(batch.groups);
	return rc;
}

static int place(struct batch *batch, struct mirror_task *task, struct err *err)
{
	struct mirror *m = &batch->c->m;
	struct mirror_node *node = choose(batch, task);

	if (!node) {
		auto_buf struct buf why = BUF_INIT(ERR_MSG_MAX);

		explain(batch, &why);
		return mirror_set_error(m, task, "pending task scheduling", buf_str(&why), err);
	}
	node->mine++;
	struct group *group = group_of(batch, node);
	if (group)
		group->tasks++;
	if (mirror_assign(m, task, node, err) < 0)
		return -1;
	return mirror_set_error(m, task, "scheduler assigned task to node", NULL, err);
}

static int schedule_service(struct control *c, struct mirror_service *service, struct err *err)
{
	struct batch batch;
	struct mirror_task *task;
	int result = 0;

	if (batch_init(&batch, c, service, err) < 0)
		return -1;
	TAILQ_FOREACH(task, &service->tasks, of_service)
	if (result == 0 && task->waiting)
		result = place(&batch, task, err);
	free(batch.groups);
	return result;
}

int scheduler_run(struct control *c, struct err *err)
{
	if (!c->schedule)
		return 0;
	c->schedule = false;
	for (size_t i = 0; i < c->m.services.count; i++) {
		struct mirror_service *service = mirror_service_at(&c->m, i);

		if (service->waiting > 0 && schedule_service(c, service, err) < 0)
			return -1;
	}
	return 0;
}
