/* SPDX-License-Identifier: Apache-2.0 */
#include "image/sandbox.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/landlock.h"
#include "base/testing.h"
#include "image/apply.h"

/* What a child does inside; its return value is its exit status. */
typedef int inside_fn(void);

/* Runs fn in a child with descriptor 3 as its directory, in the sandbox or (for a control) not. Returns the wait
 * status. */
static int run_child(inside_fn *fn, bool sandboxed)
{
	char path[] = "/tmp/image-sandbox-test.XXXXXX";
	int status;

	assert_non_null(mkdtemp(path));
	fflush(NULL);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		int dir = fs_trusted_open_dir(path, false, NULL);
		if (dir < 0 || dup2(dir, 3) < 0 ||
		    (sandboxed && sandbox_enter(3, APPLY_LAYER, NULL, NULL, NULL) < 0))
			_exit(99);
		_exit(fn());
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	testing_remove_tree(path);
	return status;
}

static int run_inside(inside_fn *fn)
{
	return run_child(fn, true);
}

static bool died_of_sigsys(int status)
{
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;
}

static int do_execve(void)
{
	char *argv[] = {(char[]){"true"}, NULL};

	execve("/bin/true", argv, argv + 1);
	return 0;
}

static int do_socket(void)
{
	return socket(AF_UNIX, SOCK_STREAM, 0) < 0;
}

static int do_fork(void)
{
	return fork() < 0;
}

static void starting_programs_sockets_and_processes_kills(void **state)
{
	(void)state;
	assert_true(died_of_sigsys(run_inside(do_execve)));
	assert_true(died_of_sigsys(run_inside(do_socket)));
	assert_true(died_of_sigsys(run_inside(do_fork)));
}

static int do_open(void)
{
	return syscall(SYS_openat, 3, ".", O_RDONLY, 0) == -1 && errno == EPERM ? 42 : 1;
}

static void only_openat2_opens(void **state)
{
	int status = run_inside(do_open);

	(void)state;
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 42);
}

static int do_work(void)
{
	int fd = fs_open(3, "file", O_WRONLY | O_CREAT | O_EXCL, 0600, NULL);

	return fd >= 0 && write(fd, "x", 1) == 1 && fchmod(fd, 0644) == 0 ? 42 : 1;
}

static void the_work_itself_is_allowed(void **state)
{
	int status = run_inside(do_work);

	(void)state;
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 42);
}

/* Descriptor 4 is a directory that is none of its business; 3 is its own. */
static int do_leave(void)
{
	int mine = fs_mkdir_all(3, "made", 0700, NULL);
	int other = fs_open(4, "file", O_WRONLY | O_CREAT, 0600, NULL);

	if (mine < 0)
		return 1;
	return other >= 0 ? 41 : errno == EACCES ? 42 : 2;
}

static void no_other_directory_can_be_written(void **state)
{
	char path[] = "/tmp/image-sandbox-other.XXXXXX";

	(void)state;
	assert_non_null(mkdtemp(path));
	int other = fs_trusted_open_dir(path, false, NULL);
	int kept = fcntl(4, F_DUPFD_CLOEXEC, 16);
	assert_int_equal(dup2(other, 4), 4);
	int confined = run_inside(do_leave), free = run_child(do_leave, false);
	if (kept >= 0)
		dup2(kept, 4);
	else
		close(4);
	close(kept);
	close(other);
	testing_remove_tree(path);
	assert_int_equal(WEXITSTATUS(free), 41); /* the control */
	/* Without Landlock the descriptor, which no worker is given, would lead out. */
	assert_int_equal(WEXITSTATUS(confined), landlock_abi() ? 42 : 41);
}

static int do_count_fds(void)
{
	for (int fd = 5; fd < 64; fd++)
		if (fcntl(fd, F_GETFD) >= 0)
			return 1;
	return fcntl(3, F_GETFD) >= 0 ? 42 : 2;
}

static void other_descriptors_are_closed(void **state)
{
	int spare = dup(1);
	int status = run_inside(do_count_fds);

	(void)state;
	close(spare);
	assert_int_equal(WEXITSTATUS(status), 42);
}

/* A thread that was started before the filter: two pipes, "it runs" and "go on". */
struct thread_test {
	pthread_t thread;
	int runs[2], go[2];
};

static void *open_socket(void *arg)
{
	struct thread_test *t = arg;
	char c;

	if (write(t->runs[1], "x", 1) == 1 && read(t->go[0], &c, 1) == 1)
		(void)socket(AF_UNIX, SOCK_STREAM, 0);
	return NULL;
}

static int start_thread(void *arg, struct err *err)
{
	struct thread_test *t = arg;
	char c;

	(void)err;
	return pthread_create(&t->thread, NULL, open_socket, t) == 0 && read(t->runs[0], &c, 1) == 1
	               ? 0
	               : -1;
}

static int do_thread(void)
{
	struct thread_test t;

	/* Descriptors beyond 4 are closed. */
	if (pipe(t.runs) < 0 || pipe(t.go) < 0 || dup2(t.runs[0], 0) < 0 ||
	    dup2(t.runs[1], 1) < 0 || dup2(t.go[0], 2) < 0 || dup2(t.go[1], 4) < 0)
		return 98;
	t = (struct thread_test){.runs = {0, 1}, .go = {2, 4}};
	if (sandbox_enter(3, APPLY_LAYER, start_thread, &t, NULL) < 0 || write(4, "x", 1) != 1)
		return 99;
	pthread_join(t.thread, NULL);
	return 42;
}

static void the_filter_holds_for_a_thread_that_was_there(void **state)
{
	(void)state;
	assert_true(died_of_sigsys(run_child(do_thread, false)));
}

TESTING_MAIN(TEST(starting_programs_sockets_and_processes_kills), TEST(only_openat2_opens),
             TEST(the_work_itself_is_allowed), TEST(no_other_directory_can_be_written),
             TEST(other_descriptors_are_closed), TEST(the_filter_holds_for_a_thread_that_was_there))
