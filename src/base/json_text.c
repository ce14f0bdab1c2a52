/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "base/json_lib.h"

/*
 * json_text - text to document and back; see json.h.
 *
 * jansson keeps integers as int64_t. The OCI specification has uint64_t fields
 * (an rlimit of 2^64-1 is everyday), so an integer from 2^63 to 2^64-1 is held
 * as a double, which the writer turns back into an integer. Doubles have 53
 * bits: what would not come back exactly is refused, save 2^64-1 itself, for
 * which the double 2^64 stands.
 */

#define PRETTY_INDENT 4

static const double two_63 = 9223372036854775808.0;
static const double two_64 = 18446744073709551616.0;

/* ---- before jansson ---- */

struct scan {
	const char *text;
	size_t len;
	size_t at;
	size_t copied; /* text before this is in out */
	int depth;
	struct buf *out; /* the text with large integers marked; unused if there are none */
};

static void skip_string(struct scan *s)
{
	while (++s->at < s->len && s->text[s->at] != '"')
		if (s->text[s->at] == '\\')
			s->at++;
	s->at++;
}

/* Reads digits into *value. False if there are too many for 64 bits. */
static bool scan_digits(struct scan *s, uint64_t *value)
{
	bool fits = true;

	*value = 0;
	for (; s->at < s->len && isdigit((unsigned char)s->text[s->at]); s->at++) {
		unsigned digit = (unsigned)(s->text[s->at] - '0');

		fits = fits && !__builtin_mul_overflow(*value, 10, value) &&
		       !__builtin_add_overflow(*value, digit, value);
	}
	return fits;
}

static bool is_real_tail(const struct scan *s)
{
	return s->at < s->len && strchr(".eE", s->text[s->at]);
}

/* Steps over a number; gives an integer over INT64_MAX the ".0" that makes jansson
 * read a double. A negative or overlong one is left for jansson to refuse. */
static int scan_number(struct scan *s, struct err *err)
{
	bool negative = s->at > 0 && s->text[s->at - 1] == '-';
	uint64_t value;
	bool fits = scan_digits(s, &value);

	if (is_real_tail(s)) {
		while (s->at < s->len && strchr("+-.eE0123456789", s->text[s->at]))
			s->at++;
		return 0;
	}
	if (!fits || negative || value <= INT64_MAX)
		return 0;
	if (value != UINT64_MAX && ((double)value >= two_64 || (uint64_t)(double)value != value))
		return err_set(err, ERR_INVALID,
		               "not usable JSON: the integer %" PRIu64 " cannot be kept exactly",
		               value);
	buf_add_mem(s->out, s->text + s->copied, s->at - s->copied);
	buf_add(s->out, ".0");
	s->copied = s->at;
	return 0;
}

static int scan_one(struct scan *s, struct err *err)
{
	switch (s->text[s->at]) {
	case '"':
		skip_string(s);
		return 0;
	case '[':
	case '{':
		if (++s->depth > JSON_DEPTH_MAX)
			return err_set(err, ERR_INVALID,
			               "not usable JSON: nested deeper than %d levels",
			               JSON_DEPTH_MAX);
		break;
	case ']':
	case '}':
		s->depth--;
		break;
	default:
		if (isdigit((unsigned char)s->text[s->at]))
			return scan_number(s, err);
		break;
	}
	s->at++;
	return 0;
}

struct json *json_parse(const char *text, size_t len, struct err *err)
{
	/* Marking adds two bytes to an integer of 19 digits or more. */
	auto_buf struct buf marked = BUF_INIT(len + len / 4);
	struct scan s = {.text = text, .len = len, .out = &marked};

	if (memchr(text, '\0', len)) { /* jansson overlooks one after a number */
		err_set(err, ERR_INVALID, "not valid JSON: a NUL byte");
		return NULL;
	}
	while (s.at < s.len)
		if (scan_one(&s, err) < 0)
			return NULL;
	if (s.copied > 0) {
		buf_add_mem(&marked, text + s.copied, len - s.copied);
		if (buf_check(&marked, err) < 0)
			return NULL;
		text = marked.data;
		len = marked.len;
	}

	json_error_t e;
	lib_lacked_memory = false;
	json_t *j = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &e);
	if (lib_lacked_memory) {
		json_decref(j);
		err_nomem(err);
		return NULL;
	}
	if (!j)
		err_set(err, ERR_INVALID, "not valid JSON: %s (line %d, column %d)", e.text, e.line,
		        e.column);
	return from_lib(j);
}

