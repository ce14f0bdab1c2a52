/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/spec.h"

#include <string.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/json.h"
#include "base/str.h"
#include "runtime/spec_check.h"

/* ---- the config as tables: names and order of config.md and config-linux.md ---- */

static const struct json_field user_fields[] = {
	JSON_FIELD(struct oci_user, uid, "uid", JSON_INT, .required = true),
	JSON_FIELD(struct oci_user, gid, "gid", JSON_INT, .required = true),
	JSON_FIELD(struct oci_user, umask, "umask", JSON_INT),
	JSON_FIELD(struct oci_user, groups_json, "additionalGids", JSON_RAW),
	JSON_END,
};
static const struct json_table user_table = JSON_TABLE_STRICT(struct oci_user, user_fields);

#define CAP_FIELD(set, name) JSON_FIELD(struct oci_capabilities, names[set], name, JSON_STRINGS)
static const struct json_field capability_fields[] = {
	CAP_FIELD(SPEC_CAP_BOUNDING, "bounding"),   CAP_FIELD(SPEC_CAP_EFFECTIVE, "effective"),
	CAP_FIELD(SPEC_CAP_PERMITTED, "permitted"), CAP_FIELD(SPEC_CAP_INHERITABLE, "inheritable"),
	CAP_FIELD(SPEC_CAP_AMBIENT, "ambient"),     JSON_END,
};
static const struct json_table capability_table =
	JSON_TABLE_STRICT(struct oci_capabilities, capability_fields);

static const struct json_field rlimit_fields[] = {
	JSON_FIELD(struct oci_rlimit, type, "type", JSON_STRING, .required = true),
	JSON_FIELD(struct oci_rlimit, soft, "soft", JSON_UINT, .required = true),
	JSON_FIELD(struct oci_rlimit, hard, "hard", JSON_UINT, .required = true),
	JSON_END,
};
static const struct json_table rlimit_table = JSON_TABLE_STRICT(struct oci_rlimit, rlimit_fields);

static const struct json_field console_size_fields[] = {
	JSON_FIELD(struct oci_console_size, height, "height", JSON_INT, .required = true),
	JSON_FIELD(struct oci_console_size, width, "width", JSON_INT, .required = true),
	JSON_END,
};
static const struct json_table console_size_table =
	JSON_TABLE_STRICT(struct oci_console_size, console_size_fields);

static const struct json_field scheduler_fields[] = {
	JSON_FIELD(struct oci_scheduler, policy_name, "policy", JSON_STRING, .required = true),
	JSON_FIELD(struct oci_scheduler, nice, "nice", JSON_INT),
	JSON_FIELD(struct oci_scheduler, priority, "priority", JSON_INT),
	JSON_FIELD(struct oci_scheduler, flag_names, "flags", JSON_STRINGS),
	JSON_FIELD(struct oci_scheduler, runtime, "runtime", JSON_UINT),
	JSON_FIELD(struct oci_scheduler, deadline, "deadline", JSON_UINT),
	JSON_FIELD(struct oci_scheduler, period, "period", JSON_UINT),
	JSON_END,
};
static const struct json_table scheduler_table =
	JSON_TABLE_STRICT(struct oci_scheduler, scheduler_fields);

static const struct json_field io_priority_fields[] = {
	JSON_FIELD(struct oci_io_priority, class_name, "class", JSON_STRING, .required = true),
	JSON_FIELD(struct oci_io_priority, priority, "priority", JSON_INT, .required = true),
	JSON_END,
};
static const struct json_table io_priority_table =
	JSON_TABLE_STRICT(struct oci_io_priority, io_priority_fields);

static const struct json_field affinity_fields[] = {
	JSON_FIELD(struct oci_affinity, initial_text, "initial", JSON_STRING),
	JSON_FIELD(struct oci_affinity, final_text, "final", JSON_STRING),
	JSON_END,
};
static const struct json_table affinity_table =
	JSON_TABLE_STRICT(struct oci_affinity, affinity_fields);

