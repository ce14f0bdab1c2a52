/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "base/json_lib.h"

/* json_decode - document to struct by a field table; see json.h. */

/* Where we are in the document: a chain on the stack, spelt out only for an error. */
struct place {
	const struct place *up;
	const char *key; /* NULL: an element of an array */
	size_t index;
};

struct decoder {
	struct arena *arena;
	struct err *err;
};

static void add_path(struct buf *out, const struct place *p)
{
	if (!p)
		return;
	add_path(out, p->up);
	if (!p->key)
		buf_addf(out, "[%zu]", p->index);
	else
		buf_addf(out, "%s%s", out->len ? "." : "", p->key);
}

static int wrong(const struct decoder *d, const struct place *p, const char *what)
{
	auto_buf struct buf path = BUF_INIT(ERR_MSG_MAX);

	add_path(&path, p);
	if (!p)
		return err_set(d->err, ERR_INVALID, "document: %s", what);
	return err_set(d->err, ERR_INVALID, "%s: %s", buf_str(&path), what);
}

static int decode_object(const struct decoder *d, const struct place *p, const struct json *j,
                         const struct json_table *table, void *out);

static int decode_string(const struct decoder *d, const struct place *p, const struct json *j,
                         char **out)
{
	if (!json_is_string(j))
		return wrong(d, p, "not a string");
	char *copy = arena_strdup(d->arena, json_str(j), d->err);
	if (!copy)
		return -1;
	*out = copy;
	return 0;
}

static int decode_int(const struct decoder *d, const struct place *p, const struct json *j,
                      int64_t *out)
{
	if (!json_is_int(j))
		return wrong(d, p,
		             lib_is(j, LIB_REAL) ? "not an integer of 64 bits" : "not a number");
	*out = json_num(j, 0);
	return 0;
}

static int decode_uint(const struct decoder *d, const struct place *p, const struct json *j,
                       uint64_t *out)
{
	if (lib_is(j, LIB_REAL)) { /* 2^63 and above, see json_text.c */
		double real = json_real_value(to_lib(j));

		if (!(real >= 9223372036854775808.0 && real <= 18446744073709551616.0))
			return wrong(d, p, "not an integer of 64 bits");
		*out = real >= 18446744073709551616.0 ? UINT64_MAX : (uint64_t)real;
		return 0;
	}
	if (!json_is_int(j))
		return wrong(d, p, "not a number");
	if (json_num(j, 0) < 0)
		return wrong(d, p, "must not be negative");
	*out = (uint64_t)json_num(j, 0);
	return 0;
}

static int decode_double(const struct decoder *d, const struct place *p, const struct json *j,
                         double *out)
{
	if (!json_is_int(j) && !lib_is(j, LIB_REAL))
		return wrong(d, p, "not a number");
	*out = json_number_value(to_lib(j));
	return 0;
}

static int decode_bool(const struct decoder *d, const struct place *p, const struct json *j,
                       bool *out)
{
	if (!json_is_bool(j))
		return wrong(d, p, "not true or false");
	*out = json_truth(j);
	return 0;
}

static int decode_pointer(const struct decoder *d, const struct place *p, const struct json *j,
                          const struct json_table *table, void **out)
{
	void *made = arena_alloc(d->arena, table->size, d->err);

	if (!made || decode_object(d, p, j, table, made) < 0)
		return -1;
	*out = made;
	return 0;
}

static int decode_strings(const struct decoder *d, const struct place *p, const struct json *j,
                          struct json_strings *out)
{
	if (!json_is_array(j))
		return wrong(d, p, "not an array of strings");

	size_t count = json_count(j);
	char **items = arena_array(d->arena, count + 1, sizeof(*items), d->err);
	if (!items)
		return -1;
	for (size_t i = 0; i < count; i++) {
		struct place element = {.up = p, .index = i};

		if (decode_string(d, &element, json_at(j, i), &items[i]) < 0)
			return -1;
	}
	*out = (struct json_strings){.items = items, .count = count, .present = true};
	return 0;
}

static int decode_objects(const struct decoder *d, const struct place *p, const struct json *j,
                          const struct json_table *table, struct json_array *out)
{
	if (!json_is_array(j))
		return wrong(d, p, "not an array of objects");

	size_t count = json_count(j);
	char *items = arena_array(d->arena, count, table->size, d->err);
	if (!items)
		return -1;
	for (size_t i = 0; i < count; i++) {
		struct place element = {.up = p, .index = i};

		if (decode_object(d, &element, json_at(j, i), table, items + i * table->size) < 0)
			return -1;
	}
	*out = (struct json_array){.items = items, .count = count, .present = true};
	return 0;
}

static int decode_strmap(const struct decoder *d, const struct place *p, const struct json *j,
                         struct json_strmap *out)
{
	if (!json_is_object(j))
		return wrong(d, p, "not an object");

