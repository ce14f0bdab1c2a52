/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/streams.h"

#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/testing.h"

/* The process's ends of its pipes, and the streams under test. */
struct fixture {
	struct streams s;
	int in, out, err;
	int64_t now_ms;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	int in[2], out[2], err[2];

	f->s = STREAMS_INIT;
	assert_int_equal(pipe2(in, O_CLOEXEC | O_NONBLOCK), 0);
	assert_int_equal(pipe2(out, O_CLOEXEC | O_NONBLOCK), 0);
	assert_int_equal(pipe2(err, O_CLOEXEC | O_NONBLOCK), 0);
	f->in = in[0];
	f->out = out[1];
	f->err = err[1];
	f->s.stdin_fd = in[1];
	f->s.sources[0].fd = out[0];
	f->s.sources[1].fd = err[0];
	f->now_ms = 1000;
	streams_started(&f->s);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	streams_done(&f->s);
	cleanup_close(&f->in);
	cleanup_close(&f->out);
	cleanup_close(&f->err);
	free(f);
	return 0;
}

static int turn(struct fixture *f)
{
	struct pollset set = {0};

	(void)streams_prepare(&f->s, &set, f->now_ms);
	int n = poll(set.fds, set.count, 0);

	streams_run(&f->s, &set, f->now_ms);
	return n;
}

static void settle(struct fixture *f)
{
	for (int i = 0; i < 50; i++)
		turn(f);
}

static int attach(struct fixture *f, bool in, bool logs)
{
	struct supervisor_attach what = {.in = in, .out = true, .err = true, .logs = logs};
	int fd = streams_attach(&f->s, &what, NULL);

	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	return fd;
}

static void expect(int fd, const char *bytes, size_t len)
{
	char got[512];

	assert_int_equal(recv(fd, got, sizeof(got), 0), len);
	assert_memory_equal(got, bytes, len);
}

static void output_comes_in_frames(void **state)
{
	struct fixture *f = *state;
	int fd = attach(f, false, false);

	assert_int_equal(write(f->out, "hello", 5), 5);
	settle(f);
	expect(fd, "\1\0\0\0\0\0\0\5hello", 13);
	assert_int_equal(write(f->err, "oh", 2), 2);
	settle(f);
	expect(fd, "\2\0\0\0\0\0\0\2oh", 10);
	close(fd);
}

static void a_terminal_comes_raw(void **state)
{
	struct fixture *f = *state;

	f->s.terminal = true;
	int fd = attach(f, false, false);

	assert_int_equal(write(f->out, "hello", 5), 5);
	settle(f);
	expect(fd, "hello", 5);
	close(fd);
}

static void who_asks_for_logs_gets_what_was_before(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(write(f->out, "early", 5), 5);
	settle(f);
	int with = attach(f, false, true), without = attach(f, false, false);
	char byte;

	settle(f);
	expect(with, "\1\0\0\0\0\0\0\5early", 13);
	assert_int_equal(recv(without, &byte, 1, 0), -1);
	close(with);
	close(without);
}

static void the_end_comes_after_all_output(void **state)
{
	struct fixture *f = *state;
	int fd = attach(f, false, false);
	char byte;

	assert_int_equal(write(f->out, "last", 4), 4);
	streams_drain(&f->s);
	settle(f);
	streams_end(&f->s);
	settle(f);
	assert_false(streams_busy(&f->s));
	expect(fd, "\1\0\0\0\0\0\0\4last", 12);
	assert_int_equal(recv(fd, &byte, 1, 0), 0);
	close(fd);
}

static void input_reaches_the_process_after_its_start_only(void **state)
{
	struct fixture *f = *state;
	int fd = attach(f, true, false);
	char text[8] = {0};

	f->s.started = false;
	assert_int_equal(send(fd, "abc", 3, 0), 3);
	settle(f);
	assert_int_equal(read(f->in, text, 3), -1);
	streams_started(&f->s);
	settle(f);
	assert_int_equal(read(f->in, text, 8), 3);
	assert_string_equal(text, "abc");
	close(fd);
}

static void half_closing_ends_stdin_if_that_is_wanted_once(void **state)
{
	struct fixture *f = *state;
	int fd = attach(f, true, false);
	char text[8] = {0};

	f->s.stdin_once = true;
	assert_int_equal(send(fd, "abc", 3, 0), 3);
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	settle(f);
	assert_int_equal(read(f->in, text, 8), 3);
	assert_int_equal(read(f->in, text, 8), 0);
	assert_int_equal(write(f->out, "still", 5), 5); /* output goes on */
	settle(f);
	expect(fd, "\1\0\0\0\0\0\0\5still", 13);
	close(fd);
}

static void stdin_stays_open_for_the_next_client_otherwise(void **state)
{
	struct fixture *f = *state;
	int fd = attach(f, true, false);
	char text[8] = {0};

	assert_int_equal(send(fd, "one", 3, 0), 3);
	close(fd);
	settle(f);
	assert_int_equal(f->s.client_count, 0);
	fd = attach(f, true, false);
	assert_int_equal(send(fd, "two", 3, 0), 3);
	settle(f);
	assert_int_equal(read(f->in, text, 7), 6);
	assert_string_equal(text, "onetwo");
	close(fd);
}

