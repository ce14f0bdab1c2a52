/* SPDX-License-Identifier: Apache-2.0 */
#include "base/pattern.h"

#include "base/arena.h"
#include "base/err.h"
#include "base/testing.h"

static void patterns_match_paths(void **state)
{
	static const struct {
		const char *pattern, *path;
		bool match;
	} table[] = {
		{"a", "a", true},
		{"a", "b", false},
		{"*.c", "x.c", true},
		{"*.c", "d/x.c", false},
		{"**/*.c", "x.c", true},
		{"**/*.c", "d/e/x.c", true},
		{"d/**", "d/e/f", true},
		{"d/**", "d", false},
		{"d/**/f", "d/f", true},
		{"d/**/f", "d/x/y/f", true},
		{"d/**/f", "d/x/y/g", false},
		{"**", "any/thing", true},
		{"a?c", "abc", true},
		{"a?c", "a/c", false},
		{"[a-c]x", "bx", true},
		{"[^a-c]x", "bx", false},
		{"[^a-c]x", "dx", true},
		{"[]]", "]", true},
		{"a\\*", "a*", true},
		{"a\\*", "ab", false},
		{"a*b*c", "a-b-c", true},
		{"a*b*c", "a-b/c", false},
		{"a**b", "axyb", true},
		{"[a", "a", false},
		{"docs/*/x", "docs/a/x", true},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (pattern_match(table[i].pattern, table[i].path) != table[i].match)
			fail_msg("%s on %s", table[i].pattern, table[i].path);
}

static bool excludes(const char *text, const char *path)
{
	auto_arena struct arena arena = ARENA_INIT(1 << 20);
	struct pattern_list list;
	struct err err = ERR_INIT;

	if (pattern_list_parse(text, strlen(text), &arena, &list, &err) < 0)
		fail_msg("%s", err.msg);
	return pattern_list_excludes(&list, path);
}

static void the_last_line_that_matches_decides(void **state)
{
	(void)state;
	assert_true(excludes("# c\n\n build \n", "build/x/y"));
	assert_false(excludes("build", "builds"));
	assert_true(excludes("/build/", "build"));
	assert_true(excludes("./a/../build", "build"));
	assert_false(excludes("*.md\n!README.md", "README.md"));
	assert_true(excludes("*.md\n!README.md\nREADME*", "README.md"));
	assert_false(excludes("dir\n!dir/keep", "dir/keep/x"));
	assert_true(excludes("dir\n!dir/keep", "dir/other"));
	assert_true(excludes("**\n!src", "doc"));
	assert_false(excludes("**\n!src", "src/a"));
	assert_false(excludes("", "x"));
}

static void a_malformed_line_is_named(void **state)
{
	auto_arena struct arena arena = ARENA_INIT(1 << 20);
	struct pattern_list list;
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(pattern_list_parse("ok\n[a\n", 6, &arena, &list, &err), -1);
	assert_string_equal(err.msg, "pattern '[a': [ is not closed");
}

static void many_stars_do_not_take_for_ever(void **state)
{
	(void)state;
	assert_false(pattern_match("**/a/**/a/**/a/**/a/**/a/**/a/**/a/**/a/**/b",
	                           "a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a"));
}

TESTING_MAIN(TEST(patterns_match_paths), TEST(the_last_line_that_matches_decides),
             TEST(a_malformed_line_is_named), TEST(many_stars_do_not_take_for_ever))
