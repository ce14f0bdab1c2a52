/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

#define ARENA_BLOCK 4096 /* bytes of an ordinary block; a larger piece gets one of its own */

struct arena_block {
	struct arena_block *next;
	size_t size; /* of data */
	size_t used;
	_Alignas(max_align_t) unsigned char data[];
};

struct arena_later {
	struct arena_later *next;
	void (*fn)(void *arg);
	void *arg;
};

void arena_done(struct arena *a)
{
	/* The list lives in the blocks, so it goes first. */
	while (a->laters) {
		struct arena_later *later = a->laters;

		a->laters = later->next;
		later->fn(later->arg);
	}
	while (a->blocks) {
		struct arena_block *next = a->blocks->next;

		free(a->blocks);
		a->blocks = next;
	}
	a->used = 0;
}

static struct arena_block *block_create(size_t size)
{
	struct arena_block *block = calloc(1, sizeof(*block) + size);

	if (block)
		block->size = size;
	return block;
}

/* A block with room for size bytes: the newest one, or a fresh one. */
static struct arena_block *block_for(struct arena *a, size_t size)
{
	struct arena_block *newest = a->blocks;

	if (newest && size <= newest->size - newest->used)
		return newest;

	struct arena_block *block = block_create(size > ARENA_BLOCK ? size : ARENA_BLOCK);
	if (!block)
		return NULL;
	if (newest && size > ARENA_BLOCK / 4) {
		/* Keep filling the newest; a large piece stands behind it. */
		block->next = newest->next;
		newest->next = block;
	} else {
		block->next = newest;
		a->blocks = block;
	}
	return block;
}

void *arena_alloc(struct arena *a, size_t size, struct err *err)
{
	const size_t align = _Alignof(max_align_t);

	if (a->used > a->max || size > a->max - a->used || size > SIZE_MAX / 2) {
		err_set(err, ERR_LIMIT, "document needs more than %zu bytes of memory", a->max);
		return NULL;
	}
	size_t rounded = size ? (size + align - 1) / align * align : align;

	struct arena_block *block = block_for(a, rounded);
	if (!block) {
		err_nomem(err);
		return NULL;
	}
	void *mem = block->data + block->used;
	block->used += rounded;
	a->used += rounded;
	return mem;
}

void *arena_array(struct arena *a, size_t count, size_t size, struct err *err)
{
	size_t total;

	if (__builtin_mul_overflow(count, size, &total))
		total = SIZE_MAX; /* over any ceiling */
	return arena_alloc(a, total, err);
}

char *arena_strndup(struct arena *a, const char *s, size_t len, struct err *err)
{
	size_t n = strnlen(s, len);
	char *copy = arena_alloc(a, n + 1, err);

	if (copy)
		memcpy(copy, s, n); /* the terminator is there: memory comes zeroed */
	return copy;
}

char *arena_strdup(struct arena *a, const char *s, struct err *err)
{
	return arena_strndup(a, s, strlen(s), err);
}

void *arena_memdup(struct arena *a, const void *mem, size_t len, struct err *err)
{
	void *copy = arena_alloc(a, len, err);

	if (copy && len > 0)
		memcpy(copy, mem, len);
	return copy;
}

char *arena_printf(struct arena *a, struct err *err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	int len = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (len < 0) {
		err_set(err, ERR_LIMIT, "text is too long");
		return NULL;
	}

	char *text = arena_alloc(a, (size_t)len + 1, err);
	if (!text)
		return NULL;
	va_start(ap, fmt);
	vsnprintf(text, (size_t)len + 1, fmt, ap);
	va_end(ap);
	return text;
}

int arena_later(struct arena *a, void (*fn)(void *), void *arg, struct err *err)
{
	struct arena_later *later = arena_alloc(a, sizeof(*later), err);

	if (!later) {
		fn(arg);
		return -1;
	}
	*later = (struct arena_later){.next = a->laters, .fn = fn, .arg = arg};
	a->laters = later;
	return 0;
}