/* ---- writing ---- */

struct writer {
	struct buf *out;
	bool pretty;
	int depth;
	bool too_deep;
};

static void write_string(struct buf *out, const char *s)
{
	static const char named[] = {['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f',
	                             ['\r'] = 'r', ['"'] = '"',  ['\\'] = '\\'};

	buf_add(out, "\"");
	while (*s) {
		const char *plain = s;

		while ((unsigned char)*s >= 0x20 && *s != '"' && *s != '\\')
			s++;
		buf_add_mem(out, plain, (size_t)(s - plain));
		if (*s == '\0')
			break;
		if (named[(unsigned char)*s])
			buf_addf(out, "\\%c", named[(unsigned char)*s]);
		else
			buf_addf(out, "\\u%04x", (unsigned)(unsigned char)*s);
		s++;
	}
	buf_add(out, "\"");
}

/* The shortest text that reads back as the same double. (The locale of our programs
 * is "C"; nobody calls setlocale for numbers.) */
static void write_real(struct buf *out, double d)
{
	char text[40];

	if (d >= two_63 && d <= two_64) {
		buf_addf(out, "%" PRIu64, d >= two_64 ? UINT64_MAX : (uint64_t)d);
		return;
	}
	for (int precision = 15; precision <= 17; precision++) {
		snprintf(text, sizeof(text), "%.*g", precision, d);
		if (strtod(text, NULL) == d)
			break;
	}
	buf_add(out, text);
	if (!strpbrk(text, ".e"))
		buf_add(out, ".0"); /* so that it is read as a double again */
}

static void write_break(const struct writer *w)
{
	if (w->pretty)
		buf_addf(w->out, "\n%*s", w->depth * PRETTY_INDENT, "");
}

static void write_value(struct writer *w, const struct json *j);

static void write_object(struct writer *w, const struct json *j)
{
	void *iter = NULL;
	const char *key;
	struct json *value;
	const char *comma = "";

	buf_add(w->out, "{");
	while (json_next(j, &iter, &key, &value)) {
		buf_add(w->out, comma);
		write_break(w);
		write_string(w->out, key);
		buf_add(w->out, w->pretty ? ": " : ":");
		write_value(w, value);
		comma = ",";
	}
	w->depth--;
	if (*comma)
		write_break(w);
	buf_add(w->out, "}");
}

static void write_array(struct writer *w, const struct json *j)
{
	size_t count = json_count(j);

	buf_add(w->out, "[");
	for (size_t i = 0; i < count; i++) {
		buf_add(w->out, i ? "," : "");
		write_break(w);
		write_value(w, json_at(j, i));
	}
	w->depth--;
	if (count > 0)
		write_break(w);
	buf_add(w->out, "]");
}

static void write_nested(struct writer *w, const struct json *j)
{
	if (w->depth >= JSON_DEPTH_MAX) {
		w->too_deep = true; /* also the end of a hand-made cycle */
		return;
	}
	w->depth++;
	if (json_is_object(j))
		write_object(w, j);
	else
		write_array(w, j);
}

static void write_value(struct writer *w, const struct json *j)
{
	if (w->too_deep || w->out->failure)
		return;
	switch (to_lib(j)->type) {
	case LIB_OBJECT:
	case LIB_ARRAY:
		write_nested(w, j);
		break;
	case LIB_STRING:
		write_string(w->out, json_str(j));
		break;
	case LIB_INTEGER:
		buf_addf(w->out, "%" PRId64, json_num(j, 0));
		break;
	case LIB_REAL:
		write_real(w->out, json_real_value(to_lib(j)));
		break;
	case LIB_TRUE:
		buf_add(w->out, "true");
		break;
	case LIB_FALSE:
		buf_add(w->out, "false");
		break;
	case LIB_NULL:
		buf_add(w->out, "null");
		break;
	}
}

static int write_document(const struct json *j, bool pretty, struct buf *out, struct err *err)
{
	struct writer w = {.out = out, .pretty = pretty};

	if (!j)
		return err_nomem(err); /* a maker failed */
	write_value(&w, j);
	if (w.too_deep)
		return err_set(err, ERR_LIMIT, "document is nested deeper than %d levels",
		               JSON_DEPTH_MAX);
	return buf_check(out, err);
}

int json_write(const struct json *j, struct buf *out, struct err *err)
{
	return write_document(j, false, out, err);
}

int json_write_pretty(const struct json *j, struct buf *out, struct err *err)
{
	return write_document(j, true, out, err);
}
