/* SPDX-License-Identifier: Apache-2.0 */
#include "base/map.h"

#include "base/err.h"
#include "base/testing.h"

static void a_key_is_set_replaced_and_removed(void **state)
{
	auto_type(map) m = map_create(NULL);
	char key[] = "k";
	int a, b;
	void *old = &b;

	(void)state;
	assert_int_equal(map_set(m, key, &a, &old, NULL), 0);
	assert_null(old);
	key[0] = 'x'; /* the map has its own copy */
	assert_ptr_equal(map_find(m, "k"), &a);
	assert_null(map_find(m, "x"));
	assert_int_equal(map_set(m, "k", &b, &old, NULL), 0);
	assert_ptr_equal(old, &a);
	assert_int_equal(map_count(m), 1);
	assert_ptr_equal(map_remove(m, "k"), &b);
	assert_null(map_remove(m, "k"));
	assert_null(map_find(m, "k"));
	assert_int_equal(map_count(m), 0);
}

static void the_walk_is_in_insertion_order(void **state)
{
	auto_type(map) m = map_create(NULL);
	char key[24];
	size_t n = 0;

	(void)state;
	for (size_t i = 0; i < 5000; i++) {
		snprintf(key, sizeof(key), "%zu", i * 7919);
		assert_int_equal(map_set(m, key, (void *)(i + 1), NULL, NULL), 0);
	}
	assert_int_equal(map_count(m), 5000);
	const char *k;
	void *value;
	map_for_each (m, iter, &k, &value) {
		snprintf(key, sizeof(key), "%zu", n * 7919);
		assert_string_equal(k, key);
		assert_int_equal((size_t)value, ++n);
	}
	assert_int_equal(n, 5000);
}

static void every_key_may_be_removed_while_walking(void **state)
{
	auto_type(map) m = map_create(NULL);
	char key[24];
	size_t n = 0;
	const char *k;
	void *value;

	(void)state;
	for (int i = 0; i < 100; i++) {
		snprintf(key, sizeof(key), "%d", i);
		assert_int_equal(map_set(m, key, m, NULL, NULL), 0);
	}
	map_for_each (m, iter, &k, &value) {
		assert_ptr_equal(map_remove(m, k), m);
		n++;
	}
	assert_int_equal(n, 100);
	assert_int_equal(map_count(m), 0);
}

static void an_empty_map_and_an_empty_key_are_fine(void **state)
{
	auto_type(map) m = map_create(NULL);
	void *iter = NULL, *value;
	const char *key;

	(void)state;
	assert_false(map_next(m, &iter, &key, &value));
	assert_null(map_find(m, ""));
	assert_int_equal(map_set(m, "", m, NULL, NULL), 0);
	assert_ptr_equal(map_find(m, ""), m);
	map_free(NULL);
}

TESTING_MAIN(TEST(a_key_is_set_replaced_and_removed), TEST(the_walk_is_in_insertion_order),
             TEST(every_key_may_be_removed_while_walking),
             TEST(an_empty_map_and_an_empty_key_are_fine))
