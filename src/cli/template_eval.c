/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/template_eval.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "base/str.h"

#define OPERANDS_MAX 16
#define WORD_MAX     256
#define DEPTH_MAX    16
#define VALUE_MAX    (16u << 20)

/* Reads and evaluates at once. dry: only checks the grammar (no document). */
struct eval {
	const char *at, *text;
	const struct json *dot, *root;
	bool dry;
	int depth;
};

/* Values in hand: all owned. */
struct operands {
	struct json *items[OPERANDS_MAX];
	size_t count;
};

static void operands_done(struct operands *o)
{
	for (size_t i = 0; i < o->count; i++)
		json_free(o->items[i]);
}

static int bad(const struct eval *e, const char *why, struct err *err)
{
	return err_set(err, ERR_INVALID, "template: {{%.100s}}: %s", e->text, why);
}

static void blanks(struct eval *e)
{
	while (isspace((unsigned char)*e->at))
		e->at++;
}

/* ---- values ---- */

bool template_truth(const struct json *value)
{
	if (!value || json_is_null(value))
		return false;
	if (json_is_bool(value))
		return json_truth(value);
	if (json_is_string(value))
		return !str_empty(json_str(value));
	if (json_is_array(value) || json_is_object(value))
		return json_count(value) > 0;
	return json_is_int(value) ? json_num(value, 0) != 0 : true;
}

static void print_map(const struct json *value, struct buf *out)
{
	void *iter = NULL;
	const char *key, *blank = "";
	struct json *item;

	buf_add(out, "map[");
	while (json_next(value, &iter, &key, &item)) {
		buf_addf(out, "%s%s:", blank, key);
		template_print(item, out);
		blank = " ";
	}
	buf_add(out, "]");
}

void template_print(const struct json *value, struct buf *out)
{
	if (!value) {
		buf_add(out, "<no value>");
	} else if (json_is_string(value)) {
		buf_add(out, json_str(value));
	} else if (json_is_null(value)) {
		buf_add(out, "<nil>");
	} else if (json_is_object(value)) {
		print_map(value, out);
	} else if (json_is_array(value)) {
		buf_add(out, "[");
		for (size_t i = 0; i < json_count(value); i++) {
			buf_add(out, i ? " " : "");
			template_print(json_at(value, i), out);
		}
		buf_add(out, "]");
	} else {
		(void)json_write(value, out, NULL);
	}
}

static struct json *printed(const struct json *value)
{
	auto_buf struct buf text = BUF_INIT(VALUE_MAX);

	template_print(value, &text);
	return json_string(buf_str(&text));
}

static struct json *find_key(const struct json *object, const char *key)
{
	struct json *value = json_get(object, key);
	void *iter = NULL;
	const char *name;
	struct json *item;

	if (value || !json_is_object(object))
		return value;
	while (json_next(object, &iter, &name, &item))
		if (strcasecmp(name, key) == 0)
			return item;
	return NULL;
}

/* ---- functions ---- */

static struct json *changed_case(const struct json *value, int (*change)(int), bool first_only)
{
	auto_buf struct buf text = BUF_INIT(VALUE_MAX);

	template_print(value, &text);
	for (size_t i = 0; i < text.len && (i == 0 || !first_only); i++)
		text.data[i] = (char)change((unsigned char)text.data[i]);
	return json_string(buf_str(&text));
}

static struct json *fn_json(const struct operands *o)
{
	auto_buf struct buf text = BUF_INIT(VALUE_MAX);

	if (!o->items[0])
		return json_string("null");
	return json_write(o->items[0], &text, NULL) < 0 ? NULL : json_string(buf_str(&text));
}

static struct json *fn_len(const struct operands *o)
{
	const char *text = json_str(o->items[0]);

	return json_int((int64_t)(text ? strlen(text) : json_count(o->items[0])));
}

static struct json *fn_index(const struct operands *o)
{
	const struct json *value = o->items[0];

	for (size_t i = 1; i < o->count; i++) {
		const char *key = json_str(o->items[i]);
		int64_t n = json_num(o->items[i], -1);
		value = key ? json_get(value, key) : n >= 0 ? json_at(value, (size_t)n) : NULL;
	}
	return value ? json_ref((struct json *)value) : NULL;
}

static struct json *fn_join(const struct operands *o)
{
	auto_buf struct buf text = BUF_INIT(VALUE_MAX);

	for (size_t i = 0; i < json_count(o->items[0]); i++) {
		if (i > 0)
			template_print(o->items[1], &text);
		template_print(json_at(o->items[0], i), &text);
	}
	return json_string(buf_str(&text));
}

static struct json *fn_split(const struct operands *o)
{
	const char *text = json_str(o->items[0]), *by = json_str(o->items[1]);
	struct json *list = json_array();