static const struct json_field process_fields[] = {
	JSON_FIELD(struct oci_process, terminal, "terminal", JSON_BOOL),
	JSON_FIELD(struct oci_process, console_size, "consoleSize", JSON_OBJECT,
                   .table = &console_size_table),
	JSON_FIELD(struct oci_process, user, "user", JSON_OBJECT, .table = &user_table),
	JSON_FIELD(struct oci_process, args, "args", JSON_STRINGS, .required = true),
	JSON_FIELD(struct oci_process, env, "env", JSON_STRINGS),
	JSON_FIELD(struct oci_process, cwd, "cwd", JSON_STRING, .required = true),
	JSON_FIELD(struct oci_process, capabilities, "capabilities", JSON_OBJECT,
                   .table = &capability_table),
	JSON_FIELD(struct oci_process, rlimits, "rlimits", JSON_OBJECTS, .table = &rlimit_table),
	JSON_FIELD(struct oci_process, no_new_privileges, "noNewPrivileges", JSON_BOOL),
	JSON_FIELD(struct oci_process, oom_score_adj, "oomScoreAdj", JSON_INT),
	JSON_FIELD(struct oci_process, apparmor_profile, "apparmorProfile", JSON_STRING),
	JSON_FIELD(struct oci_process, selinux_label, "selinuxLabel", JSON_STRING),
	JSON_FIELD(struct oci_process, scheduler, "scheduler", JSON_POINTER,
                   .table = &scheduler_table),
	JSON_FIELD(struct oci_process, io_priority, "ioPriority", JSON_POINTER,
                   .table = &io_priority_table),
	JSON_FIELD(struct oci_process, exec_cpu_affinity, "execCPUAffinity", JSON_OBJECT,
                   .table = &affinity_table),
	JSON_END,
};
static const struct json_table process_table =
	JSON_TABLE_STRICT(struct oci_process, process_fields);

static const struct json_field root_fields[] = {
	JSON_FIELD(struct oci_root, path, "path", JSON_STRING, .required = true),
	JSON_FIELD(struct oci_root, readonly, "readonly", JSON_BOOL),
	JSON_END,
};
static const struct json_table root_table = JSON_TABLE_STRICT(struct oci_root, root_fields);

static const struct json_field idmap_fields[] = {
	JSON_FIELD(struct oci_idmap, container_id, "containerID", JSON_INT, .required = true),
	JSON_FIELD(struct oci_idmap, host_id, "hostID", JSON_INT, .required = true),
	JSON_FIELD(struct oci_idmap, size, "size", JSON_INT, .required = true),
	JSON_END,
};
static const struct json_table idmap_table = JSON_TABLE_STRICT(struct oci_idmap, idmap_fields);

static const struct json_field mount_fields[] = {
	JSON_FIELD(struct oci_mount, destination, "destination", JSON_STRING, .required = true),
	JSON_FIELD(struct oci_mount, type, "type", JSON_STRING),
	JSON_FIELD(struct oci_mount, source, "source", JSON_STRING),
	JSON_FIELD(struct oci_mount, options, "options", JSON_STRINGS),
	JSON_FIELD(struct oci_mount, uid_mappings, "uidMappings", JSON_OBJECTS,
                   .table = &idmap_table),
	JSON_FIELD(struct oci_mount, gid_mappings, "gidMappings", JSON_OBJECTS,
                   .table = &idmap_table),
	JSON_END,
};
static const struct json_table mount_table = JSON_TABLE_STRICT(struct oci_mount, mount_fields);

static const struct json_field namespace_fields[] = {
	JSON_FIELD(struct oci_namespace, type, "type", JSON_STRING, .required = true),
	JSON_FIELD(struct oci_namespace, path, "path", JSON_STRING),
	JSON_END,
};
static const struct json_table namespace_table =
	JSON_TABLE_STRICT(struct oci_namespace, namespace_fields);

