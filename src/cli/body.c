/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/body.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/id.h"
#include "base/str.h"
#include "cli/spec.h"
#include "cli/terminal.h"

/* A flag that goes as it is into a key. */
struct plain {
	const char *flag, *key;
};

static void set_strings(const struct args *args, const struct plain *table, size_t count,
                        struct json *out)
{
	for (size_t i = 0; i < count; i++)
		if (args_has(args, table[i].flag))
			json_set(out, table[i].key, json_string(args_string(args, table[i].flag)));
}

static void set_lists(const struct args *args, const struct plain *table, size_t count,
                      struct json *out)
{
	for (size_t i = 0; i < count; i++)
		if (args_has(args, table[i].flag))
			json_set(out, table[i].key, spec_list(args, table[i].flag));
}

static void set_ints(const struct args *args, const struct plain *table, size_t count,
                     struct json *out)
{
	for (size_t i = 0; i < count; i++)
		if (args_has(args, table[i].flag))
			json_set(out, table[i].key, json_int(args_int(args, table[i].flag, 0)));
}

static void set_bools(const struct args *args, const struct plain *table, size_t count,
                      struct json *out)
{
	for (size_t i = 0; i < count; i++)
		if (args_has(args, table[i].flag))
			json_set(out, table[i].key, json_bool(args_bool(args, table[i].flag)));
}

static int set_sizes(const struct args *args, struct json *host, struct err *err)
{
	static const struct plain sizes[] = {{"memory", "Memory"},
	                                     {"memory-reservation", "MemoryReservation"},
	                                     {"memory-swap", "MemorySwap"},
	                                     {"shm-size", "ShmSize"}};

	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		const char *text = args_string(args, sizes[i].flag);
		int64_t bytes = -1;
		if (!text)
			continue;
		if (!(str_eq(text, "-1") && str_eq(sizes[i].flag, "memory-swap")) &&
		    id_parse_size(text, &bytes, err) < 0)
			return err_wrap(err, "--%s", sizes[i].flag);
		json_set(host, sizes[i].key, json_int(bytes));
	}
	if (args_has(args, "cpus")) {
		int64_t nano;
		if (spec_cpus(args_string(args, "cpus"), &nano, err) < 0)
			return -1;
		json_set(host, "NanoCpus", json_int(nano));
	}
	return 0;
}

/* KEY=VALUE flags as an object of strings. */
static int set_map(const struct args *args, const char *flag, const char *key, struct json *out,
                   struct err *err)
{
	size_t count = args_count(args, flag);
	auto_type(json) map = json_object();

	for (size_t i = 0; i < count; i++)
		if (spec_label(args_at(args, flag, i), map, err) < 0)
			return err_wrap(err, "--%s", flag);
	return count ? json_set(out, key, json_ref(map)) : 0;
}

static int set_env(const struct args *args, struct json *config, struct err *err)
{
	auto_type(json) list = json_array();

	for (size_t i = 0; i < args_count(args, "env-file"); i++)
		if (spec_env_file(args_at(args, "env-file", i), list, err) < 0)
			return -1;
	for (size_t i = 0; i < args_count(args, "env"); i++)
		if (spec_env(args_at(args, "env", i), list, err) < 0)
			return -1;
	return json_count(list) ? json_set(config, "Env", json_ref(list)) : 0;
}

static int set_ports(const struct args *args, struct json *config, struct json *host,
                     struct err *err)
{
	auto_type(json) exposed = json_object();
	auto_type(json) bindings = json_object();
	auto_type(json) unbound = json_object();

	for (size_t i = 0; i < args_count(args, "publish"); i++)
		if (spec_port(args_at(args, "publish", i), exposed, bindings, err) < 0)
			return -1;
	for (size_t i = 0; i < args_count(args, "expose"); i++)
		if (spec_port(args_at(args, "expose", i), exposed, unbound, err) < 0)
			return -1;
	if (json_count(exposed))
		json_set(config, "ExposedPorts", json_ref(exposed));
	if (json_count(bindings))
		json_set(host, "PortBindings", json_ref(bindings));
	return 0;
}

