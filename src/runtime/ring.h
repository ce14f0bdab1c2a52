/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * ring - the last 64 KiB of a process's output, for who attaches with `logs`.
 *
 *	struct ring ring = {0};
 *	ring_add(&ring, 1, data, len);
 *	struct ring_record rec;
 *	for (size_t at = 0; ring_next(&ring, &at, &rec);)
 *		ring_copy(&ring, &rec, buffer);
 *
 * Whole records only: the oldest make room. The memory is mapped at the first byte, and pages
 * that were never reached are never used. Without memory the ring stays empty.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RING_SIZE (64 * 1024)

struct ring {
	char *mem;   /* owned, mapped; NULL until the first record */
	size_t head; /* offset of the oldest record */
	size_t used;
};

struct ring_record {
	uint8_t stream; /* 1 or 2 */
	size_t len;
	size_t at; /* where its bytes begin; for ring_copy() */
};

void ring_add(struct ring *ring, uint8_t stream, const void *data, size_t len);
/* Walks from the oldest; start with *pos = 0. false after the newest. */
bool ring_next(const struct ring *ring, size_t *pos, struct ring_record *out);
/* Copies rec->len bytes to `to`. */
void ring_copy(const struct ring *ring, const struct ring_record *rec, void *to);
void ring_done(struct ring *ring);