static const struct json_field device_fields[] = {
	JSON_FIELD(struct oci_device, type, "type", JSON_STRING, .required = true),
	JSON_FIELD(struct oci_device, path, "path", JSON_STRING, .required = true),
	JSON_FIELD(struct oci_device, major, "major", JSON_INT),
	JSON_FIELD(struct oci_device, minor, "minor", JSON_INT),
	JSON_FIELD(struct oci_device, mode_json, "fileMode", JSON_RAW),
	JSON_FIELD(struct oci_device, uid_json, "uid", JSON_RAW),
	JSON_FIELD(struct oci_device, gid_json, "gid", JSON_RAW),
	JSON_END,
};
static const struct json_table device_table = JSON_TABLE_STRICT(struct oci_device, device_fields);

static const struct json_field device_rule_fields[] = {
	JSON_FIELD(struct oci_device_rule, allow, "allow", JSON_BOOL, .required = true),
	JSON_FIELD(struct oci_device_rule, type, "type", JSON_STRING),
	JSON_FIELD(struct oci_device_rule, major_json, "major", JSON_RAW),
	JSON_FIELD(struct oci_device_rule, minor_json, "minor", JSON_RAW),
	JSON_FIELD(struct oci_device_rule, access, "access", JSON_STRING),
	JSON_END,
};
static const struct json_table device_rule_table =
	JSON_TABLE_STRICT(struct oci_device_rule, device_rule_fields);

static const struct json_field memory_fields[] = {
	JSON_FIELD(struct oci_memory, limit, "limit", JSON_INT),
	JSON_FIELD(struct oci_memory, reservation, "reservation", JSON_INT),
	JSON_FIELD(struct oci_memory, swap, "swap", JSON_INT),
	JSON_FIELD(struct oci_memory, kernel, "kernel", JSON_INT),
	JSON_FIELD(struct oci_memory, kernel_tcp, "kernelTCP", JSON_INT),
	JSON_FIELD(struct oci_memory, swappiness, "swappiness", JSON_INT),
	JSON_FIELD(struct oci_memory, disable_oom_killer, "disableOOMKiller", JSON_BOOL),
	JSON_FIELD(struct oci_memory, use_hierarchy, "useHierarchy", JSON_BOOL),
	JSON_FIELD(struct oci_memory, check_before_update, "checkBeforeUpdate", JSON_BOOL),
	JSON_END,
};
static const struct json_table memory_table = JSON_TABLE_STRICT(struct oci_memory, memory_fields);

static const struct json_field cpu_fields[] = {
	JSON_FIELD(struct oci_cpu, shares, "shares", JSON_INT),
	JSON_FIELD(struct oci_cpu, quota, "quota", JSON_INT),
	JSON_FIELD(struct oci_cpu, burst, "burst", JSON_INT),
	JSON_FIELD(struct oci_cpu, period, "period", JSON_INT),
	JSON_FIELD(struct oci_cpu, realtime_runtime, "realtimeRuntime", JSON_INT),
	JSON_FIELD(struct oci_cpu, realtime_period, "realtimePeriod", JSON_INT),
	JSON_FIELD(struct oci_cpu, cpus, "cpus", JSON_STRING),
	JSON_FIELD(struct oci_cpu, mems, "mems", JSON_STRING),
	JSON_FIELD(struct oci_cpu, idle, "idle", JSON_INT),
	JSON_END,
};
static const struct json_table cpu_table = JSON_TABLE_STRICT(struct oci_cpu, cpu_fields);

static const struct json_field pids_fields[] = {
	JSON_FIELD(struct oci_pids, limit, "limit", JSON_INT),
	JSON_END,
};
static const struct json_table pids_table = JSON_TABLE_STRICT(struct oci_pids, pids_fields);

static const struct json_field weight_device_fields[] = {
	JSON_FIELD(struct oci_weight_device, major, "major", JSON_INT, .required = true),
	JSON_FIELD(struct oci_weight_device, minor, "minor", JSON_INT, .required = true),
	JSON_FIELD(struct oci_weight_device, weight, "weight", JSON_INT),
	JSON_FIELD(struct oci_weight_device, leaf_weight, "leafWeight", JSON_INT),
	JSON_END,
};
static const struct json_table weight_device_table =
	JSON_TABLE_STRICT(struct oci_weight_device, weight_device_fields);

