/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/ring.h"

#include "base/testing.h"

static size_t read_all(const struct ring *ring, char *out, size_t max)
{
	struct ring_record rec;
	size_t len = 0;

	for (size_t at = 0; ring_next(ring, &at, &rec);) {
		assert_true(len + rec.len <= max);
		ring_copy(ring, &rec, out + len);
		len += rec.len;
	}
	return len;
}

static void an_empty_ring_has_no_records(void **state)
{
	(void)state;
	struct ring ring = {0};
	struct ring_record rec;
	size_t at = 0;

	assert_false(ring_next(&ring, &at, &rec));
	ring_done(&ring);
}

static void records_come_back_in_order_with_their_stream(void **state)
{
	(void)state;
	struct ring ring = {0};
	struct ring_record rec;
	char text[8] = {0};
	size_t at = 0;

	ring_add(&ring, 1, "one", 3);
	ring_add(&ring, 2, "two!", 4);
	assert_true(ring_next(&ring, &at, &rec));
	assert_int_equal(rec.stream, 1);
	assert_int_equal(rec.len, 3);
	assert_true(ring_next(&ring, &at, &rec));
	assert_int_equal(rec.stream, 2);
	ring_copy(&ring, &rec, text);
	assert_string_equal(text, "two!");
	assert_false(ring_next(&ring, &at, &rec));
	ring_done(&ring);
}

static void a_full_ring_keeps_the_newest_whole_records(void **state)
{
	(void)state;
	struct ring ring = {0};
	static char out[RING_SIZE];
	char line[32];

	for (int i = 0; i < 20000; i++) {
		int n = snprintf(line, sizeof(line), "line %06d\n", i);

		ring_add(&ring, 1, line, (size_t)n);
	}
	size_t len = read_all(&ring, out, sizeof(out));

	assert_true(len > RING_SIZE / 2);
	assert_int_equal(len % 12, 0);
	assert_memory_equal(out + len - 12, "line 019999\n", 12);
	assert_memory_equal(out, "line ", 5);
	ring_done(&ring);
}

static void a_chunk_larger_than_the_ring_leaves_its_end(void **state)
{
	(void)state;
	struct ring ring = {0};
	static char big[3 * RING_SIZE], out[RING_SIZE];

	for (size_t i = 0; i < sizeof(big); i++)
		big[i] = (char)('a' + i % 26);
	ring_add(&ring, 1, big, sizeof(big));
	size_t len = read_all(&ring, out, sizeof(out));

	assert_true(len > 0);
	assert_memory_equal(out, big + sizeof(big) - len, len);
	ring_done(&ring);
}

TESTING_MAIN(TEST(an_empty_ring_has_no_records), TEST(records_come_back_in_order_with_their_stream),
             TEST(a_full_ring_keeps_the_newest_whole_records),
             TEST(a_chunk_larger_than_the_ring_leaves_its_end))
