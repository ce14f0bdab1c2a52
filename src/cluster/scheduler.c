/* SPDX-License-Identifier: Apache-2.0 */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "base/str.h"
#include "cluster/constraint.h"
#include "cluster/fits.h"
#include "cluster/scheduler_state.h"

/*
 * scheduler - gives waiting tasks a node, or says why none will do.
 *
 * Waiting tasks of a service that ask for the same are one batch, for which the placer (placer.h)
 * finds nodes; here is what it needs to know of tasks and services, and the explaining. A task for
 * which there is no node is blocked: it is asked about again when a node has more room that it
 * could use, or when nodes or services are others than before, and not in every step.
 */

#define FAILURES_WINDOW_MS (INT64_C(5) * 60 * 1000)

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

/* The waiting tasks of a service that are alike. */
struct batch {
	struct control *c;
	struct mirror_service *service;
	struct mirror_task **tasks; /* borrowed */
	size_t count;
	const struct mirror_task *except; /* is not counted where it is */
};

/* ---- filters ---- */

bool scheduler_is_ready(const struct mirror_node *node)
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

enum filter scheduler_rule_out_but(const struct mirror_node *node, const struct mirror_task *task,
                                   enum filter aside)
{
	const struct service_task *spec = &task->t->spec;

	if (!scheduler_is_ready(node))
		return FILTER_READY;
	if (!scheduler_allows(node, spec))
		return FILTER_CONSTRAINTS;
	if (aside != FILTER_RESOURCES &&
	    !fits(&node->n->description.resources, &node->used, &spec->resources.reservations))
		return FILTER_RESOURCES;
	if (!ports_are_free(node, task))
		return FILTER_PORTS;
	if (spec->placement.max_replicas > 0 && (int64_t)node->mine >= spec->placement.max_replicas)
		return FILTER_REPLICAS;
	return FILTERS;
}

enum filter scheduler_rule_out(const struct mirror_node *node, const struct mirror_task *task)
{
	return scheduler_rule_out_but(node, task, FILTERS);
}

/* ---- explaining ---- */

bool scheduler_is_mine(const struct mirror_task *task)
{
	return task->node && task->t->desired <= TASK_RUNNING &&
	       task->t->status.state >= TASK_ASSIGNED;
}

/* How many tasks of the service each node has. */
void scheduler_count_mine(struct control *c, const struct mirror_service *service)
{
	const struct mirror_task *task;

	for (size_t i = 0; i < c->m.nodes.count; i++)
		mirror_node_at(&c->m, i)->mine = 0;
	TAILQ_FOREACH(task, &service->tasks, of_service)
	if (scheduler_is_mine(task))
		task->node->mine++;
}

/* Counts the nodes that each filter rules out for a task. */
static void rule_out_all(struct control *c, const struct mirror_task *task, size_t out[FILTERS])
{
	memset(out, 0, FILTERS * sizeof(*out));
	scheduler_count_mine(c, task->service);
	for (size_t i = 0; i < c->m.nodes.count; i++) {
		const struct mirror_node *node = mirror_node_at(&c->m, i);
		enum filter filter = scheduler_rule_out(node, task);

		if (filter != FILTERS)
			out[filter]++;
	}
}

/* "no suitable node (insufficient resources on 2 nodes; ...)", the most frequent reason first. */
static void explain(const size_t ruled_out[FILTERS], struct buf *out)
{
	size_t left[FILTERS], reasons = 0;

	memcpy(left, ruled_out, sizeof(left));
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

static int explain_filters(const size_t out[FILTERS], struct json *list, struct err *err)
{
	for (size_t i = 0; i < FILTERS; i++) {
		struct json *one = json_object();

		json_set(one, "Name", json_string(filter_names[i]));
		json_set(one, "Reason", json_string(filter_words[i]));
		json_set(one, "Nodes", json_int((int64_t)out[i]));
		if (json_append(list, one) < 0)
			return err_nomem(err);
	}
	return 0;
}

int scheduler_explain(struct control *c, const struct mirror_task *task, struct json *filters,
                      struct json *nodes, struct err *err)
{
	size_t out[FILTERS] = {0};
	int rc = 0;

	scheduler_count_mine(c, task->service);
	for (size_t i = 0; rc == 0 && i < c->m.nodes.count; i++) {
		const struct mirror_node *node = mirror_node_at(&c->m, i);

		if (task->t->node_id && *task->t->node_id && !str_eq(task->t->node_id, node->o.id))
			continue; /* a global task is for that node alone */
		enum filter filter = scheduler_rule_out(node, task);
		if (filter != FILTERS)
			out[filter]++;
		rc = explain_node(node, filter, nodes, err);
	}
	return rc < 0 ? -1 : explain_filters(out, filters, err);
}

/* ---- batches ---- */

static bool same_strings(const struct json_strings *a, const struct json_strings *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++)
		if (strcmp(a->items[i], b->items[i]) != 0)
			return false;
	return true;
}

