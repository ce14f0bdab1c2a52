/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/spec.h"

#include <sched.h>
#include <sys/resource.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "base/testing.h"
#include "runtime/mount_options.h"

#define USER "\"user\":{\"uid\":0,\"gid\":0}"
#define NS   "\"linux\":{\"namespaces\":[{\"type\":\"mount\"},{\"type\":\"pid\"}]}"

/* A config in which `process`, `linux` and the rest can be replaced. */
static struct oci_spec *parse(struct arena *arena, const char *process, const char *rest,
                              struct err *err)
{
	auto_buf struct buf text = BUF_INIT(1 << 16);

	buf_addf(&text,
	         "{\"ociVersion\":\"1.0.2\",\"root\":{\"path\":\"rootfs\"},\"process\":{%s},%s}",
	         process ? process : USER ",\"cwd\":\"/\",\"args\":[\"sh\"]", rest ? rest : NS);
	assert_int_equal(buf_check(&text, err), 0);
	return spec_parse(text.data, text.len, arena, err);
}

static void a_small_config_has_safe_defaults(void **state)
{
	auto_arena struct arena arena = ARENA_INIT(SPEC_ARENA_MAX);
	struct err err = ERR_INIT;
	struct oci_spec *spec = parse(&arena, NULL, NULL, &err);

	(void)state;
	if (!spec)
		fail_msg("%s", err.msg);
	for (int i = 0; i < SPEC_CAP_SETS; i++)
		assert_int_equal(spec->process.capabilities.mask[i], 0);
	assert_int_equal(spec->process.user.umask, SPEC_UNSET);
	assert_int_equal(spec->process.oom_score_adj, SPEC_UNSET);
	assert_int_equal(spec->linux_.resources.pids.limit, SPEC_UNSET);
	assert_non_null(spec_namespace(spec, CLONE_NEWPID));
	assert_null(spec_namespace(spec, CLONE_NEWNET));
}

static void words_become_numbers(void **state)
{
	auto_arena struct arena arena = ARENA_INIT(SPEC_ARENA_MAX);
	struct err err = ERR_INIT;
	struct oci_spec *spec = parse(
		&arena,
		"\"user\":{\"uid\":7,\"gid\":8,\"additionalGids\":[1,4294967294],\"umask\":63},"
		"\"cwd\":\"/\",\"args\":[\"sh\"],\"capabilities\":{\"permitted\":[\"CAP_KILL\"],"
		"\"ambient\":[\"CAP_KILL\"]},\"rlimits\":[{\"type\":\"RLIMIT_NOFILE\",\"soft\":1,"
		"\"hard\":18446744073709551615}]",
		"\"mounts\":[{\"destination\":\"/x\",\"type\":\"bind\",\"source\":\"/y\","
		"\"options\":[\"rbind\",\"ro\"]}]," NS,
		&err);

	(void)state;
	if (!spec)
		fail_msg("%s", err.msg);
	const struct oci_rlimit *limit = spec->process.rlimits.items;
	const struct oci_mount *mount = spec_mount(spec, "/x");
	assert_int_equal(spec->process.user.group_count, 2);
	assert_int_equal(spec->process.user.groups[1], 4294967294U);
	assert_int_equal(spec->process.capabilities.mask[SPEC_CAP_PERMITTED], 1 << 5);
	/* not inheritable: less than asked for, never more */
	assert_int_equal(spec->process.capabilities.mask[SPEC_CAP_AMBIENT], 0);
	assert_int_equal(limit->resource, RLIMIT_NOFILE);
	assert_true(limit->hard == UINT64_MAX);
	assert_true(mount->plan->bind && mount->plan->recursive);
}

