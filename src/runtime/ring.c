/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/ring.h"

#include <string.h>
#include <sys/mman.h>

/* Before each record: the stream, then the length in three bytes. */
#define HEAD_SIZE 4
#define LEN_MAX   (RING_SIZE / 2)

static void put(struct ring *ring, const void *data, size_t len)
{
	size_t at = (ring->head + ring->used) % RING_SIZE;
	size_t first = len < RING_SIZE - at ? len : RING_SIZE - at;

	memcpy(ring->mem + at, data, first);
	memcpy(ring->mem, (const char *)data + first, len - first);
	ring->used += len;
}

static void get(const struct ring *ring, size_t at, void *to, size_t len)
{
	at %= RING_SIZE;
	size_t first = len < RING_SIZE - at ? len : RING_SIZE - at;

	memcpy(to, ring->mem + at, first);
	memcpy((char *)to + first, ring->mem, len - first);
}

static size_t record_length(const uint8_t head[HEAD_SIZE])
{
	return (size_t)head[1] << 16 | (size_t)head[2] << 8 | head[3];
}

static void drop_oldest(struct ring *ring)
{
	uint8_t head[HEAD_SIZE];

	get(ring, ring->head, head, sizeof(head));
	size_t size = HEAD_SIZE + record_length(head);

	ring->head = (ring->head + size) % RING_SIZE;
	ring->used -= size;
}

static bool ready(struct ring *ring)
{
	if (ring->mem)
		return true;
	void *mem =
		mmap(NULL, RING_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (mem == MAP_FAILED)
		return false;
	ring->mem = mem;
	return true;
}

void ring_add(struct ring *ring, uint8_t stream, const void *data, size_t len)
{
	const char *at = data;

	if (len == 0 || !ready(ring))
		return;
	while (len > 0) {
		size_t n = len < LEN_MAX ? len : LEN_MAX;
		uint8_t head[HEAD_SIZE] = {stream, (uint8_t)(n >> 16), (uint8_t)(n >> 8),
		                           (uint8_t)n};

		while (RING_SIZE - ring->used < HEAD_SIZE + n)
			drop_oldest(ring);
		put(ring, head, sizeof(head));
		put(ring, at, n);
		at += n;
		len -= n;
	}
}

bool ring_next(const struct ring *ring, size_t *pos, struct ring_record *out)
{
	uint8_t head[HEAD_SIZE];

	if (*pos >= ring->used)
		return false;
	get(ring, ring->head + *pos, head, sizeof(head));
	out->stream = head[0];
	out->len = record_length(head);
	out->at = ring->head + *pos + HEAD_SIZE;
	*pos += HEAD_SIZE + out->len;
	return true;
}

void ring_copy(const struct ring *ring, const struct ring_record *rec, void *to)
{
	get(ring, rec->at, to, rec->len);
}

void ring_done(struct ring *ring)
{
	if (ring->mem)
		munmap(ring->mem, RING_SIZE);
	*ring = (struct ring){0};
}
