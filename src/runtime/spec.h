/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * spec - an OCI runtime config ("config.json") as structs, checked.
 *
 *	auto_arena struct arena arena = ARENA_INIT(SPEC_ARENA_MAX);
 *	struct oci_spec *spec = spec_parse(text, len, &arena, err);
 *
 * Strict: a field that is unknown is ERR_INVALID with its path, so that nothing that was
 * asked for is left out silently; what this machine cannot do is ERR_UNSUPPORTED where it would be done. Only `annotations`
 * may hold anything. Words that stand for kernel numbers (namespace and
 * capability names, mount options, rlimit types, seccomp actions) are translated here.
 *
 * Everything lives in the caller's arena. Source: OCI runtime-spec 1.3, config.md
 * and config-linux.md.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/json.h"

struct arena;
struct err;

#define SPEC_TEXT_MAX  (8 << 20)  /* bytes of config.json */
#define SPEC_ARENA_MAX (64 << 20) /* bytes its structs may take */
#define SPEC_UNSET     INT64_MIN  /* an optional number that is not there */

struct oci_user {
	int64_t uid, gid;
	int64_t umask; /* SPEC_UNSET: 022 */
	struct json *groups_json;
	uint32_t *groups; /* additionalGids */
	size_t group_count;
};

enum spec_cap_set {
	SPEC_CAP_BOUNDING,
	SPEC_CAP_EFFECTIVE,
	SPEC_CAP_PERMITTED,
	SPEC_CAP_INHERITABLE,
	SPEC_CAP_AMBIENT,
	SPEC_CAP_SETS,
};

struct oci_capabilities {
	struct json_strings names[SPEC_CAP_SETS];
	uint64_t mask[SPEC_CAP_SETS]; /* bit = capability number */
};

struct oci_rlimit {
	char *type;
	uint64_t soft, hard;
	int resource; /* RLIMIT_* */
};

struct oci_console_size {
	int64_t height, width;
};

struct oci_scheduler {
	char *policy_name;
	int64_t nice, priority;
	struct json_strings flag_names;
	uint64_t runtime, deadline, period; /* nanoseconds */
	uint32_t policy;                    /* SCHED_* */
	uint64_t flags;                     /* SCHED_FLAG_* */
};

struct oci_io_priority {
	char *class_name;
	int64_t priority;
	int value; /* as ioprio_set(2) wants it */
};

#define SPEC_SET_BITS 1024 /* CPUs or memory nodes */

/* A list like "0-3,7" as a set. */
struct spec_set {
	uint64_t words[SPEC_SET_BITS / 64];
};

struct oci_affinity {
	char *initial_text, *final_text;
	struct spec_set *initial, *final; /* NULL: leave */
};

struct oci_process {
	bool terminal;
	struct oci_console_size console_size;
	struct oci_user user;
	struct json_strings args;
	struct json_strings env;
	char *cwd;
	struct oci_capabilities capabilities; /* absent: none at all */
	struct json_array rlimits;            /* struct oci_rlimit */
	bool no_new_privileges;
	int64_t oom_score_adj; /* SPEC_UNSET: leave */
	char *apparmor_profile, *selinux_label;
	struct oci_scheduler *scheduler;       /* NULL: as it is */
	struct oci_io_priority *io_priority;   /* NULL: as it is */
	struct oci_affinity exec_cpu_affinity; /* of an exec only */
};

struct oci_root {
	char *path;
	bool readonly;
};

struct oci_mount {
	char *destination;
	char *type;   /* may be NULL for a bind */
	char *source; /* may be NULL */
	struct json_strings options;
	struct json_array uid_mappings, gid_mappings; /* struct oci_idmap */
	struct mount_plan *plan; /* options translated; runtime/mount_options.h */
};

struct oci_namespace {
	char *type;
	char *path; /* NULL: make a new one */
	int flag;   /* CLONE_NEW* */
};

struct oci_idmap {
	int64_t container_id, host_id, size;
};

struct oci_device {
	char *type; /* "c", "b", "u", "p" */
	char *path;
	int64_t major, minor;
	struct json *mode_json, *uid_json, *gid_json;
	int64_t mode, uid, gid; /* mode may be SPEC_UNSET */
};

struct oci_device_rule {
	bool allow;
	char *type; /* "a", "b", "c"; NULL: a */
	char *access;
	struct json *major_json, *minor_json;
	int64_t major, minor; /* -1: all */
};

struct oci_memory {
	int64_t limit, reservation, swap, kernel, kernel_tcp; /* SPEC_UNSET; -1: no limit */
	int64_t swappiness;
	bool disable_oom_killer, use_hierarchy, check_before_update;
};

struct oci_cpu {
	int64_t shares, quota, burst, period, realtime_runtime, realtime_period, idle;
	char *cpus, *mems;
};

struct oci_weight_device {
	int64_t major, minor;
	int64_t weight, leaf_weight; /* 0: not set */
};

struct oci_throttle {
	int64_t major, minor;
	uint64_t rate; /* bytes or operations a second */
};

enum spec_throttle {
	SPEC_THROTTLE_READ_BPS,
	SPEC_THROTTLE_WRITE_BPS,
	SPEC_THROTTLE_READ_IOPS,
	SPEC_THROTTLE_WRITE_IOPS,
	SPEC_THROTTLES,
};

struct oci_block_io {
	int64_t weight, leaf_weight;
	struct json_array weight_device;            /* struct oci_weight_device */
	struct json_array throttle[SPEC_THROTTLES]; /* struct oci_throttle */
};

