/* SPDX-License-Identifier: Apache-2.0 */
#include "base/loop.h"

#include <pthread.h>
#include <sys/epoll.h>

#include "base/err.h"
#include "base/testing.h"

struct seen {
	struct loop *loop;
	struct loop_source *timer;
	int posts, ticks, bytes;
};

static void on_tick(void *arg)
{
	struct seen *seen = arg;

	if (++seen->ticks < 3)
		assert_int_equal(loop_rearm(seen->timer, 1, NULL), 0);
	else
		loop_stop(seen->loop);
}

static void a_timer_runs_once_for_each_arming(void **state)
{
	struct err err = ERR_INIT;
	auto_type(loop) loop = loop_create(&err);
	struct seen seen = {.loop = loop};

	(void)state;
	seen.timer = loop_add_timer(loop, 1, on_tick, &seen, &err);
	assert_non_null(seen.timer);
	assert_int_equal(loop_run(loop, &err), 0);
	assert_int_equal(seen.ticks, 3);
	loop_source_free(seen.timer);
}

static void on_post(void *arg)
{
	struct seen *seen = arg;

	if (++seen->posts == 100)
		loop_stop(seen->loop);
}

static void *post_all(void *arg)
{
	struct seen *seen = arg;

	for (int i = 0; i < 100; i++)
		assert_int_equal(loop_post(seen->loop, on_post, seen, NULL), 0);
	return NULL;
}

static void posts_of_another_thread_all_arrive(void **state)
{
	struct err err = ERR_INIT;
	auto_type(loop) loop = loop_create(&err);
	struct seen seen = {.loop = loop};
	pthread_t thread;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, post_all, &seen), 0);
	assert_int_equal(loop_run(loop, &err), 0);
	pthread_join(thread, NULL);
	assert_int_equal(seen.posts, 100);
}

static void on_readable(void *arg, int fd, uint32_t revents)
{
	struct seen *seen = arg;
	char c;

	assert_true(revents & EPOLLIN);
	seen->bytes += (int)read(fd, &c, 1);
	loop_stop(seen->loop);
}

static void a_readable_descriptor_is_reported(void **state)
{
	struct err err = ERR_INIT;
	auto_type(loop) loop = loop_create(&err);
	struct seen seen = {.loop = loop};
	int ends[2];

	(void)state;
	assert_int_equal(pipe(ends), 0);
	auto_type(loop_source) source =
		loop_add_fd(loop, ends[0], EPOLLIN, on_readable, &seen, &err);
	assert_non_null(source);
	assert_int_equal(write(ends[1], "x", 1), 1);
	assert_int_equal(loop_run(loop, &err), 0);
	assert_int_equal(seen.bytes, 1);
	close(ends[0]);
	close(ends[1]);
}

TESTING_MAIN(TEST(a_timer_runs_once_for_each_arming), TEST(posts_of_another_thread_all_arrive),
             TEST(a_readable_descriptor_is_reported))
