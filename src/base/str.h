/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* str - the few questions about text that libc does not answer in one call. */

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

static inline bool str_eq(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

static inline bool str_starts(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

static inline bool str_ends(const char *text, const char *suffix)
{
	size_t n = strlen(text), m = strlen(suffix);

	return n >= m && strcmp(text + n - m, suffix) == 0;
}

static inline bool str_empty(const char *text)
{
	return !text || *text == '\0';
}

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
