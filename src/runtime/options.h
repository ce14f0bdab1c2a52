/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * options - a command line taken apart by a table, into a struct.
 *
 *	struct kill_options { bool all; };
 *	static const struct option_entry kill_table[] = {
 *		OPTION(struct kill_options, all, "all", 'a', OPTION_FLAG, NULL, "signal every process"),
 *		OPTIONS_END,
 *	};
 *	int used = options_parse("kill", kill_table, false, argc, argv, &o, err);
 *	// argv[used]...: the words that are no options
 *
 * Help, man page and completion (help.c) say what the same table says. Understood: --name value, --name=value,
 * --flag=false, -n value, -nvalue, -abc, and "--"; options and words may be mixed unless the command says
 * otherwise. Values are borrowed from argv.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;

enum option_kind {
	OPTION_FLAG,   /* bool */
	OPTION_TEXT,   /* const char * */
	OPTION_CHOICE, /* const char *; `value` lists the words: "text|json" */
	OPTION_COUNT,  /* int64_t, 0 to OPTION_COUNT_MAX */
	OPTION_LIST,   /* struct option_list; may be repeated */
	OPTION_UNUSED, /* taken because engines give it, without effect; a flag if `value` is NULL */
	OPTION_HELP,   /* options_parse() returns OPTIONS_HELP */
};

#define OPTION_COUNT_MAX 1024
#define OPTION_LIST_MAX  1024
#define OPTIONS_MAX      40 /* entries of a table */

struct option_list {
	const char *items[OPTION_LIST_MAX];
	size_t count;
};

struct option_entry {
	const char *name; /* NULL: end of the table */
	char letter;      /* '\0': none */
	enum option_kind kind;
	size_t offset;     /* in the struct */
	const char *value; /* what it is called in the help; NULL for a flag */
	const char *help;
};

#define OPTION(type_, member_, name_, letter_, kind_, value_, help_)                               \
	{                                                                                          \
		.name = (name_), .letter = (letter_), .kind = (kind_),                             \
		.offset = offsetof(type_, member_), .value = (value_), .help = (help_)             \
	}
#define OPTIONS_END                                                                                \
	{"help", 'h', OPTION_HELP, 0, NULL, "show this help"},                                     \
	{                                                                                          \
		.name = NULL                                                                       \
	}

#define OPTIONS_HELP (-2)

/* `into`: zeroed, or with defaults. first_word_ends: what follows the first word belongs to it, as with
 * exec; otherwise argv is reordered, words last. Returns where words begin, OPTIONS_HELP, or -1: ERR_INVALID.
 * argv[0] is not looked at; `who` ("kill"; "": nobody) begins the messages. */
int options_parse(const char *who, const struct option_entry *table, bool first_word_ends, int argc,
                  char **argv, void *into, struct err *err);