static const struct json_field throttle_fields[] = {
	JSON_FIELD(struct oci_throttle, major, "major", JSON_INT, .required = true),
	JSON_FIELD(struct oci_throttle, minor, "minor", JSON_INT, .required = true),
	JSON_FIELD(struct oci_throttle, rate, "rate", JSON_UINT, .required = true),
	JSON_END,
};
static const struct json_table throttle_table =
	JSON_TABLE_STRICT(struct oci_throttle, throttle_fields);

#define THROTTLE_FIELD(which, name)                                                                \
	JSON_FIELD(struct oci_block_io, throttle[which], name, JSON_OBJECTS,                       \
	           .table = &throttle_table)
static const struct json_field block_io_fields[] = {
	JSON_FIELD(struct oci_block_io, weight, "weight", JSON_INT),
	JSON_FIELD(struct oci_block_io, leaf_weight, "leafWeight", JSON_INT),
	JSON_FIELD(struct oci_block_io, weight_device, "weightDevice", JSON_OBJECTS,
                   .table = &weight_device_table),
	THROTTLE_FIELD(SPEC_THROTTLE_READ_BPS, "throttleReadBpsDevice"),
	THROTTLE_FIELD(SPEC_THROTTLE_WRITE_BPS, "throttleWriteBpsDevice"),
	THROTTLE_FIELD(SPEC_THROTTLE_READ_IOPS, "throttleReadIOPSDevice"),
	THROTTLE_FIELD(SPEC_THROTTLE_WRITE_IOPS, "throttleWriteIOPSDevice"),
	JSON_END,
};
static const struct json_table block_io_table =
	JSON_TABLE_STRICT(struct oci_block_io, block_io_fields);

static const struct json_field hugepage_fields[] = {
	JSON_FIELD(struct oci_hugepage_limit, page_size, "pageSize", JSON_STRING, .required = true),
	JSON_FIELD(struct oci_hugepage_limit, limit, "limit", JSON_UINT, .required = true),
	JSON_END,
};
static const struct json_table hugepage_table =
	JSON_TABLE_STRICT(struct oci_hugepage_limit, hugepage_fields);

static const struct json_field priority_fields[] = {
	JSON_FIELD(struct oci_priority, name, "name", JSON_STRING, .required = true),
	JSON_FIELD(struct oci_priority, priority, "priority", JSON_INT, .required = true),
	JSON_END,
};
static const struct json_table priority_table =
	JSON_TABLE_STRICT(struct oci_priority, priority_fields);

static const struct json_field network_fields[] = {
	JSON_FIELD(struct oci_network, class_id, "classID", JSON_INT),
	JSON_FIELD(struct oci_network, priorities, "priorities", JSON_OBJECTS,
                   .table = &priority_table),
	JSON_END,
};
static const struct json_table network_table =
	JSON_TABLE_STRICT(struct oci_network, network_fields);

static const struct json_field resources_fields[] = {
	JSON_FIELD(struct oci_resources, devices, "devices", JSON_OBJECTS,
                   .table = &device_rule_table),
	JSON_FIELD(struct oci_resources, memory, "memory", JSON_OBJECT, .table = &memory_table),
	JSON_FIELD(struct oci_resources, cpu, "cpu", JSON_OBJECT, .table = &cpu_table),
	JSON_FIELD(struct oci_resources, pids, "pids", JSON_OBJECT, .table = &pids_table),
	JSON_FIELD(struct oci_resources, block_io, "blockIO", JSON_OBJECT,
                   .table = &block_io_table),
	JSON_FIELD(struct oci_resources, unified, "unified", JSON_STRMAP),
	JSON_FIELD(struct oci_resources, hugepage_limits, "hugepageLimits", JSON_OBJECTS,
                   .table = &hugepage_table),
	JSON_FIELD(struct oci_resources, network, "network", JSON_OBJECT, .table = &network_table),
	JSON_FIELD(struct oci_resources, rdma_json, "rdma", JSON_RAW),
	JSON_END,
};
static const struct json_table resources_table =
	JSON_TABLE_STRICT(struct oci_resources, resources_fields);

