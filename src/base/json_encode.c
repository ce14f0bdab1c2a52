/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "base/json_lib.h"
#include "base/str.h"

/* json_encode - struct to document by a field table; see json.h. A failure is NULL all
 * the way up; the encoder notes why. */

struct encoder {
	const char *wrong; /* what cannot be JSON, if memory was not short */
	int depth;         /* of nesting */
};

static json_t *encode_object(struct encoder *e, const struct json_table *table, const void *in);

static json_t *encode_string(struct encoder *e, const char *s)
{
	json_t *value = lib_string(s);

	if (!value)
		e->wrong = "text is not UTF-8";
	return value;
}

static json_t *encode_strings(struct encoder *e, const struct json_strings *in)
{
	json_t *array = lib_array();

	for (size_t i = 0; array && i < in->count; i++)
		if (json_array_append_new(array, encode_string(e, in->items[i])) < 0) {
			json_decref(array);
			return NULL;
		}
	return array;
}

static json_t *encode_objects(struct encoder *e, const struct json_array *in,
                              const struct json_table *table)
{
	json_t *array = lib_array();

	e->depth++;
	for (size_t i = 0; array && i < in->count; i++) {
		const char *item = (const char *)in->items + i * table->size;

		if (json_array_append_new(array, encode_object(e, table, item)) < 0) {
			json_decref(array);
			return NULL;
		}
	}
	e->depth--;
	return array;
}

static json_t *encode_strmap(struct encoder *e, const struct json_strmap *in)
{
	json_t *object = lib_object();

	for (size_t i = 0; object && i < in->count; i++) {
		const struct json_pair *pair = &in->items[i];
		json_t *key = encode_string(e, pair->key); /* for its check alone */
		json_t *value = key ? encode_string(e, pair->value) : NULL;

		json_decref(key);
		if (json_object_set_new(object, pair->key, value) < 0) {
			json_decref(object);
			return NULL;
		}
	}
	return object;
}

static json_t *encode_uint(uint64_t n)
{
	return n <= INT64_MAX ? json_integer((json_int_t)n) : json_real((double)n);
}

static json_t *encode_double(struct encoder *e, double d)
{
	if (!isfinite(d)) {
		e->wrong = "a number is infinite or undefined";
		return NULL;
	}
	return json_real(d);
}

static json_t *encode_field(struct encoder *e, const struct json_field *f, const void *member)
{
	switch (f->type) {
	case JSON_STRING:
		return encode_string(e, *(char *const *)member);
	case JSON_INT:
		return json_integer(*(const int64_t *)member);
	case JSON_UINT:
		return encode_uint(*(const uint64_t *)member);
	case JSON_DOUBLE:
		return encode_double(e, *(const double *)member);
	case JSON_BOOL:
		return json_boolean(*(const bool *)member);
	case JSON_OBJECT:
		return encode_object(e, f->table, member);
	case JSON_POINTER:
		return encode_object(e, f->table, *(void *const *)member);
	case JSON_STRINGS:
		return encode_strings(e, member);
	case JSON_OBJECTS:
		return encode_objects(e, member, f->table);
	case JSON_STRMAP:
		return encode_strmap(e, member);
	case JSON_RAW:
		return json_incref(to_lib(*(struct json *const *)member));
	}
	return NULL;
}

enum state {
	STATE_FULL,
	STATE_ZERO,   /* a value, but one that JSON_EMPTY_OMIT leaves out */
	STATE_ABSENT, /* no value at all */
};

static enum state state_of_list(size_t count, bool present)
{
	if (count > 0)
		return STATE_FULL;
	return present ? STATE_ZERO : STATE_ABSENT;
}

static enum state state_of(const struct json_field *f, const void *member)
{
	switch (f->type) {
	case JSON_STRING:
		if (!*(char *const *)member)
			return STATE_ABSENT;
		return **(char *const *)member ? STATE_FULL : STATE_ZERO;
	case JSON_INT:
	case JSON_UINT:
		return *(const int64_t *)member ? STATE_FULL : STATE_ZERO;
	case JSON_DOUBLE:
		return *(const double *)member != 0 ? STATE_FULL : STATE_ZERO;
	case JSON_BOOL:
		return *(const bool *)member ? STATE_FULL : STATE_ZERO;
	case JSON_POINTER:
	case JSON_RAW:
		return *(void *const *)member ? STATE_FULL : STATE_ABSENT;
	case JSON_STRINGS:
		return state_of_list(((const struct json_strings *)member)->count,
		                     ((const struct json_strings *)member)->present);
	case JSON_OBJECTS:
		return state_of_list(((const struct json_array *)member)->count,
		                     ((const struct json_array *)member)->present);
	case JSON_STRMAP:
		return state_of_list(((const struct json_strmap *)member)->count,
		                     ((const struct json_strmap *)member)->present);
	case JSON_OBJECT:
		break;
	}
	return STATE_FULL;
}

static json_t *encode_absent(const struct json_field *f)
{
	bool list = f->type == JSON_STRINGS || f->type == JSON_OBJECTS;

	if (f->empty == JSON_EMPTY_NULL)
		return lib_null();
	if (f->type == JSON_STRING)
		return lib_string("");
	if (f->empty == JSON_EMPTY_EMPTY && f->type != JSON_RAW)
		return list ? lib_array() : lib_object();
	return lib_null();
}

static int add_field(struct encoder *e, json_t *object, const struct json_field *f,
                     const void *member)
{
	enum state state = state_of(f, member);

	if (state != STATE_FULL && f->empty == JSON_EMPTY_OMIT)
		return 0;

	json_t *value = state == STATE_ABSENT ? encode_absent(f) : encode_field(e, f, member);
	if (f->type == JSON_OBJECT && f->empty == JSON_EMPTY_OMIT && value &&
	    json_object_size(value) == 0) {
		json_decref(value);
		return 0;
	}
	return json_object_set_new(object, f->name, value);
}

static json_t *encode_object(struct encoder *e, const struct json_table *table, const void *in)
{
	if (e->depth >= JSON_DEPTH_MAX) { /* a list that a table describes may have no end */
		e->wrong = "it is nested too deep";
		return NULL;
	}
	json_t *object = lib_object();
	e->depth++;
	for (const struct json_field *f = table->fields; object && f->name; f++)
		if (add_field(e, object, f, (const char *)in + f->offset) < 0) {
			json_decref(object);
			return NULL;
		}
	e->depth--;
	return object;
}

struct json *json_encode(const struct json_table *table, const void *in, struct err *err)
{
	struct encoder e = {.wrong = NULL};

	lib_lacked_memory = false;
	json_t *object = encode_object(&e, table, in);

	if (!object && (lib_lacked_memory || !e.wrong))
		err_nomem(err);
	else if (!object)
		err_set(err, ERR_INVALID, "cannot be written as JSON: %s", e.wrong);
	return from_lib(object);
}

int json_encode_text(const struct json_table *table, const void *in, struct buf *out,
                     struct err *err)
{
	auto_type(json) doc = json_encode(table, in, err);

	return doc ? json_write(doc, out, err) : -1;
}
