/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/map.h"
#include "cluster/fits.h"
#include "cluster/placer_state.h"

#define SLOTS_MAX   (1u << 24)
#define RULES_MAX   1024 /* constraints remembered; then all are forgotten, also below */
#define DOMAINS_MAX 128
#define JOB_PROBES  2 /* candidates per task; for services log2(nodes) */

struct placer *placer_create(struct err *err)
{
	struct placer *p = calloc(1, sizeof(*p));

	if (!p) {
		err_nomem(err);
		return NULL;
	}
	p->vacant = PLACER_NONE;
	p->classes = map_create(err);
	if (p->classes)
		return p;
	free(p);
	return NULL;
}

void placer_free(struct placer *p)
{
	if (!p)
		return;
	placer_forget_classes(p);
	map_free(p->classes);
	free(p->rules);
	free(p->domains);
	free(p->asked);
	free(p->spots);
	free(p->nodes);
	free(p->bounds);
	free(p->seats);
	free(p->sorted);
	free(p->branches);
	free(p->kids);
	free(p);
}

/* ---- nodes ---- */

#define GROW(array, count)                                                                         \
	({                                                                                         \
		typeof(array) grown_ = reallocarray(array, count, sizeof(typeof(*(array))));       \
		if (grown_)                                                                        \
			(array) = grown_;                                                          \
		grown_ ? 0 : -1;                                                                   \
	})

static int grow(struct placer *p, struct err *err)
{
	uint32_t cap = p->cap ? p->cap * 2 : PLACER_BLOCK;

	if (p->count < p->cap)
		return 0;
	if (cap > SLOTS_MAX)
		return err_set(err, ERR_LIMIT, "more than %u nodes", SLOTS_MAX);
	if (GROW(p->spots, cap) < 0 || GROW(p->nodes, cap) < 0 || GROW(p->seats, cap) < 0 ||
	    GROW(p->sorted, cap) < 0 || GROW(p->bounds, cap / PLACER_BLOCK) < 0)
		return err_nomem(err);
	memset(&p->spots[p->cap], 0, (cap - p->cap) * sizeof(*p->spots));
	memset(&p->bounds[p->cap / PLACER_BLOCK], 0,
	       (cap - p->cap) / PLACER_BLOCK * sizeof(*p->bounds));
	p->cap = cap;
	return 0;
}

/* Vacant slots are a list through class_id. */
uint32_t placer_add(struct placer *p, const struct node *n, struct err *err)
{
	uint32_t slot = p->vacant;

	if (slot == PLACER_NONE && grow(p, err) < 0)
		return PLACER_NONE;
	if (slot == PLACER_NONE)
		slot = p->count;
	uint32_t next = slot < p->count ? p->spots[slot].class_id : PLACER_NONE;
	if (placer_change(p, slot, n, err) < 0) {
		p->spots[slot].class_id = next;
		return PLACER_NONE;
	}
	if (slot == p->count)
		p->count++;
	else
		p->vacant = next;
	p->spots[slot].used = true;
	placer_set_load(p, slot, &(struct model_resources){0}, 0);
	return slot;
}

static float share(int64_t total)
{
	return total > 0 ? 1.0F / (float)total : 0.0F;
}

int placer_change(struct placer *p, uint32_t slot, const struct node *n, struct err *err)
{
	struct spot *spot = &p->spots[slot];

	if (placer_classify(p, slot, n, err) < 0)
		return -1;
	p->nodes[slot] = n;
	spot->cpu_share = share(n->description.resources.nano_cpus);
	spot->memory_share = share(n->description.resources.memory_bytes);
	placer_forget_node(p, slot);
	return 0;
}

void placer_remove(struct placer *p, uint32_t slot)
{
	placer_forget_node(p, slot);
	p->nodes[slot] = NULL;
	p->spots[slot] = (struct spot){.class_id = p->vacant};
	p->vacant = slot;
}

void placer_set_ready(struct placer *p, uint32_t slot, bool ready)
{
	p->spots[slot].ready = ready;
}