static const struct json_field seccomp_arg_fields[] = {
	JSON_FIELD(struct oci_seccomp_arg, index, "index", JSON_INT, .required = true),
	JSON_FIELD(struct oci_seccomp_arg, value, "value", JSON_UINT, .required = true),
	JSON_FIELD(struct oci_seccomp_arg, value_two, "valueTwo", JSON_UINT),
	JSON_FIELD(struct oci_seccomp_arg, op, "op", JSON_STRING, .required = true),
	JSON_END,
};
static const struct json_table seccomp_arg_table =
	JSON_TABLE_STRICT(struct oci_seccomp_arg, seccomp_arg_fields);

static const struct json_field seccomp_rule_fields[] = {
	JSON_FIELD(struct oci_seccomp_rule, names, "names", JSON_STRINGS, .required = true),
	JSON_FIELD(struct oci_seccomp_rule, action, "action", JSON_STRING, .required = true),
	JSON_FIELD(struct oci_seccomp_rule, errno_json, "errnoRet", JSON_RAW),
	JSON_FIELD(struct oci_seccomp_rule, args, "args", JSON_OBJECTS,
                   .table = &seccomp_arg_table),
	JSON_END,
};
static const struct json_table seccomp_rule_table =
	JSON_TABLE_STRICT(struct oci_seccomp_rule, seccomp_rule_fields);

static const struct json_field seccomp_fields[] = {
	JSON_FIELD(struct oci_seccomp, default_action, "defaultAction", JSON_STRING,
                   .required = true),
	JSON_FIELD(struct oci_seccomp, default_errno_json, "defaultErrnoRet", JSON_RAW),
	JSON_FIELD(struct oci_seccomp, architectures, "architectures", JSON_STRINGS),
	JSON_FIELD(struct oci_seccomp, flags, "flags", JSON_STRINGS),
	JSON_FIELD(struct oci_seccomp, listener_path, "listenerPath", JSON_STRING),
	JSON_FIELD(struct oci_seccomp, listener_metadata, "listenerMetadata", JSON_STRING),
	JSON_FIELD(struct oci_seccomp, rules, "syscalls", JSON_OBJECTS,
                   .table = &seccomp_rule_table),
	JSON_END,
};
static const struct json_table seccomp_table =
	JSON_TABLE_STRICT(struct oci_seccomp, seccomp_fields);

static const struct json_field rdt_fields[] = {
	JSON_FIELD(struct oci_rdt, clos_id, "closID", JSON_STRING),
	JSON_FIELD(struct oci_rdt, l3_schema, "l3CacheSchema", JSON_STRING),
	JSON_FIELD(struct oci_rdt, mb_schema, "memBwSchema", JSON_STRING),
	JSON_FIELD(struct oci_rdt, schemata, "schemata", JSON_STRINGS),
	JSON_FIELD(struct oci_rdt, monitoring, "enableMonitoring", JSON_BOOL),
	JSON_END,
};
static const struct json_table rdt_table = JSON_TABLE_STRICT(struct oci_rdt, rdt_fields);

static const struct json_field personality_fields[] = {
	JSON_FIELD(struct oci_personality, domain_name, "domain", JSON_STRING, .required = true),
	JSON_FIELD(struct oci_personality, flags, "flags", JSON_STRINGS),
	JSON_END,
};
static const struct json_table personality_table =
	JSON_TABLE_STRICT(struct oci_personality, personality_fields);

static const struct json_field memory_policy_fields[] = {
	JSON_FIELD(struct oci_memory_policy, mode_name, "mode", JSON_STRING, .required = true),
	JSON_FIELD(struct oci_memory_policy, nodes_text, "nodes", JSON_STRING),
	JSON_FIELD(struct oci_memory_policy, flag_names, "flags", JSON_STRINGS),
	JSON_END,
};
static const struct json_table memory_policy_table =
	JSON_TABLE_STRICT(struct oci_memory_policy, memory_policy_fields);

