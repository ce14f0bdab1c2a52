/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include "base/err.h"
#include "base/testing.h"

static void logged(struct log *log, char *text, size_t size)
{
	int ends[2];

	assert_int_equal(pipe(ends), 0);
	log->fd = ends[1];
	log_info(log, "started", "id=%s", "a\nb\x1b[2J");
	log_debug(log, "hidden", "%s", "");
	close(ends[1]);
	ssize_t n = read(ends[0], text, size - 1);
	assert_true(n > 0);
	text[n] = '\0';
	close(ends[0]);
}

static void a_line_is_one_line_whatever_is_in_it(void **state)
{
	struct log log;
	char text[512];

	(void)state;
	log_init(&log, LOG_LEVEL_INFO);
	logged(&log, text, sizeof(text));
	assert_non_null(strstr(text, " info  started id=a\\x0ab\\x1b[2J\n"));
	assert_null(strstr(text, "hidden"));
}

static void the_journal_gets_priorities_and_runtimes_get_json(void **state)
{
	struct log log;
	char text[512];

	(void)state;
	log_init(&log, LOG_LEVEL_INFO);
	log.journal = true;
	logged(&log, text, sizeof(text));
	assert_int_equal(strncmp(text, "<6>started ", 11), 0);
	log.json = true;
	logged(&log, text, sizeof(text));
	assert_int_equal(strncmp(text, "{\"level\":\"info\",\"msg\":\"started id=a\\\\x0a", 37), 0);
}

static void levels_are_named(void **state)
{
	enum log_level level;
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(log_parse_level("warn", &level, &err), 0);
	assert_int_equal(level, LOG_LEVEL_WARN);
	assert_int_equal(log_parse_level("loud", &level, &err), -1);
	assert_string_equal(err.msg, "log level 'loud' is not error, warn, info or debug");
}

TESTING_MAIN(TEST(a_line_is_one_line_whatever_is_in_it),
             TEST(the_journal_gets_priorities_and_runtimes_get_json), TEST(levels_are_named))
