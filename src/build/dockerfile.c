/* SPDX-License-Identifier: Apache-2.0 */
#include "build/dockerfile.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

/* How the rest of the line is taken apart. */
enum form {
	FORM_WORDS,         /* white space */
	FORM_JSON_OR_WORDS, /* ["a", "b"] or white space */
	FORM_JSON_OR_TEXT,  /* ["a", "b"] or the line as it is */
	FORM_TEXT,
	FORM_PAIRS,  /* a=b c=d, or the old "a rest" */
	FORM_NAMES,  /* a b=c */
	FORM_HEALTH, /* NONE or CMD rest */
};

/* Indexed by enum dockerfile_op, so in its order. */
static const struct op_row {
	const char *name;
	enum form form;
} op_table[] = {
	{"ADD", FORM_JSON_OR_WORDS},
	{"ARG", FORM_NAMES},
	{"CMD", FORM_JSON_OR_TEXT},
	{"COPY", FORM_JSON_OR_WORDS},
	{"ENTRYPOINT", FORM_JSON_OR_TEXT},
	{"ENV", FORM_PAIRS},
	{"EXPOSE", FORM_WORDS},
	{"FROM", FORM_WORDS},
	{"HEALTHCHECK", FORM_HEALTH},
	{"LABEL", FORM_PAIRS},
	{"MAINTAINER", FORM_TEXT},
	{"ONBUILD", FORM_TEXT},
	{"RUN", FORM_JSON_OR_TEXT},
	{"SHELL", FORM_JSON_OR_TEXT},
	{"STOPSIGNAL", FORM_TEXT},
	{"USER", FORM_TEXT},
	{"VOLUME", FORM_JSON_OR_WORDS},
	{"WORKDIR", FORM_TEXT},
};

struct parser {
	const char *file;
	char escape;
	struct arena *arena;
	struct err *err;
};

#define fail(p, line, ...)                                                                         \
	({                                                                                         \
		err_set((p)->err, ERR_INVALID, __VA_ARGS__);                                       \
		err_wrap((p)->err, "%s:%d", (p)->file, line);                                      \
	})

static bool blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f';
}

static const char *skip_blanks(const char *p)
{
	while (blank(*p))
		p++;
	return p;
}

/* ---- words without meaning ---- */

struct list {
	char **items;
	size_t count, cap;
};

static int list_add(struct parser *p, struct list *list, const char *text, size_t len)
{
	if (list->count + 2 > list->cap) {
		size_t cap = list->cap ? list->cap * 2 : 8;
		char **items = arena_array(p->arena, cap, sizeof(*items), p->err);
		if (!items)
			return -1;
		if (list->count)
			memcpy(items, list->items, list->count * sizeof(*items));
		list->items = items;
		list->cap = cap;
	}
	list->items[list->count] = arena_strndup(p->arena, text, len, p->err);
	return list->items[list->count++] ? 0 : -1;
}

static int split_words(struct parser *p, const char *text, struct list *out)
{
	for (text = skip_blanks(text); *text; text = skip_blanks(text)) {
		size_t len = strcspn(text, " \t\r\v\f");
		if (list_add(p, out, text, len) < 0)
			return -1;
		text += len;
	}
	return 0;
}

/* The end of the word at text; white space inside quotes or after the escape belongs to it. */
static const char *word_end(const struct parser *p, const char *text)
{
	char quote = '\0';

	for (; *text && (quote || !blank(*text)); text++) {
		if (*text == p->escape && quote != '\'' && text[1])
			text++;
		else if (quote ? *text == quote : *text == '"' || *text == '\'')
			quote = (char)(quote ? '\0' : *text);
	}
	return text;
}

static int split_quoted(struct parser *p, const char *text, struct list *out)
{
	for (text = skip_blanks(text); *text; text = skip_blanks(text)) {
		const char *end = word_end(p, text);
		if (list_add(p, out, text, (size_t)(end - text)) < 0)
			return -1;
		text = end;
	}
	return 0;
}

/* ---- forms ---- */

static void take(struct dockerfile_instruction *in, const struct list *list)
{
	in->args = list->items;
	in->arg_count = list->count;
}

/* True if text is a JSON array of strings; then it has been taken. -1 for lack of memory, or an array
 * that holds something else than strings. */
static int take_json(struct parser *p, struct dockerfile_instruction *in, const char *text)
{
	struct list list = {0};

	if (*text != '[')
		return 0;
	auto_type(json) j = json_parse(text, strlen(text), NULL);
	if (!json_is_array(j))
		return 0; /* like a shell's [ -f x ] && ...: not meant as JSON */
	for (size_t i = 0; i < json_count(j); i++) {
		const char *s = json_str(json_at(j, i));
		if (!s)
			return fail(p, in->line, "%s: element %zu of the array is not a string",
			            in->name, i);
		if (list_add(p, &list, s, strlen(s)) < 0)
			return -1;
	}
	in->json = true;
	take(in, &list);
	return 1;
}

