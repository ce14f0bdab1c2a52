/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/filter.h"

#include "base/err.h"
#include "base/testing.h"

static void both_encodings_mean_the_same(void **state)
{
	auto_type(json) a = filter_parse("{\"label\":{\"a=b\":true}}", NULL);
	auto_type(json) b = filter_parse("{\"label\":[\"a=b\"]}", NULL);

	(void)state;
	assert_string_equal(filter_value(a, "label", 0), "a=b");
	assert_string_equal(filter_value(b, "label", 0), "a=b");
	assert_null(filter_value(a, "label", 1));
}

static void no_filters_match_everything(void **state)
{
	auto_type(json) f = filter_parse(NULL, NULL);

	(void)state;
	assert_true(filter_matches(f, "status", "running"));
	assert_true(filter_matches(f, "status", NULL));
}

static void values_of_one_key_are_alternatives(void **state)
{
	auto_type(json) f = filter_parse("{\"status\":[\"exited\",\"created\"]}", NULL);

	(void)state;
	assert_true(filter_matches(f, "status", "created"));
	assert_false(filter_matches(f, "status", "running"));
}

static void labels_add_up(void **state)
{
	struct json_pair pairs[] = {{(char *)"a", (char *)"1"}, {(char *)"b", (char *)""}};
	struct json_strmap labels = {pairs, 2, true};
	auto_type(json) yes = filter_parse("{\"label\":[\"a=1\",\"b\"]}", NULL);
	auto_type(json) no = filter_parse("{\"label\":[\"a=1\",\"c\"]}", NULL);
	auto_type(json) not = filter_parse("{\"label!\":[\"a\"]}", NULL);

	(void)state;
	assert_true(filter_matches_labels(yes, &labels));
	assert_false(filter_matches_labels(no, &labels));
	assert_false(filter_matches_labels(not, &labels));
}

static void nonsense_is_refused(void **state)
{
	static const char *const texts[] = {"[]", "{\"a\":1}", "{\"a\":[1]}", "{", "\"x\""};
	struct err err = ERR_INIT;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		assert_null(filter_parse(texts[i], &err));
		assert_int_equal(err.kind, ERR_INVALID);
	}
}

static void an_unknown_key_is_named(void **state)
{
	auto_type(json) f = filter_parse("{\"colour\":[\"red\"]}", NULL);
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(filter_check(f, (const char *const[]){"label", NULL}, &err), -1);
	assert_non_null(strstr(err.msg, "colour"));
}

TESTING_MAIN(TEST(both_encodings_mean_the_same), TEST(no_filters_match_everything),
             TEST(values_of_one_key_are_alternatives), TEST(labels_add_up),
             TEST(nonsense_is_refused), TEST(an_unknown_key_is_named))
