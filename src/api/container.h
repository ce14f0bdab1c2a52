/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * container - the body of POST /containers/create, as structs with field tables.
 *
 *	struct api_container_create create = {0};
 *	api_container_create_parse(text, len, arena, &create, err);
 *
 * The same tables write Config and HostConfig of GET /containers/{id}/json, so what was asked for
 * is what is shown. An unknown key in HostConfig is ERR_INVALID: it may be a limit or a lock that
 * we would silently leave open. Unknown keys of Config are let through.
 *
 * Docker's reference: definitions ContainerConfig, HostConfig, EndpointSettings of API v1.51.
 * Names of members follow the keys. Everything lives in the caller's arena.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/json.h"

struct arena;
struct buf;
struct err;

struct api_healthcheck { /* durations in nanoseconds; 0: inherited, then the default */
	struct json_strings test;
	int64_t interval, timeout, start_period, start_interval, retries;
};

struct api_config {
	char *hostname, *domainname, *user;
	bool attach_stdin, attach_stdout, attach_stderr;
	struct json *exposed_ports; /* {"80/tcp": {}} */
	bool tty, open_stdin, stdin_once;
	struct json_strings env, cmd;
	struct api_healthcheck *healthcheck;
	bool args_escaped;
	char *image;
	struct json *volumes; /* {"/data": {}} */
	char *working_dir;
	struct json_strings entrypoint;
	bool network_disabled;
	char *mac_address;
	struct json_strings on_build;
	struct json_strmap labels;
	char *stop_signal;
	struct json *stop_timeout; /* integer or null */
	struct json_strings shell;
};

struct api_restart_policy {
	char *name; /* "" "no" "always" "unless-stopped" "on-failure" */
	int64_t maximum_retry_count;
};

struct api_log_config {
	char *type; /* "" json-file local none */
	struct json_strmap config;
};

struct api_device {
	char *path_on_host, *path_in_container, *cgroup_permissions;
};

struct api_ulimit {
	char *name;
	int64_t soft, hard;
};

struct api_mount_volume_options {
	bool no_copy;
	struct json_strmap labels;
	struct json *driver_config;
	char *subpath;
};

struct api_mount_bind_options {
	char *propagation;
	bool non_recursive, create_mountpoint, read_only_non_recursive, read_only_force_recursive;
};

struct api_mount_tmpfs_options {
	int64_t size_bytes, mode;
	struct json *options;
};

struct api_mount {
	char *type; /* bind volume tmpfs */
	char *source, *target;
	bool read_only;
	char *consistency;
	struct api_mount_bind_options *bind_options;
	struct api_mount_volume_options *volume_options;
	struct api_mount_tmpfs_options *tmpfs_options;
	struct json *image_options, *cluster_options;
};

struct api_host_config {
	struct json_strings binds;
	char *container_id_file;
	struct api_log_config log_config;
	char *network_mode;
	struct json *port_bindings; /* {"80/tcp": [{"HostIp": "", "HostPort": "8080"}]} */
	struct api_restart_policy restart_policy;
	bool auto_remove;
	char *volume_driver;
	struct json_strings volumes_from;
	struct json_array mounts; /* struct api_mount */
	struct json *console_size;
	struct json_strmap annotations;
	struct json_strings cap_add, cap_drop;
	char *cgroupns_mode;
	struct json_strings dns, dns_options, dns_search, extra_hosts, group_add;
	char *ipc_mode, *cgroup;
	struct json_strings links;
	int64_t oom_score_adj;
	char *pid_mode;
	bool privileged, publish_all_ports, readonly_rootfs;
	struct json_strings security_opt;
	struct json_strmap storage_opt, tmpfs;
	char *uts_mode, *userns_mode;
	int64_t shm_size;
	struct json_strmap sysctls;
	char *runtime, *isolation;
	int64_t cpu_shares, memory, nano_cpus;
	char *cgroup_parent;
	int64_t blkio_weight;
	struct json *blkio_weight_device, *blkio_device_read_bps, *blkio_device_write_bps,
		*blkio_device_read_iops, *blkio_device_write_iops;
	int64_t cpu_period, cpu_quota, cpu_realtime_period, cpu_realtime_runtime;
	char *cpuset_cpus, *cpuset_mems;
	struct json_array devices; /* struct api_device */
	struct json_strings device_cgroup_rules;
	struct json *device_requests;
	int64_t kernel_memory, kernel_memory_tcp, memory_reservation, memory_swap;
	struct json *memory_swappiness, *oom_kill_disable, *pids_limit,
		*init;             /* number or bool, or null */
	struct json_array ulimits; /* struct api_ulimit */
	int64_t cpu_count, cpu_percent, io_maximum_iops, io_maximum_bandwidth;
	struct json_strings masked_paths, readonly_paths; /* .present: replaces the default */
};

struct api_ipam_config {
	char *ipv4_address, *ipv6_address;
	struct json_strings link_local_ips;
};

/* One network of a container: what is asked for (create, connect), and what came of it (inspect). */
struct api_endpoint {
	struct api_ipam_config *ipam_config;
	struct json_strings links, aliases;
	char *mac_address;
	struct json_strmap driver_opts;
	int64_t gw_priority;
	char *network_id, *endpoint_id, *gateway, *ip_address;
	int64_t ip_prefix_len;
	char *ipv6_gateway, *global_ipv6_address;
	int64_t global_ipv6_prefix_len;
	struct json_strings dns_names;
};

/* EndpointsConfig, taken apart: a map has no table, so the key is beside the value. */
struct api_named_endpoint {
	char *network;
	struct api_endpoint endpoint;
};

struct api_container_create {
	struct api_config config;
	struct api_host_config host;
	struct api_named_endpoint *endpoints;
	size_t endpoint_count;
};

extern const struct json_table api_config_table, api_host_config_table, api_endpoint_table,
	api_healthcheck_table, api_mount_table, api_restart_policy_table;

/* `out` zeroed by the caller. ERR_INVALID with the path of what is wrong. */
int api_container_create_parse(const char *text, size_t len, struct arena *arena,
                               struct api_container_create *out, struct err *err);
/* The same from a document (borrowed; must outlive out, as must the arena). Cmd and Entrypoint
 * that are one string become lists, so `doc` may be changed. */
int api_container_create_decode(struct json *doc, struct arena *arena,
                                struct api_container_create *out, struct err *err);
/* Back to one object {Config's keys..., "HostConfig": ..., "NetworkingConfig": ...}. */
int api_container_create_write(const struct api_container_create *create, struct buf *out,
                               struct err *err);

/* The body of POST /containers/{id}/exec. */
struct api_exec_create {
	bool attach_stdin, attach_stdout, attach_stderr, tty, privileged;
	struct json *console_size; /* [height, width] or null */
	char *detach_keys, *user, *working_dir;
	struct json_strings env, cmd;
};
extern const struct json_table api_exec_create_table;