static int take_text(struct parser *p, struct dockerfile_instruction *in, const char *text)
{
	struct list list = {0};

	if (*text && list_add(p, &list, text, strlen(text)) < 0)
		return -1;
	take(in, &list);
	return 0;
}

static int take_pairs(struct parser *p, struct dockerfile_instruction *in, const char *text)
{
	struct list words = {0}, pairs = {0};

	if (split_quoted(p, text, &words) < 0)
		return -1;
	if (words.count == 0)
		return 0;
	if (!strchr(words.items[0], '=')) { /* ENV name all the rest */
		const char *rest = skip_blanks(text + strlen(words.items[0]));
		if (!*rest)
			return fail(p, in->line, "%s %s: a value is missing (%s NAME=VALUE)",
			            in->name, words.items[0], in->name);
		if (list_add(p, &pairs, words.items[0], strlen(words.items[0])) < 0 ||
		    list_add(p, &pairs, rest, strlen(rest)) < 0)
			return -1;
		take(in, &pairs);
		return 0;
	}
	for (size_t i = 0; i < words.count; i++) {
		const char *equals = strchr(words.items[i], '=');
		if (!equals || equals == words.items[i])
			return fail(p, in->line, "%s: '%s' is not NAME=VALUE", in->name,
			            words.items[i]);
		if (list_add(p, &pairs, words.items[i], (size_t)(equals - words.items[i])) < 0 ||
		    list_add(p, &pairs, equals + 1, strlen(equals + 1)) < 0)
			return -1;
	}
	take(in, &pairs);
	return 0;
}

static int take_health(struct parser *p, struct dockerfile_instruction *in, const char *text)
{
	struct list list = {0};
	size_t len = strcspn(text, " \t");
	const char *rest = skip_blanks(text + len);

	if (len == 0)
		return 0;
	if (list_add(p, &list, text, len) < 0)
		return -1;
	for (char *c = list.items[0]; *c; c++)
		*c = (char)toupper((unsigned char)*c);
	take(in, &list);
	int json = take_json(p, in, rest);
	if (json < 0)
		return -1;
	if (json) { /* put the type in front again */
		for (size_t i = 0; i < in->arg_count; i++)
			if (list_add(p, &list, in->args[i], strlen(in->args[i])) < 0)
				return -1;
	} else if (*rest && list_add(p, &list, rest, strlen(rest)) < 0) {
		return -1;
	}
	take(in, &list);
	return 0;
}

static int take_arguments(struct parser *p, struct dockerfile_instruction *in, const char *text)
{
	struct list list = {0};
	enum form form = op_table[in->op].form;

	if (form == FORM_JSON_OR_TEXT || form == FORM_JSON_OR_WORDS) {
		int json = take_json(p, in, text);
		if (json != 0)
			return json < 0 ? -1 : 0;
		form = form == FORM_JSON_OR_TEXT ? FORM_TEXT : FORM_WORDS;
	}
	switch (form) {
	case FORM_TEXT:
		return take_text(p, in, text);
	case FORM_PAIRS:
		return take_pairs(p, in, text);
	case FORM_HEALTH:
		return take_health(p, in, text);
	case FORM_NAMES:
		if (split_quoted(p, text, &list) < 0)
			return -1;
		break;
	case FORM_WORDS:
	case FORM_JSON_OR_WORDS:
	case FORM_JSON_OR_TEXT:
		if (split_words(p, text, &list) < 0)
			return -1;
		break;
	}
	take(in, &list);
	return 0;
}

/* ---- flags ---- */

/* Takes one --name[=value] word apart. */
static int add_flag(struct parser *p, struct dockerfile_instruction *in, const char *word,
                    size_t len)
{
	struct json_pair *items =
		arena_array(p->arena, in->flags.count + 1, sizeof(*items), p->err);
	char *name = arena_strndup(p->arena, word + 2, len - 2, p->err);

	if (!items || !name)
		return -1;
	char *equals = strchr(name, '=');
	if (equals)
		*equals = '\0';
	for (size_t i = 0; i < in->flags.count; i++) {
		items[i] = in->flags.items[i];
		if (strcmp(items[i].key, name) == 0 && strcmp(name, "mount") != 0 &&
		    strcmp(name, "exclude") != 0)
			return fail(p, in->line, "%s: --%s is given twice", in->name, name);
	}
	items[in->flags.count] = (struct json_pair){name, equals ? equals + 1 : NULL};
	in->flags.items = items;
	in->flags.count++;
	in->flags.present = true;
	return 0;
}

