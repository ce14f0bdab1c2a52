/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/cgroup_stats.h"

#include <sys/stat.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/testing.h"
#include "runtime/cgroup.h"

static void flat_files_become_objects(void **state)
{
	(void)state;
	auto_type(json) got = cgroup_stats_flat("cache 12\nrss 7\nodd line here\nbad x\n");

	assert_int_equal(json_count(got), 2);
	assert_int_equal(json_get_int(got, "cache", -1), 12);
	assert_int_equal(json_get_int(got, "rss", -1), 7);
}

static void block_io_is_read_in_both_forms(void **state)
{
	(void)state;
	auto_type(json) v1 = cgroup_stats_blkio("8:0 Read 12\n8:0 Write 13\nTotal 25\n", 0);
	auto_type(json) v2 = cgroup_stats_blkio("8:16 rbytes=1 wbytes=2 rios=3 wios=4\n", 1);

	assert_int_equal(json_count(v1), 2);
	assert_string_equal(json_get_string(json_at(v1, 1), "op"), "Write");
	assert_int_equal(json_get_int(json_at(v1, 1), "value", -1), 13);
	assert_int_equal(json_count(v2), 2);
	assert_int_equal(json_get_int(json_at(v2, 0), "minor", -1), 16);
	assert_int_equal(json_get_int(json_at(v2, 0), "value", -1), 3);
	assert_int_equal(json_get_int(json_at(v2, 1), "value", -1), 4);
}

static void lists_of_numbers_are_spelt_out(void **state)
{
	auto_type(json) list = cgroup_stats_list("0-2,7\n");
	auto_type(json) none = cgroup_stats_list("\n");

	(void)state;
	assert_int_equal(json_count(list), 4);
	assert_int_equal(json_num(json_at(list, 2), -1), 2);
	assert_int_equal(json_num(json_at(list, 3), -1), 7);
	assert_int_equal(json_count(none), 0);
}

static void a_version_1_cgroup_has_what_events_shows(void **state)
{
	char path[] = "/tmp/buoy-stats-XXXXXX";

	(void)state;
	assert_non_null(mkdtemp(path));
	struct cgroup_layout layout = {
		.count = 1, .hierarchies = {{.controllers = "cpuset,memory,hugetlb,cpuacct"}}};
	auto_close int root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	(void)snprintf(layout.hierarchies[0].mount, sizeof(layout.hierarchies[0].mount), "%s",
	               path);
	close(fs_mkdir_all(root, "x", 0700, NULL));
	testing_write(root, "x/tasks", "");
	testing_write(root, "x/cpuset.cpus", "0-1\n");
	testing_write(root, "x/cpuset.mems", "0\n");
	testing_write(root, "x/cpuset.sched_relax_domain_level", "-1\n");
	testing_write(root, "x/memory.memsw.limit_in_bytes", "9223372036854771712\n");
	testing_write(root, "x/memory.memsw.usage_in_bytes", "77\n");
	testing_write(root, "x/hugetlb.2MB.usage_in_bytes", "4194304\n");
	testing_write(root, "x/hugetlb.2MB.failcnt", "5\n");
	testing_write(root, "x/cpuacct.usage_all", "cpu user system\n0 11 12\n1 21 22\n");
	{
		auto_type(cgroup) cg = cgroup_open(&layout, "/x", NULL);

		assert_non_null(cg);
		auto_type(json) got = cgroup_stats_more(cg, NULL);
		const struct json *set = json_get(got, "cpuset"), *swap = json_get(got, "swap");
		const struct json *pages = json_get(json_get(got, "hugetlb"), "2MB");

		assert_int_equal(json_count(json_get(set, "cpus")), 2);
		assert_int_equal(json_get_int(set, "sched_relax_domain_level", 0), -1);
		assert_int_equal(json_get_int(swap, "usage", -1), 77);
		assert_int_equal(json_get_int(swap, "limit", -1), 0);
		assert_int_equal(json_get_int(pages, "usage", -1), 4194304);
		assert_int_equal(json_get_int(pages, "failcnt", -1), 5);
		assert_int_equal(json_count(json_get(got, "hugetlb")), 1);
		assert_int_equal(json_num(json_at(json_get(got, "percpu_user"), 1), -1), 21);
		assert_int_equal(json_num(json_at(json_get(got, "percpu_kernel"), 0), -1), 12);
	}
	testing_remove_tree(path);
}

static void a_version_2_cgroup_is_measured(void **state)
{
	(void)state;
	char path[] = "/tmp/buoy-stats-XXXXXX";

	assert_non_null(mkdtemp(path));
	struct cgroup_layout layout = {.count = 1, .hierarchies = {{.v2 = true}}};
	auto_close int root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	(void)snprintf(layout.hierarchies[0].mount, sizeof(layout.hierarchies[0].mount), "%s",
	               path);
	close(fs_mkdir_all(root, "x", 0700, NULL));
	testing_write(root, "x/cgroup.procs", "");
	testing_write(root, "x/memory.current", "4096\n");
	testing_write(root, "x/memory.max", "max\n");
	testing_write(root, "x/memory.stat", "anon 1\nfile 2\n");
	testing_write(root, "x/memory.events", "low 0\nmax 9\noom_kill 1\n");
	testing_write(root, "x/cpu.stat", "usage_usec 5\nuser_usec 2\nsystem_usec 3\n");
	testing_write(root, "x/pids.current", "3\n");
	testing_write(root, "x/pids.max", "100\n");
	{
		auto_type(cgroup) cg = cgroup_open(&layout, "/x", NULL);

		assert_non_null(cg);
		auto_type(json) got = cgroup_stats(cg, NULL);
		const struct json *memory = json_get(got, "memory"), *cpu = json_get(got, "cpu");

		assert_int_equal(json_get_int(memory, "version", 0), 2);
		assert_int_equal(json_get_int(memory, "usage", 0), 4096);
		assert_int_equal(json_get_int(memory, "limit", -1), 0);
		assert_int_equal(json_get_int(memory, "failcnt", -1), 9);
		assert_int_equal(json_get_int(json_get(memory, "stat"), "file", -1), 2);
		assert_int_equal(json_get_int(cpu, "total_ns", -1), 5000);
		assert_int_equal(json_get_int(cpu, "system_ns", -1), 3000);
		assert_int_equal(json_get_int(cpu, "throttled_ns", -1), -1);
		assert_int_equal(json_get_int(json_get(got, "pids"), "limit", -1), 100);
	}
	testing_remove_tree(path);
}

TESTING_MAIN(TEST(flat_files_become_objects), TEST(block_io_is_read_in_both_forms),
             TEST(a_version_2_cgroup_is_measured), TEST(lists_of_numbers_are_spelt_out),
             TEST(a_version_1_cgroup_has_what_events_shows))
