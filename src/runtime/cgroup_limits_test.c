/* SPDX-License-Identifier: Apache-2.0 */

/* Every limit as version 1, version 2 and the two side by side want it written. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/json.h"
#include "base/str.h"
#include "base/testing.h"
#include "runtime/cgroup.h"
#include "runtime/spec.h"

/* Directories stand in for cgroupfs: a file that is there takes what is written. */
struct fixture {
	char path[64];
	int fd;
	struct cgroup_layout layout; /* as a test wants it */
	struct arena arena;
};

static int setup(void **state)
{
	static struct fixture f;

	f = (struct fixture){.arena = ARENA_INIT(1 << 20)};
	snprintf(f.path, sizeof(f.path), "/tmp/cgroup-limits-test-XXXXXX");
	if (!mkdtemp(f.path))
		return -1;
	f.fd = open(f.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
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

static void put(struct fixture *f, const char *dir, const char *file, const char *text)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	testing_write(f->fd, path, text);
}

/* A hierarchy whose cgroup "web" has these files, parted by spaces. */
static void mount(struct fixture *f, const char *name, bool v2, const char *files)
{
	struct cgroup_hierarchy *h = &f->layout.hierarchies[f->layout.count++];
	char dir[64], copy[1024], top[sizeof(f->path)];
	char *rest = copy;

	h->v2 = v2;
	snprintf(h->controllers, sizeof(h->controllers), "%s", v2 ? "" : name);
	memcpy(top, f->path, sizeof(top));
	snprintf(h->mount, sizeof(h->mount), "%s/%s", top, name);
	snprintf(dir, sizeof(dir), "%s/web", name);
	mkdirat(f->fd, name, 0755);
	mkdirat(f->fd, dir, 0755);
	put(f, dir, "tasks", "");
	put(f, dir, "cgroup.procs", "");
	snprintf(copy, sizeof(copy), "%s", files);
	for (const char *file; (file = strsep(&rest, " "));)
		if (*file)
			put(f, dir, file, "");
	if (v2)
		put(f, name, "cgroup.subtree_control", "");
}

static void has(struct fixture *f, const char *v2, const char *controllers)
{
	char dir[64];

	snprintf(dir, sizeof(dir), "%s/web", v2);
	put(f, dir, "cgroup.controllers", controllers);
}

static void expect(struct fixture *f, const char *dir, const char *file, const char *text)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/web/%s", dir, file);
	testing_assert_file(f->fd, path, text);
}

static int apply(struct fixture *f, const char *text, struct err *err)
{
	struct oci_resources *r = spec_parse_resources(text, strlen(text), &f->arena, err);
	auto_type(cgroup) cg = r ? cgroup_open(&f->layout, "/web", err) : NULL;

	return cg ? cgroup_apply(cg, r, err) : -1;
}

static void assert_applied(struct fixture *f, const char *text)
{
	struct err err = ERR_INIT;

	if (apply(f, text, &err) < 0)
		fail_msg("%s", err.msg);
}

static void assert_refused(struct fixture *f, const char *text, const char *words)
{
	struct err err = ERR_INIT;

	assert_int_equal(apply(f, text, &err), -1);
	if (!str_starts(err.msg, words))
		fail_msg("'%s' instead of '%s'", err.msg, words);
}

/* ---- block I/O ---- */

#define THROTTLES                                                                                  \
	"\"throttleReadBpsDevice\":[{\"major\":8,\"minor\":0,\"rate\":600}],"                      \
	"\"throttleWriteBpsDevice\":[{\"major\":8,\"minor\":0,\"rate\":700}],"                     \
	"\"throttleReadIOPSDevice\":[{\"major\":8,\"minor\":16,\"rate\":80}],"                     \
	"\"throttleWriteIOPSDevice\":[{\"major\":8,\"minor\":16,\"rate\":90}]"