	while (text && !str_empty(by)) {
		const char *end = strstr(text, by);
		auto_free char *part = end ? strndup(text, (size_t)(end - text)) : strdup(text);
		json_append(list, part ? json_string(part) : NULL);
		text = end ? end + strlen(by) : NULL;
	}
	return list;
}

static struct json *fn_lower(const struct operands *o)
{
	return changed_case(o->items[0], tolower, false);
}

static struct json *fn_upper(const struct operands *o)
{
	return changed_case(o->items[0], toupper, false);
}

static struct json *fn_title(const struct operands *o)
{
	return changed_case(o->items[0], toupper, true);
}

static struct json *print_all(const struct operands *o, const char *between, const char *end)
{
	auto_buf struct buf text = BUF_INIT(VALUE_MAX);

	for (size_t i = 0; i < o->count; i++) {
		buf_add(&text, i ? between : "");
		template_print(o->items[i], &text);
	}
	buf_add(&text, end);
	return json_string(buf_str(&text));
}

static struct json *fn_print(const struct operands *o)
{
	return print_all(o, "", "");
}

static struct json *fn_println(const struct operands *o)
{
	return print_all(o, " ", "\n");
}

static struct json *fn_not(const struct operands *o)
{
	return json_bool(!template_truth(o->items[0]));
}

/* and: the first that is not true, else the last; or: the first that is true. */
static struct json *first_that(const struct operands *o, bool truth)
{
	size_t i = 0;

	while (i + 1 < o->count && template_truth(o->items[i]) != truth)
		i++;
	return o->items[i] ? json_ref(o->items[i]) : NULL;
}

static struct json *fn_and(const struct operands *o)
{
	return first_that(o, false);
}

static struct json *fn_or(const struct operands *o)
{
	return first_that(o, true);
}

static bool same(const struct json *a, const struct json *b)
{
	auto_type(json) x = printed(a);
	auto_type(json) y = printed(b);

	return str_eq(json_str(x), json_str(y));
}

static struct json *fn_eq(const struct operands *o)
{
	for (size_t i = 1; i < o->count; i++)
		if (same(o->items[0], o->items[i]))
			return json_bool(true);
	return json_bool(false);
}

static struct json *fn_ne(const struct operands *o)
{
	return json_bool(!same(o->items[0], o->items[1]));
}

static const struct function {
	const char *name;
	size_t min, max;
	struct json *(*call)(const struct operands *o);
} functions[] = {
	{"json", 1, 1, fn_json},
	{"len", 1, 1, fn_len},
	{"index", 1, OPERANDS_MAX, fn_index},
	{"join", 2, 2, fn_join},
	{"split", 2, 2, fn_split},
	{"lower", 1, 1, fn_lower},
	{"upper", 1, 1, fn_upper},
	{"title", 1, 1, fn_title},
	{"print", 0, OPERANDS_MAX, fn_print},
	{"println", 0, OPERANDS_MAX, fn_println},
	{"not", 1, 1, fn_not},
	{"and", 1, OPERANDS_MAX, fn_and},
	{"or", 1, OPERANDS_MAX, fn_or},
	{"eq", 2, OPERANDS_MAX, fn_eq},
	{"ne", 2, 2, fn_ne},
};

/* ---- grammar ---- */

static int pipeline(struct eval *e, struct json **out, struct err *err);

/* ".A.B" behind a value; takes ownership of value. */
static struct json *fields(struct eval *e, struct json *value)
{
	while (*e->at == '.') {
		char key[WORD_MAX];
		size_t len = strcspn(e->at + 1, " \t\n.()|\"`");
		if (len == 0 || len >= sizeof(key))
			break;
		memcpy(key, e->at + 1, len);
		key[len] = '\0';
		e->at += len + 1;
		struct json *inner = find_key(value, key);
		inner = inner ? json_ref(inner) : NULL;
		json_free(value);
		value = inner;
	}
	return value;
}

static int quoted(struct eval *e, struct json **out, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(VALUE_MAX);
	char quote = *e->at++;

	for (; *e->at && *e->at != quote; e->at++) {
		char c = *e->at;
		if (c == '\\' && quote == '"' && e->at[1]) {
			c = *++e->at;
			c = (char)(c == 't' ? '\t' : c == 'n' ? '\n' : c);
		}
		buf_add_mem(&text, &c, 1);
	}
	if (!*e->at)
		return bad(e, "a text without an end", err);
	e->at++;
	*out = json_string(buf_str(&text));
	return 0;
}

static int number(struct eval *e, struct json **out)
{
	char *end;

	*out = json_int(strtoll(e->at, &end, 10));
	e->at = end;
	return 0;
}

