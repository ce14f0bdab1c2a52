/* SPDX-License-Identifier: Apache-2.0 */
#include "base/yaml.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "base/err.h"
#include "base/json.h"
#include "base/str.h"

struct reader {
	yaml_document_t doc;
	size_t nodes;
	struct err *err;
};

static struct json *fail_at(struct reader *r, const yaml_node_t *node, const char *why,
                            const char *what)
{
	err_set(r->err, ERR_INVALID, "line %zu, column %zu: %s%.100s", node->start_mark.line + 1,
	        node->start_mark.column + 1, why, what);
	return NULL;
}

static struct json *no_memory(struct reader *r)
{
	err_nomem(r->err);
	return NULL;
}

/* ---- scalars: the core schema ---- */

static bool one_of(const char *text, const char *const *words)
{
	for (; *words; words++)
		if (str_eq(text, *words))
			return true;
	return false;
}

/* 12, -7, 0x1f, 0o17 and, as in YAML 1.1, 017: files write modes so. */
static bool parse_integer(const char *text, int64_t *out)
{
	static const struct base {
		const char *prefix, *digits;
		int base;
	} bases[] = {{"0x", "0123456789abcdefABCDEF", 16},
	             {"0o", "01234567", 8},
	             {"0", "01234567", 8},
	             {"", "0123456789", 10}};
	const char *number = text + (*text == '-' || *text == '+'), *digits;
	const struct base *base = bases;

	if (str_eq(number, "0"))
		base = &bases[ARRAY_LEN(bases) - 1];
	while (!str_starts(number, base->prefix))
		base++;
	digits = number + strlen(base->prefix);
	if (!*digits || strspn(digits, base->digits) != strlen(digits))
		return false;
	errno = 0;
	*out = strtoll(digits, NULL, base->base);
	if (*text == '-')
		*out = -*out;
	return errno == 0;
}

static bool parse_float(const char *text, double *out)
{
	const char *digits = text + (*text == '-' || *text == '+');
	char *end;

	if (!*digits || strspn(digits, "0123456789.eE+-") != strlen(digits) ||
	    !strpbrk(digits, "0123456789") || strchr("eE+-", *digits))
		return false;
	errno = 0;
	*out = strtod(text, &end);
	return !*end && errno == 0 && isfinite(*out);
}

static struct json *plain(const char *text)
{
	static const char *const nulls[] = {"", "~", "null", "Null", "NULL", NULL};
	static const char *const truths[] = {"true", "True", "TRUE", NULL};
	static const char *const lies[] = {"false", "False", "FALSE", NULL};
	int64_t integer;
	double number;

	if (one_of(text, nulls))
		return json_null();
	if (one_of(text, truths))
		return json_bool(true);
	if (one_of(text, lies))
		return json_bool(false);
	if (parse_integer(text, &integer))
		return json_int(integer);
	return parse_float(text, &number) ? json_double(number) : json_string(text);
}

static struct json *scalar(struct reader *r, const yaml_node_t *node)
{
	const char *text = (const char *)node->data.scalar.value;
	bool bare = node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
	bool text_tag = node->tag && str_eq((const char *)node->tag, YAML_STR_TAG);

	if (strlen(text) != node->data.scalar.length)
		return fail_at(r, node, "a NUL byte", "");
	/* libyaml gives a scalar without a tag that of a string: only the style tells them apart. */
	struct json *value = bare && text_tag ? plain(text) : json_string(text);
	return value ? value : fail_at(r, node, "not UTF-8", "");
}

/* ---- nodes ---- */

static struct json *convert(struct reader *r, int index, int depth);

static struct json *sequence(struct reader *r, const yaml_node_t *node, int depth)
{
	auto_type(json) list = json_array();

	for (const yaml_node_item_t *item = node->data.sequence.items.start;
	     item < node->data.sequence.items.top; item++) {
		struct json *value = convert(r, *item, depth + 1);
		if (!value)
			return NULL;
		if (json_append(list, value) < 0)
			return no_memory(r);
	}
	return json_ref(list);
}