static bool same_spreads(const struct json_array *a, const struct json_array *b)
{
	const struct service_preference *x = a->items, *y = b->items;

	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++)
		if (!str_eq(x[i].spread.descriptor, y[i].spread.descriptor))
			return false;
	return true;
}

/* Does the one fit exactly where the other does, and like the same places? */
static bool alike(const struct mirror_task *a, const struct mirror_task *b)
{
	const struct service_task *x = &a->t->spec, *y = &b->t->spec;

	if (a->node || b->node) /* each has its node: nothing is to be chosen */
		return a->node && b->node;
	return x->resources.reservations.nano_cpus == y->resources.reservations.nano_cpus &&
	       x->resources.reservations.memory_bytes == y->resources.reservations.memory_bytes &&
	       x->placement.max_replicas == y->placement.max_replicas &&
	       same_strings(&x->placement.constraints, &y->placement.constraints) &&
	       same_spreads(&x->placement.preferences, &y->placement.preferences);
}

static bool failed_lately(const struct control *c, const struct mirror_task *task)
{
	enum task_state state = task->t->status.state;

	return (state == TASK_FAILED || state == TASK_REJECTED) && task->ended_ms >= 0 &&
	       task->ended_ms + FAILURES_WINDOW_MS > c->now.mono_ms;
}

static bool has_host_ports(const struct mirror_service *service)
{
	const struct model_port *ports = service->s->endpoint.ports.items;

	for (size_t i = 0; i < service->s->endpoint.ports.count; i++)
		if (str_eq(ports[i].publish_mode, "host") && ports[i].published_port > 0)
			return true;
	return false;
}

static bool ports_collide(const struct mirror_service *a, const struct mirror_service *b)
{
	const struct model_port *ports = a->s->endpoint.ports.items;

	for (size_t i = 0; i < a->s->endpoint.ports.count; i++)
		if (str_eq(ports[i].publish_mode, "host") && ports[i].published_port > 0 &&
		    has_host_port(&b->s->endpoint, &ports[i]))
			return true;
	return false;
}

/* Nodes on which a port of the service is taken. */
static void block_ports(const struct batch *batch)
{
	struct mirror *m = &batch->c->m;

	for (size_t i = 0; i < m->services.count; i++) {
		const struct mirror_service *other = mirror_service_at(m, i);
		const struct mirror_task *task;

		if (!ports_collide(batch->service, other))
			continue;
		TAILQ_FOREACH(task, &other->tasks, of_service)
		if (task->counted && task->node)
			placer_block(batch->c->scheduler->placer, task->node->slot - 1);
	}
}

static int begin(const struct batch *batch, struct err *err)
{
	const struct service_task *spec = &batch->tasks[0]->t->spec;
	struct placer *placer = batch->c->scheduler->placer;
	struct mirror_task *task;
	struct placer_request request = {
		.want = spec->resources.reservations,
		.constraints = &spec->placement.constraints,
		.preferences = &spec->placement.preferences,
		.max_replicas = spec->placement.max_replicas,
		.count = batch->count,
		.job = service_mode_is_job(batch->service->s->spec.mode),
		.alone = has_host_ports(batch->service),
	};

	if (placer_begin(placer, &request, err) < 0)
		return -1;
	TAILQ_FOREACH(task, &batch->service->tasks, of_service)
	{
		if (task->node && task != batch->except && scheduler_is_mine(task))
			placer_count(placer, task->node->slot - 1);
		if (task->node && failed_lately(batch->c, task))
			placer_fail(placer, task->node->slot - 1);
	}
	if (request.alone)
		block_ports(batch);
	return 0;
}