struct oci_hugepage_limit {
	char *page_size; /* "2MB" */
	uint64_t limit;
};

struct oci_priority {
	char *name; /* of an interface */
	int64_t priority;
};

struct oci_network {
	int64_t class_id;
	struct json_array priorities; /* struct oci_priority */
};

struct oci_rdma {
	const char *name;                 /* of an adapter */
	int64_t hca_handles, hca_objects; /* SPEC_UNSET */
};

struct oci_pids {
	int64_t limit;
};

struct oci_resources {
	struct json_array devices; /* struct oci_device_rule */
	struct oci_memory memory;
	struct oci_cpu cpu;
	struct oci_pids pids;
	struct oci_block_io block_io;
	struct json_strmap unified;        /* cgroup v2 file name -> value */
	struct json_array hugepage_limits; /* struct oci_hugepage_limit */
	struct oci_network network;
	struct json *rdma_json;
	struct oci_rdma *rdma;
	size_t rdma_count;
};

struct oci_seccomp_arg {
	int64_t index;
	uint64_t value, value_two;
	char *op;
};

struct oci_seccomp_rule {
	struct json_strings names;
	char *action;
	struct json *errno_json;
	struct json_array args; /* struct oci_seccomp_arg */
};

struct oci_seccomp {
	char *default_action;
	struct json *default_errno_json;
	struct json_strings architectures;
	struct json_strings flags;
	char *listener_path, *listener_metadata;
	struct json_array rules; /* struct oci_seccomp_rule; "syscalls" */
};

struct oci_personality {
	char *domain_name;
	struct json_strings flags;
	unsigned long value; /* PER_* */
};

struct oci_memory_policy {
	char *mode_name, *nodes_text;
	struct json_strings flag_names;
	int mode; /* MPOL_* with MPOL_F_* */
	struct spec_set nodes;
};

struct oci_time_offset {
	const char *clock; /* "monotonic", "boottime" */
	int64_t secs, nanosecs;
};

struct oci_net_device {
	const char *host_name;
	char *name; /* in the container; may end in "%d" */
};

struct oci_rdt {
	const char *clos_id; /* NULL: the container's id */
	const char *l3_schema, *mb_schema;
	struct json_strings schemata;
	bool monitoring;
};

struct oci_linux {
	struct json_array uid_mappings, gid_mappings; /* struct oci_idmap */
	struct json_strmap sysctl;
	struct oci_resources resources;
	char *cgroups_path;
	struct json_array namespaces; /* struct oci_namespace */
	struct json_array devices;    /* struct oci_device */
	struct oci_seccomp *seccomp;
	char *rootfs_propagation;
	unsigned long propagation; /* MS_*, with MS_REC where asked; 0: unset */
	struct json_strings masked_paths, readonly_paths;
	char *mount_label;
	struct oci_personality *personality; /* NULL: as it is */
	struct oci_memory_policy *memory_policy;
	struct oci_rdt *intel_rdt;
	struct json *time_offsets_json, *net_devices_json;
	struct oci_time_offset time_offsets[2];
	size_t time_offset_count;
	struct oci_net_device *net_devices;
	size_t net_device_count;
};

struct oci_hook {
	char *path;
	struct json_strings args;
	struct json_strings env;
	struct json *timeout_json;
	int64_t timeout; /* seconds; 0: none */
};

enum spec_hook {
	SPEC_HOOK_PRESTART,
	SPEC_HOOK_CREATE_RUNTIME,
	SPEC_HOOK_CREATE_CONTAINER,
	SPEC_HOOK_START_CONTAINER,
	SPEC_HOOK_POSTSTART,
	SPEC_HOOK_POSTSTOP,
	SPEC_HOOK_POINTS,
};

struct oci_hooks {
	struct json_array at[SPEC_HOOK_POINTS]; /* struct oci_hook */
};

struct oci_spec {
	char *version;
	struct oci_process process;
	struct oci_root root;
	char *hostname, *domainname;
	struct json_array mounts; /* struct oci_mount */
	struct oci_hooks hooks;
	struct json *annotations;
	struct oci_linux linux_;
};

/* NULL: ERR_INVALID or ERR_UNSUPPORTED with the path of the field; ERR_LIMIT; ERR_NOMEM. */
struct oci_spec *spec_parse(const char *text, size_t len, struct arena *arena, struct err *err);

/* A "process" object by itself, as `exec --process` has it. */
struct oci_process *spec_parse_process(const char *text, size_t len, struct arena *arena,
                                       struct err *err);
/* A "linux.resources" object by itself, as an update has it. */
struct oci_resources *spec_parse_resources(const char *text, size_t len, struct arena *arena,
                                           struct err *err);

/* The namespace entry with this CLONE_NEW* flag, or NULL. */
const struct oci_namespace *spec_namespace(const struct oci_spec *spec, int flag);

/* The mount whose destination is exactly `path`, the last one if there are several; or NULL. */
const struct oci_mount *spec_mount(const struct oci_spec *spec, const char *path);

/* "CAP_KILL" -> 5. -1: ERR_INVALID. */
int spec_parse_capability(const char *name, struct err *err);

/* "pid" -> CLONE_NEWPID. -1: ERR_INVALID names the types. */
int spec_parse_namespace(const char *type, struct err *err);
/* Names in a fixed order, NULL at the end: for `features`. */
extern const char *const spec_namespace_names[];
extern const char *const spec_hook_names[SPEC_HOOK_POINTS];
