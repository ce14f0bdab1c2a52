/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/protocol.h"

#include <sys/socket.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/testing.h"

struct fixture {
	int a, b;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	int pair[2];

	assert_int_equal(
		socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	f->a = pair[0];
	f->b = pair[1];
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	close(f->a);
	close(f->b);
	free(f);
	return 0;
}

static int open_fds(void)
{
	int count = 0;

	for (int fd = 0; fd < 1024; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

static void a_packet_arrives_with_its_descriptors(void **state)
{
	struct fixture *f = *state;
	struct json *body = json_object();
	int pipe_fds[2];
	char text[4] = {0};

	assert_int_equal(pipe(pipe_fds), 0);
	json_set(body, "op", json_string("attach"));
	json_set(body, "where", json_int(0));
	assert_int_equal(protocol_send(f->a, body, &pipe_fds[1], 1, NULL), 0);
	close(pipe_fds[1]);
	{
		auto_packet struct protocol_packet packet = PROTOCOL_PACKET_INIT;

		assert_int_equal(protocol_recv(f->b, &packet, NULL), 1);
		assert_string_equal(json_get_string(packet.body, "op"), "attach");
		assert_int_equal(packet.fd_count, 1);
		assert_int_equal(protocol_fd(&packet, packet.body, "where"), packet.fds[0]);
		assert_int_equal(protocol_fd(&packet, packet.body, "nowhere"), -1);
		assert_int_equal(fcntl(packet.fds[0], F_GETFD), FD_CLOEXEC);
		assert_int_equal(write(packet.fds[0], "abc", 3), 3);
	}
	assert_int_equal(read(pipe_fds[0], text, 3), 3);
	assert_int_equal(read(pipe_fds[0], text, 3), 0); /* the packet closed its end */
	close(pipe_fds[0]);
}

static void what_is_no_json_object_is_refused_and_leaks_nothing(void **state)
{
	struct fixture *f = *state;
	static const char *const bad[] = {"[1]", "{", "\"x\"", "{} {}", "\xff"};
	int before = open_fds();

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct protocol_packet packet = PROTOCOL_PACKET_INIT;
		struct err err = ERR_INIT;

		assert_true(send(f->a, bad[i], strlen(bad[i]), 0) > 0);
		assert_int_equal(protocol_recv(f->b, &packet, &err), -1);
		assert_int_equal(err.kind, ERR_INVALID);
	}
	assert_int_equal(open_fds(), before);
}

static void a_packet_above_the_ceiling_is_refused(void **state)
{
	struct fixture *f = *state;
	struct protocol_packet packet = PROTOCOL_PACKET_INIT;
	struct err err = ERR_INIT;
	static char big[PROTOCOL_PACKET_MAX + 1];

	memset(big, 'x', sizeof(big) - 1);
	struct json *body = json_object();

	json_set(body, "x", json_string(big));
	assert_int_equal(protocol_send(f->a, body, NULL, 0, &err), -1);
	assert_int_equal(err.kind, ERR_LIMIT);

	assert_int_equal(send(f->a, big, sizeof(big), 0), sizeof(big));
	assert_int_equal(protocol_recv(f->b, &packet, &err), -1);
	assert_int_equal(err.kind, ERR_LIMIT);
}

static void a_closed_peer_is_end_of_file(void **state)
{
	struct fixture *f = *state;
	struct protocol_packet packet = PROTOCOL_PACKET_INIT;
	struct err err = ERR_INIT;

	assert_int_equal(protocol_recv(f->b, &packet, &err), -1);
	assert_int_equal(err.kind, ERR_TIMEOUT);
	close(f->a);
	f->a = -1;
	assert_int_equal(protocol_recv(f->b, &packet, &err), 0);
	assert_int_equal(protocol_send(f->b, json_object(), NULL, 0, &err), -1);
	assert_int_equal(err.kind, ERR_UNAVAILABLE);
}

static void errors_travel_with_kind_and_words(void **state)
{
	(void)state;
	for (int kind = ERR_INVALID; kind <= ERR_INTERNAL; kind++) {
		struct err in = {.kind = (enum err_kind)kind, .sys = 2, .msg = "no \"x\""};
		struct err out = ERR_INIT;
		auto_type(json) reply = protocol_error(&in);

		assert_int_equal(protocol_check(reply, &out), -1);
		assert_int_equal(out.kind, kind);
		assert_int_equal(out.sys, 2);
		assert_string_equal(out.msg, "no \"x\"");
	}
	auto_type(json) good = json_object();

	assert_int_equal(protocol_check(good, NULL), 0);
}

TESTING_MAIN(TEST_WITH(a_packet_arrives_with_its_descriptors, setup, teardown),
             TEST_WITH(what_is_no_json_object_is_refused_and_leaks_nothing, setup, teardown),
             TEST_WITH(a_packet_above_the_ceiling_is_refused, setup, teardown),
             TEST_WITH(a_closed_peer_is_end_of_file, setup, teardown),
             TEST(errors_travel_with_kind_and_words))
