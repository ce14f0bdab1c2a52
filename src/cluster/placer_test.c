/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/placer.h"

#include "base/err.h"
#include "base/str.h"
#include "base/testing.h"
#include "cluster/fits.h"

#define NODES_MAX 3000

struct cell {
	struct node n;
	struct json_pair labels[2];
	char id[16], zone[16], rack[16];
	struct model_resources used;
	int64_t tasks;
};

static struct cell *cells;

static struct placer *make(size_t count, int64_t cpus, int64_t memory)
{
	struct err err = ERR_INIT;
	struct placer *p = placer_create(&err);

	assert_non_null(p);
	free(cells);
	cells = calloc(count, sizeof(*cells));
	assert_non_null(cells);
	for (size_t i = 0; i < count; i++) {
		struct cell *c = &cells[i];

		snprintf(c->id, sizeof(c->id), "n%zu", i);
		snprintf(c->zone, sizeof(c->zone), "z%zu", i % 3);
		snprintf(c->rack, sizeof(c->rack), "r%zu", i % 12);
		c->labels[0] = (struct json_pair){(char *)"zone", c->zone};
		c->labels[1] = (struct json_pair){(char *)"rack", c->rack};
		c->n.id = c->n.description.hostname = c->id;
		c->n.spec.labels = (struct json_strmap){.items = c->labels, .count = 2};
		c->n.description.resources =
			(struct model_resources){.nano_cpus = cpus, .memory_bytes = memory};
		assert_int_equal(placer_add(p, &c->n, &err), i);
		placer_set_ready(p, (uint32_t)i, true);
	}
	return p;
}

static int done(void **state)
{
	(void)state;
	free(cells);
	cells = NULL;
	return 0;
}

static void begin(struct placer *p, const struct placer_request *request)
{
	struct err err = ERR_INIT;

	if (placer_begin(p, request, &err) < 0)
		fail_msg("%s", err.msg);
}

static struct json_strings one(char **text)
{
	return (struct json_strings){.items = text, .count = 1};
}

static void like_tasks_go_round_all_nodes(void **state)
{
	auto_type(placer) p = make(3, 100, 100);
	size_t on[3] = {0};

	(void)state;
	begin(p, &(struct placer_request){.want = {.nano_cpus = 1}, .count = 9});
	for (size_t i = 0; i < 9; i++)
		on[placer_next(p)]++;
	assert_int_equal(on[0], 3);
	assert_int_equal(on[1], 3);
	assert_int_equal(on[2], 3);
}

static void a_sample_is_never_the_reason_for_a_refusal(void **state)
{
	auto_type(placer) p = make(NODES_MAX, 10, 10);
	const uint32_t last = 2345;

	(void)state;
	for (uint32_t i = 0; i < NODES_MAX; i++)
		if (i != last)
			placer_set_load(p, i, &(struct model_resources){.nano_cpus = 8}, 4);
	for (size_t i = 0; i < 2; i++) {
		begin(p, &(struct placer_request){.want = {.nano_cpus = 5}, .count = 1});
		assert_int_equal(placer_next(p), last);
	}
	begin(p, &(struct placer_request){.want = {.nano_cpus = 5}, .count = 1});
	assert_int_equal(placer_next(p), PLACER_NONE);
	placer_set_load(p, 17, &(struct model_resources){.nano_cpus = 5}, 1); /* room again */
	begin(p, &(struct placer_request){.want = {.nano_cpus = 5}, .count = 1});
	assert_int_equal(placer_next(p), 17);
}

static void a_batch_larger_than_its_sample_gets_all_there_is(void **state)
{
	auto_type(placer) p = make(1000, 3, 10);

	(void)state;
	begin(p, &(struct placer_request){.want = {.nano_cpus = 1}, .count = 1}); /* too few said */
	for (size_t i = 0; i < 3000; i++)
		assert_int_not_equal(placer_next(p), PLACER_NONE);
	assert_int_equal(placer_next(p), PLACER_NONE);
}

