/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/template.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "base/str.h"
#include "cli/template_eval.h"

#define TEMPLATE_ARENA (4u << 20)
#define DEPTH_MAX      32
#define TEXT_MAX       (1u << 20)

enum node_kind {
	NODE_TEXT,
	NODE_VALUE,
	NODE_IF,
	NODE_RANGE,
	NODE_WITH
};

struct node {
	enum node_kind kind;
	const char *text; /* literal text, or the expression */
	struct node *body, *other, *next;
};

struct template
{
	struct arena arena;
	struct node *nodes;
};

/* ---- reading ---- */

struct reader {
	struct arena *arena;
	const char *at;
	bool trim; /* the action before ended with "-}}" */
	int depth;
};

/* What the action just read says about structure. */
enum word {
	WORD_VALUE,
	WORD_BLOCK,
	WORD_ELSE,
	WORD_END,
	WORD_EOF,
	WORD_BAD
};

static const char *unescape(struct arena *arena, const char *text, size_t len, struct err *err)
{
	char *out = arena_alloc(arena, len + 1, err);
	size_t n = 0;

	for (size_t i = 0; out && i < len; i++) {
		bool escape = text[i] == '\\' && i + 1 < len && strchr("tn", text[i + 1]);
		out[n++] = (char)(!escape ? text[i] : text[i + 1] == 't' ? '\t' : '\n');
		i += escape;
	}
	if (out)
		out[n] = '\0';
	return out;
}

static struct node *node(struct reader *r, enum node_kind kind, const char *text, struct err *err)
{
	struct node *n = text ? arena_alloc(r->arena, sizeof(*n), err) : NULL;

	if (n)
		*n = (struct node){.kind = kind, .text = text};
	return n;
}

/* The end of an action, quotes respected. NULL: never ends. */
static const char *action_end(const char *p)
{
	for (; *p; p++) {
		if (*p == '"' || *p == '`') {
			char quote = *p++;
			while (*p && *p != quote)
				p += *p == '\\' && quote == '"' && p[1] ? 2 : 1;
			if (!*p)
				return NULL;
		} else if (p[0] == '}' && p[1] == '}') {
			return p;
		}
	}
	return NULL;
}

/* Reads literal text up to the next action. */
static int read_text(struct reader *r, struct node **out, struct err *err)
{
	const char *start = r->at;
	const char *open = strstr(start, "{{");
	const char *end = open ? open : start + strlen(start);

	r->at = end;
	if (r->trim)
		while (start < end && isspace((unsigned char)*start))
			start++;
	if (open && open[2] == '-' && isspace((unsigned char)open[3]))
		while (end > start && isspace((unsigned char)end[-1]))
			end--;
	r->trim = false;
	*out = NULL;
	if (end == start)
		return 0;
	*out = node(r, NODE_TEXT, unescape(r->arena, start, (size_t)(end - start), err), err);
	return *out ? 0 : -1;
}

static enum word classify(const char **text, enum node_kind *kind)
{
	static const struct {
		const char *word;
		enum node_kind kind;
	} blocks[] = {{"if", NODE_IF}, {"range", NODE_RANGE}, {"with", NODE_WITH}};
	const char *t = *text;

	if (str_eq(t, "end"))
		return WORD_END;
	if (str_eq(t, "else"))
		return WORD_ELSE;
	for (size_t i = 0; i < ARRAY_LEN(blocks); i++) {
		size_t len = strlen(blocks[i].word);
		if (str_starts(t, blocks[i].word) && isspace((unsigned char)t[len])) {
			*kind = blocks[i].kind;
			*text = t + len + 1;
			return WORD_BLOCK;
		}
	}
	*kind = NODE_VALUE;
	return WORD_VALUE;
}

/* Reads "{{ ... }}"; *text is what is in it. */
static enum word read_action(struct reader *r, const char **text, enum node_kind *kind,
                             struct err *err)
{
	const char *start = r->at + 2, *end;

	if (!*r->at)
		return WORD_EOF;
	end = action_end(start);
	if (!end) {
		err_set(err, ERR_INVALID, "template: '%.40s' has no closing }}", r->at);
		return WORD_BAD;
	}
	r->at = end + 2;
	if (start[0] == '-' && isspace((unsigned char)start[1]))
		start++;
	if (end - start > 1 && end[-1] == '-' && isspace((unsigned char)end[-2])) {
		r->trim = true;
		end--;
	}
	while (start < end && isspace((unsigned char)*start))
		start++;
	while (end > start && isspace((unsigned char)end[-1]))
		end--;
	*text = arena_strndup(r->arena, start, (size_t)(end - start), err);
	return *text ? classify(text, kind) : WORD_BAD;
}

