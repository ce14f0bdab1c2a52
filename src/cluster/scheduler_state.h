/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* scheduler_state - what scheduler.c (filters, batches), scheduler_nodes.c (the placer's view of the nodes) and
 * preempt.c (room that others must leave) share. Internal to them. */

#include "cluster/control_state.h"
#include "cluster/placer.h"

enum filter {
	FILTER_READY,
	FILTER_CONSTRAINTS,
	FILTER_RESOURCES,
	FILTER_PORTS,
	FILTER_REPLICAS,
	FILTERS,
};

/* What the placer was last told of a node. */
struct place {
	struct mirror_node *node; /* NULL: vacant */
	uint64_t round;           /* in which it was last seen */
	uint32_t edition;
	bool ready;
	struct model_resources used;
	int64_t active;
};

#define GAINED_MAX 64

struct scheduler {
	struct placer *placer;
	struct place *places; /* by slot */
	size_t cap;
	uint64_t round;
	bool changed; /* since the last run nodes came, went or are others */
	struct mirror_node *gained[GAINED_MAX]; /* have more room than at the last run */
	size_t gained_count;                    /* more than GAINED_MAX: too many to tell */
};

/* scheduler_nodes.c: tells the placer what is new, and notes who has more room. */
int scheduler_sync(struct control *c, struct err *err);
/* A task was put on a node. */
void scheduler_note(struct scheduler *s, struct mirror_node *node);

/* scheduler.c: the first filter that rules the node out; FILTERS: none does. */
enum filter scheduler_rule_out(const struct mirror_node *node, const struct mirror_task *task);
bool scheduler_is_ready(const struct mirror_node *node);
