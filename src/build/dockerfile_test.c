/* SPDX-License-Identifier: Apache-2.0 */
#include "build/dockerfile.h"

#include "base/arena.h"
#include "base/err.h"
#include "base/testing.h"

static struct dockerfile parse(struct arena *arena, const char *text)
{
	struct dockerfile file = {0};
	struct err err = ERR_INIT;

	if (dockerfile_parse(text, strlen(text), "Dockerfile", arena, &file, &err) < 0)
		fail_msg("%s", err.msg);
	return file;
}

static void assert_args(const struct dockerfile_instruction *in, const char *const *want)
{
	size_t n = 0;

	for (; want[n]; n++) {
		assert_true(n < in->arg_count);
		assert_string_equal(in->args[n], want[n]);
	}
	assert_int_equal(in->arg_count, n);
}
#define ARGS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void lines_continue_over_comments_and_empty_lines(void **state)
{
	auto_arena struct arena arena = ARENA_INIT(1 << 20);
	struct dockerfile f = parse(
		&arena, "# first\nFROM debian\n\nRUN a && \\\n# why\n\n  b \\  \n c\nCMD x \\");

	(void)state;
	assert_int_equal(f.count, 3);
	assert_args(&f.items[1], ARGS("a &&   b  c"));
	assert_int_equal(f.items[1].line, 4);
	assert_string_equal(f.items[1].text, "RUN a &&   b  c");
	assert_args(&f.items[2], ARGS("x"));
}

static void forms_are_told_apart(void **state)
{
	auto_arena struct arena arena = ARENA_INIT(1 << 20);
	struct dockerfile f = parse(&arena, "from debian:12 AS base\n"
	                                    "CMD [\"a\", \"b c\"]\n"
	                                    "RUN [ -f /x ] && y\n"
	                                    "COPY --chown=1:2 --from=base a b /c\n"
	                                    "ADD [\"a b\", \"/c\"]\n"
	                                    "ENV a=b c=\"d e\" f=g\\ h\n"
	                                    "ENV old all the rest\n"
	                                    "ARG x y=\"1 2\"\n"
	                                    "HEALTHCHECK --interval=5s CMD curl -f /\n"
	                                    "HEALTHCHECK none\n"
	                                    "HEALTHCHECK CMD [\"a\", \"b\"]\n");

	(void)state;
	assert_args(&f.items[0], ARGS("debian:12", "AS", "base"));
	assert_true(f.items[1].json);
	assert_args(&f.items[1], ARGS("a", "b c"));
	assert_false(f.items[2].json);
	assert_args(&f.items[2], ARGS("[ -f /x ] && y"));
	assert_args(&f.items[3], ARGS("a", "b", "/c"));
	assert_string_equal(dockerfile_flag(&f.items[3], "chown"), "1:2");
	assert_string_equal(dockerfile_flag(&f.items[3], "from"), "base");
	assert_null(dockerfile_flag(&f.items[3], "chmod"));
	assert_args(&f.items[4], ARGS("a b", "/c"));
	assert_args(&f.items[5], ARGS("a", "b", "c", "\"d e\"", "f", "g\\ h"));
	assert_args(&f.items[6], ARGS("old", "all the rest"));
	assert_args(&f.items[7], ARGS("x", "y=\"1 2\""));
	assert_args(&f.items[8], ARGS("CMD", "curl -f /"));
	assert_args(&f.items[9], ARGS("NONE"));
	assert_args(&f.items[10], ARGS("CMD", "a", "b"));
	assert_true(f.items[10].json);
}

static void the_escape_directive_changes_continuation(void **state)
{
	auto_arena struct arena arena = ARENA_INIT(1 << 20);
	struct dockerfile f = parse(
		&arena, "# syntax=docker/dockerfile:1\n# escape=`\nFROM x\nRUN a `\n b\\\nRUN c\n");

	(void)state;
	assert_int_equal(f.escape, '`');
	assert_args(&f.items[1], ARGS("a  b\\"));
	assert_args(&f.items[2], ARGS("c"));
	f = parse(&arena, "FROM x\n# escape=`\nRUN a \\\n b\n"); /* too late: a comment */
	assert_int_equal(f.escape, '\\');
	assert_args(&f.items[1], ARGS("a  b"));
}

static void what_is_wrong_is_named_with_its_line(void **state)
{
	static const char *const table[][2] = {
		{"FROM x\nRNU y\n", "Dockerfile:2: unknown instruction: RNU (did you mean RUN?)"},
		{"FROM x\n\nRUN\n", "Dockerfile:3: RUN needs at least one argument"},
		{"FROM x\nENV PATH\n",
	         "Dockerfile:2: ENV PATH: a value is missing (ENV NAME=VALUE)"},
		{"FROM x\nENV a=b c\n", "Dockerfile:2: ENV: 'c' is not NAME=VALUE"},
		{"FROM x\nCMD [\"a\", [\"b\"]]\n",
	         "Dockerfile:2: CMD: element 1 of the array is not a string"},
		{"# nothing\n", "Dockerfile: no instructions: a Dockerfile begins with FROM"},
		{"# escape=x\nFROM y\n", "Dockerfile:1: escape=x: only \\ and ` are allowed"},
		{"FROM x\nCOPY --chown=1 --chown=2 a b\n",
	         "Dockerfile:2: COPY: --chown is given twice"},
		{"quux\n", "Dockerfile:1: unknown instruction: quux"},
	};
	auto_arena struct arena arena = ARENA_INIT(1 << 20);

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct dockerfile f;
		struct err err = ERR_INIT;
		assert_int_equal(dockerfile_parse(table[i][0], strlen(table[i][0]), "Dockerfile",
		                                  &arena, &f, &err),
		                 -1);
		assert_string_equal(err.msg, table[i][1]);
	}
}

TESTING_MAIN(TEST(lines_continue_over_comments_and_empty_lines), TEST(forms_are_told_apart),
             TEST(the_escape_directive_changes_continuation),
             TEST(what_is_wrong_is_named_with_its_line))
