/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/cgroup_sweep.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/testing.h"

/* Plain directories stand for hierarchies: what is looked at and killed is the same, only the
 * kernel's files do not vanish with their directory. */
struct fixture {
	char path[64];
	int root;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	(void)snprintf(f->path, sizeof(f->path), "/tmp/buoy-sweep-XXXXXX");
	assert_non_null(mkdtemp(f->path));
	f->root = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	close(f->root);
	testing_remove_tree(f->path);
	free(f);
	return 0;
}

static void empty_groups_go_in_every_hierarchy(void **state)
{
	struct fixture *f = *state;
	int fd = fs_mkdir_all(f->root, "memory/buoy/x/child", 0700, NULL);

	close(fd);
	close(fs_mkdir_all(f->root, "pids/buoy/x", 0700, NULL));
	close(fs_mkdir_all(f->root, "pids/buoy/y", 0700, NULL));
	testing_write(f->root, "memory/cgroup.procs", "");
	testing_write(f->root, "pids/cgroup.procs", "");
	assert_int_equal(cgroup_sweep(f->root, "/buoy/x", 100, NULL), 0);
	assert_false(fs_exists(f->root, "memory/buoy/x"));
	assert_false(fs_exists(f->root, "pids/buoy/x"));
	assert_true(fs_exists(f->root, "pids/buoy/y"));
	assert_int_equal(cgroup_sweep(f->root, "/buoy/x", 100, NULL), 0);
}

static void the_parent_goes_only_where_it_is_empty(void **state)
{
	struct fixture *f = *state;

	close(fs_mkdir_all(f->root, "memory/buoy", 0700, NULL));
	close(fs_mkdir_all(f->root, "pids/buoy/y", 0700, NULL));
	testing_write(f->root, "memory/cgroup.procs", "");
	testing_write(f->root, "pids/cgroup.procs", "");
	cgroup_prune(f->root, "/buoy");
	assert_false(fs_exists(f->root, "memory/buoy"));
	assert_true(fs_exists(f->root, "pids/buoy/y"));
	cgroup_prune(f->root, "/buoy/y");
	cgroup_prune(f->root, "/");
	assert_true(fs_exists(f->root, "pids/buoy/y"));
}

static void members_are_killed_and_what_stays_is_reported(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;
	char text[32];
	int status;
	pid_t pid = fork();

	if (pid == 0)
		for (;;)
			pause();
	(void)snprintf(text, sizeof(text), "%d\n", (int)pid);
	close(fs_mkdir_all(f->root, "buoy/x", 0700, NULL));
	testing_write(f->root, "cgroup.procs", "");
	testing_write(f->root, "buoy/x/cgroup.procs", text);
	assert_int_equal(cgroup_sweep(f->root, "buoy/x", 20, &err), -1);
	assert_int_equal(err.kind, ERR_TIMEOUT);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(WTERMSIG(status), SIGKILL);
}

static void a_path_that_is_not_below_the_root_is_refused(void **state)
{
	struct fixture *f = *state;
	static const char *const bad[] = {"", "/", "//", "..", "a/../b", "a//b", "a/", "./a"};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct err err = ERR_INIT;

		assert_int_equal(cgroup_sweep(f->root, bad[i], 10, &err), -1);
		assert_int_equal(err.kind, ERR_INVALID);
	}
}

TESTING_MAIN(TEST_WITH(empty_groups_go_in_every_hierarchy, setup, teardown),
             TEST_WITH(the_parent_goes_only_where_it_is_empty, setup, teardown),
             TEST_WITH(members_are_killed_and_what_stays_is_reported, setup, teardown),
             TEST_WITH(a_path_that_is_not_below_the_root_is_refused, setup, teardown))
