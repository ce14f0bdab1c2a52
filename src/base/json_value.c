/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "base/json.h"
#include "base/json_lib.h"

/* json_value - the makers and readers of documents; see json.h. */

_Thread_local bool lib_lacked_memory;

static void *allocate(size_t size)
{
	void *mem = malloc(size);

	if (!mem)
		lib_lacked_memory = true;
	return mem;
}

/* Once, before main() and so before any thread; a setting of jansson's, not of a document. */
__attribute__((constructor)) static void note_lack_of_memory(void)
{
	json_set_alloc_funcs(allocate, free);
}

struct json *json_ref(struct json *j)
{
	return from_lib(json_incref(to_lib(j)));
}

void json_free(struct json *j)
{
	json_decref(to_lib(j));
}

struct json *json_object(void)
{
	return from_lib(lib_object());
}

struct json *json_array(void)
{
	return from_lib(lib_array());
}

struct json *json_string(const char *s)
{
	return from_lib(lib_string(s));
}

struct json *json_int(int64_t n)
{
	return from_lib(json_integer(n));
}

struct json *json_double(double d)
{
	return from_lib(json_real(d));
}

struct json *json_bool(bool b)
{
	return from_lib(json_boolean(b));
}

struct json *json_null(void)
{
	return from_lib(lib_null());
}

int json_set(struct json *object, const char *key, struct json *value)
{
	return json_object_set_new(to_lib(object), key, to_lib(value)) < 0 ? -1 : 0;
}

int json_append(struct json *array, struct json *value)
{
	return json_array_append_new(to_lib(array), to_lib(value)) < 0 ? -1 : 0;
}

struct json *json_get(const struct json *object, const char *key)
{
	return from_lib(json_object_get(to_lib(object), key));
}

const char *json_get_string(const struct json *object, const char *key)
{
	return json_str(json_get(object, key));
}

int64_t json_get_int(const struct json *object, const char *key, int64_t otherwise)
{
	return json_num(json_get(object, key), otherwise);
}

bool json_get_bool(const struct json *object, const char *key, bool otherwise)
{
	const struct json *value = json_get(object, key);

	return json_is_bool(value) ? json_truth(value) : otherwise;
}

bool json_is_object(const struct json *j)
{
	return lib_is(j, LIB_OBJECT);
}

bool json_is_array(const struct json *j)
{
	return lib_is(j, LIB_ARRAY);
}

bool json_is_string(const struct json *j)
{
	return lib_is(j, LIB_STRING);
}

bool json_is_int(const struct json *j)
{
	return lib_is(j, LIB_INTEGER);
}

bool json_is_bool(const struct json *j)
{
	return lib_is(j, LIB_TRUE) || lib_is(j, LIB_FALSE);
}

bool json_is_null(const struct json *j)
{
	return lib_is(j, LIB_NULL);
}

const char *json_str(const struct json *j)
{
	return json_is_string(j) ? json_string_value(to_lib(j)) : NULL;
}

int64_t json_num(const struct json *j, int64_t otherwise)
{
	return json_is_int(j) ? json_integer_value(to_lib(j)) : otherwise;
}

bool json_truth(const struct json *j)
{
	return lib_is(j, LIB_TRUE);
}

size_t json_count(const struct json *j)
{
	return json_is_object(j) ? json_object_size(to_lib(j)) : json_array_size(to_lib(j));
}

struct json *json_at(const struct json *array, size_t index)
{
	return from_lib(json_array_get(to_lib(array), index));
}

bool json_next(const struct json *object, void **iter, const char **key, struct json **value)
{
	json_t *o = to_lib(object);
	void *next = *iter ? json_object_iter_next(o, *iter) : json_object_iter(o);

	*iter = next;
	if (!next)
		return false;
	*key = json_object_iter_key(next);
	*value = from_lib(json_object_iter_value(next));
	return true;
}

/* ---- do two say the same? ---- */

static bool is_nothing(const struct json *j)
{
	void *iter = NULL;
	const char *key;
	struct json *value;

	if (!j || json_is_null(j) || (json_is_string(j) && !*json_str(j)) ||
	    (json_is_bool(j) && !json_truth(j)))
		return true;
	if (json_is_array(j))
		return json_count(j) == 0;
	while (json_next(j, &iter, &key, &value))
		if (!is_nothing(value))
			return false;
	return json_is_object(j);
}

static bool holds_keys(const struct json *a, const struct json *b)
{
	void *iter = NULL;
	const char *key;
	struct json *value;

	while (json_next(a, &iter, &key, &value))
		if (!json_alike(value, json_get(b, key)))
			return false;
	return true;
}

bool json_alike(const struct json *a, const struct json *b)
{
	if (is_nothing(a) || is_nothing(b))
		return is_nothing(a) && is_nothing(b);
	if (json_is_object(a) && json_is_object(b))
		return holds_keys(a, b) && holds_keys(b, a);
	if (!json_is_array(a) || !json_is_array(b))
		return json_equal(to_lib(a), to_lib(b));
	for (size_t i = 0; i < json_count(a) || i < json_count(b); i++)
		if (i >= json_count(a) || i >= json_count(b) ||
		    !json_alike(json_at(a, i), json_at(b, i)))
			return false;
	return true;
}