void placer_set_load(struct placer *p, uint32_t slot, const struct model_resources *used,
                     int64_t tasks)
{
	const struct model_resources *total = &p->nodes[slot]->description.resources;
	struct spot *spot = &p->spots[slot];
	struct bound *bound = &p->bounds[slot / PLACER_BLOCK];

	spot->room.nano_cpus = total->nano_cpus - used->nano_cpus;
	spot->room.memory_bytes = total->memory_bytes - used->memory_bytes;
	spot->tasks = tasks > 0 ? (uint32_t)tasks : 0;
	if (spot->room.nano_cpus > bound->nano_cpus)
		bound->nano_cpus = spot->room.nano_cpus;
	if (spot->room.memory_bytes > bound->memory_bytes)
		bound->memory_bytes = spot->room.memory_bytes;
}

/* ---- a batch begins ---- */

static int classify_all(struct placer *p, struct err *err)
{
	map_free(p->classes);
	p->classes = map_create(err);
	if (!p->classes)
		return -1;
	for (uint32_t i = 0; i < p->count; i++)
		if (p->spots[i].used && placer_classify(p, i, p->nodes[i], err) < 0)
			return -1;
	return 0;
}

/* What is remembered may not outgrow what there is. */
static int forget_surplus(struct placer *p, struct err *err)
{
	bool many = p->rule_count > RULES_MAX || p->domain_count > DOMAINS_MAX;
	bool stale = map_count(p->classes) > 2 * (size_t)p->count + 1024;

	for (size_t i = 0; i < p->domain_count; i++)
		many = many || p->domains[i]->count > 2 * p->count + 1024;
	if (many || stale)
		placer_forget_classes(p);
	return stale ? classify_all(p, err) : 0;
}

static int ask_constraints(struct placer *p, const struct json_strings *constraints,
                           struct err *err)
{
	p->asked_count = 0;
	if (!constraints || constraints->count == 0)
		return 0;
	if (p->asked_cap < constraints->count) {
		if (GROW(p->asked, constraints->count) < 0)
			return err_nomem(err);
		p->asked_cap = constraints->count;
	}
	for (size_t i = 0; i < constraints->count; i++) {
		p->asked[i] = placer_rule(p, constraints->items[i], err);
		if (!p->asked[i])
			return -1;
	}
	p->asked_count = constraints->count;
	return 0;
}

static int value_everywhere(struct placer *p, size_t level, struct err *err)
{
	struct domain *before = level > 0 ? p->spreads[level - 1] : NULL;
	uint32_t value;

	for (uint32_t i = 0; !p->spreads[level]->complete && i < p->count; i++)
		if (p->spots[i].used &&
		    placer_value(p, p->spreads[level], before, i, &value, err) < 0)
			return -1;
	p->spreads[level]->complete = true;
	return 0;
}

static int ask_preferences(struct placer *p, const struct json_array *preferences, struct err *err)
{
	size_t branches = 1; /* the root */

	p->levels = 0;
	if (!preferences || preferences->count == 0)
		return 0;
	if (preferences->count > PLACER_SPREADS_MAX)
		return err_set(err, ERR_INVALID, "more than %d placement preferences",
		               PLACER_SPREADS_MAX);
	for (size_t i = 0; i < preferences->count; i++) {
		p->spreads[i] = placer_domain(p, preferences->items, i + 1, err);
		if (!p->spreads[i] || value_everywhere(p, i, err) < 0)
			return -1;
		p->offset[i] = (uint32_t)branches;
		branches += p->spreads[i]->count;
	}
	if (branches > p->branch_cap) {
		if (GROW(p->branches, branches) < 0 || GROW(p->kids, branches) < 0)
			return err_nomem(err);
		p->branch_cap = branches;
	}
	memset(p->branches, 0, branches * sizeof(*p->branches));
	p->branch_count = branches;
	p->levels = preferences->count;
	return 0;
}

/* How much the demand is for the one and for the other, measured on all that there is. */
static void weigh(struct placer *p)
{
	const struct model_resources *want = &p->request.want;
	float cpu = 0.0F, memory = 0.0F;

	p->demands = want->nano_cpus > 0 || want->memory_bytes > 0;
	if (!p->demands)
		return;
	for (uint32_t i = 0; i < p->count && cpu + memory <= 0.0F; i++) {
		cpu = (float)want->nano_cpus * p->spots[i].cpu_share;
		memory = (float)want->memory_bytes * p->spots[i].memory_share;
	}
	p->cpu_weight = cpu + memory > 0.0F ? cpu / (cpu + memory) : 0.5F;
	p->memory_weight = 1.0F - p->cpu_weight;
}

