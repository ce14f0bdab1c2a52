/* SPDX-License-Identifier: Apache-2.0 */
#include "build/words.h"

#include "base/arena.h"
#include "base/err.h"
#include "base/testing.h"

static const char *find(void *arg, const char *name)
{
	static const char *const set[][2] = {{"PWD", "/home"},
	                                     {"SHELL", "bash"},
	                                     {"EMPTY", ""},
	                                     {"TWO", "a  b"},
	                                     {"EDGES", "  a b "}};

	(void)arg;
	for (size_t i = 0; i < sizeof(set) / sizeof(set[0]); i++)
		if (strcmp(set[i][0], name) == 0)
			return set[i][1];
	return NULL;
}

static const struct words_env env = {.find = find, .escape = '\\'};

static void words_are_expanded_as_the_reference_says(void **state)
{
	static const char *const table[][2] = {
		{"plain", "plain"},
		{"it\\'s", "it's"},
		{"a\\tb", "atb"},
		{"\"a\\tb\"", "a\\tb"},
		{"'a\\\\b'", "a\\\\b"},
		{"end\\", "end"},
		{"$PWD/x", "/home/x"},
		{"\\$PWD", "$PWD"},
		{"'$PWD'", "$PWD"},
		{"\"$PWD's\"", "/home's"},
		{"${NONE:-x}y", "xy"},
		{"${EMPTY:-x}", "x"},
		{"${EMPTY-x}", ""},
		{"${EMPTY+x}", "x"},
		{"${EMPTY:+x}", ""},
		{"${PWD:+${SHELL}:}z", "bash:z"},
		{"${NONE:-${ALSO:-deep}}", "deep"},
		{"${NONE:-a {b}", "a {b"},
		{"${PWD:?must}", "/home"},
		{"$1x${2:-y}", "xy"},
		{"$$ $.", " $."},
		{"\"\"", ""},
	};
	auto_arena struct arena arena = ARENA_INIT(1 << 20);

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct err err = ERR_INIT;
		char *got = words_expand(table[i][0], &env, &arena, &err);
		if (!got)
			fail_msg("%s: %s", table[i][0], err.msg);
		assert_string_equal(got, table[i][1]);
	}
}

static void what_is_not_closed_is_an_error(void **state)
{
	static const char *const bad[] = {"'a",   "\"a",      "\"a\\\"",   "${",
	                                  "${}",  "${PWD",    "${PWD:=x}", "${NONE:?}",
	                                  "${.}", "${NONE?}", "${:-x}",    "${PWD:-${x"};
	auto_arena struct arena arena = ARENA_INIT(1 << 20);

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct err err = ERR_INIT;
		if (words_expand(bad[i], &env, &arena, &err))
			fail_msg("%s was taken", bad[i]);
		assert_int_equal(err.kind, ERR_INVALID);
	}
}

static void nesting_has_an_end(void **state)
{
	auto_arena struct arena arena = ARENA_INIT(1 << 20);
	struct err err = ERR_INIT;
	char deep[6 * 40 + 1] = "";

	(void)state;
	for (int i = 0; i < 40; i++)
		memcpy(deep + 5 * i, "${a:-", 6);
	assert_null(words_expand(deep, &env, &arena, &err));
	assert_int_equal(err.kind, ERR_LIMIT);
}

static void unquoted_space_splits(void **state)
{
	static const struct {
		const char *text;
		const char *words[4];
	} table[] = {
		{"a b", {"a", "b"}},
		{"x${TWO}y", {"xa", "by"}},
		{"x\"${TWO}\"y", {"xa  by"}},
		{"x${EDGES}y", {"x", "a", "b", "y"}},
		{"a\\ b", {"a b"}},
		{"\" a \"", {" a "}},
		{"  ", {NULL}},
		{"''", {""}},
	};
	auto_arena struct arena arena = ARENA_INIT(1 << 20);

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct words_list list;
		struct err err = ERR_INIT;
		assert_int_equal(words_split(table[i].text, &env, &arena, &list, &err), 0);
		size_t want = 0;
		while (want < 4 && table[i].words[want])
			want++;
		assert_int_equal(list.count, want);
		for (size_t k = 0; k < want; k++)
			assert_string_equal(list.items[k], table[i].words[k]);
	}
}

TESTING_MAIN(TEST(words_are_expanded_as_the_reference_says), TEST(what_is_not_closed_is_an_error),
             TEST(nesting_has_an_end), TEST(unquoted_space_splits))
