/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "cluster/scheduler_state.h"

/*
 * scheduler_nodes - the placer's view of the nodes.
 *
 * Level-triggered like every loop: each run compares all nodes with what the placer was told, which
 * is a few numbers each, and tells it the difference. So nobody has to report a change, and a mirror
 * that was thrown away and read again is no special case.
 */

static struct scheduler *make(struct control *c, struct err *err)
{
	if (c->scheduler)
		return c->scheduler;
	struct scheduler *s = calloc(1, sizeof(*s));

	if (!s) {
		err_nomem(err);
		return NULL;
	}
	s->placer = placer_create(err);
	if (!s->placer) {
		free(s);
		return NULL;
	}
	c->scheduler = s;
	return s;
}

void scheduler_free(struct scheduler *s)
{
	if (!s)
		return;
	placer_free(s->placer);
	free(s->places);
	free(s);
}

static int grow(struct scheduler *s, size_t slot, struct err *err)
{
	size_t cap = slot < 64 ? 64 : slot * 2;

	if (slot < s->cap)
		return 0;
	struct place *grown = reallocarray(s->places, cap, sizeof(*grown));
	if (!grown)
		return err_nomem(err);
	memset(grown + s->cap, 0, (cap - s->cap) * sizeof(*grown));
	s->places = grown;
	s->cap = cap;
	return 0;
}

static int admit(struct scheduler *s, struct mirror_node *node, struct err *err)
{
	uint32_t slot = placer_add(s->placer, node->n, err);

	if (slot == PLACER_NONE)
		return -1;
	if (grow(s, slot, err) < 0) {
		placer_remove(s->placer, slot);
		return -1;
	}
	node->slot = slot + 1;
	s->places[slot] = (struct place){.node = node, .edition = node->edition};
	s->changed = true;
	return 0;
}

static void tell_load(struct scheduler *s, struct mirror_node *node, struct place *place)
{
	place->used = node->used;
	place->active = node->active;
	placer_set_load(s->placer, node->slot - 1, &node->used, node->active);
}

static bool is_more_room(const struct place *place, const struct mirror_node *node)
{
	return node->used.nano_cpus < place->used.nano_cpus ||
	       node->used.memory_bytes < place->used.memory_bytes || node->active < place->active;
}

static int compare_one(struct scheduler *s, struct mirror_node *node, struct err *err)
{
	struct place *place = &s->places[node->slot - 1];
	bool ready = scheduler_is_ready(node);

	place->round = s->round;
	if (place->edition != node->edition) {
		if (placer_change(s->placer, node->slot - 1, node->n, err) < 0)
			return -1;
		place->edition = node->edition;
		tell_load(s, node, place);
		s->changed = true;
	}
	if (place->ready != ready) {
		placer_set_ready(s->placer, node->slot - 1, ready);
		place->ready = ready;
		s->changed = true;
	}
	if (is_more_room(place, node) && ++s->gained_count <= GAINED_MAX)
		s->gained[s->gained_count - 1] = node;
	if (place->used.nano_cpus != node->used.nano_cpus ||
	    place->used.memory_bytes != node->used.memory_bytes || place->active != node->active)
		tell_load(s, node, place);
	return 0;
}

int scheduler_sync(struct control *c, struct err *err)
{
	struct scheduler *s = make(c, err);

	if (!s)
		return -1;
	s->round++;
	s->changed = false;
	s->gained_count = 0;
	for (size_t i = 0; i < c->m.nodes.count; i++) {
		struct mirror_node *node = mirror_node_at(&c->m, i);

		if (node->slot > 0)
			s->places[node->slot - 1].round = s->round;
	}
	for (size_t slot = 0; slot < s->cap; slot++)
		if (s->places[slot].node && s->places[slot].round != s->round) {
			placer_remove(s->placer, (uint32_t)slot);
			s->places[slot].node = NULL;
			s->changed = true;
		}
	for (size_t i = 0; i < c->m.nodes.count; i++) {
		struct mirror_node *node = mirror_node_at(&c->m, i);

		if ((node->slot == 0 && admit(s, node, err) < 0) || compare_one(s, node, err) < 0)
			return -1;
	}
	return 0;
}

void scheduler_note(struct scheduler *s, struct mirror_node *node)
{
	tell_load(s, node, &s->places[node->slot - 1]);
}