static int assign(struct control *c, struct mirror_task *task, struct mirror_node *node,
                  struct err *err)
{
	if (mirror_assign(&c->m, task, node, err) < 0)
		return -1;
	scheduler_note(c->scheduler, node);
	return mirror_set_error(&c->m, task, "scheduler assigned task to node", NULL, err);
}

static int block(struct control *c, struct mirror_task *task, const char *why, struct err *err)
{
	mirror_set_blocked(task, true);
	return mirror_set_error(&c->m, task, "pending task scheduling", why, err);
}

/* The tasks from the i-th on wait until something changes. */
static int block_rest(const struct batch *batch, size_t i, struct err *err)
{
	auto_buf struct buf why = BUF_INIT(ERR_MSG_MAX);
	size_t out[FILTERS];

	rule_out_all(batch->c, batch->tasks[i], out);
	explain(out, &why);
	if (preempt_next(batch->c) != INT64_MAX && preempt_may(batch->c, batch->tasks[i]))
		buf_add(&why, "; more tasks of lower priority may make room in a moment");
	for (; i < batch->count; i++)
		if (block(batch->c, batch->tasks[i], buf_str(&why), err) < 0)
			return -1;
	return 0;
}

/* The tasks from the i-th on fit nowhere. */
static int place_rest(const struct batch *batch, size_t i, struct err *err)
{
	int placed = 0;

	if (preempt_may(batch->c, batch->tasks[i])) {
		scheduler_count_mine(batch->c, batch->service);
		placed = preempt_place(batch->c, &batch->tasks[i], batch->count - i, err);
	}
	if (placed < 0)
		return -1;
	i += (size_t)placed;
	return i < batch->count ? block_rest(batch, i, err) : 0;
}

/* A global task is for one node: will it do? */
static int place_bound(const struct batch *batch, struct err *err)
{
	scheduler_count_mine(batch->c, batch->service);
	for (size_t i = 0; i < batch->count; i++) {
		struct mirror_task *task = batch->tasks[i];
		auto_buf struct buf why = BUF_INIT(ERR_MSG_MAX);
		size_t out[FILTERS] = {0};
		enum filter filter = scheduler_rule_out(task->node, task);

		if (filter == FILTERS) {
			if (assign(batch->c, task, task->node, err) < 0)
				return -1;
			task->node->mine++;
			continue;
		}
		int placed = filter == FILTER_RESOURCES
		                     ? preempt_place(batch->c, &batch->tasks[i], 1, err)
		                     : 0;
		if (placed < 0)
			return -1;
		if (placed > 0)
			continue;
		out[filter] = 1;
		explain(out, &why);
		if (block(batch->c, task, buf_str(&why), err) < 0)
			return -1;
	}
	return 0;
}

static int place(const struct batch *batch, struct err *err)
{
	struct scheduler *s = batch->c->scheduler;

	if (batch->tasks[0]->node)
		return place_bound(batch, err);
	if (begin(batch, err) < 0)
		return -1;
	for (size_t i = 0; i < batch->count; i++) {
		uint32_t slot = placer_next(s->placer);

		if (slot == PLACER_NONE)
			return place_rest(batch, i, err);
		if (assign(batch->c, batch->tasks[i], s->places[slot].node, err) < 0)
			return -1;
	}
	return 0;
}

static bool failed_there(const struct control *c, const struct mirror_service *service,
                         const struct mirror_node *node)
{
	const struct mirror_task *task;

	TAILQ_FOREACH(task, &service->tasks, of_service)
	if (task->node == node && failed_lately(c, task))
		return true;
	return false;
}

int scheduler_ask(struct control *c, struct mirror_service *service, struct mirror_task *task,
                  struct mirror_node **node, struct err *err)
{
	struct batch batch = {
		.c = c, .service = service, .tasks = &task, .count = 1, .except = task};
	struct scheduler *s = c->scheduler;

	*node = NULL;
	if (scheduler_sync(c, err) < 0)
		return -1;
	if (s->changed || s->gained_count > 0) { /* what waits has not heard of it */
		c->schedule = true;
		c->m.woken = true;
	}
	if (begin(&batch, err) < 0)
		return -1;
	uint32_t slot = placer_next(s->placer);
	if (slot == PLACER_NONE)
		return 0;
	scheduler_note(s, s->places[slot].node); /* nothing was placed there after all */
	if (!failed_there(c, service, s->places[slot].node))
		*node = s->places[slot].node;
	return 0;
}

