/* SPDX-License-Identifier: Apache-2.0 */
#include "build/words.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

#define WORDS_MAX 4096 /* words that one line may give */

/* Reading position, and the words made so far. With `split` unquoted white space ends a word. */
struct expansion {
	const char *p;
	const struct words_env *env;
	struct buf word;
	bool in_word;
	bool split;
	struct arena *arena;
	char **items;
	size_t count, cap;
	int depth;
	struct err *err;
};

static int end_word(struct expansion *e)
{
	if (!e->in_word)
		return 0;
	if (e->count == WORDS_MAX)
		return err_set(e->err, ERR_LIMIT, "more than %d words", WORDS_MAX);
	if (e->count + 2 > e->cap) {
		size_t cap = e->cap ? e->cap * 2 : 8;
		char **items = arena_array(e->arena, cap, sizeof(*items), e->err);
		if (!items)
			return -1;
		if (e->count)
			memcpy(items, e->items, e->count * sizeof(*items));
		e->items = items;
		e->cap = cap;
	}
	if (buf_check(&e->word, e->err) < 0)
		return -1;
	e->items[e->count] = arena_strndup(e->arena, buf_str(&e->word), e->word.len, e->err);
	if (!e->items[e->count])
		return -1;
	e->items[++e->count] = NULL;
	e->in_word = false;
	buf_clear(&e->word);
	return 0;
}

static void add_quoted(struct expansion *e, const char *text, size_t len)
{
	buf_add_mem(&e->word, text, len);
	e->in_word = true;
}

static int add_plain(struct expansion *e, const char *text)
{
	for (; *text; text++) {
		if (e->split && isspace((unsigned char)*text)) {
			if (end_word(e) < 0)
				return -1;
		} else {
			add_quoted(e, text, 1);
		}
	}
	return 0;
}

static bool starts_name(char c)
{
	return isalpha((unsigned char)c) || c == '_';
}

/* The name at p: a word, a run of digits, or one special parameter. Its length, 0 if none. */
static size_t name_length(const char *p)
{
	size_t n = 0;

	if (starts_name(*p)) {
		while (starts_name(p[n]) || isdigit((unsigned char)p[n]))
			n++;
		return n;
	}
	if (isdigit((unsigned char)*p)) {
		while (isdigit((unsigned char)p[n]))
			n++;
		return n;
	}
	return *p && strchr("@*#?-$!", *p) ? 1 : 0;
}

static int expand_until(struct expansion *e, char stop);

/* The word of ${name:-word}, up to its closing brace, which is eaten. */
static char *modifier_word(struct expansion *e)
{
	struct expansion inner = *e;
	char *text = NULL;

	inner.word = BUF_INIT(WORDS_TEXT_MAX);
	inner.split = false;
	inner.in_word = false;
	inner.depth++;
	if (inner.depth > WORDS_DEPTH_MAX) {
		err_set(e->err, ERR_LIMIT, "variables nested more than %d deep", WORDS_DEPTH_MAX);
		return NULL;
	}
	if (expand_until(&inner, '}') == 0 && buf_check(&inner.word, e->err) == 0)
		text = arena_strdup(e->arena, buf_str(&inner.word), e->err);
	buf_free(&inner.word);
	e->p = inner.p;
	return text;
}

/* p stands after "${name" and an optional colon, on the modifier. */
static char *apply_modifier(struct expansion *e, const char *name, bool colon)
{
	const char *value = e->env->find(e->env->arg, name);
	bool set = value && (!colon || *value);
	char modifier = *e->p;

	if (!modifier || !strchr("-+?", modifier)) {
		err_set(e->err, ERR_INVALID, "unsupported modifier (%s%c) in substitution of %s",
		        colon ? ":" : "", modifier ? modifier : ' ', name);
		return NULL;
	}
	e->p++;
	char *word = modifier_word(e);
	if (!word)
		return NULL;
	switch (modifier) {
	case '+':
		return arena_strdup(e->arena, set ? word : "", e->err);
	case '-':
		return set ? arena_strdup(e->arena, value, e->err) : word;
	default:
		if (set)
			return arena_strdup(e->arena, value, e->err);
		err_set(e->err, ERR_INVALID, "%s: %s", name,
		        *word ? word : "this variable is needed but not set");
		return NULL;
	}
}

