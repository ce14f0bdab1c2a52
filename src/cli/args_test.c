/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/args.h"

#include "base/testing.h"

static const struct flag flags[] = {
	{"all", 'a', FLAG_BOOL, NULL, "x"},  {"quiet", 'q', FLAG_BOOL, NULL, "x"},
	{"env", 'e', FLAG_LIST, "K=V", "x"}, {"name", 0, FLAG_STRING, "N", "x"},
	{"number", 'n', FLAG_INT, "N", "x"}, {NULL},
};

static const struct command mixed = {
	.name = "mixed", .synopsis = "A", .flags = flags, .min = 0, .max = CLI_ARGS_ANY};
static const struct command passing = {.name = "passing",
                                       .synopsis = "A",
                                       .flags = flags,
                                       .min = 1,
                                       .max = CLI_ARGS_ANY,
                                       .passes_on = true};
static const struct command two = {
	.group = "g", .name = "two", .synopsis = "A B", .flags = flags, .min = 2, .max = 2};

static struct arena arena;

static int teardown(void **state)
{
	(void)state;
	arena_done(&arena);
	return 0;
}

static int setup(void **state)
{
	(void)state;
	arena = ARENA_INIT(1u << 20);
	return 0;
}

/* The words end with NULL. */
static int parse(const struct command *c, const char *const *words, struct args *out,
                 struct err *err)
{
	int count = 0;

	while (words[count])
		count++;
	return args_parse(c, count, (char *const *)words, &arena, out, err);
}

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void all_spellings_of_a_value_are_understood(void **state)
{
	struct args args;

	(void)state;
	assert_int_equal(parse(&mixed,
	                       WORDS("-e", "a=1", "-eb=2", "-e=c=3", "--env", "d=4", "--env=e=5"),
	                       &args, NULL),
	                 0);
	assert_int_equal(args_count(&args, "env"), 5);
	assert_string_equal(args_at(&args, "env", 0), "a=1");
	assert_string_equal(args_at(&args, "env", 1), "b=2");
	assert_string_equal(args_at(&args, "env", 2), "c=3");
	assert_string_equal(args_at(&args, "env", 3), "d=4");
	assert_string_equal(args_at(&args, "env", 4), "e=5");
}

static void short_flags_can_stand_together(void **state)
{
	struct args args;

	(void)state;
	assert_int_equal(parse(&mixed, WORDS("-aqn5", "word"), &args, NULL), 0);
	assert_true(args_bool(&args, "all"));
	assert_true(args_bool(&args, "quiet"));
	assert_int_equal(args_int(&args, "number", 0), 5);
	assert_int_equal(args.count, 1);
}

static void a_flag_can_be_switched_off(void **state)
{
	struct args args;

	(void)state;
	assert_int_equal(parse(&mixed, WORDS("--all", "--all=false"), &args, NULL), 0);
	assert_false(args_bool(&args, "all"));
	assert_true(args_has(&args, "all"));
	assert_int_equal(parse(&mixed, WORDS("--all=perhaps"), &args, NULL), -1);
}

static void flags_behind_the_first_word_are_the_containers(void **state)
{
	struct args args;

	(void)state;
	assert_int_equal(
		parse(&passing, WORDS("-a", "image", "ls", "-q", "--name", "x"), &args, NULL), 0);
	assert_true(args_bool(&args, "all"));
	assert_false(args_bool(&args, "quiet"));
	assert_false(args_has(&args, "name"));
	assert_int_equal(args.count, 5);
	assert_string_equal(args.words[2], "-q");
	assert_null(args.words[5]);
}

static void flags_and_words_can_be_mixed_elsewhere(void **state)
{
	struct args args;

	(void)state;
	assert_int_equal(parse(&mixed, WORDS("one", "-a", "two", "--", "-q"), &args, NULL), 0);
	assert_true(args_bool(&args, "all"));
	assert_int_equal(args.count, 3);
	assert_string_equal(args.words[2], "-q");
}

