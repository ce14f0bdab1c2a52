/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/filter.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

int filter_allow(const struct json *filters, const char *const *allowed, struct err *err)
{
	auto_buf struct buf names = BUF_INIT(ERR_MSG_MAX);
	void *iter = NULL;
	const char *key;
	struct json *value;

	while (json_next(filters, &iter, &key, &value)) {
		bool known = false;

		buf_clear(&names);
		for (size_t i = 0; allowed[i]; i++) {
			known = known || str_eq(allowed[i], key);
			buf_addf(&names, "%s%s", i ? ", " : "", allowed[i]);
		}
		if (!known)
			return err_set(err, ERR_INVALID, "invalid filter '%s': allowed are %s", key,
			               buf_str(&names));
	}
	return 0;
}

/* The i-th value of a key in either shape; NULL at the end. */
static bool next_value(const struct json *values, size_t *at, void **iter, const char **value)
{
	struct json *flag;

	if (json_is_array(values)) {
		*value = json_str(json_at(values, (*at)++));
		return *value != NULL;
	}
	return json_next(values, iter, value, &flag);
}

bool filter_any(const struct json *filters, const char *key,
                bool (*fn)(const char *value, const void *arg), const void *arg)
{
	const struct json *values = json_get(filters, key);
	const char *value;
	size_t at = 0;
	void *iter = NULL;

	if (!values || json_count(values) == 0)
		return true;
	while (next_value(values, &at, &iter, &value))
		if (fn(value, arg))
			return true;
	return false;
}

static bool is_prefix(const char *value, const void *text)
{
	return text && str_starts(text, value);
}

static bool is_same(const char *value, const void *text)
{
	return str_eq(value, text);
}

bool filter_prefix(const struct json *filters, const char *key, const char *text)
{
	return filter_any(filters, key, is_prefix, text);
}

bool filter_exact(const struct json *filters, const char *key, const char *text)
{
	return filter_any(filters, key, is_same, text);
}

static bool has_label(const struct json_strmap *labels, const char *wanted)
{
	const char *equal = strchr(wanted, '=');
	size_t len = equal ? (size_t)(equal - wanted) : strlen(wanted);

	for (size_t i = 0; i < labels->count; i++)
		if (strlen(labels->items[i].key) == len &&
		    strncmp(labels->items[i].key, wanted, len) == 0)
			return !equal || str_eq(labels->items[i].value, equal + 1);
	return false;
}

bool filter_labels(const struct json *filters, const char *key, const struct json_strmap *labels)
{
	const struct json *values = json_get(filters, key);
	const char *value;
	size_t at = 0;
	void *iter = NULL;

	while (values && next_value(values, &at, &iter, &value))
		if (!has_label(labels, value))
			return false;
	return true;
}
