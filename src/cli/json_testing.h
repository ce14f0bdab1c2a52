/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* json_testing - what a document says at a place, for the tests of whoever makes documents. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/testing.h"

/* What is at "A.0.B" (keys, and places in lists), as text; expected NULL: nothing. */
static inline void assert_at(const struct json *doc, const char *path, const char *expected)
{
	auto_buf struct buf text = BUF_INIT(1u << 16);
	const struct json *at = doc;
	char keys[128], *save = NULL;

	snprintf(keys, sizeof(keys), "%s", path);
	for (char *key = strtok_r(keys, ".", &save); key; key = strtok_r(NULL, ".", &save))
		at = json_is_array(at) ? json_at(at, (size_t)strtoul(key, NULL, 10))
		                       : json_get(at, key);
	if (!at && expected)
		fail_msg("%s: nothing there", path);
	if (!expected) {
		assert_null(at);
		return;
	}
	assert_int_equal(json_write(at, &text, NULL), 0);
	assert_string_equal(buf_str(&text), expected);
}
