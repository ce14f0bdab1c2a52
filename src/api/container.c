/* SPDX-License-Identifier: Apache-2.0 */
#include "api/container.h"

#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

#define OMIT  .empty = JSON_EMPTY_OMIT
#define EMPTY .empty = JSON_EMPTY_EMPTY

static const struct json_field healthcheck_fields[] = {
	JSON_FIELD(struct api_healthcheck, test, "Test", JSON_STRINGS, OMIT),
	JSON_FIELD(struct api_healthcheck, interval, "Interval", JSON_INT, OMIT),
	JSON_FIELD(struct api_healthcheck, timeout, "Timeout", JSON_INT, OMIT),
	JSON_FIELD(struct api_healthcheck, start_period, "StartPeriod", JSON_INT, OMIT),
	JSON_FIELD(struct api_healthcheck, start_interval, "StartInterval", JSON_INT, OMIT),
	JSON_FIELD(struct api_healthcheck, retries, "Retries", JSON_INT, OMIT),
	JSON_END,
};
const struct json_table api_healthcheck_table =
	JSON_TABLE(struct api_healthcheck, healthcheck_fields);

#define CONFIG(member, name, kind, ...)                                                            \
	JSON_FIELD(struct api_config, member, name, kind, ##__VA_ARGS__)
static const struct json_field config_fields[] = {
	CONFIG(hostname, "Hostname", JSON_STRING),
	CONFIG(domainname, "Domainname", JSON_STRING),
	CONFIG(user, "User", JSON_STRING),
	CONFIG(attach_stdin, "AttachStdin", JSON_BOOL),
	CONFIG(attach_stdout, "AttachStdout", JSON_BOOL),
	CONFIG(attach_stderr, "AttachStderr", JSON_BOOL),
	CONFIG(exposed_ports, "ExposedPorts", JSON_RAW, OMIT),
	CONFIG(tty, "Tty", JSON_BOOL),
	CONFIG(open_stdin, "OpenStdin", JSON_BOOL),
	CONFIG(stdin_once, "StdinOnce", JSON_BOOL),
	CONFIG(env, "Env", JSON_STRINGS),
	CONFIG(cmd, "Cmd", JSON_STRINGS),
	CONFIG(healthcheck, "Healthcheck", JSON_POINTER, .table = &api_healthcheck_table, OMIT),
	CONFIG(args_escaped, "ArgsEscaped", JSON_BOOL, OMIT),
	CONFIG(image, "Image", JSON_STRING),
	CONFIG(volumes, "Volumes", JSON_RAW),
	CONFIG(working_dir, "WorkingDir", JSON_STRING),
	CONFIG(entrypoint, "Entrypoint", JSON_STRINGS),
	CONFIG(network_disabled, "NetworkDisabled", JSON_BOOL, OMIT),
	CONFIG(mac_address, "MacAddress", JSON_STRING, OMIT),
	CONFIG(on_build, "OnBuild", JSON_STRINGS),
	CONFIG(labels, "Labels", JSON_STRMAP, EMPTY),
	CONFIG(stop_signal, "StopSignal", JSON_STRING, OMIT),
	CONFIG(stop_timeout, "StopTimeout", JSON_RAW, OMIT),
	CONFIG(shell, "Shell", JSON_STRINGS, OMIT),
	JSON_END,
};
const struct json_table api_config_table = JSON_TABLE(struct api_config, config_fields);

static const struct json_field restart_policy_fields[] = {
	JSON_FIELD(struct api_restart_policy, name, "Name", JSON_STRING),
	JSON_FIELD(struct api_restart_policy, maximum_retry_count, "MaximumRetryCount", JSON_INT),
	JSON_END,
};
const struct json_table api_restart_policy_table =
	JSON_TABLE_STRICT(struct api_restart_policy, restart_policy_fields);

static const struct json_field log_config_fields[] = {
	JSON_FIELD(struct api_log_config, type, "Type", JSON_STRING),
	JSON_FIELD(struct api_log_config, config, "Config", JSON_STRMAP, EMPTY),
	JSON_END,
};
static const struct json_table log_config_table =
	JSON_TABLE_STRICT(struct api_log_config, log_config_fields);

static const struct json_field device_fields[] = {
	JSON_FIELD(struct api_device, path_on_host, "PathOnHost", JSON_STRING),
	JSON_FIELD(struct api_device, path_in_container, "PathInContainer", JSON_STRING),
	JSON_FIELD(struct api_device, cgroup_permissions, "CgroupPermissions", JSON_STRING),
	JSON_END,
};
static const struct json_table device_table = JSON_TABLE_STRICT(struct api_device, device_fields);

static const struct json_field ulimit_fields[] = {
	JSON_FIELD(struct api_ulimit, name, "Name", JSON_STRING),
	JSON_FIELD(struct api_ulimit, hard, "Hard", JSON_INT),
	JSON_FIELD(struct api_ulimit, soft, "Soft", JSON_INT),
	JSON_END,
};
static const struct json_table ulimit_table = JSON_TABLE_STRICT(struct api_ulimit, ulimit_fields);

static const struct json_field mount_volume_fields[] = {
	JSON_FIELD(struct api_mount_volume_options, no_copy, "NoCopy", JSON_BOOL, OMIT),
	JSON_FIELD(struct api_mount_volume_options, labels, "Labels", JSON_STRMAP, OMIT),
	JSON_FIELD(struct api_mount_volume_options, driver_config, "DriverConfig", JSON_RAW, OMIT),
	JSON_FIELD(struct api_mount_volume_options, subpath, "Subpath", JSON_STRING, OMIT),
	JSON_END,
};
static const struct json_table mount_volume_table =
	JSON_TABLE_STRICT(struct api_mount_volume_options, mount_volume_fields);

static const struct json_field mount_bind_fields[] = {
	JSON_FIELD(struct api_mount_bind_options, propagation, "Propagation", JSON_STRING, OMIT),
	JSON_FIELD(struct api_mount_bind_options, non_recursive, "NonRecursive", JSON_BOOL, OMIT),
	JSON_FIELD(struct api_mount_bind_options, create_mountpoint, "CreateMountpoint", JSON_BOOL,
                   OMIT),
	JSON_FIELD(struct api_mount_bind_options, read_only_non_recursive, "ReadOnlyNonRecursive",
                   JSON_BOOL, OMIT),
	JSON_FIELD(struct api_mount_bind_options, read_only_force_recursive,
                   "ReadOnlyForceRecursive", JSON_BOOL, OMIT),
	JSON_END,
};
static const struct json_table mount_bind_table =
	JSON_TABLE_STRICT(struct api_mount_bind_options, mount_bind_fields);

static const struct json_field mount_tmpfs_fields[] = {
	JSON_FIELD(struct api_mount_tmpfs_options, size_bytes, "SizeBytes", JSON_INT, OMIT),
	JSON_FIELD(struct api_mount_tmpfs_options, mode, "Mode", JSON_INT, OMIT),
	JSON_FIELD(struct api_mount_tmpfs_options, options, "Options", JSON_RAW, OMIT),
	JSON_END,
};
static const struct json_table mount_tmpfs_table =
	JSON_TABLE_STRICT(struct api_mount_tmpfs_options, mount_tmpfs_fields);

static const struct json_field mount_fields[] = {
	JSON_FIELD(struct api_mount, type, "Type", JSON_STRING),
	JSON_FIELD(struct api_mount, source, "Source", JSON_STRING, OMIT),
	JSON_FIELD(struct api_mount, target, "Target", JSON_STRING),
	JSON_FIELD(struct api_mount, read_only, "ReadOnly", JSON_BOOL, OMIT),
	JSON_FIELD(struct api_mount, consistency, "Consistency", JSON_STRING, OMIT),
	JSON_FIELD(struct api_mount, bind_options, "BindOptions", JSON_POINTER,
                   .table = &mount_bind_table, OMIT),
	JSON_FIELD(struct api_mount, volume_options, "VolumeOptions", JSON_POINTER,
                   .table = &mount_volume_table, OMIT),
	JSON_FIELD(struct api_mount, tmpfs_options, "TmpfsOptions", JSON_POINTER,
                   .table = &mount_tmpfs_table, OMIT),
	JSON_FIELD(struct api_mount, image_options, "ImageOptions", JSON_RAW, OMIT),
	JSON_FIELD(struct api_mount, cluster_options, "ClusterOptions", JSON_RAW, OMIT),
	JSON_END,
};
const struct json_table api_mount_table = JSON_TABLE_STRICT(struct api_mount, mount_fields);

#define HOST(member, name, kind, ...)                                                              \
	JSON_FIELD(struct api_host_config, member, name, kind, ##__VA_ARGS__)
static const struct json_field host_config_fields[] = {
	HOST(binds, "Binds", JSON_STRINGS),
	HOST(container_id_file, "ContainerIDFile", JSON_STRING),
	HOST(log_config, "LogConfig", JSON_OBJECT, .table = &log_config_table),
	HOST(network_mode, "NetworkMode", JSON_STRING),
	HOST(port_bindings, "PortBindings", JSON_RAW, EMPTY),
	HOST(restart_policy, "RestartPolicy", JSON_OBJECT, .table = &api_restart_policy_table),
	HOST(auto_remove, "AutoRemove", JSON_BOOL),
	HOST(volume_driver, "VolumeDriver", JSON_STRING),
	HOST(volumes_from, "VolumesFrom", JSON_STRINGS),
	HOST(mounts, "Mounts", JSON_OBJECTS, .table = &api_mount_table, OMIT),
	HOST(console_size, "ConsoleSize", JSON_RAW),
	HOST(annotations, "Annotations", JSON_STRMAP, OMIT),
	HOST(cap_add, "CapAdd", JSON_STRINGS),
	HOST(cap_drop, "CapDrop", JSON_STRINGS),
	HOST(cgroupns_mode, "CgroupnsMode", JSON_STRING),
	HOST(dns, "Dns", JSON_STRINGS, EMPTY),
	HOST(dns_options, "DnsOptions", JSON_STRINGS, EMPTY),
	HOST(dns_search, "DnsSearch", JSON_STRINGS, EMPTY),
	HOST(extra_hosts, "ExtraHosts", JSON_STRINGS),
	HOST(group_add, "GroupAdd", JSON_STRINGS),
	HOST(ipc_mode, "IpcMode", JSON_STRING),
	HOST(cgroup, "Cgroup", JSON_STRING),
	HOST(links, "Links", JSON_STRINGS),
	HOST(oom_score_adj, "OomScoreAdj", JSON_INT),
	HOST(pid_mode, "PidMode", JSON_STRING),
	HOST(privileged, "Privileged", JSON_BOOL),
	HOST(publish_all_ports, "PublishAllPorts", JSON_BOOL),
	HOST(readonly_rootfs, "ReadonlyRootfs", JSON_BOOL),
	HOST(security_opt, "SecurityOpt", JSON_STRINGS),
	HOST(storage_opt, "StorageOpt", JSON_STRMAP, OMIT),
	HOST(tmpfs, "Tmpfs", JSON_STRMAP, OMIT),
	HOST(uts_mode, "UTSMode", JSON_STRING),
	HOST(userns_mode, "UsernsMode", JSON_STRING),
	HOST(shm_size, "ShmSize", JSON_INT),
	HOST(sysctls, "Sysctls", JSON_STRMAP, OMIT),
	HOST(runtime, "Runtime", JSON_STRING),
	HOST(isolation, "Isolation", JSON_STRING),
	HOST(cpu_shares, "CpuShares", JSON_INT),
	HOST(memory, "Memory", JSON_INT),
	HOST(nano_cpus, "NanoCpus", JSON_INT),
	HOST(cgroup_parent, "CgroupParent", JSON_STRING),
	HOST(blkio_weight, "BlkioWeight", JSON_INT),
	HOST(blkio_weight_device, "BlkioWeightDevice", JSON_RAW),
	HOST(blkio_device_read_bps, "BlkioDeviceReadBps", JSON_RAW),
	HOST(blkio_device_write_bps, "BlkioDeviceWriteBps", JSON_RAW),
	HOST(blkio_device_read_iops, "BlkioDeviceReadIOps", JSON_RAW),
	HOST(blkio_device_write_iops, "BlkioDeviceWriteIOps", JSON_RAW),
	HOST(cpu_period, "CpuPeriod", JSON_INT),
	HOST(cpu_quota, "CpuQuota", JSON_INT),
	HOST(cpu_realtime_period, "CpuRealtimePeriod", JSON_INT),
	HOST(cpu_realtime_runtime, "CpuRealtimeRuntime", JSON_INT),
	HOST(cpuset_cpus, "CpusetCpus", JSON_STRING),
	HOST(cpuset_mems, "CpusetMems", JSON_STRING),
	HOST(devices, "Devices", JSON_OBJECTS, .table = &device_table, EMPTY),
	HOST(device_cgroup_rules, "DeviceCgroupRules", JSON_STRINGS),
	HOST(device_requests, "DeviceRequests", JSON_RAW),
	HOST(kernel_memory, "KernelMemory", JSON_INT, OMIT),
	HOST(kernel_memory_tcp, "KernelMemoryTCP", JSON_INT, OMIT),
	HOST(memory_reservation, "MemoryReservation", JSON_INT),
	HOST(memory_swap, "MemorySwap", JSON_INT),
	HOST(memory_swappiness, "MemorySwappiness", JSON_RAW),
	HOST(oom_kill_disable, "OomKillDisable", JSON_RAW),
	HOST(pids_limit, "PidsLimit", JSON_RAW),
	HOST(init, "Init", JSON_RAW, OMIT),
	HOST(ulimits, "Ulimits", JSON_OBJECTS, .table = &ulimit_table, EMPTY),
	HOST(cpu_count, "CpuCount", JSON_INT),
	HOST(cpu_percent, "CpuPercent", JSON_INT),
	HOST(io_maximum_iops, "IOMaximumIOps", JSON_INT),
	HOST(io_maximum_bandwidth, "IOMaximumBandwidth", JSON_INT),
	HOST(masked_paths, "MaskedPaths", JSON_STRINGS),
	HOST(readonly_paths, "ReadonlyPaths", JSON_STRINGS),
	JSON_END,
};
const struct json_table api_host_config_table =
	JSON_TABLE_STRICT(struct api_host_config, host_config_fields);

static const struct json_field ipam_fields[] = {
	JSON_FIELD(struct api_ipam_config, ipv4_address, "IPv4Address", JSON_STRING, OMIT),
	JSON_FIELD(struct api_ipam_config, ipv6_address, "IPv6Address", JSON_STRING, OMIT),
	JSON_FIELD(struct api_ipam_config, link_local_ips, "LinkLocalIPs", JSON_STRINGS, OMIT),
	JSON_END,
};
static const struct json_table ipam_table = JSON_TABLE_STRICT(struct api_ipam_config, ipam_fields);

#define ENDPOINT(member, name, kind, ...)                                                          \
	JSON_FIELD(struct api_endpoint, member, name, kind, ##__VA_ARGS__)
static const struct json_field endpoint_fields[] = {
	ENDPOINT(ipam_config, "IPAMConfig", JSON_POINTER, .table = &ipam_table),
	ENDPOINT(links, "Links", JSON_STRINGS),
	ENDPOINT(aliases, "Aliases", JSON_STRINGS),
	ENDPOINT(mac_address, "MacAddress", JSON_STRING),
	ENDPOINT(driver_opts, "DriverOpts", JSON_STRMAP),
	ENDPOINT(gw_priority, "GwPriority", JSON_INT),
	ENDPOINT(network_id, "NetworkID", JSON_STRING),
	ENDPOINT(endpoint_id, "EndpointID", JSON_STRING),
	ENDPOINT(gateway, "Gateway", JSON_STRING),
	ENDPOINT(ip_address, "IPAddress", JSON_STRING),
	ENDPOINT(ip_prefix_len, "IPPrefixLen", JSON_INT),
	ENDPOINT(ipv6_gateway, "IPv6Gateway", JSON_STRING),
	ENDPOINT(global_ipv6_address, "GlobalIPv6Address", JSON_STRING),
	ENDPOINT(global_ipv6_prefix_len, "GlobalIPv6PrefixLen", JSON_INT),
	ENDPOINT(dns_names, "DNSNames", JSON_STRINGS),
	JSON_END,
};
const struct json_table api_endpoint_table = JSON_TABLE(struct api_endpoint, endpoint_fields);

#define EXEC(member, name, kind, ...)                                                              \
	JSON_FIELD(struct api_exec_create, member, name, kind, ##__VA_ARGS__)
static const struct json_field exec_create_fields[] = {
	EXEC(attach_stdin, "AttachStdin", JSON_BOOL),
	EXEC(attach_stdout, "AttachStdout", JSON_BOOL),
	EXEC(attach_stderr, "AttachStderr", JSON_BOOL),
	EXEC(tty, "Tty", JSON_BOOL),
	EXEC(privileged, "Privileged", JSON_BOOL),
	EXEC(console_size, "ConsoleSize", JSON_RAW),
	EXEC(detach_keys, "DetachKeys", JSON_STRING),
	EXEC(user, "User", JSON_STRING),
	EXEC(working_dir, "WorkingDir", JSON_STRING),
	EXEC(env, "Env", JSON_STRINGS),
	EXEC(cmd, "Cmd", JSON_STRINGS),
	JSON_END,
};
const struct json_table api_exec_create_table =
	JSON_TABLE(struct api_exec_create, exec_create_fields);

/* Docker takes "Cmd": "true" for "Cmd": ["true"]. */
static int listify(struct json *doc, const char *key, struct err *err)
{
	struct json *value = json_get(doc, key);

	if (!json_is_string(value))
		return 0;
	struct json *list = json_array();
	if (json_append(list, json_ref(value)) < 0 || json_set(doc, key, list) < 0)
		return err_nomem(err);
	return 0;
}

static int decode_endpoints(const struct json *map, struct arena *arena,
                            struct api_container_create *out, struct err *err)
{
	const char *network;
	struct json *value;
	size_t i = 0;

	if (!map || json_is_null(map))
		return 0;
	if (!json_is_object(map))
		return err_set(err, ERR_INVALID, "NetworkingConfig.EndpointsConfig: not an object");
	struct api_named_endpoint *list = arena_array(arena, json_count(map), sizeof(*list), err);
	if (!list)
		return -1;
	for (void *iter = NULL; json_next(map, &iter, &network, &value); i++) {
		list[i].network = arena_strdup(arena, network, err);
		if (!list[i].network)
			return -1;
		if (!json_is_null(value) &&
		    json_decode(value, &api_endpoint_table, arena, &list[i].endpoint, err) < 0)
			return err_wrap(err, "NetworkingConfig.EndpointsConfig.%s", network);
	}
	out->endpoints = list;
	out->endpoint_count = i;
	return 0;
}

int api_container_create_decode(struct json *doc, struct arena *arena,
                                struct api_container_create *out, struct err *err)
{
	const struct json *host = json_get(doc, "HostConfig");
	const struct json *networking = json_get(doc, "NetworkingConfig");

	if (listify(doc, "Cmd", err) < 0 || listify(doc, "Entrypoint", err) < 0)
		return -1;
	if (json_decode(doc, &api_config_table, arena, &out->config, err) < 0)
		return -1;
	if (host && !json_is_null(host) &&
	    json_decode(host, &api_host_config_table, arena, &out->host, err) < 0)
		return err_wrap(err, "HostConfig");
	if (networking && !json_is_null(networking) && !json_is_object(networking))
		return err_set(err, ERR_INVALID, "NetworkingConfig: not an object");
	return decode_endpoints(json_get(networking, "EndpointsConfig"), arena, out, err);
}

static void free_doc(void *doc)
{
	json_free(doc);
}

int api_container_create_parse(const char *text, size_t len, struct arena *arena,
                               struct api_container_create *out, struct err *err)
{
	struct json *doc = json_parse(text, len, err);

	if (!doc || arena_later(arena, free_doc, doc, err) < 0)
		return -1;
	if (!json_is_object(doc))
		return err_set(err, ERR_INVALID, "container config: not a JSON object");
	return api_container_create_decode(doc, arena, out, err);
}

int api_container_create_write(const struct api_container_create *create, struct buf *out,
                               struct err *err)
{
	auto_type(json) doc = json_encode(&api_config_table, &create->config, err);
	struct json *host = doc ? json_encode(&api_host_config_table, &create->host, err) : NULL;

	if (!host)
		return -1;
	if (json_set(doc, "HostConfig", host) < 0)
		return err_nomem(err);

	struct json *endpoints = json_object();
	struct json *networking = json_object();
	int bad = 0;
	for (size_t i = 0; i < create->endpoint_count; i++)
		bad |= json_set(
			endpoints, create->endpoints[i].network,
			json_encode(&api_endpoint_table, &create->endpoints[i].endpoint, err));
	bad |= json_set(networking, "EndpointsConfig", endpoints);
	bad |= json_set(doc, "NetworkingConfig", networking);
	if (bad < 0)
		return err_nomem(err);
	return json_write(doc, out, err);
}
