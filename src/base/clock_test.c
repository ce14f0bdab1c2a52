/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

#include "base/err.h"
#include "base/testing.h"

#define SECOND INT64_C(1000000000)

static void a_time_is_written_and_read_back(void **state)
{
	static const int64_t times[] = {
		1, -1,     1767323045678901234, 951782400 * SECOND, INT64_MAX, INT64_MIN + SECOND,
		0, -SECOND};
	char text[CLOCK_TEXT_MAX];

	(void)state;
	assert_string_equal(clock_format(1767323045678901234, text),
	                    "2026-01-02T03:04:05.678901234Z");
	assert_string_equal(clock_format(0, text), CLOCK_ZERO);
	assert_string_equal(clock_format(-1, text), "1969-12-31T23:59:59.999999999Z");
	assert_string_equal(clock_format(951782400000000000, text),
	                    "2000-02-29T00:00:00.000000000Z");
	assert_string_equal(clock_format(1735689599000000000, text),
	                    "2024-12-31T23:59:59.000000000Z");
	assert_string_equal(clock_format(INT64_MAX, text), "2262-04-11T23:47:16.854775807Z");
	assert_string_equal(clock_format(INT64_MIN, text), "1677-09-21T00:12:43.145224192Z");
	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
		int64_t back = 7;

		assert_int_equal(clock_parse(clock_format(times[i], text), &back, NULL), 0);
		assert_true(back == times[i]);
	}
}

static void a_time_may_have_any_fraction_and_offset(void **state)
{
	static const struct {
		const char *text;
		int64_t ns;
	} good[] = {
		{"1970-01-01T00:00:01Z", SECOND},
		{"1970-01-01T01:00:00.5+01:00", SECOND / 2},
		{"1969-12-31T23:30:00-00:30", 0},
		{"1970-01-01T00:00:00.0000000019Z", 1},
		{"2000-02-29T00:00:00Z", 951782400 * SECOND},
		{"1700000000", 1700000000 * SECOND},
		{"1700000000.25", 1700000000 * SECOND + SECOND / 4},
		{"1700000000.000000001", 1700000000 * SECOND + 1},
		{"-1.5", -SECOND - SECOND / 2},
		{"0", 0},
		{CLOCK_ZERO, 0},
	};
	int64_t ns;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(clock_parse(good[i].text, &ns, NULL), 0);
		assert_true(ns == good[i].ns);
	}
}

static void what_is_no_time_is_refused(void **state)
{
	static const char *const bad[] = {"",
	                                  "now",
	                                  "2026-01-02",
	                                  "2026-01-02T03:04:05",
	                                  "2026-13-02T03:04:05Z",
	                                  "2026-02-29T03:04:05Z",
	                                  "2026-01-00T03:04:05Z",
	                                  "2026-01-02T24:04:05Z",
	                                  "2026-01-02T03:60:05Z",
	                                  "2026-01-02T03:04:61Z",
	                                  "2026-01-02T03:04:05.Z",
	                                  "2026-01-02T03:04:05Zx",
	                                  "2026-01-02T03:04:05+1:00",
	                                  "1700000000.",
	                                  "1700000000x",
	                                  "99999999999999999999",
	                                  "9999-01-01T00:00:00Z",
	                                  "0001-01-02T00:00:00Z",
	                                  "+5",
	                                  "--5"};
	int64_t ns = 7;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct err err = ERR_INIT;

		assert_int_equal(clock_parse(bad[i], &ns, &err), -1);
		assert_int_equal(err.kind, ERR_INVALID);
		assert_int_equal(ns, 7);
	}
}

static void durations_are_read_as_go_does(void **state)
{
	static const struct {
		const char *text;
		int64_t ns;
	} good[] = {{"0", 0},
	            {"1h30m", 5400 * SECOND},
	            {"1.5s", SECOND + SECOND / 2},
	            {"300ms", 300000000},
	            {"-1.5h", -5400 * SECOND},
	            {"+5s", 5 * SECOND},
	            {".5s", SECOND / 2},
	            {"5.s", 5 * SECOND},
	            {"1us2ns", 1002},
	            {"1\xc2\xb5s", 1000},
	            {"1\xce\xbcs", 1000},
	            {"1m1ms", 60001000000},
	            {"0.3333333333333333333h", 1199999999999},
	            {"9223372036854775807ns", INT64_MAX}};
	static const char *const bad[] = {
		"",    "1",     "s",   ".s",       "-",
		"1x",  "1h-1m", "1 h", "3000000h", "9223372036854775808ns",
		"1hm", "1.5",   "."};
	int64_t ns;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(clock_parse_duration(good[i].text, &ns, NULL), 0);
		assert_true(ns == good[i].ns);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct err err = ERR_INIT;

		assert_int_equal(clock_parse_duration(bad[i], &ns, &err), -1);
		assert_int_equal(err.kind, ERR_INVALID);
	}
}

static void a_sleep_takes_its_time(void **state)
{
	int64_t start = clock_mono_ns();

	(void)state;
	clock_sleep_ms(3);
	assert_true(clock_mono_ns() - start >= 3000000);
	clock_sleep_ms(-5);
	assert_true(clock_boot_ms() >= clock_mono_ms() - 1);
	assert_true(clock_wall_ns() > 1700000000 * SECOND);
}

TESTING_MAIN(TEST(a_time_is_written_and_read_back), TEST(a_time_may_have_any_fraction_and_offset),
             TEST(what_is_no_time_is_refused), TEST(durations_are_read_as_go_does),
             TEST(a_sleep_takes_its_time))
