/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * map - text keys to pointers. uthash stands behind it.
 *
 * Keys are copied; values are the caller's. Iteration is in insertion order.
 * Not thread-safe: the owner's lock guards it.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"

struct err;
struct map;

struct map *map_create(struct err *err);
void map_free(struct map *m); /* values are not touched; accepts NULL */
DEFINE_AUTO(map)

/* Adds or replaces. *old (may be NULL) gets the former value or NULL. ERR_NOMEM. */
int map_set(struct map *m, const char *key, void *value, void **old, struct err *err);
void *map_find(const struct map *m, const char *key); /* NULL if absent */
void *map_remove(struct map *m, const char *key);     /* the former value, or NULL */
size_t map_count(const struct map *m);

/* Start with *iter = NULL; false at the end. The current key may be removed while walking. */
bool map_next(const struct map *m, void **iter, const char **key, void **value);
/* map_for_each (m, iter, &key, &value) { ... } */
// NOLINTNEXTLINE(bugprone-macro-parentheses) iter is declared here
#define map_for_each(m, iter, key, value) for (void *iter = NULL; map_next(m, &iter, key, value);)