static void block_io_on_version_1(void **state)
{
	struct fixture *f = *state;

	mount(f, "blkio", false,
	      "blkio.bfq.weight blkio.bfq.weight_device blkio.leaf_weight "
	      "blkio.leaf_weight_device blkio.throttle.read_bps_device "
	      "blkio.throttle.write_bps_device blkio.throttle.read_iops_device "
	      "blkio.throttle.write_iops_device");
	assert_applied(f, "{\"blockIO\":{\"weight\":300,\"leafWeight\":200,\"weightDevice\":"
	                  "[{\"major\":8,\"minor\":0,\"weight\":500,\"leafWeight\":400}]," THROTTLES
	                  "}}");
	expect(f, "blkio", "blkio.bfq.weight", "300");
	expect(f, "blkio", "blkio.leaf_weight", "200");
	expect(f, "blkio", "blkio.bfq.weight_device", "8:0 500");
	expect(f, "blkio", "blkio.leaf_weight_device", "8:0 400");
	expect(f, "blkio", "blkio.throttle.read_bps_device", "8:0 600");
	expect(f, "blkio", "blkio.throttle.write_bps_device", "8:0 700");
	expect(f, "blkio", "blkio.throttle.read_iops_device", "8:16 80");
	expect(f, "blkio", "blkio.throttle.write_iops_device", "8:16 90");
}

static void block_io_on_version_2(void **state)
{
	struct fixture *f = *state;

	mount(f, "unified", true, "io.weight io.max");
	has(f, "unified", "cpu io memory\n");
	assert_applied(f, "{\"blockIO\":{\"weight\":10}}");
	expect(f, "unified", "io.weight", "1");
	assert_applied(f, "{\"blockIO\":{\"weightDevice\":[{\"major\":8,\"minor\":0,"
	                  "\"weight\":1000}]}}");
	expect(f, "unified", "io.weight", "8:0 10000");
	assert_applied(f, "{\"blockIO\":{" THROTTLES "}}");
	expect(f, "unified", "io.max", "8:16 wiops=90"); /* the last write */
	put(f, "unified/web", "io.max", "");
	assert_applied(f, "{\"blockIO\":{\"throttleReadBpsDevice\":[{\"major\":8,\"minor\":0,"
	                  "\"rate\":0}]}}");
	expect(f, "unified", "io.max", "8:0 rbps=max");
	put(f, "unified/web", "io.bfq.weight", "");
	assert_applied(f, "{\"blockIO\":{\"weight\":300}}");
	expect(f, "unified", "io.bfq.weight", "300"); /* on its own scale */
}

static void block_io_that_cannot_be_is_refused(void **state)
{
	struct fixture *f = *state;

	mount(f, "blkio", false, "");
	assert_refused(f, "{\"blockIO\":{\"weight\":300}}",
	               "linux.resources.blockIO: weight: this kernel's cgroup has no blkio.weight");
	assert_refused(f, "{\"blockIO\":{\"weightDevice\":[{\"major\":8,\"minor\":0}]}}",
	               "linux.resources.blockIO.weightDevice[0]: neither weight nor leafWeight");
	assert_refused(f, "{\"blockIO\":{\"weight\":5}}",
	               "linux.resources.blockIO.weight: 5 is not in 10 to 1000");
	assert_refused(
		f,
		"{\"blockIO\":{\"throttleReadBpsDevice\":[{\"major\":-1,\"minor\":0,\"rate\":1}]}}",
		"linux.resources.blockIO.throttleReadBpsDevice[0]: -1:0 is not a device");
	f->layout.count = 0;
	mount(f, "unified", true, "io.weight");
	has(f, "unified", "io\n");
	assert_refused(f, "{\"blockIO\":{\"leafWeight\":300}}",
	               "linux.resources.blockIO: leafWeight: needs cgroup version 1");
}

/* ---- huge pages, network, RDMA ---- */

