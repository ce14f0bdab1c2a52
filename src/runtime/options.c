/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/options.h"

#include <assert.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/id.h"
#include "base/str.h"

#define LONG_FIRST 256 /* getopt's number of the first entry; below are letters */

static bool takes_value(const struct option_entry *o)
{
	return o->value != NULL;
}

/* What getopt_long() wants. */
static void translate(const struct option_entry *table, bool first_word_ends,
                      struct option names[OPTIONS_MAX + 1], char letters[3 * OPTIONS_MAX])
{
	size_t n = 0, used = 0;

	if (first_word_ends)
		letters[used++] = '+';
	letters[used++] = ':'; /* tell a missing value from an unknown name */
	for (; table[n].name; n++) {
		const struct option_entry *o = &table[n];
		assert(n < OPTIONS_MAX);
		names[n] = (struct option){.name = o->name,
		                           .has_arg = takes_value(o)           ? required_argument
		                                      : o->kind == OPTION_FLAG ? optional_argument
		                                                               : no_argument,
		                           .val = LONG_FIRST + (int)n};
		if (o->letter)
			letters[used++] = o->letter;
		if (o->letter && takes_value(o))
			letters[used++] = ':';
	}
	names[n] = (struct option){0};
	letters[used] = '\0';
}

static const struct option_entry *find(const struct option_entry *table, int c)
{
	if (c >= LONG_FIRST)
		return &table[c - LONG_FIRST];
	for (; table->name; table++)
		if (table->letter && table->letter == c)
			return table;
	return NULL;
}

/* One of the words of "text|json". */
static bool is_choice(const char *choices, const char *text)
{
	size_t len = strlen(text);

	for (const char *p = choices; *p; p += strcspn(p, "|"), p += *p == '|')
		if (len > 0 && strcspn(p, "|") == len && strncmp(p, text, len) == 0)
			return true;
	return false;
}

static int refuse_choice(const struct option_entry *o, const char *text, struct err *err)
{
	char words[128];
	size_t used = 0;

	for (const char *p = o->value; *p && used + 8 < sizeof(words); p++)
		used += (size_t)snprintf(words + used, sizeof(words) - used, "%s",
		                         *p == '|' ? strchr(p + 1, '|') ? ", " : " or "
		                                   : (char[]){*p, '\0'});
	return err_set(err, ERR_INVALID, "--%s: '%s' is not %s", o->name, text, words);
}

static int set_flag(const struct option_entry *o, const char *text, bool *flag, struct err *err)
{
	*flag = !text || str_eq(text, "true");
	if (*flag || str_eq(text, "false"))
		return 0;
	return err_set(err, ERR_INVALID, "--%s: '%s' is not true or false", o->name, text);
}

static int store(const struct option_entry *o, const char *text, void *into, struct err *err)
{
	char *at = (char *)into + o->offset;
	struct option_list *list = (void *)at;
	char what[64];

	switch (o->kind) {
	case OPTION_FLAG:
		return set_flag(o, text, (bool *)at, err);
	case OPTION_CHOICE:
		if (!is_choice(o->value, text))
			return refuse_choice(o, text, err);
		*(const char **)(void *)at = text;
		return 0;
	case OPTION_TEXT:
		*(const char **)(void *)at = text;
		return 0;
	case OPTION_COUNT:
		snprintf(what, sizeof(what), "--%s", o->name);
		return id_parse_int(text, what, 0, OPTION_COUNT_MAX, (int64_t *)(void *)at, err);
	case OPTION_LIST:
		if (list->count == OPTION_LIST_MAX)
			return err_set(err, ERR_LIMIT, "--%s: is there more than %d times", o->name,
			               OPTION_LIST_MAX);
		list->items[list->count++] = text;
		return 0;
	case OPTION_UNUSED:
	case OPTION_HELP:
		break;
	}
	return 0;
}

/* getopt leaves the word it stumbled over just behind, or its letter in optopt. */
static int refuse(const char *who, int c, char **argv, struct err *err)
{
	char letter[3] = {'-', (char)optopt, '\0'};
	bool by_letter = optopt > 0 && optopt < LONG_FIRST;
	const char *word = by_letter ? letter : argv[optind - 1];
	const char *space = *who ? ": " : "";

	if (c == ':')
		return err_set(err, ERR_INVALID, "%s%s%s needs a value (see --help)", who, space,
		               word);
	if (optopt >= LONG_FIRST)
		return err_set(err, ERR_INVALID, "%s%s%s takes no value (see --help)", who, space,
		               word);
	return err_set(err, ERR_INVALID,
	               "%s%sno option %s, or it is short for several (see --help)", who, space,
	               word);
}

int options_parse(const char *who, const struct option_entry *table, bool first_word_ends, int argc,
                  char **argv, void *into, struct err *err)
{
	struct option names[OPTIONS_MAX + 1];
	char letters[3 * OPTIONS_MAX];
	int c;

	translate(table, first_word_ends, names, letters);
	optind = 0;
	opterr = 0;
	while ((c = getopt_long(argc, argv, letters, names, NULL)) != -1) {
		const struct option_entry *o = find(table, c);
		if (c == '?' || c == ':' || !o)
			return refuse(who, c, argv, err);
		if (o->kind == OPTION_HELP)
			return OPTIONS_HELP;
		if (store(o, optarg, into, err) < 0)
			return -1;
	}
	return optind;
}