static const struct json_field linux_fields[] = {
	JSON_FIELD(struct oci_linux, uid_mappings, "uidMappings", JSON_OBJECTS,
                   .table = &idmap_table),
	JSON_FIELD(struct oci_linux, gid_mappings, "gidMappings", JSON_OBJECTS,
                   .table = &idmap_table),
	JSON_FIELD(struct oci_linux, sysctl, "sysctl", JSON_STRMAP),
	JSON_FIELD(struct oci_linux, resources, "resources", JSON_OBJECT,
                   .table = &resources_table),
	JSON_FIELD(struct oci_linux, cgroups_path, "cgroupsPath", JSON_STRING),
	JSON_FIELD(struct oci_linux, namespaces, "namespaces", JSON_OBJECTS,
                   .table = &namespace_table),
	JSON_FIELD(struct oci_linux, devices, "devices", JSON_OBJECTS, .table = &device_table),
	JSON_FIELD(struct oci_linux, seccomp, "seccomp", JSON_POINTER, .table = &seccomp_table),
	JSON_FIELD(struct oci_linux, rootfs_propagation, "rootfsPropagation", JSON_STRING),
	JSON_FIELD(struct oci_linux, masked_paths, "maskedPaths", JSON_STRINGS),
	JSON_FIELD(struct oci_linux, readonly_paths, "readonlyPaths", JSON_STRINGS),
	JSON_FIELD(struct oci_linux, mount_label, "mountLabel", JSON_STRING),
	JSON_FIELD(struct oci_linux, intel_rdt, "intelRdt", JSON_POINTER, .table = &rdt_table),
	JSON_FIELD(struct oci_linux, personality, "personality", JSON_POINTER,
                   .table = &personality_table),
	JSON_FIELD(struct oci_linux, time_offsets_json, "timeOffsets", JSON_RAW),
	JSON_FIELD(struct oci_linux, net_devices_json, "netDevices", JSON_RAW),
	JSON_FIELD(struct oci_linux, memory_policy, "memoryPolicy", JSON_POINTER,
                   .table = &memory_policy_table),
	JSON_END,
};
static const struct json_table linux_table = JSON_TABLE_STRICT(struct oci_linux, linux_fields);

static const struct json_field hook_fields[] = {
	JSON_FIELD(struct oci_hook, path, "path", JSON_STRING, .required = true),
	JSON_FIELD(struct oci_hook, args, "args", JSON_STRINGS),
	JSON_FIELD(struct oci_hook, env, "env", JSON_STRINGS),
	JSON_FIELD(struct oci_hook, timeout_json, "timeout", JSON_RAW),
	JSON_END,
};
static const struct json_table hook_table = JSON_TABLE_STRICT(struct oci_hook, hook_fields);

const char *const spec_hook_names[SPEC_HOOK_POINTS] = {
	"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop",
};

#define HOOK_FIELD(point, name)                                                                    \
	JSON_FIELD(struct oci_hooks, at[point], name, JSON_OBJECTS, .table = &hook_table)
static const struct json_field hooks_fields[] = {
	HOOK_FIELD(SPEC_HOOK_PRESTART, "prestart"),
	HOOK_FIELD(SPEC_HOOK_CREATE_RUNTIME, "createRuntime"),
	HOOK_FIELD(SPEC_HOOK_CREATE_CONTAINER, "createContainer"),
	HOOK_FIELD(SPEC_HOOK_START_CONTAINER, "startContainer"),
	HOOK_FIELD(SPEC_HOOK_POSTSTART, "poststart"),
	HOOK_FIELD(SPEC_HOOK_POSTSTOP, "poststop"),
	JSON_END,
};
static const struct json_table hooks_table = JSON_TABLE_STRICT(struct oci_hooks, hooks_fields);

