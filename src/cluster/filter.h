/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * filter - Docker's filter documents: {"name":{"web":true},"label":["a=b"]}.
 *
 * Values of one key are alternatives, except labels, which must all be there; keys must all match.
 */

#include <stdbool.h>

#include "base/json.h"

struct err;

/* `allowed` is NULL-terminated. ERR_INVALID "invalid filter 'x'" names them. */
int filter_allow(const struct json *filters, const char *const *allowed, struct err *err);

/* True if the key is absent, or fn says yes to one of its values. */
bool filter_any(const struct json *filters, const char *key,
                bool (*fn)(const char *value, const void *arg), const void *arg);

/* The same for one text: begins with / is. */
bool filter_prefix(const struct json *filters, const char *key, const char *text);
bool filter_exact(const struct json *filters, const char *key, const char *text);

/* "name" or "name=value", all of them. */
bool filter_labels(const struct json *filters, const char *key, const struct json_strmap *labels);
