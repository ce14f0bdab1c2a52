/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/model.h"

#include <string.h>
#include <strings.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/id.h"
#include "base/str.h"

#define OMIT .empty = JSON_EMPTY_OMIT

static const char *const state_names[TASK_STATES] = {
	[TASK_NEW] = "new",           [TASK_PENDING] = "pending",     [TASK_ASSIGNED] = "assigned",
	[TASK_ACCEPTED] = "accepted", [TASK_PREPARING] = "preparing", [TASK_READY] = "ready",
	[TASK_STARTING] = "starting", [TASK_RUNNING] = "running",     [TASK_COMPLETE] = "complete",
	[TASK_SHUTDOWN] = "shutdown", [TASK_FAILED] = "failed",       [TASK_REJECTED] = "rejected",
	[TASK_REMOVE] = "remove",     [TASK_ORPHANED] = "orphaned",
};

/* ---- shared pieces ---- */

static const struct json_field version_fields[] = {
	JSON_FIELD(struct model_version, index, "Index", JSON_UINT),
	JSON_END,
};
const struct json_table model_version_table = JSON_TABLE(struct model_version, version_fields);

static const struct json_field resources_fields[] = {
	JSON_FIELD(struct model_resources, nano_cpus, "NanoCPUs", JSON_INT, OMIT),
	JSON_FIELD(struct model_resources, memory_bytes, "MemoryBytes", JSON_INT, OMIT),
	JSON_FIELD(struct model_resources, pids, "Pids", JSON_INT, OMIT),
	JSON_END,
};
const struct json_table model_resources_table =
	JSON_TABLE(struct model_resources, resources_fields);

static const struct json_field port_fields[] = {
	JSON_FIELD(struct model_port, name, "Name", JSON_STRING, OMIT),
	JSON_FIELD(struct model_port, protocol, "Protocol", JSON_STRING, OMIT),
	JSON_FIELD(struct model_port, target_port, "TargetPort", JSON_INT, OMIT),
	JSON_FIELD(struct model_port, published_port, "PublishedPort", JSON_INT, OMIT),
	JSON_FIELD(struct model_port, publish_mode, "PublishMode", JSON_STRING, OMIT),
	JSON_END,
};
const struct json_table model_port_table = JSON_TABLE(struct model_port, port_fields);

/* Every object begins alike. */
#define OBJECT_FIELDS(type)                                                                        \
	JSON_FIELD(type, id, "ID", JSON_STRING, .required = true),                                 \
		JSON_FIELD(type, version, "Version", JSON_OBJECT, .table = &model_version_table),  \
		JSON_FIELD(type, created_at, "CreatedAt", JSON_STRING),                            \
		JSON_FIELD(type, updated_at, "UpdatedAt", JSON_STRING)

/* ---- a service's spec ---- */

static const struct json_field requirements_fields[] = {
	JSON_FIELD(struct service_requirements, limits, "Limits", JSON_OBJECT,
                   .table = &model_resources_table),
	JSON_FIELD(struct service_requirements, reservations, "Reservations", JSON_OBJECT,
                   .table = &model_resources_table),
	JSON_END,
};
static const struct json_table requirements_table =
	JSON_TABLE(struct service_requirements, requirements_fields);

static const struct json_field restart_fields[] = {
	JSON_FIELD(struct service_restart, condition, "Condition", JSON_STRING),
	JSON_FIELD(struct service_restart, delay, "Delay", JSON_INT),
	JSON_FIELD(struct service_restart, max_attempts, "MaxAttempts", JSON_INT),
	JSON_FIELD(struct service_restart, window, "Window", JSON_INT),
	JSON_END,
};
static const struct json_table restart_table = JSON_TABLE(struct service_restart, restart_fields);

static const struct json_field spread_fields[] = {
	JSON_FIELD(struct service_spread, descriptor, "SpreadDescriptor", JSON_STRING),
	JSON_END,
};
static const struct json_table spread_table = JSON_TABLE(struct service_spread, spread_fields);

static const struct json_field preference_fields[] = {
	JSON_FIELD(struct service_preference, spread, "Spread", JSON_OBJECT,
                   .table = &spread_table),
	JSON_END,
};
static const struct json_table preference_table =
	JSON_TABLE(struct service_preference, preference_fields);