static int set_tmpfs(const struct args *args, struct json *host, struct err *err)
{
	size_t count = args_count(args, "tmpfs");
	struct json *map = count ? json_object() : NULL;

	for (size_t i = 0; i < count; i++) {
		const char *text = args_at(args, "tmpfs", i);
		const char *colon = strchr(text, ':');
		char path[4096];
		snprintf(path, sizeof(path), "%.*s",
		         (int)(colon ? colon - text : (int)strlen(text)), text);
		json_set(map, path, json_string(colon ? colon + 1 : ""));
	}
	(void)err;
	return count ? json_set(host, "Tmpfs", map) : 0;
}

static int set_mounts(const struct args *args, struct json *config, struct json *host,
                      struct err *err)
{
	auto_type(json) binds = json_array();
	auto_type(json) volumes = json_object();
	auto_type(json) mounts = json_array();

	for (size_t i = 0; i < args_count(args, "volume"); i++)
		if (spec_volume(args_at(args, "volume", i), binds, volumes, err) < 0)
			return -1;
	for (size_t i = 0; i < args_count(args, "mount"); i++) {
		struct json *mount = spec_mount(args_at(args, "mount", i), err);
		if (!mount)
			return -1;
		json_append(mounts, mount);
	}
	if (json_count(binds))
		json_set(host, "Binds", json_ref(binds));
	if (json_count(volumes))
		json_set(config, "Volumes", json_ref(volumes));
	if (json_count(mounts))
		json_set(host, "Mounts", json_ref(mounts));
	return set_tmpfs(args, host, err);
}

static int set_ulimits(const struct args *args, struct json *host, struct err *err)
{
	auto_type(json) list = json_array();

	for (size_t i = 0; i < args_count(args, "ulimit"); i++) {
		struct json *limit = spec_ulimit(args_at(args, "ulimit", i), err);
		if (!limit)
			return -1;
		json_append(list, limit);
	}
	return json_count(list) ? json_set(host, "Ulimits", json_ref(list)) : 0;
}

/* "/dev/a", "/dev/a:/dev/b", "/dev/a:/dev/b:r", "/dev/a:r". */
static void set_devices(const struct args *args, struct json *host)
{
	size_t count = args_count(args, "device");
	struct json *list = count ? json_array() : NULL;

	for (size_t i = 0; i < count; i++) {
		char text[1024], *save = NULL;
		snprintf(text, sizeof(text), "%s", args_at(args, "device", i));
		const char *source = strtok_r(text, ":", &save);
		const char *target = strtok_r(NULL, ":", &save);
		const char *mode = strtok_r(NULL, ":", &save);
		if (target && *target != '/' && !mode) {
			mode = target;
			target = NULL;
		}
		struct json *device = json_object();
		json_set(device, "PathOnHost", json_string(source ? source : ""));
		json_set(device, "PathInContainer",
		         json_string(target   ? target
		                     : source ? source
		                              : ""));
		json_set(device, "CgroupPermissions", json_string(mode ? mode : "rwm"));
		json_append(list, device);
	}
	if (list)
		json_set(host, "Devices", list);
}

static int set_duration(const struct args *args, const char *flag, const char *key,
                        struct json *out, struct err *err)
{
	int64_t ns;

	if (!args_has(args, flag))
		return 0;
	if (clock_parse_duration(args_string(args, flag), &ns, err) < 0)
		return err_wrap(err, "--%s", flag);
	return json_set(out, key, json_int(ns));
}

