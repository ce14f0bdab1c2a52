/* SPDX-License-Identifier: Apache-2.0 */
#include "net/resolv.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/testing.h"

static void servers_search_and_options_are_read(void **state)
{
	struct resolv r;

	(void)state;
	resolv_parse("# comment\nnameserver 10.0.0.1\nnameserver\tfd00::1\r\nnameserver nonsense\n"
	             "domain old.example\nsearch a.example b.example\noptions ndots:2 timeout:1\n",
	             &r);
	assert_int_equal(r.server_count, 2);
	assert_string_equal(r.servers[0], "10.0.0.1");
	assert_string_equal(r.servers[1], "fd00::1");
	assert_string_equal(r.search, "a.example b.example");
	assert_string_equal(r.options, "ndots:2 timeout:1");
}

static void no_more_than_three_servers_are_kept(void **state)
{
	struct resolv r;

	(void)state;
	resolv_parse("nameserver 1.1.1.1\nnameserver 2.2.2.2\nnameserver 3.3.3.3\n"
	             "nameserver 4.4.4.4\n",
	             &r);
	assert_int_equal(r.server_count, 3);
	assert_string_equal(r.servers[2], "3.3.3.3");
}

static void loopback_servers_are_out_of_a_container_s_reach(void **state)
{
	struct resolv r;

	(void)state;
	resolv_parse("nameserver 127.0.0.53\nnameserver 10.0.0.1\nnameserver ::1\n", &r);
	resolv_drop_loopback(&r);
	assert_int_equal(r.server_count, 1);
	assert_string_equal(r.servers[0], "10.0.0.1");
}

static void a_user_s_server_must_be_an_address(void **state)
{
	const char *const bad[] = {"dns.example", NULL}, *const good[] = {"9.9.9.9", NULL};
	struct err err = ERR_INIT;
	struct resolv r = {0};

	(void)state;
	assert_int_equal(resolv_set_servers(&r, bad, &err), -1);
	assert_int_equal(err.kind, ERR_INVALID);
	assert_int_equal(resolv_set_servers(&r, good, NULL), 0);
	assert_int_equal(r.server_count, 1);
}

static void a_search_domain_cannot_smuggle_a_line(void **state)
{
	const char *const bad[] = {"a.example\nnameserver 6.6.6.6", NULL};
	struct resolv r = {0};

	(void)state;
	assert_int_equal(resolv_set_words(r.search, sizeof(r.search), bad, "search domain", NULL),
	                 -1);
}

static void a_file_is_written(void **state)
{
	auto_buf struct buf out = BUF_INIT(1024);
	struct resolv r;

	(void)state;
	resolv_parse("options ndots:0\nnameserver 10.0.0.1\nsearch x.example\n", &r);
	assert_int_equal(resolv_write(&r, &out, NULL), 0);
	assert_string_equal(buf_str(&out),
	                    "nameserver 10.0.0.1\nsearch x.example\noptions ndots:0\n");
}

TESTING_MAIN(TEST(servers_search_and_options_are_read), TEST(no_more_than_three_servers_are_kept),
             TEST(loopback_servers_are_out_of_a_container_s_reach),
             TEST(a_user_s_server_must_be_an_address), TEST(a_search_domain_cannot_smuggle_a_line),
             TEST(a_file_is_written))