static void preferences_are_obeyed_in_turn(void **state)
{
	auto_type(placer) p = make(24, 100, 100);
	struct service_preference by[2] = {{.spread = {(char *)"node.labels.zone"}},
	                                   {.spread = {(char *)"node.labels.rack"}}};
	struct json_array preferences = {.items = by, .count = 2};
	size_t zone[3] = {0}, rack[12] = {0};

	(void)state;
	/* Most nodes of zone 0 are gone: it gets its third nevertheless. */
	for (uint32_t i = 3; i < 24; i += 3)
		placer_set_ready(p, i, false);
	begin(p, &(struct placer_request){.preferences = &preferences, .count = 24});
	for (size_t i = 0; i < 24; i++) {
		uint32_t slot = placer_next(p);

		zone[slot % 3]++;
		rack[slot % 12]++;
	}
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(zone[i], 8);
	for (size_t i = 0; i < 12; i++)
		if (i % 3 != 0)
			assert_int_equal(rack[i], 2);
}

static void preferences_hold_in_samples_too(void **state)
{
	auto_type(placer) p = make(NODES_MAX, 100, 100);
	struct service_preference by[1] = {{.spread = {(char *)"node.labels.rack"}}};
	struct json_array preferences = {.items = by, .count = 1};
	size_t rack[12] = {0};
	uint32_t where[60];

	(void)state;
	for (size_t i = 0; i < 60; i++) { /* one at a time, as they are replaced */
		begin(p, &(struct placer_request){.preferences = &preferences, .count = 1});
		for (size_t k = 0; k < i; k++)
			placer_count(p, where[k]);
		where[i] = placer_next(p);
		rack[where[i] % 12]++;
	}
	for (size_t i = 0; i < 12; i++)
		assert_int_equal(rack[i], 5);
}

static void a_node_where_it_fails_is_asked_last(void **state)
{
	auto_type(placer) p = make(2, 3, 3);

	(void)state;
	begin(p, &(struct placer_request){.want = {.nano_cpus = 1}, .count = 4});
	for (size_t i = 0; i < PLACER_FAILURES; i++)
		placer_fail(p, 0);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(placer_next(p), 1);
	assert_int_equal(placer_next(p), 0); /* better than nowhere */
}

static void constraints_follow_the_labels(void **state)
{
	auto_type(placer) p = make(3, 3, 3);
	char *text = (char *)"node.labels.zone==z9", *name = (char *)"node.hostname==n1";
	struct json_strings zone = one(&text), host = one(&name);
	struct err err = ERR_INIT;

	(void)state;
	begin(p, &(struct placer_request){.constraints = &zone, .count = 1});
	assert_int_equal(placer_next(p), PLACER_NONE);
	snprintf(cells[2].zone, sizeof(cells[2].zone), "z9");
	assert_int_equal(placer_change(p, 2, &cells[2].n, &err), 0);
	begin(p, &(struct placer_request){.constraints = &zone, .count = 1});
	assert_int_equal(placer_next(p), 2);
	begin(p, &(struct placer_request){.constraints = &host, .count = 1});
	assert_int_equal(placer_next(p), 1); /* its class is that of others */
	text = (char *)"nonsense";
	assert_int_equal(placer_begin(p, &(struct placer_request){.constraints = &zone}, &err), -1);
	assert_int_equal(err.kind, ERR_INVALID);
}

static void a_removed_node_is_not_chosen_and_its_number_is_given_again(void **state)
{
	auto_type(placer) p = make(2, 3, 3);
	struct err err = ERR_INIT;

	(void)state;
	placer_remove(p, 0);
	begin(p, &(struct placer_request){.want = {.nano_cpus = 1}, .count = 4});
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(placer_next(p), 1);
	assert_int_equal(placer_next(p), PLACER_NONE);
	assert_int_equal(placer_add(p, &cells[0].n, &err), 0);
	placer_set_ready(p, 0, true);
	begin(p, &(struct placer_request){.want = {.nano_cpus = 1}, .count = 1});
	assert_int_equal(placer_next(p), 0);
}

static void limits_per_node_hold(void **state)
{
	auto_type(placer) p = make(3, 9, 9);

	(void)state;
	begin(p, &(struct placer_request){.max_replicas = 2, .count = 4});
	placer_count(p, 0);
	placer_block(p, 1);
	assert_int_equal(placer_next(p), 2);
	assert_int_equal(placer_next(p), 0);
	assert_int_equal(placer_next(p), 2);
	assert_int_equal(placer_next(p), PLACER_NONE);
	begin(p, &(struct placer_request){.alone = true, .count = 4});
	for (size_t i = 0; i < 3; i++)
		assert_int_not_equal(placer_next(p), PLACER_NONE);
	assert_int_equal(placer_next(p), PLACER_NONE);
}