static int set_health(const struct args *args, struct json *config, struct err *err)
{
	auto_type(json) health = json_object();
	struct json *test = json_array();

	if (args_bool(args, "no-healthcheck")) {
		json_append(test, json_string("NONE"));
	} else if (args_has(args, "health-cmd")) {
		json_append(test, json_string("CMD-SHELL"));
		json_append(test, json_string(args_string(args, "health-cmd")));
	}
	if (json_count(test))
		json_set(health, "Test", test);
	else
		json_free(test);
	if (set_duration(args, "health-interval", "Interval", health, err) < 0 ||
	    set_duration(args, "health-timeout", "Timeout", health, err) < 0 ||
	    set_duration(args, "health-start-period", "StartPeriod", health, err) < 0)
		return -1;
	if (args_has(args, "health-retries"))
		json_set(health, "Retries", json_int(args_int(args, "health-retries", 0)));
	return json_count(health) ? json_set(config, "Healthcheck", json_ref(health)) : 0;
}

static const char *network_of(const struct args *args, size_t i)
{
	size_t count = args_count(args, "network");

	return i < count ? args_at(args, "network", i) : args_at(args, "net", i - count);
}

/* Each --network is an endpoint; the first is the mode. Aliases and the address go to the first. */
static int set_networks(const struct args *args, struct json *doc, struct json *host,
                        struct err *err)
{
	size_t count = args_count(args, "network") + args_count(args, "net");
	struct json *endpoints = json_object();
	struct json *networking = json_object();

	json_set(host, "NetworkMode", json_string(count ? network_of(args, 0) : "default"));
	for (size_t i = 0; i < count || (i == 0 && args_has(args, "ip")); i++) {
		const char *name = count ? network_of(args, i) : "default";
		struct json *endpoint = json_object();
		if (i == 0 && args_has(args, "network-alias"))
			json_set(endpoint, "Aliases", spec_list(args, "network-alias"));
		if (i == 0 && args_has(args, "ip")) {
			struct json *ipam = json_object();
			json_set(ipam, "IPv4Address", json_string(args_string(args, "ip")));
			json_set(endpoint, "IPAMConfig", ipam);
		}
		if (count > 1 || json_count(endpoint))
			json_set(endpoints, name, endpoint);
		else
			json_free(endpoint);
	}
	(void)err;
	json_set(networking, "EndpointsConfig", endpoints);
	return json_set(doc, "NetworkingConfig", networking);
}

static void set_console(const struct args *args, struct json *host)
{
	uint16_t rows, cols;

	if (!args_bool(args, "tty") || !terminal_size(&rows, &cols))
		return;
	struct json *size = json_array();
	json_append(size, json_int(rows));
	json_append(size, json_int(cols));
	json_set(host, "ConsoleSize", size);
}

static void set_host_plain(const struct args *args, struct json *host)
{
	static const struct plain strings[] = {{"cgroup-parent", "CgroupParent"},
	                                       {"cgroupns", "CgroupnsMode"},
	                                       {"cpuset-cpus", "CpusetCpus"},
	                                       {"cpuset-mems", "CpusetMems"},
	                                       {"ipc", "IpcMode"},
	                                       {"pid", "PidMode"},
	                                       {"runtime", "Runtime"},
	                                       {"userns", "UsernsMode"},
	                                       {"uts", "UTSMode"}};
	static const struct plain lists[] = {
		{"add-host", "ExtraHosts"},     {"cap-add", "CapAdd"},
		{"cap-drop", "CapDrop"},        {"dns", "Dns"},
		{"dns-option", "DnsOptions"},   {"dns-search", "DnsSearch"},
		{"group-add", "GroupAdd"},      {"security-opt", "SecurityOpt"},
		{"volumes-from", "VolumesFrom"}};
	static const struct plain ints[] = {{"cpu-shares", "CpuShares"},
	                                    {"oom-score-adj", "OomScoreAdj"},
	                                    {"pids-limit", "PidsLimit"}};
	static const struct plain bools[] = {{"init", "Init"},
	                                     {"oom-kill-disable", "OomKillDisable"},
	                                     {"privileged", "Privileged"},
	                                     {"publish-all", "PublishAllPorts"},
	                                     {"read-only", "ReadonlyRootfs"},
	                                     {"rm", "AutoRemove"}};

	set_strings(args, strings, ARRAY_LEN(strings), host);
	set_lists(args, lists, ARRAY_LEN(lists), host);
	set_ints(args, ints, ARRAY_LEN(ints), host);
	set_bools(args, bools, ARRAY_LEN(bools), host);
	set_devices(args, host);
	set_console(args, host);
}

