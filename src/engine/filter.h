/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * filter - Docker's `filters` query: {"label": {"a=b": true}} or {"label": ["a=b"]}.
 *
 *	struct json *filters = filter_parse(text, err);
 *	filter_check(filters, (const char *const[]){"label", "name", NULL}, err);
 *	if (filter_matches(filters, "status", view->status)) ...
 *
 * Values of one key are alternatives, keys add up; labels add up among themselves too.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/json.h"

struct err;

/* NULL or "" gives an empty object. The result is in the first form whatever came in; the
 * caller owns it. ERR_INVALID. */
struct json *filter_parse(const char *text, struct err *err);
/* ERR_INVALID "invalid filter 'x'" for a key that is not in the NULL-terminated list. */
int filter_check(const struct json *filters, const char *const *allowed, struct err *err);

bool filter_has(const struct json *filters, const char *key);
/* Is there no filter on `key`, or one that equals value? */
bool filter_matches(const struct json *filters, const char *key, const char *value);
/* The same, but a filter value that begins or is contained in value will do. */
bool filter_matches_prefix(const struct json *filters, const char *key, const char *value);
bool filter_matches_part(const struct json *filters, const char *key, const char *value);
/* "label": every "k" or "k=v" asked for is there. "label!": none is. */
bool filter_matches_labels(const struct json *filters, const struct json_strmap *labels);
/* The index-th value of a key; NULL past the end. Borrowed. */
const char *filter_value(const struct json *filters, const char *key, size_t index);
/* A boolean filter such as dangling: *value only set when given. ERR_INVALID. */
int filter_bool(const struct json *filters, const char *key, bool *value, struct err *err);