static const struct json_field placement_fields[] = {
	JSON_FIELD(struct service_placement, constraints, "Constraints", JSON_STRINGS),
	JSON_FIELD(struct service_placement, preferences, "Preferences", JSON_OBJECTS,
                   .table = &preference_table),
	JSON_FIELD(struct service_placement, max_replicas, "MaxReplicas", JSON_INT),
	JSON_END,
};
static const struct json_table placement_table =
	JSON_TABLE(struct service_placement, placement_fields);

static const struct json_field mount_fields[] = {
	JSON_FIELD(struct service_mount, type, "Type", JSON_STRING),
	JSON_FIELD(struct service_mount, source, "Source", JSON_STRING),
	JSON_FIELD(struct service_mount, target, "Target", JSON_STRING),
	JSON_FIELD(struct service_mount, read_only, "ReadOnly", JSON_BOOL),
	JSON_END,
};
static const struct json_table mount_table = JSON_TABLE(struct service_mount, mount_fields);

static const struct json_field health_fields[] = {
	JSON_FIELD(struct service_health, test, "Test", JSON_STRINGS),
	JSON_FIELD(struct service_health, interval, "Interval", JSON_INT),
	JSON_FIELD(struct service_health, timeout, "Timeout", JSON_INT),
	JSON_FIELD(struct service_health, start_period, "StartPeriod", JSON_INT),
	JSON_FIELD(struct service_health, start_interval, "StartInterval", JSON_INT),
	JSON_FIELD(struct service_health, retries, "Retries", JSON_INT),
	JSON_END,
};
static const struct json_table health_table = JSON_TABLE(struct service_health, health_fields);

static const struct json_field file_target_fields[] = {
	JSON_FIELD(struct service_file_target, name, "Name", JSON_STRING),
	JSON_FIELD(struct service_file_target, uid, "UID", JSON_STRING),
	JSON_FIELD(struct service_file_target, gid, "GID", JSON_STRING),
	JSON_FIELD(struct service_file_target, mode, "Mode", JSON_INT),
	JSON_END,
};
static const struct json_table file_target_table =
	JSON_TABLE(struct service_file_target, file_target_fields);

static const struct json_field secret_ref_fields[] = {
	JSON_FIELD(struct service_file, id, "SecretID", JSON_STRING),
	JSON_FIELD(struct service_file, name, "SecretName", JSON_STRING),
	JSON_FIELD(struct service_file, file, "File", JSON_OBJECT, .table = &file_target_table),
	JSON_END,
};
static const struct json_table secret_ref_table =
	JSON_TABLE(struct service_file, secret_ref_fields);

static const struct json_field config_ref_fields[] = {
	JSON_FIELD(struct service_file, id, "ConfigID", JSON_STRING),
	JSON_FIELD(struct service_file, name, "ConfigName", JSON_STRING),
	JSON_FIELD(struct service_file, file, "File", JSON_OBJECT, .table = &file_target_table),
	JSON_FIELD(struct service_file, runtime, "Runtime", JSON_RAW, OMIT),
	JSON_END,
};
static const struct json_table config_ref_table =
	JSON_TABLE(struct service_file, config_ref_fields);

static const struct json_field container_fields[] = {
	JSON_FIELD(struct service_container, image, "Image", JSON_STRING),
	JSON_FIELD(struct service_container, labels, "Labels", JSON_STRMAP),
	JSON_FIELD(struct service_container, command, "Command", JSON_STRINGS),
	JSON_FIELD(struct service_container, args, "Args", JSON_STRINGS),
	JSON_FIELD(struct service_container, hostname, "Hostname", JSON_STRING),
	JSON_FIELD(struct service_container, env, "Env", JSON_STRINGS),
	JSON_FIELD(struct service_container, dir, "Dir", JSON_STRING),
	JSON_FIELD(struct service_container, user, "User", JSON_STRING),
	JSON_FIELD(struct service_container, groups, "Groups", JSON_STRINGS),
	JSON_FIELD(struct service_container, tty, "TTY", JSON_BOOL),
	JSON_FIELD(struct service_container, open_stdin, "OpenStdin", JSON_BOOL),
	JSON_FIELD(struct service_container, read_only, "ReadOnly", JSON_BOOL),
	JSON_FIELD(struct service_container, mounts, "Mounts", JSON_OBJECTS, .table = &mount_table),
	JSON_FIELD(struct service_container, stop_signal, "StopSignal", JSON_STRING),
	JSON_FIELD(struct service_container, stop_grace, "StopGracePeriod", JSON_INT),
	JSON_FIELD(struct service_container, health, "Healthcheck", JSON_POINTER,
                   .table = &health_table),
	JSON_FIELD(struct service_container, hosts, "Hosts", JSON_STRINGS),
	JSON_FIELD(struct service_container, dns, "DNSConfig", JSON_RAW),
	JSON_FIELD(struct service_container, cap_add, "CapabilityAdd", JSON_STRINGS),
	JSON_FIELD(struct service_container, cap_drop, "CapabilityDrop", JSON_STRINGS),
	JSON_FIELD(struct service_container, init, "Init", JSON_RAW),
	JSON_FIELD(struct service_container, sysctls, "Sysctls", JSON_STRMAP),
	JSON_FIELD(struct service_container, ulimits, "Ulimits", JSON_RAW),
	JSON_FIELD(struct service_container, privileges, "Privileges", JSON_RAW),
	JSON_FIELD(struct service_container, secrets, "Secrets", JSON_OBJECTS,
                   .table = &secret_ref_table),
	JSON_FIELD(struct service_container, configs, "Configs", JSON_OBJECTS,
                   .table = &config_ref_table),
	JSON_FIELD(struct service_container, isolation, "Isolation", JSON_STRING),
	JSON_END,
};
static const struct json_table container_table =
	JSON_TABLE(struct service_container, container_fields);

