/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/constraint.h"

#include "base/err.h"
#include "base/testing.h"
#include "cluster/fits.h"
#include "cluster/model.h"

static bool match(const char *text)
{
	static struct json_pair labels[] = {{(char *)"zone", (char *)"a"}};
	struct node node = {
		.id = (char *)"n1",
		.spec = {.role = (char *)"worker", .labels = {.items = labels, .count = 1}},
		.description = {.hostname = (char *)"Alpha",
	                        .platform = {.os = (char *)"linux",
	                                     .architecture = (char *)"x86_64"}},
	};
	struct constraint constraint;
	struct err err = ERR_INIT;

	if (constraint_parse(text, &constraint, &err) < 0)
		fail_msg("%s", err.msg);
	return constraint_match(&constraint, &node);
}

static void every_key_is_matched_both_ways(void **state)
{
	(void)state;
	assert_true(match("node.id==n1"));
	assert_false(match("node.id != n1"));
	assert_true(match(" node.hostname == alpha "));
	assert_true(match("node.role!=manager"));
	assert_true(match("node.labels.zone==a"));
	assert_false(match("node.labels.zone==b"));
	assert_true(match("node.labels.none!=b"));
	assert_false(match("engine.labels.none==b"));
	assert_true(match("node.platform.os==linux"));
	assert_true(match("node.platform.arch==amd64"));
	assert_true(match("node.platform.arch==x86_64"));
	assert_false(match("node.platform.arch!=amd64"));
}

static void nonsense_is_refused(void **state)
{
	static const char *const texts[] = {
		"",          "node.id",          "node.id=a",      "==a",
		"node.id==", "node.colour==red", "node.labels.==x"};
	struct constraint constraint;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		struct err err = ERR_INIT;

		assert_int_equal(constraint_parse(texts[i], &constraint, &err), -1);
		assert_int_equal(err.kind, ERR_INVALID);
	}
}

static void what_is_left_is_exact(void **state)
{
	struct model_resources total = {.nano_cpus = 4, .memory_bytes = 10};
	struct model_resources used = {.nano_cpus = 3, .memory_bytes = 12};

	(void)state;
	assert_true(fits(&total, &used, &(struct model_resources){.nano_cpus = 1}));
	assert_false(fits(&total, &used, &(struct model_resources){.nano_cpus = 2}));
	assert_false(fits(&total, &used, &(struct model_resources){.memory_bytes = 1}));
	assert_true(fits(&total, &used, &(struct model_resources){0}));
}

TESTING_MAIN(TEST(every_key_is_matched_both_ways), TEST(nonsense_is_refused),
             TEST(what_is_left_is_exact))