/* What `object` has already stays: its own keys are stronger than merged ones. */
static int merge_one(struct reader *r, const yaml_node_t *at, struct json *object,
                     const struct json *from)
{
	void *iter = NULL;
	const char *key;
	struct json *value;

	if (!json_is_object(from)) {
		fail_at(r, at, "<< takes a mapping, or a list of them", "");
		return -1;
	}
	while (json_next(from, &iter, &key, &value))
		if (!json_get(object, key) && json_set(object, key, json_ref(value)) < 0)
			return err_nomem(r->err);
	return 0;
}

static int merge(struct reader *r, const yaml_node_t *at, struct json *object,
                 const struct json *from)
{
	if (!json_is_array(from))
		return merge_one(r, at, object, from);
	for (size_t i = 0; i < json_count(from); i++)
		if (merge_one(r, at, object, json_at(from, i)) < 0)
			return -1;
	return 0;
}

static bool is_merge(const yaml_node_t *key)
{
	return key->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
	       str_eq((const char *)key->data.scalar.value, "<<");
}

/* Own keys first, merged ones after: `merging` says which of the two passes this is. */
static int pairs(struct reader *r, const yaml_node_t *node, int depth, bool merging,
                 struct json *object)
{
	for (const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
	     pair < node->data.mapping.pairs.top; pair++) {
		const yaml_node_t *key = yaml_document_get_node(&r->doc, pair->key);
		if (key->type != YAML_SCALAR_NODE) {
			fail_at(r, key, "a key must be a scalar", "");
			return -1;
		}
		if (is_merge(key) != merging)
			continue;
		const char *name = (const char *)key->data.scalar.value;
		if (!merging && json_get(object, name)) {
			fail_at(r, key, "the key stands twice: ", name);
			return -1;
		}
		auto_type(json) value = convert(r, pair->value, depth + 1);
		if (!value)
			return -1;
		if (merging && merge(r, key, object, value) < 0)
			return -1;
		if (!merging && json_set(object, name, json_ref(value)) < 0)
			return err_nomem(r->err);
	}
	return 0;
}

static struct json *mapping(struct reader *r, const yaml_node_t *node, int depth)
{
	auto_type(json) object = json_object();

	if (pairs(r, node, depth, false, object) < 0 || pairs(r, node, depth, true, object) < 0)
		return NULL;
	return json_ref(object);
}

static struct json *convert(struct reader *r, int index, int depth)
{
	const yaml_node_t *node = yaml_document_get_node(&r->doc, index);

	if (++r->nodes > YAML_NODES_MAX || depth > JSON_DEPTH_MAX) {
		err_set(r->err, ERR_LIMIT, "line %zu: %s", node->start_mark.line + 1,
		        depth > JSON_DEPTH_MAX ? "nested too deeply"
		                               : "too many values (aliases count each time)");
		return NULL;
	}
	switch (node->type) {
	case YAML_SEQUENCE_NODE:
		return sequence(r, node, depth);
	case YAML_MAPPING_NODE:
		return mapping(r, node, depth);
	case YAML_SCALAR_NODE:
		return scalar(r, node);
	case YAML_NO_NODE:
		break;
	}
	return fail_at(r, node, "no value", "");
}

struct json *yaml_parse(const char *text, size_t len, struct err *err)
{
	struct err own = ERR_INIT;
	struct reader r = {.err = err ? err : &own};
	yaml_parser_t parser;
	struct json *value = NULL;

	if (!yaml_parser_initialize(&parser))
		return err_nomem(err), NULL;
	yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
	if (!yaml_parser_load(&parser, &r.doc)) {
		err_set(err, ERR_INVALID, "line %zu, column %zu: %s", parser.problem_mark.line + 1,
		        parser.problem_mark.column + 1,
		        parser.problem ? parser.problem : "not YAML");
		yaml_parser_delete(&parser);
		return NULL;
	}
	value = yaml_document_get_root_node(&r.doc) ? convert(&r, 1, 0) : json_null();
	yaml_document_delete(&r.doc);
	yaml_parser_delete(&parser);
	return value;
}