	struct json_pair *items = arena_array(d->arena, json_count(j), sizeof(*items), d->err);
	if (!items)
		return -1;
	size_t count = 0;
	void *iter = NULL;
	const char *key;
	struct json *value;
	while (json_next(j, &iter, &key, &value)) {
		struct place element = {.up = p, .key = key};
		struct json_pair *pair = &items[count++];

		pair->key = arena_strdup(d->arena, key, d->err);
		if (!pair->key || decode_string(d, &element, value, &pair->value) < 0)
			return -1;
	}
	*out = (struct json_strmap){.items = items, .count = count, .present = true};
	return 0;
}

static void drop_reference(void *arg)
{
	json_free(arg);
}

static int decode_raw(const struct decoder *d, const struct json *j, struct json **out)
{
	struct json *kept = json_ref((struct json *)j);

	if (arena_later(d->arena, drop_reference, kept, d->err) < 0)
		return -1;
	*out = kept;
	return 0;
}

/* null: as if the key were absent, but a pointer-like default is cleared. */
static void decode_null(const struct json_field *field, void *out)
{
	switch (field->type) {
	case JSON_STRING:
		*(char **)out = NULL;
		break;
	case JSON_POINTER:
		*(void **)out = NULL;
		break;
	case JSON_STRINGS:
		*(struct json_strings *)out = (struct json_strings){0};
		break;
	case JSON_OBJECTS:
		*(struct json_array *)out = (struct json_array){0};
		break;
	case JSON_STRMAP:
		*(struct json_strmap *)out = (struct json_strmap){0};
		break;
	case JSON_INT:
	case JSON_UINT:
	case JSON_DOUBLE:
	case JSON_BOOL:
	case JSON_OBJECT:
	case JSON_RAW:
		break;
	}
}

static int decode_field(const struct decoder *d, const struct place *p, const struct json *j,
                        const struct json_field *field, void *out)
{
	switch (field->type) {
	case JSON_STRING:
		return decode_string(d, p, j, out);
	case JSON_INT:
		return decode_int(d, p, j, out);
	case JSON_UINT:
		return decode_uint(d, p, j, out);
	case JSON_DOUBLE:
		return decode_double(d, p, j, out);
	case JSON_BOOL:
		return decode_bool(d, p, j, out);
	case JSON_OBJECT:
		return decode_object(d, p, j, field->table, out);
	case JSON_POINTER:
		return decode_pointer(d, p, j, field->table, out);
	case JSON_STRINGS:
		return decode_strings(d, p, j, out);
	case JSON_OBJECTS:
		return decode_objects(d, p, j, field->table, out);
	case JSON_STRMAP:
		return decode_strmap(d, p, j, out);
	case JSON_RAW:
		return decode_raw(d, j, out);
	}
	return err_set(d->err, ERR_INTERNAL, "field table of \"%s\" has no such type", field->name);
}

static bool knows(const struct json_table *table, const char *key)
{
	for (const struct json_field *f = table->fields; f->name; f++)
		if (strcmp(f->name, key) == 0)
			return true;
	return false;
}

static int refuse_unknown(const struct decoder *d, const struct place *p, const struct json *j,
                          const struct json_table *table)
{
	void *iter = NULL;
	const char *key;
	struct json *value;

	while (json_next(j, &iter, &key, &value)) {
		struct place here = {.up = p, .key = key};

		if (!knows(table, key))
			return wrong(d, &here, "unknown key");
	}
	return 0;
}

static int decode_object(const struct decoder *d, const struct place *p, const struct json *j,
                         const struct json_table *table, void *out)
{
	if (!json_is_object(j))
		return wrong(d, p, "not an object");
	if (table->strict && refuse_unknown(d, p, j, table) < 0)
		return -1;

	for (const struct json_field *f = table->fields; f->name; f++) {
		const struct json *value = json_get(j, f->name);
		struct place here = {.up = p, .key = f->name};
		void *member = (char *)out + f->offset;

		if (f->required && (!value || (json_is_null(value) && f->type != JSON_RAW)))
			return wrong(d, &here, "missing");
		if (!value)
			continue;
		if (json_is_null(value) && f->type != JSON_RAW)
			decode_null(f, member);
		else if (decode_field(d, &here, value, f, member) < 0)
			return -1;
	}
	return 0;
}

int json_decode(const struct json *doc, const struct json_table *table, struct arena *arena,
                void *out, struct err *err)
{
	struct decoder d = {.arena = arena, .err = err};

	return decode_object(&d, NULL, doc, table, out);
}

int json_decode_text(const char *text, size_t len, const struct json_table *table,
                     struct arena *arena, void *out, struct err *err)
{
	auto_type(json) doc = json_parse(text, len, err);

	return doc ? json_decode(doc, table, arena, out, err) : -1;
}
