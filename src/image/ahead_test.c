/* SPDX-License-Identifier: Apache-2.0 */
#include "image/ahead.h"

#include <sys/mman.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/testing.h"

#define SIZE (AHEAD_BLOCK * AHEAD_BLOCKS * 3 + 123) /* more than fits at once */

static int make_file(const char *data, size_t len)
{
	int fd = memfd_create("ahead", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(fs_write_all(fd, data, len, NULL), 0);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	return fd;
}

static char *make_bytes(void)
{
	char *data = malloc(SIZE);

	assert_non_null(data);
	for (size_t i = 0; i < SIZE; i++)
		data[i] = (char)(i * 31 + i / 4096);
	return data;
}

static void blocks_come_in_order_and_whole(void **state)
{
	auto_free char *data = make_bytes();
	auto_close int fd = make_file(data, SIZE);
	auto_type(ahead) a = ahead_create(fd, NULL);
	const void *block;
	uint64_t taken = 0;
	size_t got = 0;
	ssize_t n;

	(void)state;
	assert_non_null(a);
	while ((n = ahead_next(a, &block, &taken, NULL)) > 0) {
		assert_true((size_t)n == AHEAD_BLOCK || got + (size_t)n == SIZE);
		assert_memory_equal(block, data + got, (size_t)n);
		got += (size_t)n;
		assert_true(taken >= got);
	}
	assert_int_equal(n, 0);
	assert_int_equal(got, SIZE);
	assert_int_equal(taken, SIZE);
	assert_int_equal(ahead_next(a, &block, &taken, NULL), 0);
}

static void nothing_is_read_before_it_is_wanted(void **state)
{
	auto_close int fd = make_file("tar", 3);
	auto_type(ahead) a = ahead_create(fd, NULL);
	const void *block;
	uint64_t taken;

	(void)state;
	usleep(20000);
	assert_int_equal(lseek(fd, 0, SEEK_CUR), 0);
	assert_int_equal(ahead_next(a, &block, &taken, NULL), 3);
	assert_int_equal(lseek(fd, 0, SEEK_CUR), 3);
}

static void damage_is_told_behind_what_was_good(void **state)
{
	static const char broken[] = {0x1f, (char)0x8b, 8, 0, 0, 0, 0, 0, 0, 3, (char)0xff, 1};
	struct err err = ERR_INIT;
	auto_close int fd = make_file(broken, sizeof(broken));
	auto_type(ahead) a = ahead_create(fd, &err);
	const void *block;
	uint64_t taken;

	(void)state;
	assert_int_equal(ahead_next(a, &block, &taken, &err), -1);
	assert_int_equal(err.kind, ERR_INVALID);
}

static void who_stops_early_leaves_no_thread(void **state)
{
	auto_free char *data = make_bytes();
	auto_close int fd = make_file(data, SIZE);
	const void *block;
	uint64_t taken;

	(void)state;
	struct ahead *a = ahead_create(fd, NULL);
	assert_true(ahead_next(a, &block, &taken, NULL) > 0);
	ahead_free(a); /* joins: would hang */
	a = ahead_create(fd, NULL);
	ahead_free(a);
}

TESTING_MAIN(TEST(blocks_come_in_order_and_whole), TEST(nothing_is_read_before_it_is_wanted),
             TEST(damage_is_told_behind_what_was_good), TEST(who_stops_early_leaves_no_thread))