static void a_terminal_takes_the_next_client_even_if_once_is_wanted(void **state)
{
	struct fixture *f = *state;
	int fd = attach(f, true, false);
	char text[8] = {0};

	f->s.terminal = true;
	f->s.stdin_once = true;
	assert_int_equal(send(fd, "one", 3, 0), 3);
	close(fd);
	settle(f);
	fd = attach(f, true, false);
	assert_int_equal(send(fd, "two", 3, 0), 3);
	settle(f);
	assert_int_equal(read(f->in, text, 7), 6);
	assert_string_equal(text, "onetwo");
	close(fd);
}

/* Writes as a busy process does until the pipe is full and stays full; returns bytes taken. */
static size_t flood(struct fixture *f)
{
	static char block[8192];
	size_t total = 0;

	for (int idle = 0; idle < 3;) {
		ssize_t n = write(f->out, block, sizeof(block));

		idle = n > 0 ? 0 : idle + 1;
		total += n > 0 ? (size_t)n : 0;
		settle(f);
	}
	return total;
}

static void a_client_that_lags_holds_the_process_and_loses_nothing(void **state)
{
	struct fixture *f = *state;
	int fd = attach(f, false, false);
	size_t written = flood(f), got = 0, frames = 0;
	char *buf = malloc(1 << 16);
	char block[8192] = {0};

	assert_true(written > STREAMS_QUEUE_MAX);
	assert_true(written < 2 * STREAMS_QUEUE_MAX);
	for (int quiet = 0; quiet < 3;) {
		ssize_t n = recv(fd, buf, 1 << 16, 0);

		quiet = n > 0 ? 0 : quiet + 1;
		got += n > 0 ? (size_t)n : 0;
		settle(f);
	}
	frames = (got - written) / 8;
	assert_int_equal(got, written + 8 * frames);
	assert_true(write(f->out, block, sizeof(block)) > 0); /* and it goes on */
	settle(f);
	assert_true(recv(fd, buf, 1 << 16, 0) > 0);
	free(buf);
	close(fd);
}

static void a_client_that_reads_nothing_is_cut_off_at_last(void **state)
{
	struct fixture *f = *state;
	int fd = attach(f, false, false);

	(void)flood(f);
	f->now_ms += STREAMS_STALL_MS - 1;
	settle(f);
	assert_int_equal(f->s.client_count, 1);
	f->now_ms += 2;
	settle(f);
	assert_int_equal(f->s.client_count, 0);
	assert_true(streams_open(&f->s));
	close(fd);
}

static void a_gone_client_does_not_make_the_loop_spin(void **state)
{
	struct fixture *f = *state;
	int fd = attach(f, true, false);
	static char block[70000];

	fcntl(fd, F_SETFL, 0);
	(void)!write(f->s.stdin_fd, block, 65536); /* the process does not read */
	assert_int_equal(send(fd, block, 40000, 0), 40000);
	close(fd);
	settle(f);
	assert_int_equal(f->s.client_count, 1); /* its last words are kept */
	assert_int_equal(turn(f), 0);
	for (size_t got = 0; got < 65536 + 40000;) {
		ssize_t n = read(f->in, block, sizeof(block));

		got += n > 0 ? (size_t)n : 0;
		settle(f);
	}
	assert_int_equal(f->s.client_count, 0);
}

static void the_number_of_clients_has_a_ceiling(void **state)
{
	struct fixture *f = *state;
	struct supervisor_attach what = {.out = true};
	struct err err = ERR_INIT;
	int fds[STREAMS_CLIENTS_MAX];

	for (size_t i = 0; i < STREAMS_CLIENTS_MAX; i++)
		fds[i] = attach(f, false, false);
	assert_int_equal(streams_attach(&f->s, &what, &err), -1);
	assert_int_equal(err.kind, ERR_LIMIT);
	for (size_t i = 0; i < STREAMS_CLIENTS_MAX; i++)
		close(fds[i]);
	settle(f);
	assert_int_equal(f->s.client_count, 0);
}

static void what_an_ended_process_left_behind_cannot_write_for_ever(void **state)
{
	struct fixture *f = *state;
	int fd = attach(f, false, false);

	assert_true(signal(SIGPIPE, SIG_IGN) != SIG_ERR);
	streams_drain(&f->s);
	assert_true(flood(f) <= STREAMS_DRAIN_MAX + 65536 + STREAMS_CHUNK);
	assert_int_equal(f->s.sources[0].fd, -1);
	close(fd);
}

TESTING_MAIN(TEST_WITH(output_comes_in_frames, setup, teardown),
             TEST_WITH(a_terminal_comes_raw, setup, teardown),
             TEST_WITH(who_asks_for_logs_gets_what_was_before, setup, teardown),
             TEST_WITH(the_end_comes_after_all_output, setup, teardown),
             TEST_WITH(input_reaches_the_process_after_its_start_only, setup, teardown),
             TEST_WITH(half_closing_ends_stdin_if_that_is_wanted_once, setup, teardown),
             TEST_WITH(stdin_stays_open_for_the_next_client_otherwise, setup, teardown),
             TEST_WITH(a_terminal_takes_the_next_client_even_if_once_is_wanted, setup, teardown),
             TEST_WITH(a_client_that_lags_holds_the_process_and_loses_nothing, setup, teardown),
             TEST_WITH(a_client_that_reads_nothing_is_cut_off_at_last, setup, teardown),
             TEST_WITH(a_gone_client_does_not_make_the_loop_spin, setup, teardown),
             TEST_WITH(the_number_of_clients_has_a_ceiling, setup, teardown),
             TEST_WITH(what_an_ended_process_left_behind_cannot_write_for_ever, setup, teardown))
