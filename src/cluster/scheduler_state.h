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
	/* preempt.c */
	int64_t lowest;    /* priority of a service that has tasks */
	int64_t window_ms; /* when the window began in which so many tasks were sent away */
	size_t evicted;
	int64_t again_ms; /* some wait for the next window; 0: none does */
	/* rebalance.c */
	int64_t moves_since_ms; /* when the window began in which so many tasks were moved */
	int moves;
};

/* scheduler_nodes.c: tells the placer what is new, and notes who has more room. */
int scheduler_sync(struct control *c, struct err *err);
/* A task was put on a node. */
void scheduler_note(struct scheduler *s, struct mirror_node *node);

/* scheduler.c: the first filter that rules the node out; FILTERS: none does. */
enum filter scheduler_rule_out(const struct mirror_node *node, const struct mirror_task *task);
/* The same, that one filter aside. */
enum filter scheduler_rule_out_but(const struct mirror_node *node, const struct mirror_task *task,
                                   enum filter aside);
bool scheduler_is_ready(const struct mirror_node *node);
/* Does the task count as one of its service on its node? */
bool scheduler_is_mine(const struct mirror_task *task);
/* How many tasks of the service each node has: in its `mine`. */
void scheduler_count_mine(struct control *c, const struct mirror_service *service);
/* Where a task would go if it were not there yet. NULL: nowhere, or where the service failed lately. */
int scheduler_ask(struct control *c, struct mirror_service *service, struct mirror_task *task,
                  struct mirror_node **node, struct err *err);

/* preempt.c: are there tasks of lower priority that could make room? */
bool preempt_may(const struct control *c, const struct mirror_task *task);
/* Sends tasks away to make room for tasks that are alike and fit nowhere; their service's tasks per node are counted.
 * Returns how many of them, from the first on, have a node now. */
int preempt_place(struct control *c, struct mirror_task **tasks, size_t count, struct err *err);
