/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * json - documents as structs, described by field tables.
 *
 *	struct port { char *ip; int64_t number; };
 *	static const struct json_field port_fields[] = {
 *		JSON_FIELD(struct port, ip, "IP", JSON_STRING),
 *		JSON_FIELD(struct port, number, "Port", JSON_INT, .required = true),
 *		JSON_END,
 *	};
 *	static const struct json_table port_table = JSON_TABLE(struct port, port_fields);
 *
 *	struct port port = {0};
 *	if (json_decode_text(text, len, &port_table, arena, &port, err) < 0) ...
 *
 * The table is the specification: decoding reports the path of what is wrong
 * ("ports[2].Port: not a number"), encoding writes the same names in table
 * order. What decoding makes lives in the caller's arena and dies with it.
 *
 * Beside the tables there is a small document interface (struct json) for
 * text whose shape is not known ahead: filters, raw copies, replies built by hand.
 *
 * A key with null counts as absent (a string, pointer, array or map becomes NULL);
 * only JSON_RAW keeps it.
 *
 * Limits: nesting of JSON_DEPTH_MAX, no duplicate keys, no NUL in a string.
 * jansson stands behind this file and appears nowhere else.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

struct arena;
struct buf;
struct err;
struct json; /* a parsed or hand-made value, reference counted */

#define JSON_DEPTH_MAX 64

/* What a field is in C (first column) and in JSON (second). */
enum json_type {
	JSON_STRING,  /* char *             string; NULL = absent or null */
	JSON_INT,     /* int64_t            integer */
	JSON_UINT,    /* uint64_t           integer >= 0 */
	JSON_DOUBLE,  /* double             number */
	JSON_BOOL,    /* bool               true/false */
	JSON_OBJECT,  /* struct (inline)    object, `table` describes it */
	JSON_POINTER, /* struct * or NULL   object or null, `table` describes it */
	JSON_STRINGS, /* struct json_strings array of strings */
	JSON_OBJECTS, /* struct json_array  array of objects, `table` describes one */
	JSON_STRMAP,  /* struct json_strmap object whose values are strings */
	JSON_RAW,     /* struct json *      anything, kept as it is (borrowed from the arena) */
};

/* Arrays own nothing: items live in the arena (or are borrowed when encoding).
 * `present` tells [] (or {}) from null and from absence. */
struct json_strings {
	char **items; /* NULL-terminated when made by decoding */
	size_t count;
	bool present;
};

struct json_array {
	void *items; /* count structs in a row */
	size_t count;
	bool present;
};

struct json_pair {
	char *key;
	char *value;
};

struct json_strmap {
	struct json_pair *items;
	size_t count;
	bool present;
};

/* How an absent or empty value is written. */
enum json_empty {
	JSON_EMPTY_WRITE, /* as it is; a NULL string is "", other absent values are null */
	JSON_EMPTY_OMIT,  /* leave the key out when zero, empty or NULL */
	JSON_EMPTY_NULL,  /* write null for a NULL string or pointer and an absent array or map */
	JSON_EMPTY_EMPTY, /* write [] or {} for an absent array or map */
};

struct json_table;

struct json_field {
	const char *name; /* key; NULL ends the table */
	enum json_type type;
	size_t offset;
	const struct json_table *table; /* for JSON_OBJECT, _POINTER, _OBJECTS */
	enum json_empty empty;
	bool required; /* decoding: absence is an error */
};

struct json_table {
	const struct json_field *fields;
	size_t size; /* of the struct */
	bool strict; /* decoding: an unknown key is an error (ERR_INVALID, with its path) */
};

#define JSON_FIELD(type_, member_, name_, kind_, ...)                                              \
	{                                                                                          \
		.name = (name_), .type = (kind_), .offset = offsetof(type_, member_),              \
		##__VA_ARGS__                                                                      \
	}
#define JSON_END                                                                                   \
	{                                                                                          \
		.name = NULL                                                                       \
	}