int placer_begin(struct placer *p, const struct placer_request *request, struct err *err)
{
	if (forget_surplus(p, err) < 0 || ask_constraints(p, request->constraints, err) < 0 ||
	    ask_preferences(p, request->preferences, err) < 0)
		return -1;
	p->request = *request;
	weigh(p);
	if (++p->stamp == 0) /* so rare that nobody will miss these counts */
		p->stamp = 1;
	p->own = 0;
	p->seat_count = 0;
	p->built = false;
	p->left = p->count;
	p->at = 0;
	return 0;
}

/* Counts of an earlier batch are none. */
static struct spot *fresh(struct placer *p, uint32_t slot)
{
	struct spot *spot = &p->spots[slot];

	if (spot->stamp != p->stamp) {
		spot->stamp = p->stamp;
		spot->mine = 0;
		spot->failed = 0;
		spot->blocked = false;
	}
	return spot;
}

static uint32_t leaf_of(const struct placer *p, uint32_t slot)
{
	size_t last = p->levels - 1;

	return p->offset[last] + p->spreads[last]->of_slot[slot] - 1;
}

static struct branch *branch_of(const struct placer *p, size_t level, uint32_t slot)
{
	return &p->branches[p->offset[level] + p->spreads[level]->of_slot[slot] - 1];
}

void placer_count(struct placer *p, uint32_t slot)
{
	fresh(p, slot)->mine++;
	p->own++;
	for (size_t level = 0; level < p->levels; level++)
		branch_of(p, level, slot)->tasks++;
}

void placer_fail(struct placer *p, uint32_t slot)
{
	struct spot *spot = fresh(p, slot);

	if (spot->failed < PLACER_FAILURES)
		spot->failed++;
}

void placer_block(struct placer *p, uint32_t slot)
{
	fresh(p, slot)->blocked = true;
}

/* ---- the walk ---- */

bool placer_has_room(const struct placer *p, const struct spot *spot)
{
	return !spot->blocked && fits_in(&spot->room, &p->request.want) &&
	       (p->request.max_replicas <= 0 || (int64_t)spot->mine < p->request.max_replicas);
}

static bool is_candidate(struct placer *p, uint32_t slot)
{
	struct spot *spot = &p->spots[slot];

	if (!spot->ready || !fits_in(&spot->room, &p->request.want))
		return false;
	for (size_t i = 0; i < p->asked_count; i++)
		if (!placer_rule_match(p->asked[i], p, slot))
			return false;
	return placer_has_room(p, fresh(p, slot));
}

/* Everything is looked at where that is cheap. */
static size_t probes(const struct placer *p)
{
	size_t each = p->request.job ? JOB_PROBES : 1;

	for (uint32_t n = p->count; !p->request.job && n > 1; n /= 2)
		each++;
	if (p->request.whole || p->count <= PLACER_WHOLE || p->request.count >= p->count / each)
		return p->count;
	return each * (p->request.count > 0 ? p->request.count : 1);
}

/* Some candidates for each task, with few tasks of the service: where they are fewer than on average, and in as many
 * values of each preference as there are tasks to place. */
static void set_goal(struct placer *p, size_t candidates)
{
	size_t tasks = p->request.count > 0 ? p->request.count : 1;

	p->goal =
		(struct goal){.candidates = candidates, .fair = p->own / (p->count ? p->count : 1)};
	for (size_t level = 0; level < p->levels; level++) {
		uint32_t count = p->spreads[level]->count, few = 0;
		uint32_t fair = p->own / (count ? count : 1);

		for (uint32_t v = 0; v < count; v++)
			few += p->branches[p->offset[level] + v].tasks <= fair;
		p->goal.fair_of[level] = fair;
		p->goal.values[level] = few < tasks ? few : (uint32_t)tasks;
	}
}

