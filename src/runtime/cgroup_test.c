/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/cgroup.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/json.h"
#include "base/str.h"
#include "base/testing.h"
#include "runtime/spec.h"

/* Directories stand in for cgroupfs: files are plain, writes land in them. */
struct fixture {
	char path[64];
	int fd;
	struct cgroup_layout v1, v2;
	struct arena arena;
};

static void add(struct fixture *f, struct cgroup_layout *layout, const char *name, bool v2)
{
	struct cgroup_hierarchy *h = &layout->hierarchies[layout->count++];
	char dir[128];

	h->v2 = v2;
	snprintf(h->controllers, sizeof(h->controllers), "%s", v2 ? "" : name);
	snprintf(h->mount, sizeof(h->mount), "%s/%s", f->path, name);
	mkdirat(f->fd, name, 0755);
	snprintf(dir, sizeof(dir), "%s/web", name);
	mkdirat(f->fd, dir, 0755);
}

static void put(struct fixture *f, const char *dir, const char *file, const char *text)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/web/%s", dir, file);
	testing_write(f->fd, path, text);
}

static void expect(struct fixture *f, const char *dir, const char *file, const char *text)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/web/%s", dir, file);
	testing_assert_file(f->fd, path, text);
}

static int setup(void **state)
{
	static const char *const v1[] = {"memory", "cpu", "pids", "devices", "freezer"};
	static struct fixture f;

	f = (struct fixture){.arena = ARENA_INIT(1 << 20)};
	snprintf(f.path, sizeof(f.path), "/tmp/cgroup-test-XXXXXX");
	if (!mkdtemp(f.path))
		return -1;
	f.fd = open(f.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (size_t i = 0; i < ARRAY_LEN(v1); i++) {
		add(&f, &f.v1, v1[i], false);
		put(&f, v1[i], "tasks", "");
		put(&f, v1[i], "cgroup.procs", "");
	}
	add(&f, &f.v2, "unified", true);
	put(&f, "unified", "cgroup.procs", "");
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	arena_done(&f->arena);
	close(f->fd);
	return testing_remove_tree(f->path);
}

static struct oci_resources *resources(struct fixture *f, const char *text)
{
	struct err err = ERR_INIT;
	struct oci_resources *r = spec_parse_resources(text, strlen(text), &f->arena, &err);

	if (!r)
		fail_msg("%s", err.msg);
	return r;
}

static const char limits[] =
	"{\"memory\":{\"limit\":67108864,\"swap\":134217728,\"reservation\":33554432},"
	"\"cpu\":{\"shares\":512,\"quota\":150000,\"period\":100000},\"pids\":{\"limit\":100}}";

static void limits_are_written_as_version_1_wants_them(void **state)
{
	static const char *const files[] = {"memory.limit_in_bytes", "memory.memsw.limit_in_bytes",
	                                    "memory.soft_limit_in_bytes"};
	static const char *const cpu[] = {"cpu.shares", "cpu.cfs_quota_us", "cpu.cfs_period_us"};
	struct fixture *f = *state;
	struct err err = ERR_INIT;
	auto_type(cgroup) cg = cgroup_create(&f->v1, "/web", &err);

	assert_non_null(cg);
	for (size_t i = 0; i < ARRAY_LEN(files); i++)
		put(f, "memory", files[i], "");
	for (size_t i = 0; i < ARRAY_LEN(cpu); i++)
		put(f, "cpu", cpu[i], "");
	put(f, "pids", "pids.max", "");
	assert_int_equal(cgroup_apply(cg, resources(f, limits), &err), 0);
	expect(f, "memory", "memory.limit_in_bytes", "67108864");
	expect(f, "memory", "memory.memsw.limit_in_bytes", "134217728");
	expect(f, "memory", "memory.soft_limit_in_bytes", "33554432");
	expect(f, "cpu", "cpu.shares", "512");
	expect(f, "cpu", "cpu.cfs_quota_us", "150000");
	expect(f, "pids", "pids.max", "100");
}

static void limits_are_converted_for_version_2(void **state)
{
	static const char *const files[] = {"memory.max", "memory.swap.max", "memory.low",
	                                    "cpu.weight", "cpu.max",         "pids.max"};
	struct fixture *f = *state;
	struct err err = ERR_INIT;
	auto_type(cgroup) cg = cgroup_create(&f->v2, "/web", &err);

	assert_non_null(cg);
	for (size_t i = 0; i < ARRAY_LEN(files); i++)
		put(f, "unified", files[i], "");
	assert_int_equal(cgroup_apply(cg, resources(f, limits), &err), 0);
	expect(f, "unified", "memory.max", "67108864");
	expect(f, "unified", "memory.swap.max", "67108864"); /* swap alone */
	expect(f, "unified", "memory.low", "33554432");
	expect(f, "unified", "cpu.weight", "20");
	expect(f, "unified", "cpu.max", "150000 100000");
	expect(f, "unified", "pids.max", "100");
}

static void unlimited_is_minus_one_or_max(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;
	auto_type(cgroup) one = cgroup_create(&f->v1, "/web", &err);
	auto_type(cgroup) two = cgroup_create(&f->v2, "/web", &err);
	struct oci_resources *r =
		resources(f, "{\"memory\":{\"limit\":-1},\"pids\":{\"limit\":-1}}");

	put(f, "memory", "memory.limit_in_bytes", "");
	put(f, "pids", "pids.max", "");
	put(f, "unified", "memory.max", "");
	put(f, "unified", "pids.max", "");
	assert_int_equal(cgroup_apply(one, r, &err), 0);
	assert_int_equal(cgroup_apply(two, r, &err), 0);
	expect(f, "memory", "memory.limit_in_bytes", "-1");
	expect(f, "pids", "pids.max", "max");
	expect(f, "unified", "memory.max", "max");
	expect(f, "unified", "pids.max", "max");
}

static void a_limit_without_its_controller_is_an_error(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;
	struct cgroup_layout only = {.hierarchies = {f->v1.hierarchies[0]}, .count = 1};
	auto_type(cgroup) cg = cgroup_create(&only, "/web", &err);

	assert_int_equal(cgroup_apply(cg, resources(f, "{\"pids\":{\"limit\":5}}"), &err), -1);
	assert_int_equal(err.kind, ERR_UNSUPPORTED);
	assert_string_equal(err.msg, "linux.resources.pids: no pids cgroup is mounted");
}

static void a_cgroup_with_members_is_a_conflict(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;

	put(f, "pids", "cgroup.procs", "812\n");
	assert_null(cgroup_create(&f->v1, "/web", &err));
	assert_int_equal(err.kind, ERR_CONFLICT);
	assert_string_equal(err.msg, "cgroup /web: cgroup exists already and has members");
}

static void devices_begin_with_nothing_and_are_read_back(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;
	auto_type(cgroup) cg = cgroup_create(&f->v1, "/web", &err);
	struct oci_resources *r =
		resources(f, "{\"devices\":[{\"allow\":false,\"access\":\"rwm\"}]}");

	put(f, "devices", "devices.allow", "");
	put(f, "devices", "devices.deny", "");
	put(f, "devices", "devices.list", "c 1:3 rwm\n");
	assert_int_equal(cgroup_apply_devices(cg, r, NULL, 0, &err), 0);
	expect(f, "devices", "devices.deny", "a");

	put(f, "devices", "devices.list", "a *:* rwm\n");
	assert_int_equal(cgroup_apply_devices(cg, r, NULL, 0, &err), -1);
	assert_int_equal(err.kind, ERR_INTERNAL);
}

static void oom_kills_are_counted_in_both_versions(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;
	uint64_t count = 0;
	auto_type(cgroup) one = cgroup_create(&f->v1, "/web", &err);
	auto_type(cgroup) two = cgroup_create(&f->v2, "/web", &err);

	put(f, "memory", "memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n");
	put(f, "unified", "memory.events", "low 0\noom 9\noom_kill 3\n");
	assert_int_equal(cgroup_oom_kills(one, &count, &err), 0);
	assert_int_equal(count, 2);
	assert_int_equal(cgroup_oom_kills(two, &count, &err), 0);
	assert_int_equal(count, 3);
	put(f, "unified", "memory.events", "oom_kill none\n");
	assert_int_equal(cgroup_oom_kills(two, &count, &err), -1);
}

static void pids_are_listed_with_those_below(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;
	pid_t pids[2];
	auto_type(cgroup) cg = cgroup_create(&f->v1, "/web", &err);

	put(f, "freezer", "cgroup.procs", "11\n12\n");
	mkdirat(f->fd, "freezer/web/child", 0755);
	put(f, "freezer", "child/cgroup.procs", "13\n");
	assert_int_equal(cgroup_pids(cg, pids, 2, &err), 3); /* more than fit are counted */
	assert_int_equal(pids[0], 11);
	assert_int_equal(pids[1], 12);
}

static void what_is_mounted_is_read_from_mountinfo(void **state)
{
	static const char text[] =
		"31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n"
		"32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
		"40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n"
		"41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
		"42 31 0:38 / /other rw shared:1 - cgroup2 cgroup2 rw\n";
	struct cgroup_layout layout;
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(cgroup_layout_parse(text, &layout, &err), 0);
	assert_int_equal(layout.count, 3);
	assert_string_equal(layout.hierarchies[0].controllers, "cpu,cpuacct");
	assert_string_equal(layout.hierarchies[0].mount, "/sys/fs/cgroup/cpu,cpuacct");
	assert_string_equal(layout.hierarchies[1].controllers, "name=systemd");
	assert_true(layout.hierarchies[2].v2);
	assert_string_equal(layout.hierarchies[2].mount, "/sys/fs/cgroup/unified");
}

static void a_path_is_made_absolute_and_stays_below(void **state)
{
	static const char *const bad[] = {"/", "/a/../b", "..", "a/.."};
	char path[CGROUP_PATH_MAX];
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(cgroup_make_path(NULL, "web", path, &err), 0);
	assert_string_equal(path, "/buoy/web");
	assert_int_equal(cgroup_make_path("pods/web/", "x", path, &err), 0);
	assert_string_equal(path, "/pods/web");
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(cgroup_make_path(bad[i], "x", path, &err), -1);
}

static void remove_is_idempotent(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;
	auto_type(cgroup) cg = cgroup_create(&f->v2, "/web", &err);
	unlinkat(f->fd, "unified/web/cgroup.procs", 0);

	assert_int_equal(cgroup_remove(cg, &err), 0);
	assert_int_equal(cgroup_remove(cg, &err), 0);
	assert_null(cgroup_open(&f->v2, "/web", &err));
	assert_int_equal(err.kind, ERR_NOT_FOUND);
}

TESTING_MAIN(TEST_WITH(limits_are_written_as_version_1_wants_them, setup, teardown),
             TEST_WITH(limits_are_converted_for_version_2, setup, teardown),
             TEST_WITH(unlimited_is_minus_one_or_max, setup, teardown),
             TEST_WITH(a_limit_without_its_controller_is_an_error, setup, teardown),
             TEST_WITH(a_cgroup_with_members_is_a_conflict, setup, teardown),
             TEST_WITH(devices_begin_with_nothing_and_are_read_back, setup, teardown),
             TEST_WITH(oom_kills_are_counted_in_both_versions, setup, teardown),
             TEST_WITH(pids_are_listed_with_those_below, setup, teardown),
             TEST(what_is_mounted_is_read_from_mountinfo),
             TEST(a_path_is_made_absolute_and_stays_below),
             TEST_WITH(remove_is_idempotent, setup, teardown))