static void what_would_strand_the_rest_is_avoided(void **state)
{
	auto_type(placer) p = make(2, 1000, 1000);

	(void)state;
	/* Both have the same sum left; the first has memory for it. */
	placer_set_load(p, 0, &(struct model_resources){.nano_cpus = 600, .memory_bytes = 200}, 1);
	placer_set_load(p, 1, &(struct model_resources){.nano_cpus = 200, .memory_bytes = 600}, 1);
	begin(p,
	      &(struct placer_request){.want = {.nano_cpus = 10, .memory_bytes = 300}, .count = 1});
	assert_int_equal(placer_next(p), 0);
	begin(p,
	      &(struct placer_request){.want = {.nano_cpus = 300, .memory_bytes = 10}, .count = 1});
	assert_int_equal(placer_next(p), 1);
}

static uint64_t draw(uint64_t *state)
{
	*state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return *state >> 33;
}

static bool somewhere(size_t count, const struct model_resources *want, const char *zone)
{
	for (size_t i = 0; i < count; i++)
		if (fits(&cells[i].n.description.resources, &cells[i].used, want) &&
		    (!zone || str_eq(cells[i].zone, zone)))
			return true;
	return false;
}

/* Thousands of placements and departures on a cluster that is nearly full: each answer is held against all nodes. */
static void it_agrees_with_a_look_at_every_node(void **state)
{
	enum {
		NODES = 700
	};
	auto_type(placer) p = make(NODES, 40, 40);
	uint64_t random = 42;
	char *text = (char *)"node.labels.zone==z1";
	struct json_strings zone = one(&text);
	size_t refused = 0;

	(void)state;
	for (size_t round = 0; round < 30000; round++) {
		struct model_resources want = {.nano_cpus = (int64_t)(draw(&random) % 12),
		                               .memory_bytes = (int64_t)(draw(&random) % 12)};
		bool bound = draw(&random) % 4 == 0;
		struct cell *leaving = &cells[draw(&random) % NODES];

		if (round > 6000 && draw(&random) % 8 == 0) {
			leaving->used = (struct model_resources){0};
			leaving->tasks = 0;
			placer_set_load(p, (uint32_t)(leaving - cells), &leaving->used, 0);
		}
		begin(p, &(struct placer_request){
				 .want = want, .constraints = bound ? &zone : NULL, .count = 1});
		uint32_t slot = placer_next(p);
		if (slot == PLACER_NONE) {
			refused++;
			assert_false(somewhere(NODES, &want, bound ? "z1" : NULL));
			continue;
		}
		struct cell *c = &cells[slot];
		assert_true(fits(&c->n.description.resources, &c->used, &want));
		assert_true(!bound || str_eq(c->zone, "z1"));
		c->used.nano_cpus += want.nano_cpus;
		c->used.memory_bytes += want.memory_bytes;
		c->tasks++;
	}
	assert_true(refused > 50); /* it was nearly full indeed */
}

TESTING_MAIN(TEST_WITH(like_tasks_go_round_all_nodes, NULL, done),
             TEST_WITH(a_sample_is_never_the_reason_for_a_refusal, NULL, done),
             TEST_WITH(a_batch_larger_than_its_sample_gets_all_there_is, NULL, done),
             TEST_WITH(preferences_are_obeyed_in_turn, NULL, done),
             TEST_WITH(preferences_hold_in_samples_too, NULL, done),
             TEST_WITH(a_node_where_it_fails_is_asked_last, NULL, done),
             TEST_WITH(constraints_follow_the_labels, NULL, done),
             TEST_WITH(a_removed_node_is_not_chosen_and_its_number_is_given_again, NULL, done),
             TEST_WITH(limits_per_node_hold, NULL, done),
             TEST_WITH(what_would_strand_the_rest_is_avoided, NULL, done),
             TEST_WITH(it_agrees_with_a_look_at_every_node, NULL, done))
