/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/record.h"

#include <signal.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/testing.h"

struct fixture {
	char path[64];
	int run_fd;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	(void)snprintf(f->path, sizeof(f->path), "/tmp/buoy-record-XXXXXX");
	assert_non_null(mkdtemp(f->path));
	f->run_fd = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	close(f->run_fd);
	testing_remove_tree(f->path);
	free(f);
	return 0;
}

static const struct record sample = {
	.seen = {.state = SUPERVISED_STOPPED,
                 .started_ns = 1700000000123456789,
                 .finished_ns = 1700000001123456789,
                 .exit_code = 137,
                 .oom_killed = true},
	.pid_started = 4242,
	.supervisor = 17,
	.supervisor_started = 4000,
	.oom_kills = 3,
	.cgroup = "/buoy/x",
};

static void a_record_is_read_as_it_was_written(void **state)
{
	struct fixture *f = *state;
	struct record got = {0};

	assert_int_equal(record_write(f->run_fd, RECORD_EXIT, "x", &sample, NULL), 0);
	assert_int_equal(record_read(f->run_fd, RECORD_EXIT, &got, NULL), 0);
	assert_int_equal(got.seen.state, SUPERVISED_STOPPED);
	assert_int_equal(got.seen.started_ns, sample.seen.started_ns);
	assert_int_equal(got.seen.finished_ns, sample.seen.finished_ns);
	assert_int_equal(got.seen.exit_code, 137);
	assert_true(got.seen.oom_killed);
	assert_int_equal(got.pid_started, 4242);
	assert_int_equal(got.oom_kills, 3);
	assert_string_equal(got.cgroup, "/buoy/x");
}

static void a_record_without_a_known_state_is_refused(void **state)
{
	struct fixture *f = *state;
	struct record got;
	struct err err = ERR_INIT;

	testing_write(f->run_fd, "exit.json", "{\"state\": \"asleep\"}");
	assert_int_equal(record_read(f->run_fd, RECORD_EXIT, &got, &err), -1);
	assert_int_equal(err.kind, ERR_INVALID);
	assert_non_null(strstr(err.msg, "asleep"));
}

static void the_exit_of_an_ended_container_is_read_without_its_supervisor(void **state)
{
	struct fixture *f = *state;
	struct supervised got;
	struct err err = ERR_INIT;

	assert_int_equal(supervisor_read_exit(f->run_fd, "c1", &got, &err), -1);
	assert_int_equal(err.kind, ERR_NOT_FOUND);
	assert_int_equal(fs_mkdir(f->run_fd, "c1", 0700, NULL), 0);

	auto_close int dir = fs_open_dir(f->run_fd, "c1", NULL);

	assert_int_equal(supervisor_read_exit(f->run_fd, "c1", &got, &err), -1);
	assert_int_equal(err.kind, ERR_NOT_FOUND);
	assert_int_equal(record_write(dir, RECORD_EXIT, "c1", &sample, NULL), 0);
	assert_int_equal(supervisor_read_exit(f->run_fd, "c1", &got, NULL), 0);
	assert_int_equal(got.exit_code, 137);
	assert_null(supervisor_connect(f->run_fd, "c1", &err));
	assert_int_equal(err.kind, ERR_NOT_FOUND);
}

static void forgetting_removes_the_directory_and_may_be_repeated(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(fs_mkdir(f->run_fd, "c1", 0700, NULL), 0);
	auto_close int dir = fs_open_dir(f->run_fd, "c1", NULL);

	assert_int_equal(record_write(dir, RECORD_EXIT, "c1", &sample, NULL), 0);
	assert_int_equal(supervisor_forget(f->run_fd, "c1", NULL), 0);
	assert_false(fs_exists(f->run_fd, "c1"));
	assert_int_equal(supervisor_forget(f->run_fd, "c1", NULL), 0);
	assert_int_equal(supervisor_forget(f->run_fd, "../c1", NULL), -1);
}

static void who_listens_is_not_forgotten(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;

	assert_int_equal(fs_mkdir(f->run_fd, "c1", 0700, NULL), 0);
	auto_close int dir = fs_open_dir(f->run_fd, "c1", NULL);
	auto_close int fd = fs_listen_unix(dir, "socket", SOCK_SEQPACKET, 0600, NULL);

	assert_true(fd >= 0);
	assert_int_equal(supervisor_forget(f->run_fd, "c1", &err), -1);
	assert_int_equal(err.kind, ERR_CONFLICT);
}

static void the_start_time_of_a_process_is_known_while_it_lives(void **state)
{
	(void)state;
	uint64_t start = record_process_start(getpid());

	assert_true(start > 0);
	assert_int_equal(record_process_start(getpid()), start);
	assert_int_equal(record_process_start(999999999), 0);
}

