/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/args.h"

#include <string.h>

#include "base/id.h"
#include "base/str.h"

static const struct flag help_flag = {"help", 0, FLAG_BOOL, NULL, "Show this help"};

struct parser {
	int argc, next;
	char *const *argv;
	struct args args;
};

static const struct flag *find_long(const struct command *c, const char *name, size_t len)
{
	for (const struct flag *f = c->flags; f && f->name; f++)
		if (strlen(f->name) == len && strncmp(f->name, name, len) == 0)
			return f;
	return len == 4 && strncmp(name, "help", 4) == 0 ? &help_flag : NULL;
}

static const struct flag *find_short(const struct command *c, char letter)
{
	for (const struct flag *f = c->flags; f && f->name; f++)
		if (f->letter == letter)
			return f;
	return NULL;
}

static int check_bool(const char *text, const char **out)
{
	static const char *const yes[] = {"true", "1", "t", "TRUE", "True", "T"};
	static const char *const no[] = {"false", "0", "f", "FALSE", "False", "F"};

	for (size_t i = 0; i < ARRAY_LEN(yes); i++) {
		if (strcmp(text, yes[i]) == 0)
			*out = "true";
		else if (strcmp(text, no[i]) == 0)
			*out = "false";
		else
			continue;
		return 0;
	}
	return -1;
}

static int add(struct parser *p, const struct flag *flag, const char *text, struct err *err)
{
	int64_t number;

	if (flag == &help_flag) {
		p->args.help = true;
		return 0;
	}
	if (flag->type == FLAG_BOOL && check_bool(text, &text) < 0)
		return err_set(err, ERR_INVALID, "--%s: '%s' is neither true nor false", flag->name,
		               text);
	if (flag->type == FLAG_INT &&
	    id_parse_int(text, flag->name, INT64_MIN, INT64_MAX, &number, err) < 0)
		return -1;
	p->args.values[p->args.value_count++] = (struct args_value){flag, text};
	return 0;
}

/* The value behind "=", or else the next word. */
static int take_value(struct parser *p, const struct flag *flag, const char *inline_value,
                      struct err *err)
{
	if (inline_value)
		return add(p, flag, inline_value, err);
	if (flag->type == FLAG_BOOL)
		return add(p, flag, "true", err);
	if (p->next >= p->argc)
		return err_set(err, ERR_INVALID, "--%s needs a value: %s", flag->name,
		               flag->value ? flag->value : "value");
	return add(p, flag, p->argv[p->next++], err);
}

static int parse_long(struct parser *p, const char *word, struct err *err)
{
	size_t len = strcspn(word, "=");
	const struct flag *flag = find_long(p->args.command, word, len);

	if (!flag)
		return err_set(err, ERR_INVALID, "unknown flag: --%.*s", (int)len, word);
	return take_value(p, flag, word[len] == '=' ? word + len + 1 : NULL, err);
}

static int parse_short(struct parser *p, const char *letters, struct err *err)
{
	for (; *letters; letters++) {
		const struct flag *flag = find_short(p->args.command, *letters);
		const char *rest = letters[1] == '=' ? letters + 2 : letters + 1;
		if (!flag && *letters == 'h') /* as everywhere */
			flag = &help_flag;
		if (!flag)
			return err_set(err, ERR_INVALID, "unknown shorthand flag: '%c' in -%s",
			               *letters, letters);
		if (flag->type != FLAG_BOOL)
			return take_value(p, flag, letters[1] ? rest : NULL, err);
		if (letters[1] == '=')
			return add(p, flag, letters + 2, err);
		if (add(p, flag, "true", err) < 0)
			return -1;
	}
	return 0;
}

static int check_words(const struct parser *p, struct err *err)
{
	const struct command *c = p->args.command;
	const char *space = c->group ? " " : "";
	const char *group = c->group ? c->group : "";

	if (p->args.help || ((int)p->args.count >= c->min &&
	                     (c->max == CLI_ARGS_ANY || (int)p->args.count <= c->max)))
		return 0;
	if (c->min == c->max)
		return err_set(err, ERR_INVALID,
		               "\"%s%s%s\" takes %d argument%s; usage: buoy %s%s%s %s", group,
		               space, c->name, c->min, c->min == 1 ? "" : "s", group, space,
		               c->name, c->synopsis);
	return err_set(err, ERR_INVALID,
	               "\"%s%s%s\" takes at %s %d argument%s; usage: buoy %s%s%s %s", group, space,
	               c->name, (int)p->args.count < c->min ? "least" : "most",
	               (int)p->args.count < c->min ? c->min : c->max,
	               ((int)p->args.count < c->min ? c->min : c->max) == 1 ? "" : "s", group,
	               space, c->name, c->synopsis);
}

static int parse_word(struct parser *p, const char *word, bool *only_words, struct err *err)
{
	if (!*only_words && strcmp(word, "--") == 0) {
		*only_words = true;
		return 0;
	}
	if (!*only_words && str_starts(word, "--"))
		return parse_long(p, word + 2, err);
	if (!*only_words && word[0] == '-' && word[1] != '\0')
		return parse_short(p, word + 1, err);
	p->args.words[p->args.count++] = word;
	*only_words |= p->args.command->passes_on;
	return 0;
}

int args_parse(const struct command *command, int argc, char *const *argv, struct arena *arena,
               struct args *out, struct err *err)
{
	struct parser p = {.argc = argc, .argv = argv, .args.command = command};
	size_t letters = 1;
	bool only_words = false;

	for (int i = 0; i < argc; i++)
		letters += strlen(argv[i]) + 1; /* "-abc" is three flags */
	p.args.values = arena_array(arena, letters, sizeof(*p.args.values), err);
	p.args.words = arena_array(arena, (size_t)argc + 1, sizeof(*p.args.words), err);
	if (!p.args.values || !p.args.words)
		return -1;
	while (p.next < argc)
		if (parse_word(&p, argv[p.next++], &only_words, err) < 0)
			return -1;
	p.args.words[p.args.count] = NULL;
	if (check_words(&p, err) < 0)
		return -1;
	*out = p.args;
	return 0;
}

size_t args_count(const struct args *args, const char *name)
{
	size_t count = 0;

	for (size_t i = 0; i < args->value_count; i++)
		count += str_eq(args->values[i].flag->name, name);
	return count;
}

const char *args_at(const struct args *args, const char *name, size_t index)
{
	for (size_t i = 0; i < args->value_count; i++)
		if (str_eq(args->values[i].flag->name, name) && index-- == 0)
			return args->values[i].text;
	return NULL;
}

bool args_has(const struct args *args, const char *name)
{
	return args_count(args, name) > 0;
}

const char *args_string(const struct args *args, const char *name)
{
	size_t count = args_count(args, name);

	return count ? args_at(args, name, count - 1) : NULL;
}

bool args_bool(const struct args *args, const char *name)
{
	return str_eq(args_string(args, name), "true");
}

int64_t args_int(const struct args *args, const char *name, int64_t otherwise)
{
	const char *text = args_string(args, name);
	int64_t value = otherwise;

	if (text)
		(void)id_parse_int(text, name, INT64_MIN, INT64_MAX, &value, NULL);
	return value;
}