static enum word read_list(struct reader *r, struct node **list, struct err *err);

static int read_block(struct reader *r, struct node *n, struct err *err)
{
	if (++r->depth > DEPTH_MAX)
		return err_set(err, ERR_LIMIT, "template: more than %d blocks deep", DEPTH_MAX);
	enum word word = read_list(r, &n->body, err);
	if (word == WORD_ELSE)
		word = read_list(r, &n->other, err);
	r->depth--;
	if (word == WORD_END)
		return 0;
	return word == WORD_BAD
	               ? -1
	               : err_set(err, ERR_INVALID, "template: {{%s}} has no {{end}}", n->text);
}

/* Reads nodes up to an end, an else or the end of the text, and says which. */
static enum word read_list(struct reader *r, struct node **list, struct err *err)
{
	for (struct node **tail = list;;) {
		enum node_kind kind = NODE_VALUE;
		const char *text = NULL;
		if (read_text(r, tail, err) < 0)
			return WORD_BAD;
		if (*tail)
			tail = &(*tail)->next;
		enum word word = read_action(r, &text, &kind, err);
		if (word != WORD_VALUE && word != WORD_BLOCK)
			return word;
		if (str_starts(text, "/*"))
			continue;
		*tail = node(r, kind, text, err);
		if (!*tail || template_check(text, err) < 0 ||
		    (word == WORD_BLOCK && read_block(r, *tail, err) < 0))
			return WORD_BAD;
		tail = &(*tail)->next;
	}
}

struct template *template_parse(const char *text, struct err *err)
{
	auto_type(template) t = calloc(1, sizeof(*t));
	struct reader r = {.at = text};

	if (!t || strlen(text) > TEXT_MAX) {
		err_set(err, t ? ERR_LIMIT : ERR_NOMEM, "template: too long");
		return NULL;
	}
	t->arena = ARENA_INIT(TEMPLATE_ARENA);
	r.arena = &t->arena;
	enum word word = read_list(&r, &t->nodes, err);
	if (word == WORD_EOF)
		return move_ptr(t);
	if (word != WORD_BAD)
		err_set(err, ERR_INVALID, "template: {{%s}} without a block before it",
		        word == WORD_END ? "end" : "else");
	return NULL;
}

void template_free(struct template *t)
{
	if (!t)
		return;
	arena_done(&t->arena);
	free(t);
}

/* ---- writing ---- */

static int write_list(const struct node *list, const struct json *dot, const struct json *root,
                      struct buf *out, struct err *err);

static int write_range(const struct node *n, const struct json *value, const struct json *root,
                       struct buf *out, struct err *err)
{
	void *iter = NULL;
	const char *key;
	struct json *item;

	if (json_count(value) == 0)
		return write_list(n->other, value, root, out, err);
	for (size_t i = 0; json_is_array(value) && i < json_count(value); i++)
		if (write_list(n->body, json_at(value, i), root, out, err) < 0)
			return -1;
	while (json_is_object(value) && json_next(value, &iter, &key, &item))
		if (write_list(n->body, item, root, out, err) < 0)
			return -1;
	return 0;
}

static int write_node(const struct node *n, const struct json *dot, const struct json *root,
                      struct buf *out, struct err *err)
{
	struct json *result = NULL;

	if (n->kind == NODE_TEXT) {
		buf_add(out, n->text);
		return 0;
	}
	if (template_eval(n->text, dot, root, &result, err) < 0)
		return -1;
	auto_type(json) value = result;
	if (n->kind == NODE_VALUE) {
		template_print(value, out);
		return 0;
	}
	if (n->kind == NODE_RANGE)
		return write_range(n, value, root, out, err);
	bool yes = template_truth(value);
	const struct json *inner = n->kind == NODE_WITH && yes ? value : dot;
	return write_list(yes ? n->body : n->other, inner, root, out, err);
}

static int write_list(const struct node *list, const struct json *dot, const struct json *root,
                      struct buf *out, struct err *err)
{
	for (const struct node *n = list; n; n = n->next)
		if (write_node(n, dot, root, out, err) < 0)
			return -1;
	return 0;
}

int template_write(const struct template *t, const struct json *doc, struct buf *out,
                   struct err *err)
{
	return write_list(t->nodes, doc, doc, out, err);
}
