/* SPDX-License-Identifier: Apache-2.0 */
#include "base/id.h"

#include "base/err.h"
#include "base/testing.h"

static void made_ids_have_their_shape_and_differ(void **state)
{
	char a[ID_HEX_MAX], b[ID_HEX_MAX], s[ID_SWARM_MAX], t[ID_SWARM_MAX];

	(void)state;
	assert_true(id_is_hex(id_make_hex(a), 64, 64));
	id_make_hex(b);
	assert_string_not_equal(a, b);
	id_make_swarm(s);
	id_make_swarm(t);
	assert_int_equal(strlen(s), 25);
	assert_int_equal(strspn(s, "0123456789abcdefghijklmnopqrstuvwxyz"), 25);
	assert_string_not_equal(s, t);
}

static void every_letter_of_a_swarm_id_occurs(void **state)
{
	bool seen[256] = {false};
	int count = 0;

	(void)state;
	for (int i = 0; i < 400; i++) { /* 10,000 letters */
		char s[ID_SWARM_MAX];

		for (const char *c = id_make_swarm(s); *c; c++)
			seen[(unsigned char)*c] = true;
	}
	for (int i = 0; i < 256; i++)
		count += seen[i];
	assert_int_equal(count, 36);
}

static void a_name_is_what_docker_allows(void **state)
{
	static const char *const good[] = {"a", "0", "web-1", "a_b.c-d", "A9"};
	static const char *const bad[] = {"",    "-a",  ".a",       "_a", "a b",
	                                  "a/b", "a\n", "\xc3\xa9", ".."};
	char name[130];

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_int_equal(id_check_name(good[i], "container name", NULL), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct err err = ERR_INIT;

		assert_int_equal(id_check_name(bad[i], "container name", &err), -1);
		assert_int_equal(err.kind, ERR_INVALID);
		assert_non_null(strstr(err.msg, "container name"));
		assert_non_null(strstr(err.msg, "[a-zA-Z0-9_.-]"));
	}
	assert_int_equal(id_check_name(NULL, "name", NULL), -1);
	for (size_t len = 127; len <= 129; len++) {
		memset(name, 'a', len);
		name[len] = '\0';
		assert_int_equal(id_check_name(name, "name", NULL), len <= 128 ? 0 : -1);
	}
}

static void hex_has_a_length_and_one_case(void **state)
{
	(void)state;
	assert_true(id_is_hex("0af", 3, 3));
	assert_false(id_is_hex("0af", 4, 8));
	assert_false(id_is_hex("0af", 1, 2));
	assert_false(id_is_hex("0AF", 1, 8));
	assert_false(id_is_hex("0ag", 1, 8));
	assert_false(id_is_hex("", 1, 8));
	assert_false(id_is_hex(NULL, 0, 8));
}

static void a_numeric_id_is_digits_below_minus_one(void **state)
{
	static const char *const bad[] = {
		"",   "+1",  " 1",         "1 ",         "1x",
		"-1", "0x1", "4294967295", "4294967296", "18446744073709551617"};
	uint32_t n = 7;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct err err = ERR_INIT;

		assert_int_equal(id_parse_u32(bad[i], &n, &err), -1);
		assert_int_equal(err.kind, ERR_INVALID);
		assert_int_equal(n, 7);
	}
	assert_int_equal(id_parse_u32("4294967294", &n, NULL), 0);
	assert_true(n == 4294967294);
	assert_int_equal(id_parse_u32("0", &n, NULL), 0);
	assert_int_equal(n, 0);
}

static void an_integer_stays_in_its_range(void **state)
{
	struct err err = ERR_INIT;
	int64_t n = 0;

	(void)state;
	assert_int_equal(id_parse_int("-1000", "oom score", -1000, 1000, &n, NULL), 0);
	assert_int_equal(n, -1000);
	assert_int_equal(id_parse_int("1001", "oom score", -1000, 1000, &n, &err), -1);
	assert_string_equal(err.msg, "oom score \"1001\" is not a number from -1000 to 1000");
	assert_int_equal(id_parse_int("-9223372036854775808", "n", INT64_MIN, INT64_MAX, &n, NULL),
	                 0);
	assert_true(n == INT64_MIN);
	assert_int_equal(id_parse_int("9223372036854775807", "n", INT64_MIN, INT64_MAX, &n, NULL),
	                 0);
	assert_true(n == INT64_MAX);
	assert_int_equal(id_parse_int("9223372036854775808", "n", INT64_MIN, INT64_MAX, &n, NULL),
	                 -1);
	assert_int_equal(id_parse_int("-9223372036854775809", "n", INT64_MIN, INT64_MAX, &n, NULL),
	                 -1);
	assert_int_equal(id_parse_int("-", "n", INT64_MIN, INT64_MAX, &n, NULL), -1);
	assert_int_equal(id_parse_int("--1", "n", INT64_MIN, INT64_MAX, &n, NULL), -1);
	assert_int_equal(id_parse_int("1.0", "n", INT64_MIN, INT64_MAX, &n, NULL), -1);
	assert_int_equal(id_parse_int("", "n", INT64_MIN, INT64_MAX, &n, NULL), -1);
}

static void sizes_are_powers_of_1024(void **state)
{
	static const struct {
		const char *text;
		int64_t bytes;
	} good[] = {{"0", 0},
	            {"1024", 1024},
	            {"7b", 7},
	            {"64m", 64 << 20},
	            {"64MB", 64 << 20},
	            {"1.5GiB", INT64_C(3) << 29},
	            {"1g", 1 << 30},
	            {"1 k", 1024},
	            {"0.5k", 512},
	            {"2T", INT64_C(2) << 40},
	            {"8191p", INT64_C(8191) << 50},
	            {"9223372036854775807", INT64_MAX}};
	static const char *const bad[] = {"",    "m",    "-1",    "1x",
	                                  "1.",  ".5m",  "1mm",   "1ib",
	                                  "1 ",  "1  k", "8192p", "9223372036854775808",
	                                  "1kk", "1kibx"};
	int64_t n;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(id_parse_size(good[i].text, &n, NULL), 0);
		assert_true(n == good[i].bytes);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct err err = ERR_INIT;

		assert_int_equal(id_parse_size(bad[i], &n, &err), -1);
		assert_int_equal(err.kind, ERR_INVALID);
	}
}

TESTING_MAIN(TEST(made_ids_have_their_shape_and_differ), TEST(every_letter_of_a_swarm_id_occurs),
             TEST(a_name_is_what_docker_allows), TEST(hex_has_a_length_and_one_case),
             TEST(a_numeric_id_is_digits_below_minus_one), TEST(an_integer_stays_in_its_range),
             TEST(sizes_are_powers_of_1024))
