/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * arena - memory of one document, given back all at once.
 *
 *	auto_arena struct arena a = ARENA_INIT(1 << 20);
 *	char *name = arena_strdup(&a, text, err);
 *
 * Every pointer is valid until arena_done(). Aligned for any type, zeroed.
 * Has a ceiling: a document from outside cannot take more. Not thread-safe.
 */

#include <stddef.h>

struct err;
struct arena_block;

struct arena {
	struct arena_block *blocks; /* newest first; owned */
	struct arena_later *laters; /* run at arena_done(), newest first */
	size_t used;                /* bytes handed out */
	size_t max;
};

#define ARENA_INIT(limit) ((struct arena){.max = (limit)})
#define auto_arena        __attribute__((cleanup(arena_done)))

/* Releases everything; the arena may be used again. */
void arena_done(struct arena *a);

/* NULL: ERR_NOMEM, or ERR_LIMIT when the ceiling is reached. */
void *arena_alloc(struct arena *a, size_t size, struct err *err);
void *arena_array(struct arena *a, size_t count, size_t size,
                  struct err *err); /* checked product */
char *arena_strdup(struct arena *a, const char *s, struct err *err);
char *arena_strndup(struct arena *a, const char *s, size_t len, struct err *err);
void *arena_memdup(struct arena *a, const void *mem, size_t len, struct err *err);
char *arena_printf(struct arena *a, struct err *err, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Calls fn(arg) when the arena is released, e.g. to drop a reference. On
 * failure fn has been called already. */
int arena_later(struct arena *a, void (*fn)(void *), void *arg, struct err *err);
