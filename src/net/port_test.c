/* SPDX-License-Identifier: Apache-2.0 */
#include "net/port.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include "base/err.h"
#include "base/testing.h"

#define LOCALHOST 0x7f000001U

static int other_program(uint16_t port)
{
	struct sockaddr_in addr = {.sin_family = AF_INET,
	                           .sin_port = htons(port),
	                           .sin_addr.s_addr = htonl(LOCALHOST)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0 && listen(fd, 1) == 0)
		return fd;
	close(fd);
	return -1;
}

static void a_held_port_is_taken_for_others_and_free_after_release(void **state)
{
	struct port_table *table = port_table_create(NULL);
	struct port_wish wish = {.proto = "tcp", .ip = LOCALHOST};
	uint16_t port;
	int fd;

	(void)state;
	assert_int_equal(port_hold(table, &wish, &port, NULL), 0);
	assert_true(port > 0);
	assert_true(port_is_held(table, "tcp", LOCALHOST, port));
	assert_int_equal(other_program(port), -1);
	port_release(table, "tcp", LOCALHOST, port);
	fd = other_program(port);
	assert_true(fd >= 0);
	close(fd);
	port_table_free(table);
}

static void a_port_of_another_program_is_a_conflict_in_docker_s_words(void **state)
{
	struct port_table *table = port_table_create(NULL);
	struct port_wish wish = {.proto = "tcp", .ip = LOCALHOST};
	struct err err = ERR_INIT;
	char words[120];
	uint16_t port;
	int fd;

	(void)state;
	assert_int_equal(port_hold(table, &wish, &port, NULL), 0);
	port_release(table, "tcp", LOCALHOST, port);
	fd = other_program(port);
	assert_true(fd >= 0);
	wish.first = port;
	assert_int_equal(port_hold(table, &wish, &port, &err), -1);
	assert_int_equal(err.kind, ERR_CONFLICT);
	snprintf(words, sizeof(words), "Bind for 127.0.0.1:%u failed: port is already allocated",
	         wish.first);
	assert_string_equal(err.msg, words);
	close(fd);
	port_table_free(table);
}

static void a_range_yields_its_first_free_port(void **state)
{
	struct port_table *table = port_table_create(NULL);
	struct port_wish any = {.proto = "udp", .ip = LOCALHOST};
	uint16_t first, second;

	(void)state;
	assert_int_equal(port_hold(table, &any, &first, NULL), 0);
	if (first < 65500) {
		struct port_wish range = {
			.proto = "udp", .ip = LOCALHOST, .first = first, .last = first + 30U};

		assert_int_equal(port_hold(table, &range, &second, NULL), 0);
		assert_in_range(second, first + 1, first + 30);
	}
	port_table_free(table);
}

static void an_address_of_another_machine_is_refused(void **state)
{
	struct port_table *table = port_table_create(NULL);
	struct port_wish wish = {.proto = "tcp", .ip = 0xc0000201}; /* 192.0.2.1 */
	struct err err = ERR_INIT;
	uint16_t port;

	(void)state;
	assert_int_equal(port_hold(table, &wish, &port, &err), -1);
	assert_int_equal(err.kind, ERR_INVALID);
	port_table_free(table);
}

static void only_three_protocols_have_ports(void **state)
{
	(void)state;
	assert_int_equal(port_check_proto("tcp", NULL), 0);
	assert_int_equal(port_check_proto("TCP", NULL), -1);
	assert_int_equal(port_check_proto("", NULL), -1);
	assert_int_equal(port_check_proto("tcp }", NULL), -1);
}

TESTING_MAIN(TEST(a_held_port_is_taken_for_others_and_free_after_release),
             TEST(a_port_of_another_program_is_a_conflict_in_docker_s_words),
             TEST(a_range_yields_its_first_free_port),
             TEST(an_address_of_another_machine_is_refused), TEST(only_three_protocols_have_ports))