static const struct json_field network_ref_fields[] = {
	JSON_FIELD(struct service_network, target, "Target", JSON_STRING),
	JSON_FIELD(struct service_network, aliases, "Aliases", JSON_STRINGS),
	JSON_END,
};
static const struct json_table network_ref_table =
	JSON_TABLE(struct service_network, network_ref_fields);

static const struct json_field service_task_fields[] = {
	JSON_FIELD(struct service_task, container, "ContainerSpec", JSON_OBJECT,
                   .table = &container_table),
	JSON_FIELD(struct service_task, resources, "Resources", JSON_OBJECT,
                   .table = &requirements_table),
	JSON_FIELD(struct service_task, restart, "RestartPolicy", JSON_OBJECT,
                   .table = &restart_table),
	JSON_FIELD(struct service_task, placement, "Placement", JSON_OBJECT,
                   .table = &placement_table),
	JSON_FIELD(struct service_task, networks, "Networks", JSON_OBJECTS,
                   .table = &network_ref_table),
	JSON_FIELD(struct service_task, force_update, "ForceUpdate", JSON_INT),
	JSON_FIELD(struct service_task, runtime, "Runtime", JSON_STRING),
	JSON_FIELD(struct service_task, log_driver, "LogDriver", JSON_RAW),
	JSON_END,
};
const struct json_table service_task_table = JSON_TABLE(struct service_task, service_task_fields);

static const struct json_field update_config_fields[] = {
	JSON_FIELD(struct service_update_config, parallelism, "Parallelism", JSON_INT),
	JSON_FIELD(struct service_update_config, delay, "Delay", JSON_INT),
	JSON_FIELD(struct service_update_config, failure_action, "FailureAction", JSON_STRING),
	JSON_FIELD(struct service_update_config, monitor, "Monitor", JSON_INT),
	JSON_FIELD(struct service_update_config, max_failure_ratio, "MaxFailureRatio", JSON_DOUBLE),
	JSON_FIELD(struct service_update_config, order, "Order", JSON_STRING),
	JSON_END,
};
static const struct json_table update_config_table =
	JSON_TABLE(struct service_update_config, update_config_fields);

static const struct json_field endpoint_spec_fields[] = {
	JSON_FIELD(struct service_endpoint_spec, mode, "Mode", JSON_STRING),
	JSON_FIELD(struct service_endpoint_spec, ports, "Ports", JSON_OBJECTS,
                   .table = &model_port_table),
	JSON_END,
};
static const struct json_table endpoint_spec_table =
	JSON_TABLE(struct service_endpoint_spec, endpoint_spec_fields);

static const struct json_field service_spec_fields[] = {
	JSON_FIELD(struct service_spec, name, "Name", JSON_STRING),
	JSON_FIELD(struct service_spec, labels, "Labels", JSON_STRMAP),
	JSON_FIELD(struct service_spec, task, "TaskTemplate", JSON_OBJECT,
                   .table = &service_task_table),
	JSON_FIELD(struct service_spec, mode_raw, "Mode", JSON_RAW),
	JSON_FIELD(struct service_spec, update, "UpdateConfig", JSON_OBJECT,
                   .table = &update_config_table),
	JSON_FIELD(struct service_spec, rollback, "RollbackConfig", JSON_OBJECT,
                   .table = &update_config_table),
	JSON_FIELD(struct service_spec, endpoint, "EndpointSpec", JSON_OBJECT,
                   .table = &endpoint_spec_table),
	JSON_FIELD(struct service_spec, networks, "Networks", JSON_OBJECTS,
                   .table = &network_ref_table),
	JSON_END,
};
const struct json_table service_spec_table = JSON_TABLE(struct service_spec, service_spec_fields);

