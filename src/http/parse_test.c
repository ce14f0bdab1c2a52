/* SPDX-License-Identifier: Apache-2.0 */
#include "http/parse.h"

#include "base/arena.h"
#include "base/err.h"
#include "base/testing.h"

#define TEXT_MAX 100000

/* Parses a copy, which stays in `text`. The status of a refusal, or 0. */
static int parse(const char *request, char text[TEXT_MAX], struct http_head *head)
{
	size_t len = http_parse_head_end(request, strlen(request));
	struct err err = ERR_INIT;
	int status = 0;

	assert_int_equal(len, strlen(request));
	memcpy(text, request, len + 1);
	return http_parse_head(text, len, head, &status, &err) < 0 ? status : 0;
}

static void a_head_is_taken_apart(void **state)
{
	static char text[TEXT_MAX];
	struct http_head head;

	(void)state;
	assert_int_equal(parse("POST /a%20b?c=d?e HTTP/1.1\r\nHost: h:1\r\nX-One:\t v w \r\n"
	                       "Content-Length: 12\r\nConnection: Keep-Alive, Upgrade\r\n"
	                       "upgrade: tcp\r\nExpect: 100-Continue\r\n\r\n",
	                       text, &head),
	                 0);
	assert_string_equal(head.method, "POST");
	assert_string_equal(head.path, "/a%20b");
	assert_string_equal(head.query, "c=d?e");
	assert_string_equal(http_parse_field(&head, "x-one"), "v w");
	assert_null(http_parse_field(&head, "x-two"));
	assert_int_equal(head.length, 12);
	assert_true(head.keep_alive && head.upgrade && head.expects_continue);
	assert_false(head.chunked);
}

static void connections_live_on_as_their_version_says(void **state)
{
	static const struct {
		const char *request;
		bool keep_alive;
	} cases[] = {
		{"GET / HTTP/1.1\r\nHost: h\r\n\r\n", true},
		{"GET / HTTP/1.1\r\nHost: h\r\nConnection: a, CLOSE\r\n\r\n", false},
		{"GET / HTTP/1.1\r\nHost: h\r\nConnection: closed\r\n\r\n", true},
		{"GET / HTTP/1.0\r\n\r\n", false},
		{"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true},
	};
	static char text[TEXT_MAX];
	struct http_head head;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(parse(cases[i].request, text, &head), 0);
		assert_int_equal(head.keep_alive, cases[i].keep_alive);
	}
}

#define REQUEST(fields) "GET / HTTP/1.1\r\nHost: h\r\n" fields "\r\n"

static void what_could_be_read_two_ways_is_refused(void **state)
{
	static const struct {
		const char *request;
		int status;
	} cases[] = {
		{REQUEST("Content-Length: 1\r\nContent-Length: 2\r\n"), 400},
		{REQUEST("Content-Length: 1, 1\r\n"), 400},
		{REQUEST("Content-Length: 0x1\r\n"), 400},
		{REQUEST("Content-Length: -1\r\n"), 400},
		{REQUEST("Content-Length:\r\n"), 400},
		{REQUEST("Content-Length: 9999999999999999999\r\n"), 400},
		{REQUEST("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"), 400},
		{REQUEST("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), 400},
		{REQUEST("Transfer-Encoding: chunked, identity\r\n"), 501},
		{REQUEST("Transfer-Encoding: xchunked\r\n"), 501},
		{"GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
		{REQUEST("Transfer-Encoding : chunked\r\n"), 400},
		{REQUEST(" Transfer-Encoding: chunked\r\n"), 400},
		{REQUEST("X: a\rb\r\n"), 400},
		{REQUEST("X: a\nb: c\r\n"), 400},
		{REQUEST("X: \x01\r\n"), 400},
		{REQUEST("no colon\r\n"), 400},
		{REQUEST(": no name\r\n"), 400},
		{REQUEST("Host: other\r\n"), 400},
		{"GET / HTTP/1.1\r\n\r\n", 400},
		{"GET /\r\n\r\n", 400},
		{"GET / HTTP/1.1 \r\nHost: h\r\n\r\n", 505},
		{"GET / HTTP/1.2\r\nHost: h\r\n\r\n", 505},
		{"GET / http/1.1\r\nHost: h\r\n\r\n", 400},
		{"G@T / HTTP/1.1\r\nHost: h\r\n\r\n", 400},
		{"GET /a b HTTP/1.1\r\nHost: h\r\n\r\n", 400},
		{"GET /\x80 HTTP/1.1\r\nHost: h\r\n\r\n", 400},
		{"GET /#a HTTP/1.1\r\nHost: h\r\n\r\n", 400},
		{"GET a HTTP/1.1\r\nHost: h\r\n\r\n", 400},
		{"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", 400},
		{"CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n", 400},
		{"PRI * HTTP/2.0\r\n\r\n", 505},
	};
	static char text[TEXT_MAX];
	struct http_head head;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (parse(cases[i].request, text, &head) != cases[i].status)
			fail_msg("not %d: %s", cases[i].status, cases[i].request);
}

static void the_number_of_fields_has_a_limit(void **state)
{
	static char request[TEXT_MAX], text[TEXT_MAX];
	static struct http_head head;

	(void)state;
	for (int count = HTTP_FIELDS_MAX; count <= HTTP_FIELDS_MAX + 1; count++) {
		size_t len =
			(size_t)snprintf(request, sizeof(request), "GET / HTTP/1.1\r\nHost: h\r\n");

		for (int i = 1; i < count; i++)
			len += (size_t)snprintf(request + len, sizeof(request) - len, "x: %d\r\n",
			                        i);
		snprintf(request + len, sizeof(request) - len, "\r\n");
		assert_int_equal(parse(request, text, &head), count > HTTP_FIELDS_MAX ? 431 : 0);
	}
}

static void chunk_sizes_are_strict(void **state)
{
	static const char *const bad[] = {
		"", "g", "-1", "0x1", " 1", "1x", "+1", "1;\x01", "1000000000000000"};
	uint64_t size = 0;

	(void)state;
	assert_int_equal(http_parse_chunk_size("1aF", 3, &size, NULL), 0);
	assert_int_equal(size, 0x1af);
	assert_int_equal(http_parse_chunk_size("0;a=\"b\"", 7, &size, NULL), 0);
	assert_int_equal(size, 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (http_parse_chunk_size(bad[i], strlen(bad[i]), &size, NULL) == 0)
			fail_msg("taken: %s", bad[i]);
}

static void escapes_are_undone(void **state)
{
	auto_arena struct arena arena = ARENA_INIT(4096);
	static const char *const bad[] = {"%", "a%2", "%zz", "%00", "%0"};

	(void)state;
	assert_string_equal(http_parse_escapes("a%2Fb+c%7e", 10, false, &arena, NULL), "a/b+c~");
	assert_string_equal(http_parse_escapes("a%2Fb+c%7e", 10, true, &arena, NULL), "a/b c~");
	assert_string_equal(http_parse_escapes("", 0, true, &arena, NULL), "");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_null(http_parse_escapes(bad[i], strlen(bad[i]), false, &arena, NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_head_is_taken_apart),
		TEST(connections_live_on_as_their_version_says),
		TEST(what_could_be_read_two_ways_is_refused),
		TEST(the_number_of_fields_has_a_limit),
		TEST(chunk_sizes_are_strict),
		TEST(escapes_are_undone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