/* p stands after "${". */
static char *braced(struct expansion *e)
{
	size_t len = name_length(e->p);

	if (len == 0) {
		err_set(e->err, ERR_INVALID, "bad substitution: no variable name after '${'");
		return NULL;
	}
	char *name = arena_strndup(e->arena, e->p, len, e->err);
	if (!name)
		return NULL;
	e->p += len;
	if (*e->p == '}') {
		e->p++;
		const char *value = e->env->find(e->env->arg, name);
		return arena_strdup(e->arena, value ? value : "", e->err);
	}
	if (*e->p == '\0') {
		err_set(e->err, ERR_INVALID, "missing '}' after ${%s", name);
		return NULL;
	}
	bool colon = *e->p == ':';
	e->p += colon;
	return apply_modifier(e, name, colon);
}

/* p stands on "$". Its value; "$" itself where no name follows. */
static char *variable(struct expansion *e)
{
	e->p++;
	if (*e->p == '{') {
		e->p++;
		return braced(e);
	}
	size_t len = name_length(e->p);
	if (len == 0)
		return arena_strdup(e->arena, "$", e->err);
	char *name = arena_strndup(e->arena, e->p, len, e->err);
	if (!name)
		return NULL;
	e->p += len;
	const char *value = e->env->find(e->env->arg, name);
	return arena_strdup(e->arena, value ? value : "", e->err);
}

static int single_quotes(struct expansion *e)
{
	const char *end = strchr(e->p + 1, '\'');

	if (!end)
		return err_set(e->err, ERR_INVALID, "a single quote is not closed");
	add_quoted(e, e->p + 1, (size_t)(end - e->p) - 1);
	e->p = end + 1;
	return 0;
}

static int double_quotes(struct expansion *e)
{
	add_quoted(e, "", 0);
	for (e->p++; *e->p != '"';) {
		if (*e->p == '\0')
			return err_set(e->err, ERR_INVALID, "a double quote is not closed");
		if (*e->p == '$') {
			const char *value = variable(e);
			if (!value)
				return -1;
			add_quoted(e, value, strlen(value));
			continue;
		}
		/* Only what would mean something inside the quotes can be escaped. */
		if (*e->p == e->env->escape && e->p[1] &&
		    (e->p[1] == '"' || e->p[1] == '$' || e->p[1] == e->env->escape))
			e->p++;
		add_quoted(e, e->p++, 1);
	}
	e->p++;
	return 0;
}

static int expand_one(struct expansion *e)
{
	char one[2] = {*e->p, '\0'};

	if (*e->p == '\'')
		return single_quotes(e);
	if (*e->p == '"')
		return double_quotes(e);
	if (*e->p == '$') {
		const char *value = variable(e);
		return value ? add_plain(e, value) : -1;
	}
	if (*e->p == e->env->escape) {
		if (*++e->p == '\0')
			return 0; /* an escape at the very end escapes nothing */
		add_quoted(e, e->p++, 1);
		return 0;
	}
	e->p++;
	return add_plain(e, one);
}

static int expand_until(struct expansion *e, char stop)
{
	while (*e->p != stop) {
		if (*e->p == '\0')
			return err_set(e->err, ERR_INVALID, "missing '%c' in substitution", stop);
		if (expand_one(e) < 0)
			return -1;
	}
	e->p += stop != '\0';
	return 0;
}

char *words_expand(const char *word, const struct words_env *env, struct arena *arena,
                   struct err *err)
{
	struct expansion e = {.p = word, .env = env, .arena = arena, .err = err};
	char *text = NULL;

	e.word = BUF_INIT(WORDS_TEXT_MAX);
	if (expand_until(&e, '\0') == 0 && buf_check(&e.word, err) == 0)
		text = arena_strdup(arena, buf_str(&e.word), err);
	buf_free(&e.word);
	return text;
}

int words_split(const char *text, const struct words_env *env, struct arena *arena,
                struct words_list *out, struct err *err)
{
	struct expansion e = {.p = text, .env = env, .arena = arena, .err = err, .split = true};

	e.word = BUF_INIT(WORDS_TEXT_MAX);
	int rc = expand_until(&e, '\0');
	if (rc == 0)
		rc = end_word(&e);
	buf_free(&e.word);
	if (rc < 0)
		return -1;
	*out = (struct words_list){.items = e.items, .count = e.count};
	return 0;
}