static void what_is_wrong_in_a_process_is_named(void **state)
{
	static const struct {
		const char *process, *words;
	} cases[] = {
		{USER ",\"cwd\":\"/\",\"args\":[]", "process.args: must name a program"},
		{USER ",\"cwd\":\"x\",\"args\":[\"a\"]",
	         "process.cwd: 'x' is not an absolute path"},
		{"\"user\":{\"uid\":-1,\"gid\":0},\"cwd\":\"/\",\"args\":[\"a\"]",
	         "process.user.uid: -1 is not in 0 to 4294967294"},
		{"\"user\":{\"uid\":4294967295,\"gid\":0},\"cwd\":\"/\",\"args\":[\"a\"]",
	         "process.user.uid: 4294967295 is not in 0 to 4294967294"},
		{"\"user\":{\"uid\":0,\"gid\":0,\"additionalGids\":[-1]},\"cwd\":\"/\",\"args\":[\"a\"]",
	         "process.user.additionalGids[0]: not a group id"},
		{USER ",\"cwd\":\"/\",\"args\":[\"a\"],\"env\":[\"=x\"]",
	         "process.env[0]: not NAME=value"},
		{USER
	         ",\"cwd\":\"/\",\"args\":[\"a\"],\"capabilities\":{\"bounding\":[\"CAP_FLY\"]}",
	         "process.capabilities.bounding[0]: unknown capability 'CAP_FLY'"},
		{USER
	         ",\"cwd\":\"/\",\"args\":[\"a\"],\"capabilities\":{\"effective\":[\"CAP_KILL\"]}",
	         "process.capabilities.effective: holds one that is not permitted"},
		{USER
	         ",\"cwd\":\"/\",\"args\":[\"a\"],\"rlimits\":[{\"type\":\"RLIMIT_X\",\"soft\":1,"
	         "\"hard\":1}]",
	         "process.rlimits[0].type: unknown 'RLIMIT_X'"},
		{USER
	         ",\"cwd\":\"/\",\"args\":[\"a\"],\"rlimits\":[{\"type\":\"RLIMIT_CPU\",\"soft\":2,"
	         "\"hard\":1}]",
	         "process.rlimits[0]: soft is above hard"},
		{USER ",\"cwd\":\"/\",\"args\":[\"a\"],\"scheduler\":{\"policy\":\"x\"}",
	         "process.scheduler.policy: unknown 'x'"},
		{USER ",\"cwd\":\"/\",\"args\":[\"a\"],\"scheduler\":{\"policy\":\"SCHED_RR\"}",
	         "process.scheduler.priority: 0 is not in 1 to 99"},
		{USER
	         ",\"cwd\":\"/\",\"args\":[\"a\"],\"scheduler\":{\"policy\":\"SCHED_DEADLINE\"}",
	         "process.scheduler: SCHED_DEADLINE needs runtime and deadline"},
		{USER ",\"cwd\":\"/\",\"args\":[\"a\"],\"execCPUAffinity\":{\"initial\":\"3-1\"}",
	         "process.execCPUAffinity.initial: '3-1' is not a list"},
		{USER ",\"cwd\":\"/\",\"args\":[\"a\"],\"execCPUAffinity\":{\"final\":\"1024\"}",
	         "process.execCPUAffinity.final: '1024' is not a list"},
		{USER ",\"cwd\":\"/\",\"args\":[\"a\"],\"sandbox\":true", "process.sandbox"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		auto_arena struct arena arena = ARENA_INIT(SPEC_ARENA_MAX);
		struct err err = ERR_INIT;
		assert_null(parse(&arena, cases[i].process, NULL, &err));
		if (!str_starts(err.msg, cases[i].words))
			fail_msg("'%s' instead of '%s'", err.msg, cases[i].words);
	}
}

#define MOUNT_NS "{\"type\":\"mount\"}"

static void what_is_wrong_elsewhere_is_named(void **state)
{
	static const struct {
		const char *rest, *words;
	} cases[] = {
		{"\"linux\":{}", "linux.namespaces: a container needs a namespace of type mount"},
		{"\"linux\":{\"namespaces\":[{\"type\":\"moon\"}]}",
	         "linux.namespaces[0].type: unknown namespace type 'moon'"},
		{"\"linux\":{\"namespaces\":[" MOUNT_NS "," MOUNT_NS "]}",
	         "linux.namespaces[1].type: mount is there twice"},
		{"\"linux\":{\"namespaces\":[" MOUNT_NS ",{\"type\":\"user\"}]}",
	         "linux.uidMappings, linux.gidMappings: a new user namespace needs both"},
		{"\"linux\":{\"namespaces\":[" MOUNT_NS "],\"uidMappings\":[{\"containerID\":0,"
	         "\"hostID\":0,\"size\":1}]}",
	         "linux.uidMappings: need a namespace of type user"},
		{"\"linux\":{\"namespaces\":[" MOUNT_NS "],\"intelRdt\":{\"closID\":\"a/b\"}}",
	         "linux.intelRdt.closID: 'a/b' is not a name or /"},
		{"\"linux\":{\"namespaces\":[" MOUNT_NS
	         "],\"sysctl\":{\"net.ipv4.ip_forward\":\"1\"}}",
	         "linux.sysctl.net.ipv4.ip_forward: needs a namespace of type network"},
		{"\"linux\":{\"namespaces\":[" MOUNT_NS
	         "],\"sysctl\":{\"kernel.core_pattern\":\"|x\"}}",
	         "linux.sysctl.kernel.core_pattern: not a namespaced sysctl"},
		{"\"linux\":{\"namespaces\":[" MOUNT_NS "],\"sysctl\":{\"net.../x\":\"1\"}}",
	         "linux.sysctl: 'net.../x' is not a name"},
		{"\"linux\":{\"namespaces\":[" MOUNT_NS "],\"cgroupsPath\":\"/a/../../b\"}",
	         "linux.cgroupsPath: '/a/../../b' leads upwards"},
		{"\"linux\":{\"namespaces\":[" MOUNT_NS "],\"maskedPaths\":[\"x\"]}",
	         "linux.maskedPaths: 'x' is not an absolute path"},
		{"\"linux\":{\"namespaces\":[" MOUNT_NS "],\"resources\":{\"rdma\":{\"x\":{}}}}",
	         "linux.resources.rdma.x: neither hcaHandles nor hcaObjects"},
		{"\"linux\":{\"namespaces\":[" MOUNT_NS "],\"rootfsPropagation\":\"wild\"}",
	         "linux.rootfsPropagation: 'wild' is not"},
		{"\"hostname\":\"x\"," NS, "hostname: needs a namespace of type uts"},
		{"\"mounts\":[{\"destination\":\"/x\",\"type\":\"bind\"}]," NS,
	         "mounts[0].source: a bind needs one"},
		{"\"mounts\":[{\"destination\":\"/x\",\"type\":\"bind\",\"source\":\"/\","
	         "\"options\":[\"noexce\"]}]," NS,
	         "mounts[0] (/x): unknown mount option 'noexce'"},
		{"\"mounts\":[{\"destination\":\"/x\",\"type\":\"bind\",\"source\":\"/\","
	         "\"options\":[\"idmap\"]}]," NS,
	         "mounts[0] (/x): idmap: needs uidMappings and gidMappings"},
		{"\"mounts\":[{\"destination\":\"/x\",\"type\":\"bind\",\"source\":\"/\","
	         "\"uidMappings\":[{\"containerID\":0,\"hostID\":1,\"size\":1}]}]," NS,
	         "mounts[0] (/x): uidMappings and gidMappings go together"},
		{"\"windows\":{}," NS, "windows"},
		{"\"annotations\":[]," NS, "annotations: not an object"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		auto_arena struct arena arena = ARENA_INIT(SPEC_ARENA_MAX);
		struct err err = ERR_INIT;
		assert_null(parse(&arena, NULL, cases[i].rest, &err));
		if (!str_starts(err.msg, cases[i].words))
			fail_msg("'%s' instead of '%s'", err.msg, cases[i].words);
	}
}

static void an_empty_object_for_what_is_not_supported_is_fine(void **state)
{
	auto_arena struct arena arena = ARENA_INIT(SPEC_ARENA_MAX);
	struct err err = ERR_INIT;

	(void)state;
	if (!parse(&arena, NULL,
	           "\"annotations\":{\"any\":\"thing\"},\"linux\":{\"namespaces\":[" MOUNT_NS "],"
	           "\"intelRdt\":null,\"resources\":{\"blockIO\":{},\"hugepageLimits\":[]}}",
	           &err))
		fail_msg("%s", err.msg);
}

static void few_fields_that_few_configs_have(void **state)
{
	auto_arena struct arena arena = ARENA_INIT(SPEC_ARENA_MAX);
	struct err err = ERR_INIT;
	struct oci_spec *spec = parse(
		&arena,
		USER ",\"cwd\":\"/\",\"args\":[\"a\"],\"scheduler\":{\"policy\":\"SCHED_FIFO\","
		     "\"priority\":9,\"flags\":[\"SCHED_FLAG_RESET_ON_FORK\","
		     "\"SCHED_FLAG_DL_OVERRUN\"]},\"ioPriority\":{\"class\":\"IOPRIO_CLASS_IDLE\","
		     "\"priority\":4},\"execCPUAffinity\":{\"initial\":\"7\",\"final\":\"0-3,65\"}",
		"\"linux\":{\"namespaces\":[{\"type\":\"mount\"},{\"type\":\"time\"},"
		"{\"type\":\"network\"}],\"timeOffsets\":{\"boottime\":{\"secs\":-5,"
		"\"nanosecs\":7}},\"netDevices\":{\"eth0\":{},\"eth1\":{\"name\":\"net%d\"}},"
		"\"memoryPolicy\":{\"mode\":\"MPOL_BIND\",\"nodes\":\"1\","
		"\"flags\":[\"MPOL_F_STATIC_NODES\"]},\"personality\":{\"domain\":\"LINUX32\"}}",
		&err);

	(void)state;
	if (!spec)
		fail_msg("%s", err.msg);
	const struct oci_linux *lin = &spec->linux_;
	assert_int_equal(spec->process.scheduler->policy, 1);
	assert_int_equal(spec->process.scheduler->flags, 5);
	assert_int_equal(spec->process.io_priority->value, 3 << 13 | 4);
	assert_int_equal(spec->process.exec_cpu_affinity.initial->words[0], 1 << 7);
	assert_int_equal(spec->process.exec_cpu_affinity.final->words[0], 15);
	assert_int_equal(spec->process.exec_cpu_affinity.final->words[1], 2);
	assert_int_equal(lin->time_offset_count, 1);
	assert_string_equal(lin->time_offsets[0].clock, "boottime");
	assert_int_equal(lin->time_offsets[0].secs, -5);
	assert_int_equal(lin->net_device_count, 2);
	assert_string_equal(lin->net_devices[0].name, "eth0");
	assert_string_equal(lin->net_devices[1].name, "net%d");
	assert_int_equal(lin->memory_policy->mode, 2 | 1 << 15);
	assert_int_equal(lin->memory_policy->nodes.words[0], 2);
	assert_int_equal(lin->personality->value, 8);
}

static void other_major_versions_are_refused(void **state)
{
	static const char text[] = "{\"ociVersion\":\"2.0.0\",\"root\":{\"path\":\"r\"},"
				   "\"process\":{" USER ",\"cwd\":\"/\",\"args\":[\"a\"]}," NS "}";
	auto_arena struct arena arena = ARENA_INIT(SPEC_ARENA_MAX);
	struct err err = ERR_INIT;

	(void)state;
	assert_null(spec_parse(text, strlen(text), &arena, &err));
	assert_string_equal(err.msg, "ociVersion: '2.0.0' is not 1.x");
}

TESTING_MAIN(TEST(a_small_config_has_safe_defaults), TEST(words_become_numbers),
             TEST(what_is_wrong_in_a_process_is_named), TEST(what_is_wrong_elsewhere_is_named),
             TEST(few_fields_that_few_configs_have),
             TEST(an_empty_object_for_what_is_not_supported_is_fine),
             TEST(other_major_versions_are_refused))
