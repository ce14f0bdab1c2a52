/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/filter.h"

#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "base/str.h"

#define VALUES_MAX 1024 /* of one key */

/* {"a": true} and ["a"] both become {"a": true}; a value that is false counts as well in Docker. */
static struct json *values_of(const struct json *value, const char *key, struct err *err)
{
	auto_type(json) set = json_object();
	const char *name;
	struct json *item;

	if (json_is_object(value)) {
		for (void *iter = NULL; json_next(value, &iter, &name, &item);)
			if (json_set(set, name, json_bool(true)) < 0)
				return err_nomem(err), NULL;
	} else if (json_is_array(value)) {
		for (size_t i = 0; i < json_count(value); i++) {
			const char *text = json_str(json_at(value, i));
			if (!text)
				return err_set(err, ERR_INVALID, "filters.%s[%zu]: not a string",
				               key, i),
				       NULL;
			if (json_set(set, text, json_bool(true)) < 0)
				return err_nomem(err), NULL;
		}
	} else {
		err_set(err, ERR_INVALID, "filters.%s: a list or an object is expected", key);
		return NULL;
	}
	if (json_count(set) > VALUES_MAX)
		return err_set(err, ERR_LIMIT, "filters.%s: more than %d values", key, VALUES_MAX),
		       NULL;
	return move_ptr(set);
}

struct json *filter_parse(const char *text, struct err *err)
{
	if (str_empty(text))
		return json_object();

	auto_type(json) doc = json_parse(text, strlen(text), err);
	auto_type(json) out = json_object();
	const char *key;
	struct json *value;

	if (!doc)
		return err_wrap(err, "filters"), NULL;
	if (!json_is_object(doc))
		return err_set(err, ERR_INVALID, "filters: not a JSON object"), NULL;
	for (void *iter = NULL; json_next(doc, &iter, &key, &value);) {
		struct json *values = values_of(value, key, err);
		if (!values)
			return NULL;
		if (json_set(out, key, values) < 0)
			return err_nomem(err), NULL;
	}
	return move_ptr(out);
}

int filter_check(const struct json *filters, const char *const *allowed, struct err *err)
{
	const char *key;
	struct json *value;

	for (void *iter = NULL; json_next(filters, &iter, &key, &value);) {
		size_t i = 0;
		while (allowed[i] && !str_eq(allowed[i], key))
			i++;
		if (!allowed[i])
			return err_set(err, ERR_INVALID, "invalid filter '%s'", key);
	}
	return 0;
}

bool filter_has(const struct json *filters, const char *key)
{
	return json_count(json_get(filters, key)) > 0;
}

const char *filter_value(const struct json *filters, const char *key, size_t index)
{
	const char *name;
	struct json *value;
	size_t i = 0;

	for (void *iter = NULL; json_next(json_get(filters, key), &iter, &name, &value); i++)
		if (i == index)
			return name;
	return NULL;
}

static bool equals(const char *value, const char *wanted)
{
	return str_eq(value, wanted);
}

static bool begins(const char *value, const char *wanted)
{
	return str_starts(value, wanted);
}

static bool contains(const char *value, const char *wanted)
{
	return strstr(value, wanted) != NULL;
}

static bool matches(const struct json *filters, const char *key, const char *value,
                    bool (*fits)(const char *, const char *))
{
	if (!filter_has(filters, key))
		return true;
	if (!value)
		return false;
	for (size_t i = 0; filter_value(filters, key, i); i++)
		if (fits(value, filter_value(filters, key, i)))
			return true;
	return false;
}

bool filter_matches(const struct json *filters, const char *key, const char *value)
{
	return matches(filters, key, value, equals);
}

bool filter_matches_prefix(const struct json *filters, const char *key, const char *value)
{
	return matches(filters, key, value, begins);
}

bool filter_matches_part(const struct json *filters, const char *key, const char *value)
{
	return matches(filters, key, value, contains);
}

static bool has_label(const struct json_strmap *labels, const char *wanted)
{
	const char *equal = strchr(wanted, '=');
	size_t n = equal ? (size_t)(equal - wanted) : strlen(wanted);

	for (size_t i = 0; i < labels->count; i++) {
		const struct json_pair *pair = &labels->items[i];
		if (strlen(pair->key) == n && strncmp(pair->key, wanted, n) == 0 &&
		    (!equal || str_eq(pair->value ? pair->value : "", equal + 1)))
			return true;
	}
	return false;
}

bool filter_matches_labels(const struct json *filters, const struct json_strmap *labels)
{
	const char *wanted;

	for (size_t i = 0; (wanted = filter_value(filters, "label", i)); i++)
		if (!has_label(labels, wanted))
			return false;
	for (size_t i = 0; (wanted = filter_value(filters, "label!", i)); i++)
		if (has_label(labels, wanted))
			return false;
	return true;
}

int filter_bool(const struct json *filters, const char *key, bool *value, struct err *err)
{
	const char *text = filter_value(filters, key, 0);

	if (!text)
		return 0;
	if (filter_value(filters, key, 1))
		return err_set(err, ERR_INVALID, "filter '%s' takes one value", key);
	if (str_eq(text, "1") || strcasecmp(text, "true") == 0)
		*value = true;
	else if (str_eq(text, "0") || strcasecmp(text, "false") == 0)
		*value = false;
	else
		return err_set(err, ERR_INVALID, "invalid filter '%s=%s': true or false", key,
		               text);
	return 0;
}