static int take_flags(struct parser *p, struct dockerfile_instruction *in, const char **text)
{
	const char *at = *text;

	while (str_starts(at, "--")) {
		const char *end = word_end(p, at);
		size_t len = (size_t)(end - at);
		const char *next = skip_blanks(end);
		if (len > 2 && add_flag(p, in, at, len) < 0)
			return -1;
		at = next;
		if (len == 2)
			break;
	}
	*text = at;
	return 0;
}

const char *dockerfile_flag(const struct dockerfile_instruction *in, const char *name)
{
	for (size_t i = 0; i < in->flags.count; i++)
		if (strcmp(in->flags.items[i].key, name) == 0)
			return in->flags.items[i].value ? in->flags.items[i].value : "";
	return NULL;
}

/* ---- one instruction ---- */

static char upper(char c)
{
	return (char)toupper((unsigned char)c);
}

/* Edits between two short words, as Levenshtein has it; for "did you mean". */
static size_t distance(const char *a, const char *b)
{
	size_t row[24], n = strlen(b);

	if (n >= ARRAY_LEN(row))
		return n;
	for (size_t j = 0; j <= n; j++)
		row[j] = j;
	for (size_t i = 0; a[i]; i++) {
		size_t corner = row[0];
		row[0] = i + 1;
		for (size_t j = 0; j < n; j++) {
			size_t cost = corner + (upper(a[i]) != b[j]);
			corner = row[j + 1];
			size_t least = row[j] < row[j + 1] ? row[j] + 1 : row[j + 1] + 1;
			row[j + 1] = cost < least ? cost : least;
		}
	}
	return row[n];
}

static int unknown(struct parser *p, int line, const char *name)
{
	const char *best = NULL;
	size_t least = 6;

	for (size_t i = 0; i < ARRAY_LEN(op_table); i++) {
		/* Of two that are as near, the one that begins alike is meant. */
		size_t d =
			2 * distance(name, op_table[i].name) + (upper(*name) != *op_table[i].name);
		if (d < least) {
			least = d;
			best = op_table[i].name;
		}
	}
	if (best)
		return fail(p, line, "unknown instruction: %s (did you mean %s?)", name, best);
	return fail(p, line, "unknown instruction: %s", name);
}

static int find_op(struct parser *p, int line, const char *text, enum dockerfile_op *op)
{
	size_t len = strcspn(text, " \t");

	for (size_t i = 0; i < ARRAY_LEN(op_table); i++) {
		if (strlen(op_table[i].name) == len &&
		    strncasecmp(op_table[i].name, text, len) == 0) {
			*op = (enum dockerfile_op)i;
			return 0;
		}
	}
	char *name = arena_strndup(p->arena, text, len < 40 ? len : 40, p->err);
	return name ? unknown(p, line, name) : -1;
}

static int parse_instruction(struct parser *p, const char *text, int line,
                             struct dockerfile_instruction *out)
{
	struct dockerfile_instruction in = {.line = line};

	if (find_op(p, line, text, &in.op) < 0)
		return -1;
	in.name = op_table[in.op].name;
	const char *rest = skip_blanks(text + strlen(in.name));
	in.text = arena_printf(p->arena, p->err, "%s %s", in.name, rest);
	if (!in.text)
		return -1;
	if (!*rest)
		return fail(p, line, "%s needs at least one argument", in.name);
	if (take_flags(p, &in, &rest) < 0 || take_arguments(p, &in, rest) < 0)
		return -1;
	*out = in;
	return 0;
}

/* ---- lines ---- */

/* Directives are comments of the form "# name=value" before anything else. True if it was one. */
static int directive(struct parser *p, const char *line, int number)
{
	const char *s = skip_blanks(line);

	if (*s != '#')
		return 0;
	s = skip_blanks(s + 1);
	size_t name = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789");
	const char *value = skip_blanks(s + name);
	if (name == 0 || *value != '=')
		return 0;
	value = skip_blanks(value + 1);
	if (name == 6 && strncasecmp(s, "escape", 6) == 0) {
		if ((*value != '\\' && *value != '`') || *skip_blanks(value + 1))
			return fail(p, number, "escape=%s: only \\ and ` are allowed", value);
		p->escape = *value;
	}
	return 1;
}