/* ---- service ---- */

static const struct json_field vip_fields[] = {
	JSON_FIELD(struct service_vip, network_id, "NetworkID", JSON_STRING),
	JSON_FIELD(struct service_vip, addr, "Addr", JSON_STRING),
	JSON_END,
};
static const struct json_table vip_table = JSON_TABLE(struct service_vip, vip_fields);

static const struct json_field endpoint_fields[] = {
	JSON_FIELD(struct service_endpoint, spec, "Spec", JSON_RAW, OMIT),
	JSON_FIELD(struct service_endpoint, ports, "Ports", JSON_OBJECTS,
                   .table = &model_port_table, OMIT),
	JSON_FIELD(struct service_endpoint, virtual_ips, "VirtualIPs", JSON_OBJECTS,
                   .table = &vip_table, OMIT),
	JSON_END,
};
const struct json_table service_endpoint_table =
	JSON_TABLE(struct service_endpoint, endpoint_fields);

static const struct json_field update_status_fields[] = {
	JSON_FIELD(struct service_update_status, state, "State", JSON_STRING, OMIT),
	JSON_FIELD(struct service_update_status, started_at, "StartedAt", JSON_STRING, OMIT),
	JSON_FIELD(struct service_update_status, completed_at, "CompletedAt", JSON_STRING, OMIT),
	JSON_FIELD(struct service_update_status, message, "Message", JSON_STRING, OMIT),
	JSON_END,
};
static const struct json_table update_status_table =
	JSON_TABLE(struct service_update_status, update_status_fields);

static const struct json_field service_fields[] = {
	OBJECT_FIELDS(struct service),
	JSON_FIELD(struct service, spec_raw, "Spec", JSON_RAW, .required = true),
	JSON_FIELD(struct service, previous_raw, "PreviousSpec", JSON_RAW, OMIT),
	JSON_FIELD(struct service, endpoint, "Endpoint", JSON_OBJECT,
                   .table = &service_endpoint_table),
	JSON_FIELD(struct service, update_status, "UpdateStatus", JSON_POINTER,
                   .table = &update_status_table, OMIT),
	JSON_FIELD(struct service, spec_version, "SpecVersion", JSON_INT),
	JSON_FIELD(struct service, previous_version, "PreviousSpecVersion", JSON_INT, OMIT),
	JSON_FIELD(struct service, newest_version, "NewestSpecVersion", JSON_INT, OMIT),
	JSON_FIELD(struct service, last_execution, "LastExecution", JSON_STRING, OMIT),
	JSON_END,
};
const struct json_table service_table = JSON_TABLE(struct service, service_fields);

/* ---- network ---- */

static const struct json_field network_driver_fields[] = {
	JSON_FIELD(struct network_driver, name, "Name", JSON_STRING),
	JSON_FIELD(struct network_driver, options, "Options", JSON_STRMAP, OMIT),
	JSON_END,
};
static const struct json_table network_driver_table =
	JSON_TABLE(struct network_driver, network_driver_fields);

static const struct json_field network_spec_fields[] = {
	JSON_FIELD(struct network_spec, name, "Name", JSON_STRING, .required = true),
	JSON_FIELD(struct network_spec, labels, "Labels", JSON_STRMAP, .empty = JSON_EMPTY_EMPTY),
	JSON_FIELD(struct network_spec, driver, "DriverConfiguration", JSON_OBJECT,
                   .table = &network_driver_table),
	JSON_FIELD(struct network_spec, internal, "Internal", JSON_BOOL, OMIT),
	JSON_FIELD(struct network_spec, attachable, "Attachable", JSON_BOOL, OMIT),
	JSON_END,
};
const struct json_table network_spec_table = JSON_TABLE(struct network_spec, network_spec_fields);

static const struct json_field attachment_fields[] = {
	JSON_FIELD(struct network_attachment, id, "ID", JSON_STRING, OMIT),
	JSON_FIELD(struct network_attachment, container_id, "ContainerID", JSON_STRING),
	JSON_FIELD(struct network_attachment, node_id, "NodeID", JSON_STRING),
	JSON_FIELD(struct network_attachment, address, "Address", JSON_STRING),
	JSON_FIELD(struct network_attachment, names, "Names", JSON_STRINGS, OMIT),
	JSON_END,
};
static const struct json_table attachment_table =
	JSON_TABLE(struct network_attachment, attachment_fields);