/* ---- killed while it writes ---- */

static int write_it(int run_fd)
{
	return record_write(run_fd, RECORD_EXIT, "x", &sample, NULL);
}

/* What record_write() must not be: the control of the tests below. */
static int write_in_place(int run_fd)
{
	auto_type(json) doc = record_encode("x", &sample);
	auto_buf struct buf text = BUF_INIT(16384);
	auto_close int fd = openat(run_fd, RECORD_EXIT, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	if (fd < 0 || json_write(doc, &text, NULL) < 0 || fs_write_all(fd, text.data, 20, NULL) < 0)
		return -1;
	return fs_write_all(fd, text.data + 20, text.len - 20, NULL);
}

/* Kills a process that writes after so many entries into and returns from the kernel: between two of
 * them no file changes, so that this is at any instruction. false: it came to its end before. */
static bool killed_after(int stops, int (*write_record)(int), int run_fd)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		(void)ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		(void)raise(SIGSTOP);
		_exit(write_record(run_fd) == 0 ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	for (int i = 0; i < stops && WIFSTOPPED(status); i++) {
		assert_int_equal(ptrace(PTRACE_SYSCALL, pid, NULL, NULL), 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
	}
	if (!WIFSTOPPED(status)) {
		assert_int_equal(status, 0);
		return false;
	}
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return true;
}

/* The record of before, the new one, or none where there was none; nothing else. */
static bool is_whole(int run_fd, bool was_there)
{
	struct record got = {0};
	struct err err = ERR_INIT;

	if (record_read(run_fd, RECORD_EXIT, &got, &err) < 0)
		return !was_there && err.kind == ERR_NOT_FOUND;
	if (got.seen.exit_code == 1)
		return was_there;
	return got.seen.exit_code == 137 && got.seen.oom_killed && got.oom_kills == 3 &&
	       strcmp(got.cgroup, sample.cgroup) == 0;
}

static void begin_with(int run_fd, bool one_there)
{
	const struct record before = {.seen = {.state = SUPERVISED_STOPPED, .exit_code = 1}};

	assert_int_equal(fs_unlink(run_fd, RECORD_EXIT, NULL), 0);
	if (one_there)
		assert_int_equal(record_write(run_fd, RECORD_EXIT, "x", &before, NULL), 0);
}

/* Kills at each step from the first to the last; how many of them left something torn. */
static int count_torn(int (*write_record)(int), int run_fd, int *kills)
{
	int torn = 0;

	*kills = 0;
	for (int there = 0; there < 2; there++) {
		for (int stops = 0;; stops++) {
			begin_with(run_fd, there);
			if (!killed_after(stops, write_record, run_fd))
				break;
			torn += !is_whole(run_fd, there);
			++*kills;
		}
	}
	return torn;
}

static void a_writer_killed_at_any_instruction_leaves_a_whole_record_or_none(void **state)
{
	struct fixture *f = *state;
	int kills;

	assert_int_equal(count_torn(write_it, f->run_fd, &kills), 0);
	assert_true(kills > 20);
}

static void a_writer_in_place_is_caught(void **state)
{
	struct fixture *f = *state;
	int kills;

	assert_true(count_torn(write_in_place, f->run_fd, &kills) >= 4);
}

/* And without the stops, which could hide something: at a random moment. */
static void a_writer_killed_at_a_random_moment_leaves_a_whole_record_or_none(void **state)
{
	struct fixture *f = *state;

	srandom(11);
	for (int i = 0; i < 300; i++) {
		begin_with(f->run_fd, i % 2);
		pid_t pid = fork();
		if (pid == 0)
			for (;;)
				(void)write_it(f->run_fd);
		(void)usleep((unsigned)(random() % 2000));
		assert_int_equal(kill(pid, SIGKILL), 0);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		assert_true(is_whole(f->run_fd, i % 2));
	}
}

TESTING_MAIN(TEST_WITH(a_record_is_read_as_it_was_written, setup, teardown),
             TEST_WITH(a_record_without_a_known_state_is_refused, setup, teardown),
             TEST_WITH(the_exit_of_an_ended_container_is_read_without_its_supervisor, setup,
                       teardown),
             TEST_WITH(forgetting_removes_the_directory_and_may_be_repeated, setup, teardown),
             TEST_WITH(who_listens_is_not_forgotten, setup, teardown),
             TEST_WITH(a_writer_killed_at_any_instruction_leaves_a_whole_record_or_none, setup,
                       teardown),
             TEST_WITH(a_writer_in_place_is_caught, setup, teardown),
             TEST_WITH(a_writer_killed_at_a_random_moment_leaves_a_whole_record_or_none, setup,
                       teardown),
             TEST(the_start_time_of_a_process_is_known_while_it_lives))