static const struct json_field spec_fields[] = {
	JSON_FIELD(struct oci_spec, version, "ociVersion", JSON_STRING, .required = true),
	JSON_FIELD(struct oci_spec, process, "process", JSON_OBJECT, .table = &process_table,
                   .required = true),
	JSON_FIELD(struct oci_spec, root, "root", JSON_OBJECT, .table = &root_table,
                   .required = true),
	JSON_FIELD(struct oci_spec, hostname, "hostname", JSON_STRING),
	JSON_FIELD(struct oci_spec, domainname, "domainname", JSON_STRING),
	JSON_FIELD(struct oci_spec, mounts, "mounts", JSON_OBJECTS, .table = &mount_table),
	JSON_FIELD(struct oci_spec, hooks, "hooks", JSON_OBJECT, .table = &hooks_table),
	JSON_FIELD(struct oci_spec, annotations, "annotations", JSON_RAW),
	JSON_FIELD(struct oci_spec, linux_, "linux", JSON_OBJECT, .table = &linux_table),
	JSON_END,
};
static const struct json_table spec_table = JSON_TABLE_STRICT(struct oci_spec, spec_fields);

/* ---- defaults: what absence means ---- */

static void init_process(struct oci_process *process)
{
	*process = (struct oci_process){
		.user = {.umask = SPEC_UNSET},
		.oom_score_adj = SPEC_UNSET,
	};
}

static void init_resources(struct oci_resources *r)
{
	*r = (struct oci_resources){
		.memory = {.limit = SPEC_UNSET,
	                   .reservation = SPEC_UNSET,
	                   .swap = SPEC_UNSET,
	                   .kernel = SPEC_UNSET,
	                   .kernel_tcp = SPEC_UNSET,
	                   .swappiness = SPEC_UNSET},
		.cpu = {.shares = SPEC_UNSET,
	                .quota = SPEC_UNSET,
	                .burst = SPEC_UNSET,
	                .period = SPEC_UNSET,
	                .realtime_runtime = SPEC_UNSET,
	                .realtime_period = SPEC_UNSET,
	                .idle = SPEC_UNSET},
		.pids = {.limit = SPEC_UNSET},
		.block_io = {.weight = SPEC_UNSET, .leaf_weight = SPEC_UNSET},
		.network = {.class_id = SPEC_UNSET},
	};
}

/* ---- public ---- */

struct oci_spec *spec_parse(const char *text, size_t len, struct arena *arena, struct err *err)
{
	struct oci_spec *spec = arena_alloc(arena, sizeof(*spec), err);

	if (!spec)
		return NULL;
	init_process(&spec->process);
	init_resources(&spec->linux_.resources);
	if (json_decode_text(text, len, &spec_table, arena, spec, err) < 0)
		return NULL;
	return spec_check(spec, arena, err) < 0 ? NULL : spec;
}

struct oci_process *spec_parse_process(const char *text, size_t len, struct arena *arena,
                                       struct err *err)
{
	struct oci_process *process = arena_alloc(arena, sizeof(*process), err);

	if (!process)
		return NULL;
	init_process(process);
	if (json_decode_text(text, len, &process_table, arena, process, err) < 0)
		return NULL;
	return spec_check_process(process, arena, err) < 0 ? NULL : process;
}

struct oci_resources *spec_parse_resources(const char *text, size_t len, struct arena *arena,
                                           struct err *err)
{
	struct oci_resources *resources = arena_alloc(arena, sizeof(*resources), err);

	if (!resources)
		return NULL;
	init_resources(resources);
	if (json_decode_text(text, len, &resources_table, arena, resources, err) < 0)
		return NULL;
	return spec_check_resources(resources, arena, err) < 0 ? NULL : resources;
}

const struct oci_namespace *spec_namespace(const struct oci_spec *spec, int flag)
{
	const struct oci_namespace *all = spec->linux_.namespaces.items;

	for (size_t i = 0; i < spec->linux_.namespaces.count; i++)
		if (all[i].flag == flag)
			return &all[i];
	return NULL;
}

const struct oci_mount *spec_mount(const struct oci_spec *spec, const char *path)
{
	const struct oci_mount *all = spec->mounts.items;
	const struct oci_mount *found = NULL;

	for (size_t i = 0; i < spec->mounts.count; i++)
		if (str_eq(all[i].destination, path))
			found = &all[i];
	return found;
}
