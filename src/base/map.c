/* SPDX-License-Identifier: Apache-2.0 */
#include "base/map.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/id.h"

/* uthash ends the program when memory is short, unless told otherwise. */
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

struct entry {
	UT_hash_handle hh;
	void *value;
	char key[];
};

struct map {
	struct entry *head; /* in insertion order; owned */
	uint64_t seed[2];
};

/* ---- SipHash-1-3: keys come from outside, and without a secret seed somebody could
 * make thousands that fall into one bucket. https://www.aumasson.jp/siphash/ ---- */

static uint64_t rotate(uint64_t x, int bits)
{
	return x << bits | x >> (64 - bits);
}

static void sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[1] = rotate(v[1], 13) ^ v[0];
	v[0] = rotate(v[0], 32);
	v[2] += v[3];
	v[3] = rotate(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = rotate(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = rotate(v[1], 17) ^ v[2];
	v[2] = rotate(v[2], 32);
}

static void sip_word(uint64_t v[4], uint64_t word)
{
	v[3] ^= word;
	sip_round(v);
	v[0] ^= word;
}

static unsigned hash_key(const struct map *m, const char *key, size_t len)
{
	uint64_t v[4] = {m->seed[0] ^ 0x736f6d6570736575, m->seed[1] ^ 0x646f72616e646f6d,
	                 m->seed[0] ^ 0x6c7967656e657261, m->seed[1] ^ 0x7465646279746573};
	uint64_t last = 0;
	size_t at = 0;

	for (; len - at >= sizeof(uint64_t); at += sizeof(uint64_t)) {
		uint64_t word;

		memcpy(&word, key + at, sizeof(word));
		sip_word(v, word);
	}
	memcpy(&last, key + at, len - at);
	sip_word(v, last | (uint64_t)len << 56);
	v[2] ^= 0xff;
	for (int i = 0; i < 3; i++)
		sip_round(v);
	uint64_t h = v[0] ^ v[1] ^ v[2] ^ v[3];
	return (unsigned)(h ^ h >> 32);
}

struct map *map_create(struct err *err)
{
	struct map *m = calloc(1, sizeof(*m));

	if (!m) {
		err_nomem(err);
		return NULL;
	}
	id_random(m->seed, sizeof(m->seed));
	return m;
}

void map_free(struct map *m)
{
	if (!m)
		return;
	struct entry *e = m->head, *next;
	HASH_CLEAR(hh, m->head); /* the table; the entries are still chained */
	for (; e; e = next) {
		next = e->hh.next;
		free(e);
	}
	free(m);
}

// NOLINTNEXTLINE(readability-function-size) it counts what uthash's macros become
static struct entry *find(const struct map *m, const char *key)
{
	size_t len = strlen(key);
	unsigned hash = hash_key(m, key, len);
	struct entry *e;

	HASH_FIND_BYHASHVALUE(hh, m->head, key, len, hash, e);
	return e;
}

// NOLINTNEXTLINE(readability-function-size) it counts what uthash's macros become
int map_set(struct map *m, const char *key, void *value, void **old, struct err *err)
{
	struct entry *e = find(m, key);
	size_t len = strlen(key);

	if (e) {
		if (old)
			*old = e->value;
		e->value = value;
		return 0;
	}

	e = calloc(1, sizeof(*e) + len + 1);
	if (!e)
		return err_nomem(err);
	memcpy(e->key, key, len);
	e->value = value;
	unsigned hash = hash_key(m, key, len);
	HASH_ADD_KEYPTR_BYHASHVALUE(hh, m->head, e->key, len, hash, e);
	if (!e->hh.tbl) { /* uthash takes an entry back that it had no memory for */
		free(e);
		return err_nomem(err);
	}
	if (old)
		*old = NULL;
	return 0;
}

void *map_find(const struct map *m, const char *key)
{
	const struct entry *e = find(m, key);

	return e ? e->value : NULL;
}

// NOLINTNEXTLINE(readability-function-size) it counts what uthash's macros become
void *map_remove(struct map *m, const char *key)
{
	struct entry *e = find(m, key);

	if (!e)
		return NULL;
	void *value = e->value;
	HASH_DEL(m->head, e);
	free(e);
	return value;
}

size_t map_count(const struct map *m)
{
	return HASH_COUNT(m->head);
}

/* *iter is the entry to give next, so that the current one may go; m itself marks the end. */
bool map_next(const struct map *m, void **iter, const char **key, void **value)
{
	const struct entry *e = *iter ? *iter : m->head;

	if (!e || (const void *)e == m)
		return false;
	*key = e->key;
	*value = e->value;
	*iter = e->hh.next ? e->hh.next : (void *)m;
	return true;
}
