/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "cluster/control_state.h"

/*
 * health - which nodes are alive, by their heartbeats. Nothing of this touches the store until a
 * node dies or returns.
 *
 * Silent after SUSPECT missed heartbeats, or when its stream broke: connections go elsewhere from
 * then on, which costs nothing if it comes back. Dead after MISSED heartbeats. Two ways in which the leader itself may be the one at fault are
 * looked at first: it did not run for a while (the time of its own absence does not count against
 * anyone), or so many nodes go silent at once that its own network is the likelier cause (it
 * waits as long again, then lets them go a few at a time).
 */

#define SUSPECT        2
#define MISSED         3
#define MASS_MIN       3 /* nodes; in a smaller cluster one machine is a large part */
#define MASS_PERCENT   30
#define MASS_AT_A_TIME 10 /* percent of the nodes per heartbeat, once the wait is over */

static int64_t beat_ms(const struct control *c)
{
	return c->config.heartbeat_ms > 0 ? c->config.heartbeat_ms : PROTO_HEARTBEAT_MS;
}

static int64_t deadline_of(const struct control *c, const struct mirror_node *node)
{
	return node->seen_ms + MISSED * beat_ms(c);
}

static int64_t suspicion_of(const struct control *c, const struct mirror_node *node)
{
	return node->seen_ms + SUSPECT * beat_ms(c);
}

void health_set_silent(struct control *c, struct mirror_node *node, bool silent)
{
	c->reach += node->silent != silent;
	node->silent = silent;
}

int health_node_lost(struct control *c, struct mirror_node *node, const char *why, struct err *err)
{
	struct mirror_task *task = TAILQ_FIRST(&node->tasks);
	char *message = arena_strdup(&node->o.arena, why, err);

	if (!message)
		return -1;
	node->alive = false;
	node->session = 0;
	node->n->status.state = (char *)"down";
	node->n->status.message = message;
	mirror_touch(&c->m, &node->o);
	while (task) {
		struct mirror_task *next = TAILQ_NEXT(task, of_node);
		enum task_state state = task->t->status.state;

		if (state >= TASK_ASSIGNED && !task_state_is_final(state)) {
			mirror_set_state(&c->m, task, TASK_ORPHANED);
			if (mirror_set_error(&c->m, task, why, NULL, err) < 0)
				return -1;
		}
		task = next;
	}
	/* Global services look at nodes, not only at their tasks. */
	for (size_t i = 0; i < c->m.services.count; i++)
		if (service_mode_is_global(mirror_service_at(&c->m, i)->s->spec.mode))
			mirror_service_at(&c->m, i)->evaluate = true;
	c->schedule = true;
	return 0;
}

/* We were not there to listen: as after a take-over, everyone gets one grace. */
void health_begin(struct control *c)
{
	if (c->last_step_ms == 0 || c->now.mono_ms - c->last_step_ms <= 2 * beat_ms(c))
		return;
	for (size_t i = 0; i < c->m.nodes.count; i++)
		mirror_node_at(&c->m, i)->seen_ms = c->now.mono_ms;
}

static void count(const struct control *c, size_t *alive, size_t *silent)
{
	*alive = *silent = 0;
	for (size_t i = 0; i < c->m.nodes.count; i++) {
		const struct mirror_node *node = mirror_node_at(&c->m, i);

		if (!node->alive)
			continue;
		++*alive;
		/* Half a heartbeat early: those that fall together are counted together. */
		*silent += c->now.mono_ms + beat_ms(c) / 2 >= deadline_of(c, node);
	}
}

/* How many may be let go in this step. */
static size_t allowance(struct control *c)
{
	size_t alive, silent;

	count(c, &alive, &silent);
	if (silent < MASS_MIN || silent * 100 <= alive * MASS_PERCENT) {
		c->suspect_until_ms = 0;
		return silent;
	}
	if (c->suspect_until_ms == 0)
		c->suspect_until_ms = c->now.mono_ms + MISSED * beat_ms(c);
	if (c->now.mono_ms < c->suspect_until_ms)
		return 0;
	c->suspect_until_ms = c->now.mono_ms + beat_ms(c);
	return alive * MASS_AT_A_TIME / 100 + 1;
}

int health_run(struct control *c, struct err *err)
{
	size_t allowed = allowance(c);

	for (size_t i = 0; i < c->m.nodes.count; i++) {
		struct mirror_node *node = mirror_node_at(&c->m, i);

		if (node->alive && c->now.mono_ms >= suspicion_of(c, node))
			health_set_silent(c, node, true);
	}
	for (size_t i = 0; i < c->m.nodes.count && allowed > 0; i++) {
		struct mirror_node *node = mirror_node_at(&c->m, i);

		if (!node->alive || c->now.mono_ms < deadline_of(c, node))
			continue;
		if (health_node_lost(c, node, "heartbeat failure", err) < 0)
			return -1;
		allowed--;
	}
	return 0;
}

int64_t health_next(const struct control *c)
{
	int64_t next = INT64_MAX, suspicion = INT64_MAX;

	for (size_t i = 0; i < c->m.nodes.count; i++) {
		const struct mirror_node *node = mirror_node_at(&c->m, i);

		if (node->alive && deadline_of(c, node) < next)
			next = deadline_of(c, node);
		if (node->alive && !node->silent && suspicion_of(c, node) < suspicion)
			suspicion = suspicion_of(c, node);
	}
	/* In doubt, or late: not before the doubt is over. */
	if (next < c->suspect_until_ms)
		next = c->suspect_until_ms;
	return suspicion < next ? suspicion : next;
}
