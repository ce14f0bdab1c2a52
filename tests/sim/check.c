/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "cluster/service.h"
#include "sim.h"

/* check - what must hold at every step, and what must have come about in the end. */

struct seen {
	enum task_state state, desired;
	char node[32];
	uint64_t scan;
	bool gone;
	bool forgotten; /* by its node, as told */
	bool started;   /* once, wherever */
};

/* ---- tasks in the store ---- */

static void check_task(struct world *w, const struct task *t)
{
	struct seen *seen = map_find(w->seen, t->id);
	const char *node = t->node_id ? t->node_id : "";

	if (!seen) {
		seen = calloc(1, sizeof(*seen));
		if (!seen || map_set(w->seen, t->id, seen, NULL, NULL) < 0)
			world_fail(w, "out of memory");
	}
	if (seen->gone)
		world_fail(w, "task %s is back after it was removed", t->id);
	if (t->status.state < seen->state)
		world_fail(w, "the state of task %s falls from %s to %s", t->id,
		           task_state_name(seen->state), task_state_name(t->status.state));
	if (t->desired < seen->desired)
		world_fail(w, "the desired state of task %s falls from %s to %s", t->id,
		           task_state_name(seen->desired), task_state_name(t->desired));
	if (seen->node[0] && strcmp(seen->node, node) != 0)
		world_fail(w, "task %s moves from %s to %s", t->id, seen->node, node);
	seen->state = t->status.state;
	seen->desired = t->desired;
	seen->scan = w->scan;
	snprintf(seen->node, sizeof(seen->node), "%s", node);
}

static void mark_gone(struct world *w)
{
	const char *id;
	void *value;

	map_for_each (w->seen, iter, &id, &value) {
		struct seen *seen = value;

		if (seen->scan != w->scan)
			seen->gone = true;
	}
}

/* At most one task of a slot may be wanted (but for start-first). */
static void check_slots(struct world *w)
{
	const struct task *t, *u;

	for (size_t at = 0; (t = control_next_task(w->leader->c, &at)) != NULL;)
		for (size_t next = at; (u = control_next_task(w->leader->c, &next)) != NULL;)
			if (t->slot == u->slot && str_eq(t->service_id, u->service_id) &&
			    t->desired <= TASK_RUNNING && u->desired <= TASK_RUNNING &&
			    !str_eq(t->service_name, "service3"))
				world_fail(w, "two tasks of %s.%lld are wanted", t->service_name,
				           (long long)t->slot);
}

/* Nobody is called dead whom the leader could not have missed three times. */
static void check_nodes(struct world *w)
{
	struct master *m = w->leader;

	for (size_t i = 0; i < w->nodes; i++) {
		const struct node *n = control_node(w->leader->c, w->agents[i].id);
		bool down = n && str_eq(n->status.state, "down");
		int64_t since = m->heard_ms[i] > m->opened_ms ? m->heard_ms[i] : m->opened_ms;

		if (down && !w->was_down[i]) {
			w->counts.deaths++;
			if (!m->unsure && w->now_ms - since < 3 * SIM_BEAT_MS - 100)
				world_fail(w, "node%zu is called dead after %lld ms", i,
				           (long long)(w->now_ms - since));
		}
		w->was_down[i] = down;
	}
	m->unsure = false;
}

/* By their own clocks: what a leader says to a reader is true only if no other can write meanwhile. */
void check_event(struct world *w)
{
	const struct master *one = NULL;

	if (w->now_ms < w->unsafe_until_ms) /* etcd broke its word: only writes are safe */
		return;
	for (size_t i = 0; i < w->master_count; i++) {
		const struct master *m = &w->masters[i];

		if (!master_may_lead(w, m))
			continue;
		if (one)
			world_fail(w, "master%zu and master%zu may both lead", one->i, m->i);
		one = m;
	}
}

void check_step(struct world *w)
{
	const struct task *t;
	int64_t revision = control_revision(w->leader->c);

	w->counts.steps++;
	if (revision < w->revision)
		world_fail(w, "the revision falls from %lld to %lld", (long long)w->revision,
		           (long long)revision);
	check_nodes(w);
	if (revision == w->revision)
		return;
	w->revision = revision;
	w->scan++;
	for (size_t at = 0; (t = control_next_task(w->leader->c, &at)) != NULL;)
		check_task(w, t);
	mark_gone(w);
	check_slots(w);
}

/* ---- acknowledged writes ---- */

static bool is_as(const struct service *s, const struct order *order)
{
	if (!order->exists || !s)
		return order->exists == (s != NULL);
	return s->spec.replicas == order->replicas &&
	       leader_image(s->spec.task.container.image) == order->image;
}

void check_wish(struct world *w, size_t k)
{
	struct wish *wish = &w->wishes[k];
	char name[16];

	leader_name(k, name);
	const struct service *s = service_find(w->leader->c, name, NULL);
	/* An update that failed may have been rolled back by the leader, as asked. */
	bool back =
		s && k == 1 && s->update_status && str_starts(s->update_status->state, "rollback");
	if (back) {
		wish->known = (struct order){.exists = true,
		                             .replicas = s->spec.replicas,
		                             .image = leader_image(s->spec.task.container.image)};
	} else if (is_as(s, &wish->known)) {
	} else if (wish->unsure && is_as(s, &wish->maybe)) {
		wish->known = wish->maybe;
	} else {
		world_fail(w, "an acknowledged write of %s is lost", name);
	}
	wish->unsure = false;
}

/* ---- agents ---- */

