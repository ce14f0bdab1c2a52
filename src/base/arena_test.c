/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"

#include "base/err.h"
#include "base/testing.h"

static void pieces_are_zeroed_aligned_and_apart(void **state)
{
	auto_arena struct arena a = ARENA_INIT(1 << 20);
	unsigned char *pieces[200];

	(void)state;
	for (size_t i = 0; i < 200; i++) {
		size_t size = i * 37;

		pieces[i] = arena_alloc(&a, size, NULL);
		assert_non_null(pieces[i]);
		assert_int_equal((uintptr_t)pieces[i] % _Alignof(max_align_t), 0);
		for (size_t n = 0; n < size; n++)
			assert_int_equal(pieces[i][n], 0);
		memset(pieces[i], (int)i, size);
	}
	for (size_t i = 0; i < 200; i++)
		for (size_t n = 0; n < i * 37; n++)
			assert_int_equal(pieces[i][n], i);
}

static void the_ceiling_holds_to_the_byte(void **state)
{
	auto_arena struct arena a = ARENA_INIT(4096);
	struct err err = ERR_INIT;

	(void)state;
	assert_null(arena_alloc(&a, 4097, &err));
	assert_int_equal(err.kind, ERR_LIMIT);
	assert_non_null(arena_alloc(&a, 4096, NULL));
	err = ERR_INIT;
	assert_null(arena_alloc(&a, 1, &err));
	assert_int_equal(err.kind, ERR_LIMIT);
	arena_done(&a);
	assert_non_null(arena_alloc(&a, 4095, NULL));
}

static void an_array_whose_size_overflows_is_refused(void **state)
{
	auto_arena struct arena a = ARENA_INIT(4096);
	struct err err = ERR_INIT;

	(void)state;
	assert_null(arena_array(&a, SIZE_MAX / 2 + 2, 2, &err));
	assert_int_equal(err.kind, ERR_LIMIT);
	assert_non_null(arena_array(&a, 4, 4, NULL));
}

static void copies_are_copies(void **state)
{
	auto_arena struct arena a = ARENA_INIT(4096);
	char text[] = "layer";

	(void)state;
	char *whole = arena_strdup(&a, text, NULL);
	char *part = arena_strndup(&a, text, 3, NULL);
	char *longer = arena_strndup(&a, text, 30, NULL);
	char *mem = arena_memdup(&a, "a\0b", 3, NULL);
	char *made = arena_printf(&a, NULL, "%s-%d", text, 7);

	text[0] = 'X';
	assert_string_equal(whole, "layer");
	assert_string_equal(part, "lay");
	assert_string_equal(longer, "layer");
	assert_memory_equal(mem, "a\0b", 3);
	assert_string_equal(made, "layer-7");
}

struct trace {
	char order[8];
	size_t len;
};

static void note_a(void *arg)
{
	struct trace *t = arg;

	t->order[t->len++] = 'a';
}

static void note_b(void *arg)
{
	struct trace *t = arg;

	t->order[t->len++] = 'b';
}

static void laters_run_newest_first_and_once(void **state)
{
	struct trace t = {.len = 0};
	struct arena a = ARENA_INIT(4096);

	(void)state;
	assert_int_equal(arena_later(&a, note_a, &t, NULL), 0);
	assert_int_equal(arena_later(&a, note_b, &t, NULL), 0);
	assert_int_equal(t.len, 0);
	arena_done(&a);
	arena_done(&a);
	assert_string_equal(t.order, "ba");
}

static void a_later_that_does_not_fit_has_run(void **state)
{
	struct trace t = {.len = 0};
	auto_arena struct arena a = ARENA_INIT(8);
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(arena_later(&a, note_a, &t, &err), -1);
	assert_int_equal(err.kind, ERR_LIMIT);
	assert_string_equal(t.order, "a");
}

TESTING_MAIN(TEST(pieces_are_zeroed_aligned_and_apart), TEST(the_ceiling_holds_to_the_byte),
             TEST(an_array_whose_size_overflows_is_refused), TEST(copies_are_copies),
             TEST(laters_run_newest_first_and_once), TEST(a_later_that_does_not_fit_has_run))
