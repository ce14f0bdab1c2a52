/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/reply.h"

struct json *reply_strings(const struct json_strings *list)
{
	if (list->count == 0)
		return json_null();
	struct json *doc = json_array();
	for (size_t i = 0; i < list->count; i++)
		json_append(doc, json_string(list->items[i]));
	return doc;
}

struct json *reply_list(char *const *items)
{
	struct json *doc = json_array();

	for (; items && *items; items++)
		json_append(doc, json_string(*items));
	return doc;
}

struct json *reply_strmap(const struct json_strmap *map)
{
	if (!map->present)
		return json_null();
	struct json *doc = json_object();
	for (size_t i = 0; i < map->count; i++)
		json_set(doc, map->items[i].key,
		         json_string(map->items[i].value ? map->items[i].value : ""));
	return doc;
}

struct json *reply_status(const char *id, const char *text)
{
	struct json *doc = json_object();

	json_set(doc, "status", json_string(text));
	if (id)
		json_set(doc, "id", json_string(id));
	return doc;
}

struct json *reply_failure(const char *message)
{
	struct json *detail = json_object();
	struct json *doc = json_object();

	json_set(detail, "message", json_string(message));
	json_set(doc, "errorDetail", detail);
	json_set(doc, "error", json_string(message));
	return doc;
}
