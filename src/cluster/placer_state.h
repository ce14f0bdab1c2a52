/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* placer_state - what placer.c (nodes, the walk), placer_class.c (classes, constraints, spread values) and
 * placer_heap.c (the order of candidates) share. Internal; placer.h is the door. */

#include "cluster/constraint.h"
#include "cluster/placer.h"

struct map;

#define PLACER_BLOCK 64 /* nodes that share a bound of what is free */

/* What the walk reads of a node: less than a cache line. */
struct spot {
	struct model_resources room;   /* what is free */
	float cpu_share, memory_share; /* one over the total */
	uint32_t class_id;
	uint32_t tasks;
	uint32_t stamp; /* of the batch that the next three are of */
	uint32_t mine;
	uint8_t failed;
	bool blocked;
	bool ready;
	bool used; /* the slot has a node */
};

/* At most this is free on any node of a block. Exact when a walk last found nothing there. */
struct bound {
	int64_t nano_cpus, memory_bytes;
};

/* A constraint, and which classes meet it. */
struct rule {
	char *text; /* owned */
	struct constraint constraint;
	bool own;                /* asks for the node itself: its id or name */
	uint64_t *known, *match; /* a bit per class */
	size_t words;
};

/* The values of a spread preference together with those before it: "zone" and then "zone, rack". */
struct domain {
	char *key; /* owned: the descriptors so far */
	struct map *values;
	uint32_t *of_slot; /* value + 1; 0: not known */
	size_t slots;
	uint32_t *parent; /* by value: which value of the domain before */
	uint32_t count, cap;
	bool complete; /* known of every node */
};

struct seat {         /* a candidate */
	uint64_t key; /* lower is better */
	uint32_t slot;
	uint32_t leaf;
};

/* A value of a preference in this batch. Its kids are branches, or seats at the last level. */
struct branch {
	uint64_t best; /* key of the seat that it would give */
	uint32_t tasks;
	uint32_t first, count;
	bool seen; /* by the walk, on a node that will do */
};

/* What a walk looks for. */
struct goal {
	size_t candidates; /* still */
	uint32_t fair;     /* so many tasks of the service are no reason to look further */
	uint32_t fair_of[PLACER_SPREADS_MAX]; /* the same of a value of each level */
	uint32_t values[PLACER_SPREADS_MAX];  /* still to be seen of each level */
};

struct placer {
	/* nodes */
	struct spot *spots;
	const struct node **nodes;
	struct bound *bounds;
	struct seat *seats, *sorted; /* room for all */
	uint32_t count, cap, vacant;
	/* what is alike */
	struct map *classes; /* text -> class + 1 */
	struct map *rules_by_text;
	struct rule **rules; /* owned */
	size_t rule_count, rule_cap;
	struct domain **domains; /* owned */
	size_t domain_count, domain_cap;
	/* the batch */
	struct placer_request request;
	struct rule **asked;
	size_t asked_count, asked_cap;
	struct domain *spreads[PLACER_SPREADS_MAX];
	uint32_t offset[PLACER_SPREADS_MAX]; /* of each level in branches */
	size_t levels;
	struct branch *branches;
	uint32_t *kids;
	size_t branch_count, branch_cap;
	float cpu_weight, memory_weight; /* of the demand */
	bool demands;
	uint32_t stamp;
	uint32_t own; /* tasks of the service */
	uint32_t seat_count;
	struct goal goal;
	uint32_t at, left; /* of the walk */
	uint32_t cursor;   /* where the next one begins */
	bool built;
};

/* placer_class.c */
int placer_classify(struct placer *p, uint32_t slot, const struct node *n, struct err *err);
struct rule *placer_rule(struct placer *p, const char *text, struct err *err);
bool placer_rule_match(struct rule *rule, const struct placer *p, uint32_t slot);
/* The domain of the first `levels` preferences. */
struct domain *placer_domain(struct placer *p, const struct service_preference *preferences,
                             size_t levels, struct err *err);
/* The value there; `before` is the domain of one level less, or NULL. */
int placer_value(struct placer *p, struct domain *d, struct domain *before, uint32_t slot,
                 uint32_t *value, struct err *err);
void placer_forget_node(struct placer *p, uint32_t slot);
void placer_forget_classes(struct placer *p);

/* placer.c: room for one more task of the batch, its constraints aside. */
bool placer_has_room(const struct placer *p, const struct spot *spot);

/* placer_heap.c */
uint64_t placer_key(const struct placer *p, const struct spot *spot);
void placer_push(struct placer *p, uint32_t slot);
void placer_build(
	struct placer *
		p); /* puts the seats in order; also again, with preferences, when some were pushed */
const struct seat *placer_top(const struct placer *p);
/* The top seat's node changed: `stays` or is no candidate any more. */
void placer_update_top(struct placer *p, bool stays, bool placed);
