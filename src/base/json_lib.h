/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * json_lib - jansson, for the json*.c files alone.
 *
 * jansson and base/json.h use some of the same words. Here jansson's are given
 * other names while its header is read: the functions by an alias of the linker
 * symbol, the enumerators by macro. (Our own four of the same name have other
 * linker symbols, see json.h, so the two never meet at link time either.)
 */

struct json_t;

struct json_t *lib_object(void) __asm__("json_object");
struct json_t *lib_array(void) __asm__("json_array");
struct json_t *lib_string(const char *value) __asm__("json_string");
struct json_t *lib_null(void) __asm__("json_null");

#define json_object  lib_object
#define json_array   lib_array
#define json_string  lib_string
#define json_null    lib_null
#define json_type    lib_type
#define JSON_OBJECT  LIB_OBJECT
#define JSON_ARRAY   LIB_ARRAY
#define JSON_STRING  LIB_STRING
#define JSON_INTEGER LIB_INTEGER
#define JSON_REAL    LIB_REAL
#define JSON_TRUE    LIB_TRUE
#define JSON_FALSE   LIB_FALSE
#define JSON_NULL    LIB_NULL

#include <stdbool.h>

#include <jansson.h>

#undef json_object
#undef json_array
#undef json_string
#undef json_null
#undef json_type
#undef JSON_OBJECT
#undef JSON_ARRAY
#undef JSON_STRING
#undef JSON_INTEGER
#undef JSON_REAL
#undef JSON_TRUE
#undef JSON_FALSE
#undef JSON_NULL
#undef json_is_object
#undef json_is_array
#undef json_is_string
#undef json_is_null

struct json;

/* Set when an allocation of jansson's fails in this thread; reset it before a call.
 * jansson reports bad UTF-8 and lack of memory alike, and its reader loses a byte of a
 * token whose buffer cannot grow, which it calls a success. */
extern _Thread_local bool lib_lacked_memory;

/* struct json is what jansson calls json_t. */
static inline json_t *to_lib(const struct json *j)
{
	return (json_t *)j;
}

static inline struct json *from_lib(json_t *j)
{
	return (struct json *)j;
}

static inline bool lib_is(const struct json *j, lib_type type)
{
	return j && to_lib(j)->type == type;
}