static void huge_pages_by_reservation_or_else_by_use(void **state)
{
	struct fixture *f = *state;
	const char *limit = "{\"hugepageLimits\":[{\"pageSize\":\"2MB\",\"limit\":4194304}]}";

	mount(f, "hugetlb", false, "hugetlb.2MB.limit_in_bytes");
	assert_applied(f, limit);
	expect(f, "hugetlb", "hugetlb.2MB.limit_in_bytes", "4194304");
	put(f, "hugetlb/web", "hugetlb.2MB.rsvd.limit_in_bytes", "");
	put(f, "hugetlb/web", "hugetlb.2MB.limit_in_bytes", "");
	assert_applied(f, limit);
	expect(f, "hugetlb", "hugetlb.2MB.rsvd.limit_in_bytes", "4194304");
	expect(f, "hugetlb", "hugetlb.2MB.limit_in_bytes", "");
	assert_refused(f, "{\"hugepageLimits\":[{\"pageSize\":\"1GB\",\"limit\":0}]}",
	               "linux.resources.hugepageLimits[0] (1GB): this kernel's cgroup has no "
	               "hugetlb.1GB.limit_in_bytes");
	assert_refused(f, "{\"hugepageLimits\":[{\"pageSize\":\"../2MB\",\"limit\":0}]}",
	               "linux.resources.hugepageLimits[0].pageSize: '../2MB' is not like");
}

static void huge_pages_on_version_2_beside_version_1(void **state)
{
	struct fixture *f = *state;
	const char *limit = "{\"hugepageLimits\":[{\"pageSize\":\"2MB\",\"limit\":7}]}";

	mount(f, "memory", false, "");
	mount(f, "unified", true, "hugetlb.2MB.rsvd.max");
	has(f, "unified", "hugetlb\n");
	assert_applied(f, limit);
	expect(f, "unified", "hugetlb.2MB.rsvd.max", "7");
	has(f, "unified", "\n"); /* asks the level above to hand it down, in vain */
	assert_refused(f, limit,
	               "linux.resources.hugepageLimits: the hugetlb controller cannot be enabled "
	               "in cgroup /web");
	testing_assert_file(f->fd, "unified/cgroup.subtree_control", "+hugetlb");
}

static void network_class_and_priorities_on_version_1(void **state)
{
	struct fixture *f = *state;
	const char *both = "{\"network\":{\"classID\":1048577,\"priorities\":[{\"name\":\"eth0\","
			   "\"priority\":500}]}}";

	mount(f, "net_cls", false, "net_cls.classid");
	mount(f, "net_prio", false, "net_prio.ifpriomap");
	assert_applied(f, both);
	expect(f, "net_cls", "net_cls.classid", "1048577");
	expect(f, "net_prio", "net_prio.ifpriomap", "eth0 500");
	f->layout.count = 0;
	mount(f, "unified", true, "");
	assert_refused(f, both,
	               "linux.resources.network.classID: needs the net_cls cgroup of version 1");
	f->layout.count = 0;
	mount(f, "memory", false, "");
	assert_refused(f, "{\"network\":{\"priorities\":[{\"name\":\"eth0\",\"priority\":5}]}}",
	               "linux.resources.network.priorities: no net_prio cgroup is mounted");
	assert_refused(f, "{\"network\":{\"priorities\":[{\"name\":\"a b\",\"priority\":5}]}}",
	               "linux.resources.network.priorities[0].name: 'a b' is not an interface");
}

static void rdma_adapters_in_both_versions(void **state)
{
	struct fixture *f = *state;
	const char *limit = "{\"rdma\":{\"mlx5_1\":{\"hcaHandles\":3,\"hcaObjects\":10000}}}";

	mount(f, "rdma", false, "rdma.max");
	assert_applied(f, limit);
	expect(f, "rdma", "rdma.max", "mlx5_1 hca_handle=3 hca_object=10000");
	f->layout.count = 0;
	mount(f, "unified", true, "rdma.max");
	has(f, "unified", "rdma\n");
	assert_applied(f, "{\"rdma\":{\"rxe3\":{\"hcaObjects\":7}}}");
	expect(f, "unified", "rdma.max", "rxe3 hca_object=7");
	assert_refused(f, "{\"rdma\":{\"x\":{}}}",
	               "linux.resources.rdma.x: neither hcaHandles nor hcaObjects");
	assert_refused(f, "{\"rdma\":{\"x\":{\"hcaHandles\":1,\"more\":1}}}",
	               "linux.resources.rdma.x: ");
}

