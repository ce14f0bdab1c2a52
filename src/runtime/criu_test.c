/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/criu.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/testing.h"

static void numbers_texts_and_messages_are_as_protobuf_has_them(void **state)
{
	auto_buf struct buf b = BUF_INIT(1024);

	(void)state;
	criu_add_number(&b, CRIU_OPT_PID, 300);
	criu_add_flag(&b, CRIU_OPT_LEAVE_RUNNING, false);
	criu_add_flag(&b, CRIU_OPT_SHELL_JOB, true);
	criu_add_text(&b, CRIU_OPT_LOG_FILE, "l");
	criu_add_text(&b, CRIU_OPT_ROOT, NULL);
	criu_add_named_number(&b, CRIU_OPT_INHERIT_FD, "k", 3);
	criu_add_pair(&b, CRIU_OPT_JOIN_NS, "ipc", "/x");
	static const unsigned char wanted[] = {
		0x10, 0xac, 0x02,                              /* 2: 300 */
		0x38, 0x01,                                    /* 7: true */
		0x52, 0x01, 'l',                               /* 10: "l" */
		0xda, 0x01, 0x05, 0x0a, 0x01, 'k', 0x10, 0x03, /* 27: {1: "k", 2: 3} */
		0xba, 0x02, 0x09, 0x0a, 0x03, 'i', 'p',  'c',
		0x12, 0x02, '/',  'x', /* 39: {1: "ipc", 2: "/x"} */
	};
	assert_int_equal(b.len, sizeof(wanted));
	assert_memory_equal(b.data, wanted, sizeof(wanted));
}

static void a_negative_number_takes_ten_bytes(void **state)
{
	auto_buf struct buf b = BUF_INIT(1024);

	(void)state;
	criu_add_number(&b, 1, -1);
	assert_int_equal(b.len, 11);
}

static struct criu_answer parse(const char *data, size_t len)
{
	struct criu_answer answer;
	struct err err = ERR_INIT;

	assert_int_equal(criu_parse_answer(data, len, &answer, &err), 0);
	return answer;
}

#define PARSE(text) parse(text, sizeof(text) - 1)

static void answers_are_understood(void **state)
{
	(void)state;
	struct criu_answer a = PARSE("\x08\x02\x10\x01\x22\x03\x08\xac\x02");
	assert_int_equal(a.type, CRIU_RESTORE);
	assert_true(a.success);
	assert_int_equal(a.pid, 300);
	a = PARSE("\x08\x06\x10\x01\x2a\x0e\x0a\x0apost-dumpx\x10\x05");
	assert_int_equal(a.type, CRIU_NOTIFY);
	assert_string_equal(a.notice, "post-dumpx");
	assert_int_equal(a.pid, 5);
	a = PARSE("\x08\x01\x10\x00\x38\x10\x4a\x03odd");
	assert_false(a.success);
	assert_int_equal(a.code, 16);
	assert_string_equal(a.words, "odd");
	a = PARSE("\x08\x0a\x10\x01\x52\x06\x08\x03\x10\x11\x20\x01");
	assert_int_equal(a.version, 31701);
	/* What a newer one adds is passed over, in each of its forms. */
	a = PARSE("\x08\x01\x10\x01\x98\x01\x07\xa2\x01\x02zz\xad\x01"
	          "1234\xb1\x01"
	          "12345678");
	assert_true(a.success);
}

static void what_is_no_message_is_refused(void **state)
{
	static const struct {
		const char *data;
		size_t len;
	} bad[] = {
		{"\x08", 1},             /* no number */
		{"\x4a\x09short", 7},    /* longer than there is */
		{"\x2a\x7f", 2},         /* a part that is not there */
		{"\x28\x05", 2},         /* a number for a message */
		{"\x2a\x02\x0a\x09", 4}, /* a text longer than its part */
		{"\x0b", 1},             /* a kind that is none */
		{"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
	         12}, /* a number without an end */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct criu_answer answer;
		struct err err = ERR_INIT;
		assert_int_equal(criu_parse_answer(bad[i].data, bad[i].len, &answer, &err), -1);
		assert_int_equal(err.kind, ERR_INVALID);
	}
}

static void the_log_s_last_errors_are_told(void **state)
{
	auto_buf struct buf out = BUF_INIT(1024);

	(void)state;
	criu_log_tail(
		"(0.1) start\nError (a.c:1): one\nfine\nError (b.c:2): two\nError (c.c:3): three\nbye\nError (d.c:4): Dumping FAILED.\n",
		2, &out);
	assert_string_equal(buf_str(&out), "Error (b.c:2): two; Error (c.c:3): three");
	buf_clear(&out);
	criu_log_tail("nothing wrong\nthe end\n\n", 2, &out);
	assert_string_equal(buf_str(&out), "the end");
	buf_clear(&out);
	criu_log_tail("", 2, &out);
	assert_string_equal(buf_str(&out), "");
}

static void a_program_that_is_not_there_or_dies_is_told_apart(void **state)
{
	struct err err = ERR_INIT;
	int version;

	(void)state;
	assert_int_equal(criu_check("/nowhere/criu", &version, &err), -1);
	assert_int_equal(err.kind, ERR_NOT_FOUND);
	assert_non_null(strstr(err.msg, "/nowhere/criu: no such program"));
	err = ERR_INIT;
	assert_int_equal(criu_check("false", &version, &err), -1);
	assert_int_equal(err.kind, ERR_UNSUPPORTED);
	assert_non_null(strstr(err.msg, "criu check"));
}

TESTING_MAIN(TEST(numbers_texts_and_messages_are_as_protobuf_has_them),
             TEST(a_negative_number_takes_ten_bytes), TEST(answers_are_understood),
             TEST(what_is_no_message_is_refused), TEST(the_log_s_last_errors_are_told),
             TEST(a_program_that_is_not_there_or_dies_is_told_apart))