/* Cuts the continuation mark off the line's end. An escaped escape is none. */
static bool cut_continuation(const struct parser *p, char *line)
{
	size_t len = strlen(line);

	while (len > 0 && blank(line[len - 1]))
		len--;
	if (len == 0 || line[len - 1] != p->escape)
		return false;
	if (len > 1 && line[len - 2] == p->escape)
		return false;
	line[len - 1] = '\0';
	return true;
}

struct lines {
	char *next; /* NULL at the end */
	int number; /* of the line that next_line() gave */
};

static char *next_line(struct lines *lines)
{
	char *line = lines->next;

	if (!line)
		return NULL;
	char *end = strchr(line, '\n');
	lines->next = end ? end + 1 : NULL;
	if (end)
		*end = '\0';
	lines->number++;
	size_t len = strlen(line);
	if (len && line[len - 1] == '\r')
		line[len - 1] = '\0';
	return line;
}

static bool comment_or_empty(const char *line)
{
	const char *s = skip_blanks(line);

	return *s == '#' || *s == '\0';
}

/* One instruction's whole text: the line and what continues it; comments and empty lines
 * between are left out. Its first line is *number. False at the end of the file. */
static bool gather(struct parser *p, struct lines *lines, struct buf *text, int *number)
{
	char *line;
	bool open = false;

	buf_clear(text);
	while ((line = next_line(lines))) {
		if (comment_or_empty(line))
			continue;
		if (!open)
			*number = lines->number;
		bool more = cut_continuation(p, line);
		buf_add(text, open ? line : skip_blanks(line));
		open = true;
		if (!more)
			break;
	}
	while (text->len > 0 && blank(text->data[text->len - 1]))
		text->data[--text->len] = '\0';
	return open;
}

static int append(struct parser *p, struct dockerfile *out, size_t *cap, const char *text, int line)
{
	if (out->count == DOCKERFILE_STEPS_MAX)
		return fail(p, line, "more than %d instructions", DOCKERFILE_STEPS_MAX);
	if (out->count == *cap) {
		size_t wider = *cap ? *cap * 2 : 16;
		struct dockerfile_instruction *items =
			arena_array(p->arena, wider, sizeof(*items), p->err);
		if (!items)
			return -1;
		if (out->count)
			memcpy(items, out->items, out->count * sizeof(*items));
		out->items = items;
		*cap = wider;
	}
	if (parse_instruction(p, text, line, &out->items[out->count]) < 0)
		return -1;
	out->count++;
	return 0;
}

static int parse_directives(struct parser *p, struct lines *lines)
{
	while (lines->next) {
		struct lines ahead = *lines;
		size_t len = strcspn(ahead.next, "\n");
		char *line = arena_strndup(p->arena, ahead.next, len, p->err);
		if (!line)
			return -1;
		int rc = directive(p, line, lines->number + 1);
		if (rc <= 0)
			return rc;
		(void)next_line(lines);
	}
	return 0;
}

int dockerfile_parse(const char *text, size_t len, const char *file, struct arena *arena,
                     struct dockerfile *out, struct err *err)
{
	struct parser p = {.file = file, .escape = '\\', .arena = arena, .err = err};
	auto_buf struct buf instruction = BUF_INIT(DOCKERFILE_MAX);
	struct dockerfile result = {.file = file};
	size_t cap = 0;
	int number = 0;

	if (len > DOCKERFILE_MAX)
		return err_set(err, ERR_LIMIT, "%s: longer than %u bytes", file, DOCKERFILE_MAX);
	if (memchr(text, '\0', len))
		return err_set(err, ERR_INVALID, "%s: it is not text (a NUL byte is in it)", file);
	if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) { /* UTF-8 byte order mark */
		text += 3;
		len -= 3;
	}
	char *copy = arena_strndup(arena, text, len, err);
	if (!copy)
		return -1;
	struct lines lines = {.next = copy};
	if (parse_directives(&p, &lines) < 0)
		return -1;
	while (gather(&p, &lines, &instruction, &number)) {
		if (buf_check(&instruction, err) < 0 ||
		    append(&p, &result, &cap, buf_str(&instruction), number) < 0)
			return -1;
	}
	if (result.count == 0)
		return err_set(err, ERR_INVALID,
		               "%s: no instructions: a Dockerfile begins with FROM", file);
	result.escape = p.escape;
	*out = result;
	return 0;
}

int dockerfile_parse_line(const char *text, const char *file, int line, struct arena *arena,
                          struct dockerfile_instruction *out, struct err *err)
{
	struct parser p = {.file = file, .escape = '\\', .arena = arena, .err = err};

	if (strlen(text) > DOCKERFILE_MAX || strchr(text, '\n'))
		return fail(&p, line, "an instruction is one line");
	return parse_instruction(&p, skip_blanks(text), line, out);
}