static const struct json_field network_fields[] = {
	OBJECT_FIELDS(struct network),
	JSON_FIELD(struct network, spec, "Spec", JSON_OBJECT, .table = &network_spec_table),
	JSON_FIELD(struct network, subnet, "Subnet", JSON_STRING, .required = true),
	JSON_FIELD(struct network, gateway, "Gateway", JSON_STRING, .required = true),
	JSON_FIELD(struct network, vni, "VNI", JSON_INT, .required = true),
	JSON_FIELD(struct network, attachments, "Attachments", JSON_OBJECTS,
                   .table = &attachment_table, OMIT),
	JSON_END,
};
const struct json_table network_table = JSON_TABLE(struct network, network_fields);

static const struct json_field task_network_fields[] = {
	JSON_FIELD(struct task_network, network, "Network", JSON_OBJECT, .table = &network_table),
	JSON_FIELD(struct task_network, addresses, "Addresses", JSON_STRINGS),
	JSON_END,
};
static const struct json_table task_network_table =
	JSON_TABLE(struct task_network, task_network_fields);

/* ---- task ---- */

static const struct json_field task_container_fields[] = {
	JSON_FIELD(struct task_container, container_id, "ContainerID", JSON_STRING),
	JSON_FIELD(struct task_container, pid, "PID", JSON_INT),
	JSON_FIELD(struct task_container, exit_code, "ExitCode", JSON_INT),
	JSON_END,
};
static const struct json_table task_container_table =
	JSON_TABLE(struct task_container, task_container_fields);

static const struct json_field task_ports_fields[] = {
	JSON_FIELD(struct task_ports, ports, "Ports", JSON_OBJECTS, .table = &model_port_table,
                   OMIT),
	JSON_END,
};
static const struct json_table task_ports_table = JSON_TABLE(struct task_ports, task_ports_fields);

static const struct json_field task_status_fields[] = {
	JSON_FIELD(struct task_status, timestamp, "Timestamp", JSON_STRING, OMIT),
	JSON_FIELD(struct task_status, state_name, "State", JSON_STRING, .required = true),
	JSON_FIELD(struct task_status, message, "Message", JSON_STRING, OMIT),
	JSON_FIELD(struct task_status, error, "Err", JSON_STRING, OMIT),
	JSON_FIELD(struct task_status, container, "ContainerStatus", JSON_POINTER,
                   .table = &task_container_table, OMIT),
	JSON_FIELD(struct task_status, ports, "PortStatus", JSON_OBJECT,
                   .table = &task_ports_table),
	JSON_FIELD(struct task_status, address, "Address", JSON_STRING, OMIT),
	JSON_END,
};
const struct json_table task_status_table = JSON_TABLE(struct task_status, task_status_fields);

static const struct json_field task_fields[] = {
	OBJECT_FIELDS(struct task),
	JSON_FIELD(struct task, labels, "Labels", JSON_STRMAP, .empty = JSON_EMPTY_EMPTY),
	JSON_FIELD(struct task, spec_raw, "Spec", JSON_RAW, .required = true),
	JSON_FIELD(struct task, service_id, "ServiceID", JSON_STRING, OMIT),
	JSON_FIELD(struct task, service_name, "ServiceName", JSON_STRING, OMIT),
	JSON_FIELD(struct task, slot, "Slot", JSON_INT, OMIT),
	JSON_FIELD(struct task, node_id, "NodeID", JSON_STRING, OMIT),
	JSON_FIELD(struct task, status, "Status", JSON_OBJECT, .table = &task_status_table),
	JSON_FIELD(struct task, desired_name, "DesiredState", JSON_STRING, .required = true),
	JSON_FIELD(struct task, networks, "NetworksAttachments", JSON_OBJECTS,
                   .table = &task_network_table, OMIT),
	JSON_FIELD(struct task, ports, "EndpointPorts", JSON_OBJECTS, .table = &model_port_table,
                   OMIT),
	JSON_FIELD(struct task, spec_version, "SpecVersion", JSON_INT, OMIT),
	JSON_FIELD(struct task, restarts, "Restarts", JSON_INT, OMIT),
	JSON_FIELD(struct task, restarts_since, "RestartsSince", JSON_STRING, OMIT),
	JSON_FIELD(struct task, generation, "Generation", JSON_INT, OMIT),
	JSON_FIELD(struct task, job_iteration, "JobIteration", JSON_POINTER,
                   .table = &model_version_table, OMIT),
	JSON_FIELD(struct task, done, "Done", JSON_BOOL, OMIT),
	JSON_FIELD(struct task, held, "Held", JSON_BOOL, OMIT),
	JSON_FIELD(struct task, displaced, "Displaced", JSON_STRING, OMIT),
	JSON_END,
};
const struct json_table task_table = JSON_TABLE(struct task, task_fields);

