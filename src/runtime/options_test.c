/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/options.h"

#include <string.h>

#include "base/err.h"
#include "base/str.h"
#include "base/testing.h"

struct sample {
	bool all, tty;
	const char *file, *format;
	int64_t count;
	struct option_list env;
};

static const struct option_entry table[] = {
	OPTION(struct sample, all, "all", 'a', OPTION_FLAG, NULL, "everything"),
	OPTION(struct sample, tty, "tty", 't', OPTION_FLAG, NULL, "a terminal"),
	OPTION(struct sample, file, "file", 'f', OPTION_TEXT, "FILE", "a file"),
	OPTION(struct sample, format, "format", 0, OPTION_CHOICE, "text|json|table", "how"),
	OPTION(struct sample, count, "count", 0, OPTION_COUNT, "N", "how many"),
	OPTION(struct sample, env, "env", 'e', OPTION_LIST, "NAME=VALUE", "a variable"),
	{"old", 0, OPTION_UNUSED, 0, "X", "accepted"},
	OPTIONS_END,
};

#define PARSE(s_, ends_, err_, ...)                                                                \
	({                                                                                         \
		static const char *argv_[] = {"verb", __VA_ARGS__, NULL};                          \
		words = (char **)argv_;                                                            \
		options_parse("verb", table, ends_, (int)ARRAY_LEN(argv_) - 1, (char **)argv_, s_, \
		              err_);                                                               \
	})

static void every_form_of_an_option_is_understood(void **state)
{
	struct sample s = {0};
	struct err err = ERR_INIT;
	char **words;

	(void)state;
	int used = PARSE(&s, false, &err, "-at", "--file=x", "web", "-e", "A=1", "--env", "B=2",
	                 "--format", "json", "--count", "7", "--old", "y", "TERM");
	assert_int_equal(used, 13);
	assert_string_equal(words[used], "web");
	assert_string_equal(words[used + 1], "TERM");
	assert_true(s.all && s.tty);
	assert_string_equal(s.file, "x");
	assert_string_equal(s.format, "json");
	assert_int_equal(s.count, 7);
	assert_int_equal(s.env.count, 2);
	assert_string_equal(s.env.items[1], "B=2");
}

static void a_flag_can_be_said_to_be_false(void **state)
{
	struct sample s = {.all = true};
	struct err err = ERR_INIT;
	char **words = NULL;

	(void)state;
	(void)words;
	assert_int_equal(PARSE(&s, false, &err, "--all=false", "--tty=true"), 3);
	assert_false(s.all);
	assert_true(s.tty);
	assert_int_equal(PARSE(&s, false, &err, "--all=perhaps"), -1);
	assert_string_equal(err.msg, "--all: 'perhaps' is not true or false");
}

static void what_follows_the_first_word_can_be_left_alone(void **state)
{
	struct sample s = {0};
	struct err err = ERR_INIT;
	char **words;

	(void)state;
	int used = PARSE(&s, true, &err, "-a", "web", "ls", "-t", "--nothing");
	assert_int_equal(used, 2);
	assert_true(s.all);
	assert_false(s.tty);
	assert_string_equal(words[used + 2], "-t");
}

static void what_is_wrong_is_named(void **state)
{
	static const struct {
		const char *word, *next;
		const char *words;
	} cases[] = {
		{"--files", "x", "verb: no option --files, or it is short for several"},
		{"-z", "x", "verb: no option -z"},
		{"x", "--file", "verb: --file needs a value"},
		{"x", "-f", "verb: -f needs a value"},
		{"--format", "xml", "--format: 'xml' is not text, json or table"},
		{"--format", "js", "--format: 'js' is not text, json or table"},
		{"--format", "", "--format: '' is not text, json or table"},
		{"--count", "many", "--count"},
		{"--count", "-1", "--count"},
		{"--count", "1025", "--count"},
		{"--help=x", "x", "verb: --help=x takes no value"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const char *argv[] = {"verb", cases[i].word, cases[i].next, NULL};
		struct sample s = {0};
		struct err err = ERR_INIT;
		assert_int_equal(options_parse("verb", table, false, 3, (char **)argv, &s, &err),
		                 -1);
		assert_int_equal(err.kind, ERR_INVALID);
		if (!strstr(err.msg, cases[i].words))
			assert_string_equal(err.msg, cases[i].words);
	}
}

static void help_is_told_apart(void **state)
{
	struct sample s = {0};
	struct err err = ERR_INIT;
	char **words = NULL;

	(void)state;
	(void)words;
	assert_int_equal(PARSE(&s, false, &err, "web", "--help"), OPTIONS_HELP);
	assert_int_equal(PARSE(&s, true, &err, "-h"), OPTIONS_HELP);
	assert_int_equal(PARSE(&s, true, &err, "web", "--help"), 1);
}

static void a_repeated_option_has_an_end(void **state)
{
	static const char *argv[2 * OPTION_LIST_MAX + 4];
	struct sample s = {0};
	struct err err = ERR_INIT;

	(void)state;
	argv[0] = "verb";
	for (size_t i = 1; i < ARRAY_LEN(argv) - 1; i++)
		argv[i] = i % 2 ? "-e" : "A=1";
	assert_int_equal(
		options_parse("verb", table, false, ARRAY_LEN(argv) - 1, (char **)argv, &s, &err),
		-1);
	assert_int_equal(err.kind, ERR_LIMIT);
	assert_int_equal(s.env.count, OPTION_LIST_MAX);
}

TESTING_MAIN(TEST(every_form_of_an_option_is_understood), TEST(a_flag_can_be_said_to_be_false),
             TEST(what_follows_the_first_word_can_be_left_alone), TEST(what_is_wrong_is_named),
             TEST(help_is_told_apart), TEST(a_repeated_option_has_an_end))