static bool is_reached(const struct placer *p)
{
	bool reached = p->goal.candidates == 0;

	for (size_t level = 0; level < p->levels; level++)
		reached = reached && p->goal.values[level] == 0;
	return reached;
}

static void come_closer(struct placer *p, uint32_t slot)
{
	const struct spot *spot = &p->spots[slot];

	if (spot->mine > p->goal.fair || spot->failed >= PLACER_FAILURES)
		return;
	for (size_t level = 0; level < p->levels; level++)
		if (branch_of(p, level, slot)->tasks > p->goal.fair_of[level])
			return;
	if (p->goal.candidates > 0)
		p->goal.candidates--;
	for (size_t level = 0; level < p->levels; level++) {
		struct branch *branch = branch_of(p, level, slot);

		if (!branch->seen && p->goal.values[level] > 0)
			p->goal.values[level]--;
		branch->seen = true;
	}
}

static void measure(struct placer *p, uint32_t first, uint32_t end)
{
	struct bound bound = {0};

	for (uint32_t i = first; i < end; i++) {
		const struct model_resources *room = &p->spots[i].room;

		if (room->nano_cpus > bound.nano_cpus)
			bound.nano_cpus = room->nano_cpus;
		if (room->memory_bytes > bound.memory_bytes)
			bound.memory_bytes = room->memory_bytes;
	}
	p->bounds[first / PLACER_BLOCK] = bound;
}

static bool may_have_room(const struct placer *p, uint32_t slot)
{
	const struct bound *bound = &p->bounds[slot / PLACER_BLOCK];
	struct model_resources room = {.nano_cpus = bound->nano_cpus,
	                               .memory_bytes = bound->memory_bytes};

	return fits_in(&room, &p->request.want);
}

/* Takes the candidates of a stretch within one block, until the goal is reached; returns where it stopped. */
static uint32_t take_stretch(struct placer *p, uint32_t first, uint32_t end)
{
	uint32_t before = p->seat_count, slot = first;

	for (; slot < end && !is_reached(p); slot++) {
		if (!is_candidate(p, slot))
			continue;
		placer_push(p, slot);
		if (p->levels > 0)
			p->seats[p->seat_count - 1].leaf = leaf_of(p, slot);
		come_closer(p, slot);
	}
	if (p->seat_count == before && first % PLACER_BLOCK == 0 &&
	    (end % PLACER_BLOCK == 0 || end == p->count))
		measure(p, first, end);
	return slot;
}

static void walk(struct placer *p)
{
	while (p->left > 0 && !is_reached(p)) {
		uint32_t end = (p->at / PLACER_BLOCK + 1) * PLACER_BLOCK;

		if (end > p->count)
			end = p->count;
		if (end - p->at > p->left)
			end = p->at + p->left;
		if (may_have_room(p, p->at))
			end = take_stretch(p, p->at, end);
		p->left -= end - p->at;
		p->at = end == p->count ? 0 : end;
	}
}

static void start(struct placer *p)
{
	size_t enough = probes(p);
	bool sample = enough < p->count;

	if (sample)
		p->at = p->cursor < p->count ? p->cursor : 0;
	set_goal(p, enough);
	walk(p);
	if (sample)
		p->cursor = p->at;
	placer_build(p);
}

/* A sample that has run out, or has only nodes that failed, is not the last word. */
static const struct seat *best_seat(struct placer *p)
{
	const struct seat *top = placer_top(p);

	while (p->left > 0 && (!top || p->spots[top->slot].failed >= PLACER_FAILURES)) {
		set_goal(p, probes(p));
		walk(p);
		if (p->levels > 0)
			placer_build(p);
		top = placer_top(p);
	}
	return top;
}

uint32_t placer_next(struct placer *p)
{
	if (!p->built)
		start(p);
	const struct seat *top = best_seat(p);
	if (!top)
		return PLACER_NONE;

	uint32_t slot = top->slot;
	struct spot *spot = &p->spots[slot];
	spot->room.nano_cpus -= p->request.want.nano_cpus;
	spot->room.memory_bytes -= p->request.want.memory_bytes;
	spot->tasks++;
	spot->mine++;
	spot->blocked = p->request.alone;
	placer_update_top(p, placer_has_room(p, spot), true);
	return slot;
}
