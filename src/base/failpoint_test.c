/* SPDX-License-Identifier: Apache-2.0 */
#include "base/failpoint.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/wait.h>

#include "base/err.h"
#include "base/testing.h"

static void an_untouched_program_has_none(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	unsetenv("BUOY_FAILPOINTS");
	assert_int_equal(failpoint_init(&err), 0);
	assert_false(failpoint_enabled);
	assert_int_equal(FAILPOINT("x", &err), 0);
}

#ifdef BUOY_FAILPOINTS
static void nonsense_is_refused(void **state)
{
	static const char *const bad[] = {"x", "=exit", "x=fly", "x=errno", "x=exit@0"};
	struct err err = ERR_INIT;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		setenv("BUOY_FAILPOINTS", bad[i], 1);
		assert_int_equal(failpoint_init(&err), -1);
		assert_int_equal(err.kind, ERR_INVALID);
	}
}

static void a_point_fails_on_the_pass_it_was_told(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	setenv("BUOY_FAILPOINTS", "store.write=errno:28@2,die=exit", 1);
	assert_int_equal(failpoint_init(&err), 0);
	assert_int_equal(FAILPOINT("store.write", &err), 0);
	assert_int_equal(FAILPOINT("store.write", &err), -1);
	assert_int_equal(err.kind, ERR_LIMIT);
	assert_int_equal(err.sys, ENOSPC);
	assert_int_equal(FAILPOINT("store.write", &err), 0);

	pid_t pid = fork();
	if (pid == 0) {
		(void)FAILPOINT("die", NULL);
		_exit(0);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == 9);
}

static void a_program_lists_its_own(void **state)
{
	struct err err = ERR_INIT;
	char text[256] = "";
	int ends[2];

	(void)state;
	assert_int_equal(pipe(ends), 0);
	setenv("BUOY_FAILPOINTS", "list", 1);
	pid_t pid = fork();
	if (pid == 0) {
		(void)dup2(ends[1], STDOUT_FILENO);
		(void)failpoint_init(&err);
		_exit(1);
	}
	int status;
	close(ends[1]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_true(read(ends[0], text, sizeof(text) - 1) > 0);
	close(ends[0]);
	assert_non_null(strstr(text, "store.write\n"));
	assert_non_null(strstr(text, "die\n"));
}

TESTING_MAIN(TEST(an_untouched_program_has_none), TEST(nonsense_is_refused),
             TEST(a_point_fails_on_the_pass_it_was_told), TEST(a_program_lists_its_own))
#else
static void a_release_does_not_look(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	setenv("BUOY_FAILPOINTS", "x=exit", 1);
	assert_int_equal(failpoint_init(&err), 0);
	assert_false(failpoint_enabled);
	assert_int_equal(FAILPOINT("x", &err), 0);
}

TESTING_MAIN(TEST(an_untouched_program_has_none), TEST(a_release_does_not_look))
#endif