void check_accept(struct world *w, size_t node, const char *task_id)
{
	const struct seen *seen = map_find(w->seen, task_id);

	if (!seen)
		world_fail(w, "node%zu is told of task %s, which was never written", node, task_id);
	if (seen->forgotten)
		world_fail(w, "node%zu is told again of task %s, which it was told to forget", node,
		           task_id);
	if (strcmp(seen->node, w->agents[node].id) != 0)
		world_fail(w, "node%zu is told of task %s, which is of %s", node, task_id,
		           seen->node);
}

/* A container goes because its task ends, or because the store holds it no longer. */
void check_forget(struct world *w, size_t node, const char *task_id)
{
	struct seen *seen = map_find(w->seen, task_id);

	if (!seen)
		return;
	if (!seen->gone && seen->desired <= TASK_RUNNING && !task_state_is_final(seen->state) &&
	    w->leader && !w->leader->unsure)
		world_fail(w, "node%zu forgets task %s, which shall run", node, task_id);
	seen->forgotten = true;
}

/* May the store still believe that it runs? */
static bool is_live(const struct world *w, const struct agent_task *task)
{
	const struct seen *seen = map_find(w->seen, task->id);

	return seen && !seen->gone && !task_state_is_final(seen->state);
}

static bool is_start_first(const struct world *w, const char *service_id)
{
	const struct service *s = w->leader ? control_service(w->leader->c, service_id) : NULL;

	return !s || str_eq(s->spec.name, "service3");
}

void check_started(struct world *w, size_t node, const struct agent_task *task)
{
	struct seen *seen = map_find(w->seen, task->id);

	if (seen && seen->started)
		world_fail(w, "node%zu starts task %s again", node, task->id);
	if (seen)
		seen->started = true;
	for (size_t i = 0; i < w->nodes; i++) {
		const struct agent *a = &w->agents[i];

		for (size_t k = 0; k < a->count; k++) {
			const struct agent_task *other = &a->tasks[k];

			if (other == task || !other->container || other->slot != task->slot ||
			    strcmp(other->service, task->service) != 0 ||
			    is_start_first(w, task->service))
				continue;
			if (i == node)
				world_fail(w, "node%zu runs two of a slot: %s and %s", i, task->id,
				           other->id);
			if (is_live(w, task) && is_live(w, other))
				world_fail(w, "two of a slot run: %s on node%zu, %s on node%zu",
				           task->id, node, other->id, i);
		}
	}
}

/* ---- the end ---- */

static const struct agent_task *container_of(const struct world *w, const struct task *t)
{
	for (size_t i = 0; i < w->nodes; i++)
		for (size_t k = 0; k < w->agents[i].count; k++)
			if (str_eq(w->agents[i].tasks[k].id, t->id) &&
			    str_eq(w->agents[i].id, t->node_id))
				return &w->agents[i].tasks[k];
	return NULL;
}

static int64_t check_running(struct world *w, const struct service *s)
{
	const struct task *t;
	int64_t running = 0;

	for (size_t at = 0; (t = control_next_task(w->leader->c, &at)) != NULL;) {
		if (!str_eq(t->service_id, s->id) || t->desired > TASK_RUNNING)
			continue;
		const struct agent_task *task = container_of(w, t);
		if (t->desired != TASK_RUNNING || t->status.state != TASK_RUNNING || !task ||
		    !task->container)
			world_fail(w, "task %s of %s.%lld on %s is %s, shall be %s (%s)", t->id,
			           s->spec.name, (long long)t->slot,
			           t->node_id ? t->node_id : "no node",
			           task_state_name(t->status.state), task_state_name(t->desired),
			           t->status.error ? t->status.error : "");
		if (t->spec_version != s->spec_version)
			world_fail(w, "task %s of %s was not updated (%s: %s)", t->id, s->spec.name,
			           s->update_status ? s->update_status->state : "",
			           s->update_status ? s->update_status->message : "");
		running++;
	}
	return running;
}

static void log_tasks(struct world *w)
{
	const struct task *t;

	for (size_t at = 0; (t = control_next_task(w->leader->c, &at)) != NULL;)
		world_log(w, "%s %s.%lld g%lld v%lld on %s: %s, shall be %s%s", t->id,
		          t->service_name, (long long)t->slot, (long long)t->generation,
		          (long long)t->spec_version, t->node_id ? t->node_id : "-",
		          task_state_name(t->status.state), task_state_name(t->desired),
		          t->done ? ", done" : "");
}

void check_end(struct world *w)
{
	if (!w->leader)
		world_fail(w, "nobody leads in the end");
	log_tasks(w);
	const struct service *s;
	size_t containers = 0;
	int64_t wanted = 0;

	for (size_t k = 0; k < SIM_SERVICES; k++)
		check_wish(w, k);
	for (size_t at = 0; (s = control_next_service(w->leader->c, &at)) != NULL;) {
		int64_t running = check_running(w, s);

		if (running != s->spec.replicas)
			world_fail(w, "%s runs %lld times, not %lld", s->spec.name,
			           (long long)running, (long long)s->spec.replicas);
		wanted += running;
	}
	for (size_t i = 0; i < w->nodes; i++)
		for (size_t k = 0; k < w->agents[i].count; k++)
			containers += w->agents[i].tasks[k].container;
	if ((int64_t)containers != wanted)
		world_fail(w, "%zu containers run, and %lld are wanted", containers,
		           (long long)wanted);
	for (size_t i = 0; i < w->nodes; i++)
		if (w->was_down[i])
			world_fail(w, "node%zu is still called down", i);
}

void check_done(struct world *w)
{
	const char *id;
	void *value;

	map_for_each (w->seen, iter, &id, &value)
		free(value);
	map_free(w->seen);
}