static int operand(struct eval *e, struct json **out, struct err *err)
{
	char c = *e->at;

	*out = NULL;
	if (c == '"' || c == '`')
		return quoted(e, out, err);
	if (isdigit((unsigned char)c) || (c == '-' && isdigit((unsigned char)e->at[1])))
		return number(e, out);
	if (c == '$') {
		e->at++;
		*out = e->root ? json_ref((struct json *)e->root) : NULL;
	} else if (c == '(') {
		e->at++;
		if (pipeline(e, out, err) < 0)
			return -1;
		if (*e->at != ')')
			return bad(e, "a ( without its )", err);
		e->at++;
	} else if (c == '.') {
		*out = e->dot ? json_ref((struct json *)e->dot) : NULL;
		if (isspace((unsigned char)e->at[1]) || strchr(")|", e->at[1])) { /* the lone dot */
			e->at++;
			return 0;
		}
	} else {
		return bad(e, "not understood", err);
	}
	*out = fields(e, *out);
	return 0;
}

/* A name: a function, true, false or nil. */
static const struct function *word(struct eval *e, struct json **constant, struct err *err)
{
	size_t len = strspn(e->at, "abcdefghijklmnopqrstuvwxyz");

	*constant = NULL;
	for (size_t i = 0; i < ARRAY_LEN(functions); i++) {
		if (strlen(functions[i].name) == len && !strncmp(e->at, functions[i].name, len)) {
			e->at += len;
			return &functions[i];
		}
	}
	if ((len == 4 && !strncmp(e->at, "true", 4)) || (len == 5 && !strncmp(e->at, "false", 5)))
		*constant = json_bool(len == 4);
	else
		(void)err_set(err, ERR_INVALID, "template: function \"%.*s\" not defined", (int)len,
		              e->at);
	e->at += len;
	return NULL;
}

static int collect(struct eval *e, struct operands *o, struct err *err)
{
	for (blanks(e); *e->at && *e->at != '|' && *e->at != ')'; blanks(e)) {
		struct json *value = NULL;
		if (o->count == OPERANDS_MAX - 1)
			return bad(e, "too many operands", err);
		if (isalpha((unsigned char)*e->at)) {
			if (word(e, &value, err) || !value)
				return bad(e, "a function needs parentheses here", err);
		} else if (operand(e, &value, err) < 0) {
			json_free(value);
			return -1;
		}
		o->items[o->count++] = value;
	}
	return 0;
}

/* One command of a pipeline; *value: what came down the pipe, replaced by the result. */
static int command(struct eval *e, bool piped, struct json **value, struct err *err)
{
	__attribute__((cleanup(operands_done))) struct operands o = {0};
	const struct function *f = NULL;
	struct json *constant = NULL;

	blanks(e);
	if (isalpha((unsigned char)*e->at)) {
		f = word(e, &constant, err);
		if (!f && !constant)
			return -1;
		if (constant)
			o.items[o.count++] = constant;
	}
	if (collect(e, &o, err) < 0)
		return -1;
	if (piped) {
		o.items[o.count++] = *value;
		*value = NULL;
	}
	if (!f && piped)
		return bad(e, "only a function can stand behind a |", err);
	if (!f) {
		if (o.count != 1)
			return bad(e, o.count ? "two values in a row" : "no value", err);
		*value = move_ptr(o.items[0]);
		return 0;
	}
	if (o.count < f->min || o.count > f->max)
		return err_set(err, ERR_INVALID,
		               "template: {{%.100s}}: wrong number of operands for %s", e->text,
		               f->name);
	*value = e->dry ? NULL : f->call(&o);
	return 0;
}

static int pipeline(struct eval *e, struct json **out, struct err *err)
{
	struct json *value = NULL;
	int rc = 0;

	if (++e->depth > DEPTH_MAX)
		return bad(e, "too deep", err);
	rc = command(e, false, &value, err);
	for (blanks(e); rc == 0 && *e->at == '|'; blanks(e)) {
		e->at++;
		rc = command(e, true, &value, err);
	}
	e->depth--;
	if (rc < 0)
		json_free(value);
	else
		*out = value;
	return rc;
}

static int evaluate(struct eval *e, struct json **result, struct err *err)
{
	struct json *value = NULL;

	if (pipeline(e, &value, err) < 0)
		return -1;
	if (*e->at) {
		json_free(value);
		return bad(e, "not understood", err);
	}
	*result = value;
	return 0;
}

int template_check(const char *text, struct err *err)
{
	struct eval e = {.at = text, .text = text, .dry = true};
	struct json *value = NULL;
	int rc = evaluate(&e, &value, err);

	if (rc == 0)
		json_free(value);
	return rc;
}

int template_eval(const char *text, const struct json *dot, const struct json *root,
                  struct json **result, struct err *err)
{
	struct eval e = {.at = text, .text = text, .dot = dot, .root = root};

	return evaluate(&e, result, err);
}