/* ---- node ---- */

static const struct json_field node_spec_fields[] = {
	JSON_FIELD(struct node_spec, name, "Name", JSON_STRING, OMIT),
	JSON_FIELD(struct node_spec, labels, "Labels", JSON_STRMAP, .empty = JSON_EMPTY_EMPTY),
	JSON_FIELD(struct node_spec, role, "Role", JSON_STRING),
	JSON_FIELD(struct node_spec, availability, "Availability", JSON_STRING),
	JSON_END,
};
const struct json_table node_spec_table = JSON_TABLE(struct node_spec, node_spec_fields);

static const struct json_field platform_fields[] = {
	JSON_FIELD(struct node_platform, architecture, "Architecture", JSON_STRING, OMIT),
	JSON_FIELD(struct node_platform, os, "OS", JSON_STRING, OMIT),
	JSON_END,
};
static const struct json_table platform_table = JSON_TABLE(struct node_platform, platform_fields);

static const struct json_field engine_fields[] = {
	JSON_FIELD(struct node_engine, version, "EngineVersion", JSON_STRING, OMIT),
	JSON_FIELD(struct node_engine, labels, "Labels", JSON_STRMAP, OMIT),
	JSON_FIELD(struct node_engine, plugins, "Plugins", JSON_RAW, OMIT),
	JSON_END,
};
static const struct json_table engine_table = JSON_TABLE(struct node_engine, engine_fields);

static const struct json_field description_fields[] = {
	JSON_FIELD(struct node_description, hostname, "Hostname", JSON_STRING, OMIT),
	JSON_FIELD(struct node_description, platform, "Platform", JSON_OBJECT,
                   .table = &platform_table),
	JSON_FIELD(struct node_description, resources, "Resources", JSON_OBJECT,
                   .table = &model_resources_table),
	JSON_FIELD(struct node_description, engine, "Engine", JSON_OBJECT, .table = &engine_table),
	JSON_FIELD(struct node_description, tls, "TLSInfo", JSON_RAW, OMIT),
	JSON_END,
};
const struct json_table node_description_table =
	JSON_TABLE(struct node_description, description_fields);

static const struct json_field node_status_fields[] = {
	JSON_FIELD(struct node_status, state, "State", JSON_STRING),
	JSON_FIELD(struct node_status, message, "Message", JSON_STRING, OMIT),
	JSON_FIELD(struct node_status, addr, "Addr", JSON_STRING, OMIT),
	JSON_END,
};
static const struct json_table node_status_table =
	JSON_TABLE(struct node_status, node_status_fields);

static const struct json_field manager_fields[] = {
	JSON_FIELD(struct node_manager, leader, "Leader", JSON_BOOL, OMIT),
	JSON_FIELD(struct node_manager, reachability, "Reachability", JSON_STRING),
	JSON_FIELD(struct node_manager, addr, "Addr", JSON_STRING),
	JSON_END,
};
static const struct json_table manager_table = JSON_TABLE(struct node_manager, manager_fields);

static const struct json_field node_fields[] = {
	OBJECT_FIELDS(struct node),
	JSON_FIELD(struct node, spec, "Spec", JSON_OBJECT, .table = &node_spec_table),
	JSON_FIELD(struct node, description, "Description", JSON_OBJECT,
                   .table = &node_description_table),
	JSON_FIELD(struct node, status, "Status", JSON_OBJECT, .table = &node_status_table),
	JSON_FIELD(struct node, manager, "ManagerStatus", JSON_POINTER, .table = &manager_table,
                   OMIT),
	JSON_END,
};
const struct json_table node_table = JSON_TABLE(struct node, node_fields);

/* ---- cluster ---- */

static const struct json_field tokens_fields[] = {
	JSON_FIELD(struct cluster_tokens, worker, "Worker", JSON_STRING),
	JSON_FIELD(struct cluster_tokens, manager, "Manager", JSON_STRING),
	JSON_END,
};
static const struct json_table tokens_table = JSON_TABLE(struct cluster_tokens, tokens_fields);

