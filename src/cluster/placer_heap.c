/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/placer_state.h"

/*
 * placer_heap - the order of a batch's candidates.
 *
 * Without preferences they are one heap. With them they are a tree of heaps: each level orders the
 * values of one preference by how many tasks of the service they have, the last one orders nodes.
 * Only what is on top ever changes, and that along one path, so a placement costs a logarithm.
 */

#define MINE_MAX  ((1u << 20) - 1)
#define TASKS_MAX ((1u << 20) - 1)
#define SCORE_MAX ((1u << 16) - 1)
#define FAILED    (UINT64_C(1) << 63)

/* How much a node is avoided that would be left with much of one thing and little of the other. */
#define STRANDED 0.5F

static uint32_t at_most(uint32_t value, uint32_t max)
{
	return value < max ? value : max;
}

static uint64_t score(float cost)
{
	float scaled = cost * 16384.0F;

	if (scaled <= 0.0F)
		return 0;
	return scaled >= (float)SCORE_MAX ? SCORE_MAX : (uint64_t)scaled;
}

uint64_t placer_key(const struct placer *p, const struct spot *spot)
{
	const struct model_resources *want = &p->request.want;
	float cpu = (float)(spot->room.nano_cpus - want->nano_cpus) * spot->cpu_share;
	float memory = (float)(spot->room.memory_bytes - want->memory_bytes) * spot->memory_share;
	uint64_t tasks = at_most(spot->tasks, TASKS_MAX);
	uint64_t key = (uint64_t)at_most(spot->mine, MINE_MAX) << 40;

	if (spot->failed >= PLACER_FAILURES)
		key |= FAILED;
	if (!p->demands)
		return key | tasks << 20 | score((2.0F - cpu - memory) * 0.5F);
	float apart = cpu > memory ? cpu - memory : memory - cpu;
	float aligned = p->cpu_weight * cpu + p->memory_weight * memory;
	return key | score(1.0F - aligned + STRANDED * apart) << 20 | tasks;
}

/* ---- a heap of seats ---- */

static bool sits_before(const struct seat *a, const struct seat *b)
{
	return a->key != b->key ? a->key < b->key : a->slot < b->slot;
}

static void sift_seats_down(struct seat *seats, uint32_t count, uint32_t at)
{
	struct seat moved = seats[at];

	for (;;) {
		uint32_t kid = at * 2 + 1;

		if (kid >= count)
			break;
		if (kid + 1 < count && sits_before(&seats[kid + 1], &seats[kid]))
			kid++;
		if (!sits_before(&seats[kid], &moved))
			break;
		seats[at] = seats[kid];
		at = kid;
	}
	seats[at] = moved;
}

static void heapify_seats(struct seat *seats, uint32_t count)
{
	for (uint32_t i = count / 2; i-- > 0;)
		sift_seats_down(seats, count, i);
}

void placer_push(struct placer *p, uint32_t slot)
{
	struct seat *seats = p->seats;
	struct seat moved = {.key = placer_key(p, &p->spots[slot]), .slot = slot};
	uint32_t at = p->seat_count++;

	if (!p->built || p->levels > 0) { /* put in order when all are there */
		seats[at] = moved;
		return;
	}
	while (at > 0 && sits_before(&moved, &seats[(at - 1) / 2])) {
		seats[at] = seats[(at - 1) / 2];
		at = (at - 1) / 2;
	}
	seats[at] = moved;
}

/* The top seat of a heap has changed. */
static void settle_top(struct placer *p, struct seat *seats, uint32_t *count, bool stays)
{
	if (stays)
		seats[0].key = placer_key(p, &p->spots[seats[0].slot]);
	else
		seats[0] = seats[--*count];
	if (*count > 0)
		sift_seats_down(seats, *count, 0);
}

/* ---- a heap of branches ---- */

static bool grows_before(const struct placer *p, uint32_t a, uint32_t b)
{
	const struct branch *x = &p->branches[a], *y = &p->branches[b];

	if ((x->best & FAILED) != (y->best & FAILED))
		return x->best < y->best;
	if (x->tasks != y->tasks)
		return x->tasks < y->tasks;
	return x->best != y->best ? x->best < y->best : a < b;
}

static void sift_kids_down(const struct placer *p, uint32_t *kids, uint32_t count, uint32_t at)
{
	uint32_t moved = kids[at];

	for (;;) {
		uint32_t kid = at * 2 + 1;

		if (kid >= count)
			break;
		if (kid + 1 < count && grows_before(p, kids[kid + 1], kids[kid]))
			kid++;
		if (!grows_before(p, kids[kid], moved))
			break;
		kids[at] = kids[kid];
		at = kid;
	}
	kids[at] = moved;
}

/* ---- the tree ---- */

/* The branch above: of the level before, or the root. */
static uint32_t above(const struct placer *p, size_t level, uint32_t branch)
{
	if (level == 0)
		return 0;
	return p->offset[level - 1] + p->spreads[level]->parent[branch - p->offset[level]];
}