/* ---- memory and cpu ---- */

static void memory_settings_of_version_1(void **state)
{
	struct fixture *f = *state;

	mount(f, "memory", false,
	      "memory.swappiness memory.oom_control memory.use_hierarchy "
	      "memory.kmem.tcp.limit_in_bytes");
	assert_applied(f, "{\"memory\":{\"swappiness\":0,\"disableOOMKiller\":true,"
	                  "\"useHierarchy\":true,\"kernel\":-1,\"kernelTCP\":4096}}");
	expect(f, "memory", "memory.swappiness", "0");
	expect(f, "memory", "memory.oom_control", "1");
	expect(f, "memory", "memory.use_hierarchy", "1");
	expect(f, "memory", "memory.kmem.tcp.limit_in_bytes", "4096");
	assert_refused(f, "{\"memory\":{\"kernel\":4096}}",
	               "linux.resources.memory: kernel: this kernel has no such limit");
}

static void memory_settings_that_version_2_lacks_are_refused(void **state)
{
	struct fixture *f = *state;

	mount(f, "unified", true, "memory.max");
	assert_applied(f, "{\"memory\":{\"disableOOMKiller\":false,\"kernel\":-1}}");
	assert_refused(f, "{\"memory\":{\"swappiness\":60}}",
	               "linux.resources.memory: swappiness: needs cgroup version 1");
	assert_refused(f, "{\"memory\":{\"disableOOMKiller\":true}}",
	               "linux.resources.memory: disableOOMKiller: needs cgroup version 1");
	assert_refused(f, "{\"memory\":{\"kernel\":4096}}",
	               "linux.resources.memory: kernel: this kernel has no such limit");
}

static void a_limit_below_use_is_refused_before_version_2_kills(void **state)
{
	struct fixture *f = *state;

	mount(f, "unified", true, "memory.max");
	put(f, "unified/web", "memory.current", "8192\n");
	assert_refused(
		f, "{\"memory\":{\"limit\":4096,\"checkBeforeUpdate\":true}}",
		"linux.resources.memory.limit: 4096 is below the 8192 bytes that are in use");
	expect(f, "unified", "memory.max", "");
	assert_applied(f, "{\"memory\":{\"limit\":8192,\"checkBeforeUpdate\":true}}");
	expect(f, "unified", "memory.max", "8192");
	assert_applied(f, "{\"memory\":{\"limit\":4096}}"); /* was not asked to look */
	expect(f, "unified", "memory.max", "4096");
}

static void cpu_settings_of_version_1(void **state)
{
	struct fixture *f = *state;

	mount(f, "cpu", false,
	      "cpu.shares cpu.cfs_quota_us cpu.cfs_period_us cpu.cfs_burst_us cpu.rt_runtime_us "
	      "cpu.rt_period_us cpu.idle");
	mount(f, "cpuset", false, "");
	put(f, "cpuset/web", "cpuset.cpus", "0");
	put(f, "cpuset/web", "cpuset.mems", "0");
	assert_applied(f, "{\"cpu\":{\"quota\":1000,\"burst\":500,\"realtimeRuntime\":9500,"
	                  "\"realtimePeriod\":10000,\"idle\":1,\"cpus\":\"1\",\"mems\":\"0\"}}");
	expect(f, "cpu", "cpu.cfs_burst_us", "500");
	expect(f, "cpu", "cpu.rt_runtime_us", "9500");
	expect(f, "cpu", "cpu.rt_period_us", "10000");
	expect(f, "cpu", "cpu.idle", "1");
	expect(f, "cpuset", "cpuset.cpus", "1");
	assert_refused(f, "{\"cpu\":{\"quota\":100,\"burst\":500}}",
	               "linux.resources.cpu.burst: is above quota");
}