static const struct json_field cluster_fields[] = {
	OBJECT_FIELDS(struct cluster),
	JSON_FIELD(struct cluster, spec_raw, "Spec", JSON_RAW),
	JSON_FIELD(struct cluster, tls, "TLSInfo", JSON_RAW),
	JSON_FIELD(struct cluster, tokens, "JoinTokens", JSON_OBJECT, .table = &tokens_table),
	JSON_FIELD(struct cluster, secret, "Secret", JSON_RAW, OMIT),
	JSON_END,
};
const struct json_table cluster_table = JSON_TABLE(struct cluster, cluster_fields);

static const struct json_field secret_spec_fields[] = {
	JSON_FIELD(struct secret_spec, name, "Name", JSON_STRING),
	JSON_FIELD(struct secret_spec, labels, "Labels", JSON_STRMAP, .empty = JSON_EMPTY_EMPTY),
	JSON_FIELD(struct secret_spec, driver, "Driver", JSON_RAW, OMIT),
	JSON_FIELD(struct secret_spec, templating, "Templating", JSON_RAW, OMIT),
	JSON_END,
};
const struct json_table secret_spec_table = JSON_TABLE(struct secret_spec, secret_spec_fields);

static const struct json_field secret_fields[] = {
	OBJECT_FIELDS(struct secret),
	JSON_FIELD(struct secret, spec, "Spec", JSON_OBJECT, .table = &secret_spec_table),
	JSON_FIELD(struct secret, sealed, "Sealed", JSON_STRING, OMIT),
	JSON_END,
};
const struct json_table secret_table = JSON_TABLE(struct secret, secret_fields);

/* ---- states ---- */

const char *task_state_name(enum task_state state)
{
	return state < TASK_STATES ? state_names[state] : "unknown";
}

int task_state_parse(const char *name, enum task_state *state, struct err *err)
{
	for (size_t i = 0; name && i < TASK_STATES; i++)
		if (strcmp(name, state_names[i]) == 0) {
			*state = (enum task_state)i;
			return 0;
		}
	return err_set(err, ERR_INVALID,
	               "task state \"%s\": must be one of new, pending, assigned, accepted, "
	               "preparing, ready, starting, running, complete, shutdown, failed, rejected, "
	               "remove, orphaned",
	               name ? name : "");
}

/* The names are constants that nobody writes through the pointer. */
void task_set_state(struct task_status *status, enum task_state state)
{
	status->state = state;
	status->state_name = (char *)state_names[state];
}

void task_set_desired(struct task *task, enum task_state desired)
{
	task->desired = desired;
	task->desired_name = (char *)state_names[desired];
}

/* ---- decoding ---- */

static void set_task_defaults(struct service_task *task)
{
	task->restart.delay = SERVICE_UNSET;
	task->container.stop_grace = SERVICE_UNSET;
}

int service_task_decode(struct json *raw, struct arena *arena, struct service_task *task,
                        struct err *err)
{
	*task = (struct service_task){0};
	set_task_defaults(task);
	return json_decode(raw, &service_task_table, arena, task, err);
}

const char *service_mode_name(enum service_mode mode)
{
	static const char *const names[] = {
		[SERVICE_REPLICATED] = "replicated",
		[SERVICE_GLOBAL] = "global",
		[SERVICE_REPLICATED_JOB] = "replicated-job",
		[SERVICE_GLOBAL_JOB] = "global-job",
	};

	return names[mode];
}

/* The Python SDK writes "replicated", and Docker takes keys in any case. */
static const struct json *mode_part(const struct json *mode, const char *name)
{
	struct json *value;
	const char *key;

	for (void *iter = NULL; json_next(mode, &iter, &key, &value);)
		if (strcasecmp(key, name) == 0)
			return value;
	return NULL;
}

static enum service_mode mode_of(const struct json *mode)
{
	if (json_is_object(mode_part(mode, "Global")))
		return SERVICE_GLOBAL;
	if (json_is_object(mode_part(mode, "ReplicatedJob")))
		return SERVICE_REPLICATED_JOB;
	if (json_is_object(mode_part(mode, "GlobalJob")))
		return SERVICE_GLOBAL_JOB;
	return SERVICE_REPLICATED;
}