static void a_lone_dash_is_a_word(void **state)
{
	struct args args;

	(void)state;
	assert_int_equal(parse(&mixed, WORDS("-"), &args, NULL), 0);
	assert_int_equal(args.count, 1);
}

static void what_is_wrong_is_named(void **state)
{
	static const struct {
		const char *word, *message;
	} cases[] = {{"--nope", "unknown flag: --nope"},
	             {"-z", "unknown shorthand flag: 'z' in -z"},
	             {"--name", "--name needs a value: N"}};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct err err = ERR_INIT;
		struct args args;
		assert_int_equal(parse(&mixed, WORDS(cases[i].word), &args, &err), -1);
		assert_string_equal(err.msg, cases[i].message);
	}
}

static void a_number_is_checked(void **state)
{
	struct err err = ERR_INIT;
	struct args args;

	(void)state;
	assert_int_equal(parse(&mixed, WORDS("-n", "five"), &args, &err), -1);
	assert_int_equal(err.kind, ERR_INVALID);
}

static void too_few_and_too_many_words_are_refused(void **state)
{
	struct err err = ERR_INIT;
	struct args args;

	(void)state;
	assert_int_equal(parse(&two, WORDS("a"), &args, &err), -1);
	assert_string_equal(err.msg, "\"g two\" takes 2 arguments; usage: buoy g two A B");
	assert_int_equal(parse(&two, WORDS("a", "b", "c"), &args, NULL), -1);
	assert_int_equal(parse(&two, WORDS("a", "b"), &args, NULL), 0);
	assert_int_equal(parse(&two, WORDS("--help"), &args, NULL), 0);
	assert_true(args.help);
}

static void every_command_is_found_by_its_words(void **state)
{
	(void)state;
	for (const struct command *const *table = cli_commands; *table; table++) {
		for (const struct command *c = *table; c->name; c++) {
			const char *words[] = {c->group ? c->group : c->name, c->name};
			int used = 0;
			assert_ptr_equal(cli_find(c->group ? 2 : 1, (char *const *)words, &used),
			                 c);
			assert_int_equal(used, c->group ? 2 : 1);
		}
	}
}

static void no_command_has_a_letter_or_a_name_twice(void **state)
{
	(void)state;
	for (const struct command *const *table = cli_commands; *table; table++)
		for (const struct command *c = *table; c->name; c++)
			for (const struct flag *f = c->flags; f && f->name; f++)
				for (const struct flag *g = f + 1; g->name; g++) {
					assert_string_not_equal(f->name, g->name);
					assert_true(f->letter == 0 || f->letter != g->letter);
				}
}

static void what_docker_groups_is_found_at_the_top(void **state)
{
	static const char *const pairs[][3] = {{"container", "ls", "ps"},
	                                       {"container", "run", "run"},
	                                       {"image", "rm", "rmi"},
	                                       {"image", "pull", "pull"}};
	int used;

	(void)state;
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		const struct command *c = cli_find(2, (char *const *)pairs[i], &used);
		assert_non_null(c);
		assert_string_equal(c->name, pairs[i][2]);
	}
	assert_null(cli_find(2, (char *const *)WORDS("volume", "run"), &used));
}

#define CASE(fn) TEST_WITH(fn, setup, teardown)

TESTING_MAIN(CASE(all_spellings_of_a_value_are_understood), CASE(short_flags_can_stand_together),
             CASE(a_flag_can_be_switched_off), CASE(flags_behind_the_first_word_are_the_containers),
             CASE(flags_and_words_can_be_mixed_elsewhere), CASE(a_lone_dash_is_a_word),
             CASE(what_is_wrong_is_named), CASE(a_number_is_checked),
             CASE(too_few_and_too_many_words_are_refused),
             CASE(every_command_is_found_by_its_words),
             CASE(no_command_has_a_letter_or_a_name_twice),
             CASE(what_docker_groups_is_found_at_the_top))
