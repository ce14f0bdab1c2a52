/* SPDX-License-Identifier: Apache-2.0 */
#include "image/flush.h"

#include <errno.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/testing.h"

static void files_are_synced_while_they_grow(void **state)
{
	auto_close int file = fs_trusted_open("/tmp", O_TMPFILE | O_RDWR, 0600, NULL);
	auto_type(flush) f = flush_create(NULL);

	(void)state;
	assert_true(file >= 0 && f);
	flush_add(f, file);
	for (int i = 0; i < 5; i++) {
		assert_int_equal(write(file, "data", 4), 4);
		flush_poke(f);
	}
	flush_end(f);
	assert_int_equal(flush_finish(f, NULL), 0);
	assert_int_equal(flush_finish(f, NULL), 0);
}

static void a_failure_is_told_at_the_end(void **state)
{
	struct err err = ERR_INIT;
	int ends[2];
	auto_type(flush) f = flush_create(NULL);

	(void)state;
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	flush_add(f, ends[1]); /* a pipe cannot be synced */
	flush_poke(f);
	flush_end(f);
	assert_int_equal(flush_finish(f, &err), -1);
	assert_int_equal(err.sys, EINVAL);
	close(ends[0]);
	close(ends[1]);
}

static void what_is_given_up_ends_at_once(void **state)
{
	(void)state;
	flush_free(flush_create(NULL));
	flush_free(NULL);
}

TESTING_MAIN(TEST(files_are_synced_while_they_grow), TEST(a_failure_is_told_at_the_end),
             TEST(what_is_given_up_ends_at_once))
