/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/record.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

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

TESTING_MAIN(TEST_WITH(a_record_is_read_as_it_was_written, setup, teardown),
             TEST_WITH(a_record_without_a_known_state_is_refused, setup, teardown),
             TEST_WITH(the_exit_of_an_ended_container_is_read_without_its_supervisor, setup,
                       teardown),
             TEST_WITH(forgetting_removes_the_directory_and_may_be_repeated, setup, teardown),
             TEST_WITH(who_listens_is_not_forgotten, setup, teardown),
             TEST(the_start_time_of_a_process_is_known_while_it_lives))