#define JSON_TABLE(type_, fields_)                                                                 \
	{                                                                                          \
		.fields = (fields_), .size = sizeof(type_)                                         \
	}
#define JSON_TABLE_STRICT(type_, fields_)                                                          \
	{                                                                                          \
		.fields = (fields_), .size = sizeof(type_), .strict = true                         \
	}

/* ---- tables ---- */

/* Fills `out` (zeroed by the caller, or holding defaults: absent keys leave
 * their field alone) from a document. ERR_INVALID with the path; ERR_NOMEM. */
int json_decode(const struct json *doc, const struct json_table *table, struct arena *arena,
                void *out, struct err *err);

/* Parses and decodes. ERR_INVALID for text that is not one JSON object. */
int json_decode_text(const char *text, size_t len, const struct json_table *table,
                     struct arena *arena, void *out, struct err *err);

/* The struct as a document, which the caller owns. NULL: ERR_NOMEM, or
 * ERR_INVALID for a string that is not UTF-8. */
struct json *json_encode(const struct json_table *table, const void *in, struct err *err);

/* The struct as compact text, appended to out (errors stick there as well). */
int json_encode_text(const struct json_table *table, const void *in, struct buf *out,
                     struct err *err);

/* ---- documents ---- */

/* Parses one value of any type. The caller owns the result. */
struct json *json_parse(const char *text, size_t len, struct err *err);
struct json *json_ref(struct json *j);
void json_free(struct json *j); /* drops one reference; accepts NULL */
DEFINE_AUTO(json)

/* Appends compact text. Insertion order of keys is kept. */
int json_write(const struct json *j, struct buf *out, struct err *err);
/* The same, indented by four spaces, for people. */
int json_write_pretty(const struct json *j, struct buf *out, struct err *err);

/* Makers. NULL only for lack of memory (or bad UTF-8). Four have a linker symbol of their
 * own, because jansson's functions go by the same name. */
struct json *json_object(void) __asm__("base_json_object");
struct json *json_array(void) __asm__("base_json_array");
struct json *json_string(const char *s) __asm__("base_json_string");
struct json *json_int(int64_t n);
struct json *json_double(double d);
struct json *json_bool(bool b);
struct json *json_null(void) __asm__("base_json_null");

/* These take ownership of `value`, also on failure, and accept NULL (then fail),
 * so that makers may be nested and one check at the end is enough. */
int json_set(struct json *object, const char *key, struct json *value);
int json_append(struct json *array, struct json *value);

/* Readers: all accept NULL and a wrong type, and then say so by their default. */
struct json *json_get(const struct json *object, const char *key); /* borrowed; NULL if absent */
const char *json_get_string(const struct json *object, const char *key); /* NULL if not a string */
int64_t json_get_int(const struct json *object, const char *key, int64_t otherwise);
bool json_get_bool(const struct json *object, const char *key, bool otherwise);
bool json_is_object(const struct json *j);
bool json_is_array(const struct json *j);
bool json_is_string(const struct json *j);
bool json_is_int(const struct json *j);
bool json_is_bool(const struct json *j);
bool json_is_null(const struct json *j);
const char *json_str(const struct json *j); /* NULL if not a string */
int64_t json_num(const struct json *j, int64_t otherwise);
bool json_truth(const struct json *j);   /* true only for JSON true */
size_t json_count(const struct json *j); /* elements of an array or keys of an object */
struct json *json_at(const struct json *array, size_t index); /* borrowed; NULL past the end */

/* Do both say the same? The order of keys does not matter; null, false, "", [], {} and what holds only such is as
 * good as absent. 0 is not: it may differ from a default. */
bool json_alike(const struct json *a, const struct json *b);

/* Walks the keys of an object in order. Start with *iter = NULL; false at the end. */
bool json_next(const struct json *object, void **iter, const char **key, struct json **value);