static void cpu_settings_of_version_2(void **state)
{
	struct fixture *f = *state;

	mount(f, "unified", true, "cpu.max cpu.max.burst cpu.idle cpu.weight");
	assert_applied(f, "{\"cpu\":{\"quota\":1000,\"period\":2000,\"burst\":500,\"idle\":1}}");
	expect(f, "unified", "cpu.max", "1000 2000");
	expect(f, "unified", "cpu.max.burst", "500");
	expect(f, "unified", "cpu.idle", "1");
	put(f, "unified/web", "cpu.max", "1000 2000\n");
	assert_applied(f, "{\"cpu\":{\"period\":4000}}"); /* and the quota stays */
	expect(f, "unified", "cpu.max", "1000 4000\n");
	assert_applied(f, "{\"cpu\":{\"quota\":-1}}");
	expect(f, "unified", "cpu.max", "max 100000");
	assert_refused(f, "{\"cpu\":{\"realtimeRuntime\":1}}",
	               "linux.resources.cpu: realtimeRuntime, realtimePeriod: need cgroup version "
	               "1");
	assert_refused(f, "{\"cpu\":{\"cpus\":\"0\"}}",
	               "linux.resources.cpu: cgroup /web has no cpuset controller");
}

/* ---- unified ---- */

static void unified_files_are_written_line_by_line(void **state)
{
	struct fixture *f = *state;

	mount(f, "unified", true, "io.max cgroup.max.depth new.thing cgroup.freeze");
	has(f, "unified", "io new\n");
	assert_applied(f, "{\"unified\":{\"io.max\":\"8:0 rbps=1\\n8:16 wbps=2\\n\","
	                  "\"cgroup.max.depth\":\"3\",\"new.thing\":\"x\"}}");
	expect(f, "unified", "io.max", "8:16 wbps=2");
	expect(f, "unified", "cgroup.max.depth", "3");
	expect(f, "unified", "new.thing", "x"); /* unknown to us, not to the kernel */
	assert_refused(f, "{\"unified\":{\"cgroup.freeze\":\"1\"}}",
	               "linux.resources.unified.cgroup.freeze: is not a controller's file");
	assert_refused(f, "{\"unified\":{\"io/max\":\"1\"}}",
	               "linux.resources.unified.io/max: is not a controller's file");
	assert_refused(f, "{\"unified\":{\"memory.max\":\"1\"}}",
	               "linux.resources.unified.memory.max: the memory controller cannot be "
	               "enabled in cgroup /web");
	f->layout.count = 0;
	mount(f, "memory", false, "");
	assert_refused(f, "{\"unified\":{\"memory.max\":\"1\"}}",
	               "linux.resources.unified.memory.max: needs cgroup version 2");
}

TESTING_MAIN(TEST_WITH(block_io_on_version_1, setup, teardown),
             TEST_WITH(block_io_on_version_2, setup, teardown),
             TEST_WITH(block_io_that_cannot_be_is_refused, setup, teardown),
             TEST_WITH(huge_pages_by_reservation_or_else_by_use, setup, teardown),
             TEST_WITH(huge_pages_on_version_2_beside_version_1, setup, teardown),
             TEST_WITH(network_class_and_priorities_on_version_1, setup, teardown),
             TEST_WITH(rdma_adapters_in_both_versions, setup, teardown),
             TEST_WITH(memory_settings_of_version_1, setup, teardown),
             TEST_WITH(memory_settings_that_version_2_lacks_are_refused, setup, teardown),
             TEST_WITH(a_limit_below_use_is_refused_before_version_2_kills, setup, teardown),
             TEST_WITH(cpu_settings_of_version_1, setup, teardown),
             TEST_WITH(cpu_settings_of_version_2, setup, teardown),
             TEST_WITH(unified_files_are_written_line_by_line, setup, teardown))
