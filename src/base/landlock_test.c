/* SPDX-License-Identifier: Apache-2.0 */
#include "base/landlock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/testing.h"

/* What was refused (EACCES or EPERM), as bits. */
enum {
	READ_INSIDE = 1,
	WRITE_INSIDE = 2,
	MAKE_INSIDE = 4,
	REMOVE_INSIDE = 8,
	READ_OUTSIDE = 16,
	MAKE_OUTSIDE = 32,
	EXECUTE = 64,
	CONNECT = 128,
	OUTSIDE = READ_OUTSIDE | MAKE_OUTSIDE | EXECUTE | CONNECT,
};

static bool refused(bool done)
{
	return !done && (errno == EACCES || errno == EPERM);
}

static bool opens(int dir, const char *name, int flags)
{
	auto_close int fd = fs_open(dir, name, flags, 0600, NULL);

	return fd >= 0;
}

/* To a port where nobody listens: refused by the network is another errno. */
static bool connects(void)
{
	struct sockaddr_in to = {
		.sin_family = AF_INET, .sin_port = htons(9), .sin_addr = {htonl(INADDR_LOOPBACK)}};
	auto_close int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0;
}

/* Whether a child could become another program; errno says why not. */
static bool executes(void)
{
	char *argv[] = {(char[]){"true"}, NULL};
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		execve("/bin/true", argv, argv + 1);
		_exit(errno);
	}
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		_exit(255);
	errno = WEXITSTATUS(status);
	return errno == 0;
}

static int attempt(int dir, int outside)
{
	int bits = 0;

	bits |= refused(opens(dir, "in/file", O_RDONLY)) ? READ_INSIDE : 0;
	bits |= refused(opens(dir, "in/file", O_WRONLY)) ? WRITE_INSIDE : 0;
	bits |= refused(opens(dir, "in/new", O_WRONLY | O_CREAT | O_EXCL)) ? MAKE_INSIDE : 0;
	bits |= refused(fs_unlink(dir, "in/gone", NULL) == 0) ? REMOVE_INSIDE : 0;
	bits |= refused(opens(outside, "file", O_RDONLY)) ? READ_OUTSIDE : 0;
	bits |= refused(opens(outside, "new", O_WRONLY | O_CREAT | O_EXCL)) ? MAKE_OUTSIDE : 0;
	bits |= refused(connects()) ? CONNECT : 0;
	return bits | (refused(executes()) ? EXECUTE : 0);
}

static void put(int dir, const char *name)
{
	assert_int_equal(fs_write_atomic(dir, name, "x", 1, 0644, NULL), 0);
}

/* What a child is refused that allows itself `access` to "in"; confine false: the control. */
static int refused_with(bool confine, uint64_t access)
{
	char path[] = "/tmp/landlock-test.XXXXXX";
	int status;

	assert_non_null(mkdtemp(path));
	auto_close int dir = fs_trusted_open_dir(path, false, NULL);
	auto_close int in = fs_mkdir_all(dir, "in", 0755, NULL);
	auto_close int outside = fs_mkdir_all(dir, "outside", 0755, NULL);
	put(in, "file");
	put(in, "gone");
	put(outside, "file");
	fflush(NULL);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		auto_close int rules = landlock_open(LANDLOCK_OPEN_SIGNALS, NULL);
		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || rules < 0 ||
		    landlock_allow(rules, in, access, NULL) < 0 ||
		    (confine && landlock_enter(rules, NULL) < 0))
			_exit(255);
		_exit(attempt(dir, outside));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	testing_remove_tree(path);
	assert_true(WIFEXITED(status));
	assert_int_not_equal(WEXITSTATUS(status), 255);
	return WEXITSTATUS(status);
}

static void what_no_rule_allows_is_refused(void **state)
{
	(void)state;
	if (landlock_abi() < 4) {
		print_message("this kernel's Landlock is too old for all of it\n");
		skip();
	}
	/* The control: unconfined, nothing of it is refused. */
	assert_int_equal(refused_with(false, LANDLOCK_READ), 0);
	assert_int_equal(refused_with(true, LANDLOCK_READ),
	                 OUTSIDE | WRITE_INSIDE | MAKE_INSIDE | REMOVE_INSIDE);
	assert_int_equal(refused_with(true, LANDLOCK_READ | LANDLOCK_WRITE),
	                 OUTSIDE | MAKE_INSIDE | REMOVE_INSIDE);
	assert_int_equal(refused_with(true, LANDLOCK_READ | LANDLOCK_WRITE | LANDLOCK_MAKE),
	                 OUTSIDE);
}

static void a_rule_can_name_one_file(void **state)
{
	(void)state;
	if (landlock_abi() == 0)
		skip();
	auto_close int rules = landlock_open(0, NULL);
	auto_close int file = fs_trusted_open("/dev/null", O_PATH, 0, NULL);
	assert_true(rules >= 0);
	assert_int_equal(landlock_allow(rules, file, LANDLOCK_READ | LANDLOCK_MAKE, NULL), 0);

	struct err err = ERR_INIT;
	assert_int_equal(landlock_allow(rules, -1, LANDLOCK_READ, &err), -1);
	assert_int_not_equal(err.kind, ERR_NONE);
}

TESTING_MAIN(TEST(what_no_rule_allows_is_refused), TEST(a_rule_can_name_one_file))