static int set_host(const struct args *args, struct json *host, struct err *err)
{
	set_host_plain(args, host);
	if (args_has(args, "restart")) {
		struct json *policy = spec_restart(args_string(args, "restart"), err);
		if (!policy)
			return -1;
		json_set(host, "RestartPolicy", policy);
	}
	if (args_has(args, "log-driver") || args_has(args, "log-opt")) {
		struct json *log = json_object();
		json_set(host, "LogConfig", log);
		if (args_has(args, "log-driver"))
			json_set(log, "Type", json_string(args_string(args, "log-driver")));
		if (set_map(args, "log-opt", "Config", log, err) < 0)
			return -1;
	}
	if (set_sizes(args, host, err) < 0 || set_ulimits(args, host, err) < 0 ||
	    set_map(args, "sysctl", "Sysctls", host, err) < 0)
		return -1;
	return set_map(args, "annotation", "Annotations", host, err);
}

static void set_streams(const struct args *args, const struct body_streams *streams,
                        struct json *doc)
{
	bool in = args_bool(args, "interactive");

	json_set(doc, "AttachStdin", json_bool(streams->in));
	json_set(doc, "AttachStdout", json_bool(streams->out));
	json_set(doc, "AttachStderr", json_bool(streams->err));
	json_set(doc, "Tty", json_bool(args_bool(args, "tty")));
	json_set(doc, "OpenStdin", json_bool(in));
	json_set(doc, "StdinOnce", json_bool(in && streams->in));
}

static void set_command(const struct args *args, struct json *doc)
{
	json_set(doc, "Image", json_string(args->words[0]));
	if (args_has(args, "entrypoint")) {
		struct json *entrypoint = json_array();
		/* "" takes the image's entrypoint away: [""], as docker says it. */
		json_append(entrypoint, json_string(args_string(args, "entrypoint")));
		json_set(doc, "Entrypoint", entrypoint);
	}
	if (args->count > 1) {
		struct json *command = json_array();
		for (size_t i = 1; i < args->count; i++)
			json_append(command, json_string(args->words[i]));
		json_set(doc, "Cmd", command);
	}
	if (args_has(args, "stop-timeout"))
		json_set(doc, "StopTimeout", json_int(args_int(args, "stop-timeout", 10)));
}

struct json *body_make(const struct args *args, const struct body_streams *streams, struct err *err)
{
	static const struct plain strings[] = {{"domainname", "Domainname"},
	                                       {"hostname", "Hostname"},
	                                       {"mac-address", "MacAddress"},
	                                       {"stop-signal", "StopSignal"},
	                                       {"user", "User"},
	                                       {"workdir", "WorkingDir"}};
	auto_type(json) doc = json_object();
	struct json *host = json_object();

	set_streams(args, streams, doc);
	set_command(args, doc);
	set_strings(args, strings, ARRAY_LEN(strings), doc);
	if (json_set(doc, "HostConfig", host) < 0) {
		err_nomem(err);
		return NULL;
	}
	if (set_env(args, doc, err) < 0 || set_map(args, "label", "Labels", doc, err) < 0 ||
	    set_ports(args, doc, host, err) < 0 || set_mounts(args, doc, host, err) < 0 ||
	    set_health(args, doc, err) < 0 || set_host(args, host, err) < 0 ||
	    set_networks(args, doc, host, err) < 0)
		return NULL;
	return move_ptr(doc);
}