static int64_t priority_of(const struct json_strmap *labels)
{
	int64_t priority = 0;

	for (size_t i = 0; i < labels->count; i++)
		if (str_eq(labels->items[i].key, SERVICE_PRIORITY) &&
		    id_parse_int(labels->items[i].value, SERVICE_PRIORITY, -SERVICE_PRIORITY_MAX,
		                 SERVICE_PRIORITY_MAX, &priority, NULL) < 0)
			return 0; /* service_spec_check() refuses it */
	return priority;
}

static bool rebalances(const struct json_strmap *labels)
{
	for (size_t i = 0; i < labels->count; i++)
		if (str_eq(labels->items[i].key, SERVICE_REBALANCE))
			return str_eq(labels->items[i].value, "true");
	return false;
}

int service_spec_decode(struct json *raw, struct arena *arena, struct service_spec *spec,
                        struct err *err)
{
	*spec = (struct service_spec){0};
	set_task_defaults(&spec->task);
	spec->update.monitor = spec->rollback.monitor = SERVICE_UNSET;
	spec->update.parallelism = spec->rollback.parallelism = 1;
	if (json_decode(raw, &service_spec_table, arena, spec, err) < 0)
		return -1;
	spec->mode = mode_of(spec->mode_raw);
	spec->replicas = json_get_int(mode_part(spec->mode_raw, "Replicated"), "Replicas", 1);
	if (spec->mode == SERVICE_REPLICATED_JOB) {
		const struct json *job = mode_part(spec->mode_raw, "ReplicatedJob");

		spec->max_concurrent = json_get_int(job, "MaxConcurrent", 1);
		spec->replicas = json_get_int(job, "TotalCompletions",
		                              spec->max_concurrent > 0 ? spec->max_concurrent : 1);
	}
	spec->priority = priority_of(&spec->labels);
	spec->rebalance = rebalances(&spec->labels);
	spec->raw = raw;
	spec->task_raw = json_get(raw, "TaskTemplate");
	return 0;
}

struct service *service_decode(const char *text, size_t len, struct arena *arena, struct err *err)
{
	struct service *s = arena_alloc(arena, sizeof(*s), err);

	if (!s || json_decode_text(text, len, &service_table, arena, s, err) < 0)
		return NULL;
	return service_spec_decode(s->spec_raw, arena, &s->spec, err) < 0 ? NULL : s;
}

struct task *task_decode(const char *text, size_t len, struct arena *arena, struct err *err)
{
	struct task *t = arena_alloc(arena, sizeof(*t), err);

	if (!t || json_decode_text(text, len, &task_table, arena, t, err) < 0 ||
	    task_state_parse(t->status.state_name, &t->status.state, err) < 0 ||
	    task_state_parse(t->desired_name, &t->desired, err) < 0)
		return NULL;
	return service_task_decode(t->spec_raw, arena, &t->spec, err) < 0 ? NULL : t;
}

struct node *node_decode(const char *text, size_t len, struct arena *arena, struct err *err)
{
	struct node *n = arena_alloc(arena, sizeof(*n), err);

	if (!n || json_decode_text(text, len, &node_table, arena, n, err) < 0)
		return NULL;
	return n;
}

struct cluster *cluster_decode(const char *text, size_t len, struct arena *arena, struct err *err)
{
	struct cluster *c = arena_alloc(arena, sizeof(*c), err);

	if (!c || json_decode_text(text, len, &cluster_table, arena, c, err) < 0)
		return NULL;
	return c;
}

struct network *network_decode(const char *text, size_t len, struct arena *arena, struct err *err)
{
	struct network *n = arena_alloc(arena, sizeof(*n), err);

	if (!n || json_decode_text(text, len, &network_table, arena, n, err) < 0)
		return NULL;
	return n;
}

struct secret *secret_decode(const char *text, size_t len, struct arena *arena, struct err *err)
{
	struct secret *s = arena_alloc(arena, sizeof(*s), err);

	if (!s || json_decode_text(text, len, &secret_table, arena, s, err) < 0)
		return NULL;
	return s;
}

/* ---- what a spec leaves out ---- */

int64_t service_restart_delay_ms(const struct service_restart *restart)
{
	return restart->delay == SERVICE_UNSET ? 5000 : restart->delay / 1000000;
}

bool service_restart_wanted(const struct service_restart *restart, enum task_state ended)
{
	if (str_empty(restart->condition) || str_eq(restart->condition, "any"))
		return true;
	if (str_eq(restart->condition, "none"))
		return false;
	return ended != TASK_COMPLETE; /* on-failure */
}
