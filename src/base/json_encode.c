/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "base/json_lib.h"
#include "base/str.h"

/* json_encode - struct to document by a field table; see json.h. Failures are NULL
 * all the way up and get their words in json_encode(): lack of memory, text that is
 * not UTF-8, or a double that is not a number. */

static json_t *encode_object(const struct json_table *table, const void *in, int depth);

static json_t *encode_strings(const struct json_strings *in)
{
	json_t *array = lib_array();

	for (size_t i = 0; array && i < in->count; i++)
		if (json_array_append_new(array, lib_string(in->items[i])) < 0) {
			json_decref(array);
			return NULL;
		}
	return array;
}

static json_t *encode_objects(const struct json_array *in, const struct json_table *table,
                              int depth)
{
	json_t *array = lib_array();

	for (size_t i = 0; array && i < in->count; i++) {
		const char *item = (const char *)in->items + i * table->size;

		if (json_array_append_new(array, encode_object(table, item, depth)) < 0) {
			json_decref(array);
			return NULL;
		}
	}
	return array;
}

static json_t *encode_strmap(const struct json_strmap *in)
{
	json_t *object = lib_object();

	for (size_t i = 0; object && i < in->count; i++) {
		const struct json_pair *pair = &in->items[i];

		if (json_object_set_new(object, pair->key, lib_string(pair->value)) < 0) {
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

static json_t *encode_field(const struct json_field *f, const void *member, int depth)
{
	switch (f->type) {
	case JSON_STRING:
		return lib_string(*(char *const *)member);
	case JSON_INT:
		return json_integer(*(const int64_t *)member);
	case JSON_UINT:
		return encode_uint(*(const uint64_t *)member);
	case JSON_DOUBLE:
		return json_real(*(const double *)member);
	case JSON_BOOL:
		return json_boolean(*(const bool *)member);
	case JSON_OBJECT:
		return encode_object(f->table, member, depth + 1);
	case JSON_POINTER:
		return encode_object(f->table, *(void *const *)member, depth + 1);
	case JSON_STRINGS:
		return encode_strings(member);
	case JSON_OBJECTS:
		return encode_objects(member, f->table, depth + 2);
	case JSON_STRMAP:
		return encode_strmap(member);
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

static int add_field(json_t *object, const struct json_field *f, const void *member, int depth)
{
	enum state state = state_of(f, member);

	if (state != STATE_FULL && f->empty == JSON_EMPTY_OMIT)
		return 0;

	json_t *value = state == STATE_ABSENT ? encode_absent(f) : encode_field(f, member, depth);
	if (f->type == JSON_OBJECT && f->empty == JSON_EMPTY_OMIT && value &&
	    json_object_size(value) == 0) {
		json_decref(value);
		return 0;
	}
	return json_object_set_new(object, f->name, value);
}

static json_t *encode_object(const struct json_table *table, const void *in, int depth)
{
	/* A table that points back at itself may describe a list without end. */
	json_t *object = depth < JSON_DEPTH_MAX ? lib_object() : NULL;

	for (const struct json_field *f = table->fields; object && f->name; f++)
		if (add_field(object, f, (const char *)in + f->offset, depth) < 0) {
			json_decref(object);
			return NULL;
		}
	return object;
}

struct json *json_encode(const struct json_table *table, const void *in, struct err *err)
{
	json_t *object = encode_object(table, in, 0);

	/* jansson does not say which; memory is the rarer cause by far. */
	if (!object)
		err_set(err, ERR_INVALID,
		        "cannot be written as JSON: text is not UTF-8, or nested too deep");
	return from_lib(object);
}

int json_encode_text(const struct json_table *table, const void *in, struct buf *out,
                     struct err *err)
{
	auto_type(json) doc = json_encode(table, in, err);

	return doc ? json_write(doc, out, err) : -1;
}
