/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * placer - finds nodes for many tasks: the scheduler's arithmetic, without tasks and services.
 *
 * It keeps what placing needs of every node in one small record, by a number (the slot), and
 * answers for a batch of like tasks at a time:
 *
 *	placer_begin(p, &request, err);
 *	placer_count(p, slot);                      // for each task of the service that is there
 *	while (more && (slot = placer_next(p)) != PLACER_NONE)
 *		put the next task there;
 *
 * A batch filters each node once and keeps the ones that pass in a heap. Of a large cluster only
 * a sample is looked at: from a start that moves on, until there are log2(nodes) candidates a task
 * (two for jobs). When they are used up the walk goes on, to the last node if need be: PLACER_NONE
 * means that every node was asked. Constraints are checked once per class of nodes that are alike;
 * blocks of nodes without room are passed over.
 *
 * Order of candidates: nodes on which the service failed often last; then the least used value of
 * each spread preference in turn; then the fewest tasks of the service; then, for tasks that
 * reserve something, the node whose free shares suit the demand and stay in balance, and for
 * others the node with fewest tasks.
 *
 * No clock, no chance, no thread: the same calls give the same answers.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "cluster/model.h"

struct err;
struct placer;

#define PLACER_NONE        UINT32_MAX
#define PLACER_WHOLE       256 /* nodes: a cluster up to that is looked at whole */
#define PLACER_FAILURES    5   /* on a node: it is asked last */
#define PLACER_SPREADS_MAX 8   /* preferences of a service */

struct placer_request {
	struct model_resources want;
	const struct json_strings *constraints;
	const struct json_array *preferences; /* struct service_preference */
	int64_t max_replicas;                 /* per node; 0 = no limit */
	size_t count;                         /* tasks that wait */
	bool job;
	bool alone; /* one task of the batch per node: it has a port there */
	bool whole; /* no sample: what samples are measured against */
};

struct placer *placer_create(struct err *err);
void placer_free(struct placer *p); /* accepts NULL */
DEFINE_AUTO(placer)

/* A new node, empty and not ready; `n` is borrowed until it changes or is removed. PLACER_NONE: ERR_NOMEM. */
uint32_t placer_add(struct placer *p, const struct node *n, struct err *err);
int placer_change(struct placer *p, uint32_t slot, const struct node *n, struct err *err);
void placer_remove(struct placer *p, uint32_t slot);
void placer_set_ready(struct placer *p, uint32_t slot, bool ready);
/* What is reserved there, and by how many tasks. */
void placer_set_load(struct placer *p, uint32_t slot, const struct model_resources *used,
                     int64_t tasks);

/* A batch; what it points to is borrowed until the next. ERR_INVALID: a constraint is none; ERR_NOMEM. */
int placer_begin(struct placer *p, const struct placer_request *request, struct err *err);
/* Of the service, before placer_next(): a task on a node, one that failed there, a node whose host port is taken. */
void placer_count(struct placer *p, uint32_t slot);
void placer_fail(struct placer *p, uint32_t slot);
void placer_block(struct placer *p, uint32_t slot);
/* The node for one more task, which counts as placed there from now on. */
uint32_t placer_next(struct placer *p);
