/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/name.h"

#include "base/testing.h"

static void names_of_the_grammar_are_accepted(void **state)
{
	static const char *const good[] = {"a", "library/debian", "a.b/c_d/e__f/g---h", "0/1",
	                                   "x86-64/linux.img"};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		char file[NAME_FILE_MAX], back[NAME_FILE_MAX];

		assert_true(name_ok(good[i]));
		assert_null(strchr(name_to_file(good[i], file), '/'));
		assert_string_equal(name_of_file(file, back), good[i]);
	}
}

static void other_names_are_not(void **state)
{
	static const char *const bad[] = {"",     "/",   "a/",     "/a", "a//b",  "A",
	                                  "a..b", "..",  "../a",   ".a", "a___b", "a_",
	                                  "a+b",  "a b", "a/../b", "_a", "a\n",   "\xc3\xa4"};
	char longest[NAME_MAX_BYTES + 2];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(name_ok(bad[i]));
	assert_false(name_ok(NULL));
	memset(longest, 'a', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	assert_false(name_ok(longest));
	longest[NAME_MAX_BYTES] = '\0';
	assert_true(name_ok(longest));
}

static void a_range_is_cut_to_the_size(void **state)
{
	static const struct {
		const char *header;
		enum name_range is;
		uint64_t first, last;
	} rows[] = {
		{"bytes=0-4", NAME_RANGE_OK, 0, 4},
		{"bytes=5-", NAME_RANGE_OK, 5, 9},
		{"bytes=-3", NAME_RANGE_OK, 7, 9},
		{"bytes=-30", NAME_RANGE_OK, 0, 9},
		{"bytes=9-99", NAME_RANGE_OK, 9, 9},
		{"bytes=10-", NAME_RANGE_UNMET, 0, 0},
		{"bytes=10-12", NAME_RANGE_UNMET, 0, 0},
		{"bytes=-0", NAME_RANGE_UNMET, 0, 0},
		{"bytes=3-2", NAME_RANGE_NONE, 0, 0},
		{"bytes=0-1,3-4", NAME_RANGE_NONE, 0, 0},
		{"items=0-1", NAME_RANGE_NONE, 0, 0},
		{"bytes=a-b", NAME_RANGE_NONE, 0, 0},
		{"bytes=", NAME_RANGE_NONE, 0, 0},
		{NULL, NAME_RANGE_NONE, 0, 0},
		{"bytes=99999999999999999999-", NAME_RANGE_NONE, 0, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint64_t first = 0, last = 0;

		assert_int_equal(name_range(rows[i].header, 10, &first, &last), rows[i].is);
		assert_int_equal(first, rows[i].first);
		assert_int_equal(last, rows[i].last);
	}
	uint64_t a, b;
	assert_int_equal(name_range("bytes=0-", 0, &a, &b), NAME_RANGE_UNMET);
}

static void a_chunk_names_both_of_its_ends(void **state)
{
	uint64_t first = 1, last = 1;

	(void)state;
	assert_true(name_chunk_range("0-99", &first, &last));
	assert_int_equal(first, 0);
	assert_int_equal(last, 99);
	assert_true(name_chunk_range("bytes 100-199/*", &first, &last));
	assert_int_equal(first, 100);
	assert_false(name_chunk_range("5-4", &first, &last));
	assert_false(name_chunk_range("5-", &first, &last));
	assert_false(name_chunk_range("-5", &first, &last));
	assert_false(name_chunk_range(" 0-5", &first, &last));
	assert_false(name_chunk_range("0-18446744073709551615", &first, &last));
	assert_false(name_chunk_range(NULL, &first, &last));
}

static void a_media_type_loses_its_parameters(void **state)
{
	char type[NAME_TYPE_MAX];

	(void)state;
	assert_true(name_media_type("application/x+json; charset=utf-8", type));
	assert_string_equal(type, "application/x+json");
	assert_false(name_media_type("json", type));
	assert_false(name_media_type("a/\"b", type));
	assert_false(name_media_type("", type));
	assert_false(name_media_type(NULL, type));
}

TESTING_MAIN(TEST(names_of_the_grammar_are_accepted), TEST(other_names_are_not),
             TEST(a_range_is_cut_to_the_size), TEST(a_chunk_names_both_of_its_ends),
             TEST(a_media_type_loses_its_parameters))
