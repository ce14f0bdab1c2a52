/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/rootless.h"

#include <stdlib.h>

#include "base/err.h"
#include "base/testing.h"

static void a_range_is_found_by_name_and_by_number(void **state)
{
	static const char text[] = "other:1:2\nann:100000:65536\n1000:300000:10\nbad:x:y\n:5:5\n"
				   "huge:4294967290:65536\nnone:7:0";
	unsigned start = 0, count = 0;

	(void)state;
	assert_true(rootless_find_range(text, "ann", 7, &start, &count));
	assert_int_equal(start, 100000);
	assert_int_equal(count, 65536);
	assert_true(rootless_find_range(text, "", 1000, &start, &count));
	assert_int_equal(start, 300000);
	assert_false(rootless_find_range(text, "an", 7, &start, &count));
	assert_false(rootless_find_range(text, "bad", 7, &start, &count));
	assert_false(rootless_find_range(text, "huge", 7, &start, &count));
	assert_false(rootless_find_range(text, "none", 7, &start, &count));
	assert_false(rootless_find_range(text, "", 7, &start, &count));
	assert_false(rootless_find_range("", "ann", 7, &start, &count));
}

static void ids_of_the_host_are_put_in_terms_of_the_namespace(void **state)
{
	static const char maps[] = "         0       1000          1\n"
				   "         1     100000      65536\n";

	(void)state;
	assert_int_equal(rootless_find_id(maps, 1000, 1), 0);
	assert_int_equal(rootless_find_id(maps, 100000, 65536), 1);
	assert_int_equal(rootless_find_id(maps, 100010, 5), 11);
	assert_int_equal(rootless_find_id(maps, 1000, 2), -1);
	assert_int_equal(rootless_find_id(maps, 100000, 65537), -1);
	assert_int_equal(rootless_find_id(maps, 0, 1), -1);
	assert_int_equal(rootless_find_id("0 0 4294967295\n", 77, 3), 77);
}

static void the_default_root_is_the_users(void **state)
{
	char path[64];
	struct err err = ERR_INIT;

	(void)state;
	setenv("XDG_RUNTIME_DIR", "/run/user/7", 1);
	assert_int_equal(rootless_default_root(path, sizeof(path), &err), 0);
	assert_string_equal(path, "/run/user/7/buoy-runtime");
	unsetenv("XDG_RUNTIME_DIR");
	assert_int_equal(rootless_default_root(path, sizeof(path), &err), 0);
	assert_memory_equal(path, "/run/user/", 10);
	assert_int_equal(rootless_default_root(path, 8, &err), -1);
	assert_int_equal(err.kind, ERR_LIMIT);
}

TESTING_MAIN(TEST(a_range_is_found_by_name_and_by_number),
             TEST(ids_of_the_host_are_put_in_terms_of_the_namespace),
             TEST(the_default_root_is_the_users))