/* What has no room any more leaves; keys are what they are now. */
static void renew_seats(struct placer *p)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < p->seat_count; i++) {
		struct seat seat = p->seats[i];

		seat.key = placer_key(p, &p->spots[seat.slot]);
		if (placer_has_room(p, &p->spots[seat.slot]))
			p->seats[kept++] = seat;
	}
	p->seat_count = kept;
	for (size_t i = 0; i < p->branch_count; i++)
		p->branches[i].count = 0;
}

static void count_kids(struct placer *p)
{
	for (uint32_t i = 0; i < p->seat_count; i++)
		p->branches[p->seats[i].leaf].count++;
	for (size_t level = p->levels; level-- > 0;)
		for (uint32_t v = 0; v < p->spreads[level]->count; v++) {
			uint32_t branch = p->offset[level] + v;

			if (p->branches[branch].count > 0)
				p->branches[above(p, level, branch)].count++;
		}
}

/* Where each one's kids begin. Counts start again at 0: filling raises them. */
static void lay_out(struct placer *p)
{
	uint32_t leaves = p->offset[p->levels - 1], kids = 0, seats = 0;

	for (uint32_t i = 0; i < p->branch_count; i++) {
		struct branch *branch = &p->branches[i];

		branch->first = i >= leaves ? seats : kids;
		if (i >= leaves)
			seats += branch->count;
		else
			kids += branch->count;
		branch->count = 0;
	}
}

static void fill_leaves(struct placer *p)
{
	for (uint32_t i = 0; i < p->seat_count; i++) {
		struct branch *leaf = &p->branches[p->seats[i].leaf];

		p->sorted[leaf->first + leaf->count++] = p->seats[i];
	}
	for (uint32_t v = 0; v < p->spreads[p->levels - 1]->count; v++) {
		struct branch *leaf = &p->branches[p->offset[p->levels - 1] + v];

		heapify_seats(&p->sorted[leaf->first], leaf->count);
		if (leaf->count > 0)
			leaf->best = p->sorted[leaf->first].key;
	}
}

static void heapify_kids(struct placer *p, struct branch *branch)
{
	uint32_t *kids = &p->kids[branch->first];

	for (uint32_t i = branch->count / 2; i-- > 0;)
		sift_kids_down(p, kids, branch->count, i);
	if (branch->count > 0)
		branch->best = p->branches[kids[0]].best;
}

static void fill_branches(struct placer *p)
{
	for (size_t level = p->levels; level-- > 0;) {
		for (uint32_t v = 0; v < p->spreads[level]->count; v++) {
			uint32_t branch = p->offset[level] + v;
			struct branch *parent = &p->branches[above(p, level, branch)];

			if (p->branches[branch].count > 0)
				p->kids[parent->first + parent->count++] = branch;
		}
		if (level == 0)
			heapify_kids(p, &p->branches[0]);
		for (uint32_t v = 0; level > 0 && v < p->spreads[level - 1]->count; v++)
			heapify_kids(p, &p->branches[p->offset[level - 1] + v]);
	}
}

void placer_build(struct placer *p)
{
	bool again = p->built;

	p->built = true;
	if (p->levels == 0) {
		heapify_seats(p->seats, p->seat_count);
		return;
	}
	if (again)
		renew_seats(p);
	count_kids(p);
	lay_out(p);
	fill_leaves(p);
	fill_branches(p);
}

static const struct branch *top_leaf(const struct placer *p)
{
	const struct branch *branch = &p->branches[0];

	for (size_t level = 0; branch->count > 0 && level < p->levels; level++)
		branch = &p->branches[p->kids[branch->first]];
	return branch;
}

const struct seat *placer_top(const struct placer *p)
{
	if (p->levels == 0)
		return p->seat_count > 0 ? &p->seats[0] : NULL;
	const struct branch *leaf = top_leaf(p);
	return leaf->count > 0 ? &p->sorted[leaf->first] : NULL;
}

void placer_update_top(struct placer *p, bool stays, bool placed)
{
	uint32_t path[PLACER_SPREADS_MAX + 1] = {0};

	if (p->levels == 0) {
		settle_top(p, p->seats, &p->seat_count, stays);
		return;
	}
	for (size_t level = 0; level < p->levels; level++)
		path[level + 1] = p->kids[p->branches[path[level]].first];
	struct branch *leaf = &p->branches[path[p->levels]];
	settle_top(p, &p->sorted[leaf->first], &leaf->count, stays);
	if (leaf->count > 0)
		leaf->best = p->sorted[leaf->first].key;
	leaf->tasks += placed;
	for (size_t level = p->levels; level-- > 0;) {
		struct branch *branch = &p->branches[path[level]];
		uint32_t *kids = &p->kids[branch->first];

		branch->tasks += placed;
		if (p->branches[kids[0]].count == 0)
			kids[0] = kids[--branch->count];
		if (branch->count > 0)
			sift_kids_down(p, kids, branch->count, 0);
		branch->best = branch->count > 0 ? p->branches[kids[0]].best : UINT64_MAX;
	}
}