/* ---- who is asked about ---- */

/* Could a blocked task be placed now? */
static bool is_woken(const struct control *c, const struct mirror_task *task)
{
	const struct scheduler *s = c->scheduler;
	const struct service_task *spec = &task->t->spec;

	/* Told to stop is room enough for a limit of replicas, and no node shows it. */
	if (!task->blocked || s->changed || s->gained_count > GAINED_MAX ||
	    spec->placement.max_replicas > 0)
		return true;
	enum filter aside = preempt_may(c, task) ? FILTER_RESOURCES : FILTERS;
	for (size_t i = 0; i < s->gained_count; i++)
		if ((!task->node || task->node == s->gained[i]) &&
		    scheduler_rule_out_but(s->gained[i], task, aside) == FILTERS)
			return true;
	return false;
}

/* Moves the tasks that are like the first to the front. Returns how many they are. */
static size_t gather(struct mirror_task **tasks, size_t count)
{
	size_t front = 1;

	for (size_t i = 1; i < count; i++) {
		struct mirror_task *task = tasks[i];

		if (!alike(tasks[0], task))
			continue;
		memmove(&tasks[front + 1], &tasks[front], (i - front) * sizeof(void *));
		tasks[front++] = task;
	}
	return front;
}

static int schedule_service(struct control *c, struct mirror_service *service, struct err *err)
{
	struct batch batch = {.c = c, .service = service};
	struct mirror_task *task;
	size_t count = 0;
	int rc = 0;
	auto_free struct mirror_task **tasks = calloc(service->waiting, sizeof(void *));

	if (!tasks)
		return err_nomem(err);
	TAILQ_FOREACH(task, &service->tasks, of_service)
	if (task->waiting && task->t->status.state != TASK_NEW && count < service->waiting)
		tasks[count++] = task;
	for (batch.tasks = tasks; rc == 0 && count > 0; batch.tasks += batch.count) {
		bool woken = false;

		batch.count = gather(batch.tasks, count);
		count -= batch.count;
		for (size_t i = 0; i < batch.count && !woken; i++)
			woken = is_woken(c, batch.tasks[i]);
		if (woken)
			rc = place(&batch, err);
	}
	return rc;
}

/* The services that want something, the highest priority first. */
static int by_priority(const void *left, const void *right)
{
	const struct mirror_service *a = *(struct mirror_service *const *)left;
	const struct mirror_service *b = *(struct mirror_service *const *)right;

	if (a->s->spec.priority != b->s->spec.priority)
		return a->s->spec.priority > b->s->spec.priority ? -1 : 1;
	return strcmp(a->o.id, b->o.id);
}

static bool asks(const struct control *c, const struct mirror_service *service)
{
	bool anything = c->scheduler->changed || c->scheduler->gained_count > 0;

	return service->waiting > service->blocked || (service->blocked > 0 && anything);
}

static int schedule_all(struct control *c, struct err *err)
{
	size_t total = c->m.services.count, count = 0;
	auto_free struct mirror_service **asking = calloc(total + 1, sizeof(void *));

	if (!asking)
		return err_nomem(err);
	c->scheduler->lowest = INT64_MAX;
	for (size_t i = 0; i < total; i++) {
		struct mirror_service *service = mirror_service_at(&c->m, i);

		if (!TAILQ_EMPTY(&service->tasks) &&
		    service->s->spec.priority < c->scheduler->lowest)
			c->scheduler->lowest = service->s->spec.priority;
		if (asks(c, service))
			asking[count++] = service;
	}
	if (count > 1)
		qsort(asking, count, sizeof(void *), by_priority);
	for (size_t i = 0; i < count; i++)
		if (schedule_service(c, asking[i], err) < 0)
			return -1;
	return 0;
}

int scheduler_run(struct control *c, struct err *err)
{
	if (!c->schedule)
		return 0;
	c->schedule = false;
	if (scheduler_sync(c, err) < 0)
		return -1;
	c->scheduler->changed |= c->m.woken;
	c->m.woken = false;
	return schedule_all(c, err);
}
