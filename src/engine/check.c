/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/check.h"

#include <ctype.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "base/id.h"
#include "base/str.h"

#define MEMORY_MIN   (6 << 20)
#define LOG_SIZE_MAX (INT64_C(1) << 40)

bool check_mode_is(const char *mode, const char *wanted)
{
	return mode && strcmp(mode, wanted) == 0;
}

const char *check_mode_container(const char *mode)
{
	return mode && str_starts(mode, "container:") ? mode + strlen("container:") : NULL;
}

static int refuse(struct err *err, const char *what)
{
	return err_set(err, ERR_UNSUPPORTED, "%s is not supported", what);
}

/* What we know of and do not do: anything but "not asked for" is refused. */
static int check_unsupported(const struct api_host_config *h, struct err *err)
{
	const struct {
		bool asked;
		const char *what;
	} rows[] = {
		{json_truth(h->init), "HostConfig.Init (--init)"},
		{h->links.count > 0, "HostConfig.Links (--link)"},
		{h->volumes_from.count > 0, "HostConfig.VolumesFrom (--volumes-from)"},
		{json_count(h->device_requests) > 0, "HostConfig.DeviceRequests (--gpus)"},
		{h->storage_opt.count > 0, "HostConfig.StorageOpt"},
		{!str_empty(h->cgroup), "HostConfig.Cgroup"},
		{h->cpu_realtime_period || h->cpu_realtime_runtime, "HostConfig.CpuRealtime*"},
		{h->kernel_memory_tcp != 0, "HostConfig.KernelMemoryTCP"},
		{h->blkio_weight != 0, "HostConfig.BlkioWeight"},
		{json_count(h->blkio_weight_device) > 0, "HostConfig.BlkioWeightDevice"},
		{json_count(h->blkio_device_read_bps) > 0, "HostConfig.BlkioDeviceReadBps"},
		{json_count(h->blkio_device_write_bps) > 0, "HostConfig.BlkioDeviceWriteBps"},
		{json_count(h->blkio_device_read_iops) > 0, "HostConfig.BlkioDeviceReadIOps"},
		{json_count(h->blkio_device_write_iops) > 0, "HostConfig.BlkioDeviceWriteIOps"},
		{h->device_cgroup_rules.count > 0, "HostConfig.DeviceCgroupRules"},
		{h->cpu_count || h->cpu_percent || h->io_maximum_iops || h->io_maximum_bandwidth,
	         "a limit for Windows"},
		{!str_empty(h->isolation) && !str_eq(h->isolation, "default"),
	         "HostConfig.Isolation"},
		{!str_empty(h->userns_mode) && !str_eq(h->userns_mode, "host") &&
	                 !str_eq(h->userns_mode, "auto"),
	         "HostConfig.UsernsMode other than host and auto"},
		{!str_empty(h->volume_driver) && !str_eq(h->volume_driver, "local"),
	         "HostConfig.VolumeDriver other than local"},
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (rows[i].asked)
			return refuse(err, rows[i].what);
	return 0;
}

static int check_memory(const struct api_host_config *h, struct err *err)
{
	if (h->memory < 0 || (h->memory > 0 && h->memory < MEMORY_MIN))
		return err_set(err, ERR_INVALID, "Minimum memory limit allowed is 6MB");
	if (h->memory_swap > 0 && h->memory == 0)
		return err_set(err, ERR_INVALID,
		               "You should always set the Memory limit when using Memoryswap "
		               "limit, see usage");
	if (h->memory_swap > 0 && h->memory_swap < h->memory)
		return err_set(err, ERR_INVALID,
		               "Minimum memoryswap limit should be larger than "
		               "memory limit, see usage");
	if (h->memory_reservation < 0 || (h->memory && h->memory_reservation > h->memory))
		return err_set(err, ERR_INVALID,
		               "Minimum memory limit can not be less than memory "
		               "reservation limit, see usage");
	return 0;
}

static int check_cpus(const struct api_host_config *h, struct err *err)
{
	if (h->nano_cpus < 0 || (h->nano_cpus > 0 && h->nano_cpus < 10000000))
		return err_set(err, ERR_INVALID, "NanoCPUs: at least 0.01 CPUs");
	if (h->nano_cpus && (h->cpu_quota || h->cpu_period))
		return err_set(err, ERR_INVALID,
		               "Conflicting options: Nano CPUs and CPU Period or "
		               "Quota cannot both be set.");
	if (h->cpu_shares < 0)
		return err_set(err, ERR_INVALID, "CpuShares: must not be negative");
	if (h->cpu_period && (h->cpu_period < 1000 || h->cpu_period > 1000000))
		return err_set(err, ERR_INVALID,
		               "CPU cfs period can not be less than 1ms (i.e. "
		               "1000) or larger than 1s (i.e. 1000000)");
	if (h->cpu_quota > 0 && h->cpu_quota < 1000)
		return err_set(err, ERR_INVALID,
		               "CPU cfs quota can not be less than 1ms (i.e. 1000)");
	return 0;
}

static int check_resources(const struct api_host_config *h, struct err *err)
{
	if (check_memory(h, err) < 0 || check_cpus(h, err) < 0)
		return -1;
	if (h->oom_score_adj < -1000 || h->oom_score_adj > 1000)
		return err_set(err, ERR_INVALID,
		               "Invalid value %lld, range for oom score adj is "
		               "[-1000, 1000]",
		               (long long)h->oom_score_adj);
	if (h->shm_size < 0)
		return err_set(err, ERR_INVALID, "SHM size can not be less than 0");
	return 0;
}

static int check_restart(const struct api_host_config *h, struct err *err)
{
	static const char *const names[] = {"", "no", "always", "unless-stopped", "on-failure"};
	const struct api_restart_policy *p = &h->restart_policy;
	const char *name = p->name ? p->name : "";
	size_t i = 0;

	while (i < ARRAY_LEN(names) && !str_eq(name, names[i]))
		i++;
	if (i == ARRAY_LEN(names))
		return err_set(err, ERR_INVALID,
		               "invalid restart policy: unknown policy '%s'; use "
		               "one of 'no', 'always', 'on-failure', or "
		               "'unless-stopped'",
		               name);
	if (p->maximum_retry_count < 0 || (p->maximum_retry_count && !str_eq(name, "on-failure")))
		return err_set(err, ERR_INVALID,
		               "invalid restart policy: maximum retry count can "
		               "only be used with 'on-failure', and not be "
		               "negative");
	if (h->auto_remove && i > 1)
		return err_set(err, ERR_INVALID,
		               "can't create 'AutoRemove' container with restart policy");
	return 0;
}

static int check_modes(const struct api_host_config *h, struct err *err)
{
	static const char *const ipc[] = {"", "private", "shareable", "host", "none"};
	size_t i = 0;

	while (i < ARRAY_LEN(ipc) && !str_eq(h->ipc_mode ? h->ipc_mode : "", ipc[i]))
		i++;
	if (i == ARRAY_LEN(ipc) && !check_mode_container(h->ipc_mode))
		return err_set(err, ERR_INVALID, "invalid IPC mode: %s", h->ipc_mode);
	if (!str_empty(h->pid_mode) && !str_eq(h->pid_mode, "host") &&
	    !str_eq(h->pid_mode, "private") && !check_mode_container(h->pid_mode))
		return err_set(err, ERR_INVALID, "invalid PID mode: %s", h->pid_mode);
	if (!str_empty(h->uts_mode) && !str_eq(h->uts_mode, "host") &&
	    !str_eq(h->uts_mode, "private"))
		return err_set(err, ERR_INVALID, "invalid UTS mode: %s", h->uts_mode);
	if (!str_empty(h->cgroupns_mode) && !str_eq(h->cgroupns_mode, "host") &&
	    !str_eq(h->cgroupns_mode, "private"))
		return err_set(err, ERR_INVALID, "invalid cgroup namespace mode: %s",
		               h->cgroupns_mode);
	return 0;
}

int check_security_options(const struct json_strings *options, struct check_security *out,
                           struct err *err)
{
	*out = (struct check_security){.no_new_privileges = true};
	for (size_t i = 0; i < options->count; i++) {
		const char *o = options->items[i];
		const char *value = strpbrk(o, "=:");
		size_t n = value ? (size_t)(value - o) : strlen(o);
		bool is_true = !value || str_eq(value + 1, "true");

		if (n == 17 && strncmp(o, "no-new-privileges", n) == 0 &&
		    (is_true || str_eq(value + 1, "false")))
			out->no_new_privileges = is_true;
		else if (str_eq(o, "seccomp=unconfined") || str_eq(o, "seccomp:unconfined"))
			out->seccomp_unconfined = true;
		else if (n == 7 && value && strncmp(o, "seccomp", n) == 0 && value[1] == '{')
			out->seccomp_json = value + 1;
		else if (str_eq(o, "seccomp=builtin"))
			continue;
		else if (str_eq(o, "caps=docker"))
			out->docker_caps = true;
		else if (str_eq(o, "systempaths=unconfined"))
			out->systempaths_unconfined = true;
		/* No profile is loaded, and no label is given: these ask for what is so anyway. */
		else if (!str_eq(o, "apparmor=unconfined") && !str_eq(o, "apparmor:unconfined") &&
		         !str_eq(o, "label=disable") && !str_eq(o, "label:disable"))
			return err_set(
				err, ERR_INVALID,
				"invalid --security-opt: %.100s (known: no-new-privileges=BOOL, "
				"caps=docker, "
				"seccomp=unconfined, seccomp=PROFILE, apparmor=unconfined, "
				"label=disable, systempaths=unconfined)",
				o);
	}
	return 0;
}

int check_port(const char *text, uint16_t *port, char proto[5], struct err *err)
{
	const char *slash = strchr(text, '/');
	char number[8] = "";
	int64_t n;

	size_t len = slash ? (size_t)(slash - text) : strlen(text);
	if (len >= sizeof(number) || (slash && strlen(slash + 1) > 4))
		return err_set(err, ERR_INVALID, "invalid port specification: \"%.40s\"", text);
	memcpy(number, text, len);
	snprintf(proto, 5, "%s", slash ? slash + 1 : "tcp");
	if (id_parse_int(number, "port", 1, 65535, &n, err) < 0)
		return -1;
	if (!str_eq(proto, "tcp") && !str_eq(proto, "udp") && !str_eq(proto, "sctp"))
		return err_set(err, ERR_INVALID,
		               "invalid port specification: \"%.40s\": protocol "
		               "is tcp, udp or sctp",
		               text);
	*port = (uint16_t)n;
	return 0;
}

static int log_size(const char *text, int64_t *bytes, struct err *err)
{
	if (str_eq(text, "-1")) {
		*bytes = 0;
		return 0;
	}
	if (id_parse_size(text, bytes, err) < 0)
		return err_wrap(err, "log option max-size");
	if (*bytes < 1 || *bytes > LOG_SIZE_MAX)
		return err_set(err, ERR_INVALID, "log option max-size: out of range");
	return 0;
}

int check_log_config(const struct api_log_config *log, struct check_log *out, struct err *err)
{
	const char *type = log->type ? log->type : "";

	*out = (struct check_log){.files_max = 1};
	if (!str_eq(type, "") && !str_eq(type, "json-file") && !str_eq(type, "local") &&
	    !str_eq(type, "none"))
		return err_set(err, ERR_INVALID,
		               "logger: no log driver named '%s' is registered "
		               "(json-file, local, none)",
		               type);
	out->none = str_eq(type, "none");
	if (str_eq(type, "local")) {
		out->size_max = 20 << 20;
		out->files_max = 5;
	}
	for (size_t i = 0; i < log->config.count; i++) {
		const struct json_pair *o = &log->config.items[i];
		int rc = 0;
		if (str_eq(o->key, "max-size"))
			rc = log_size(o->value, &out->size_max, err);
		else if (str_eq(o->key, "max-file"))
			rc = id_parse_int(o->value, "log option max-file", 1, 1000, &out->files_max,
			                  err);
		else if (!str_eq(o->key, "compress") && !str_eq(o->key, "labels") &&
		         !str_eq(o->key, "env") && !str_eq(o->key, "tag"))
			rc = err_set(err, ERR_INVALID, "unknown log opt '%s' for %s log driver",
			             o->key, *type ? type : "json-file");
		if (rc < 0)
			return -1;
	}
	return 0;
}

int check_signal(const char *text, struct err *err)
{
	const char *name = text;
	int64_t n;

	if (isdigit((unsigned char)*text)) {
		if (id_parse_int(text, "signal", 1, SIGRTMAX, &n, NULL) < 0)
			return err_set(err, ERR_INVALID, "Invalid signal: %.40s", text);
		return (int)n;
	}
	if (strncasecmp(name, "SIG", 3) == 0)
		name += 3;
	if (strncasecmp(name, "RTMIN+", 6) == 0 &&
	    id_parse_int(name + 6, "signal", 0, SIGRTMAX - SIGRTMIN, &n, NULL) == 0)
		return SIGRTMIN + (int)n;
	if (strcasecmp(name, "RTMIN") == 0)
		return SIGRTMIN;
	for (int i = 1; i < 32; i++) {
		const char *abbrev = sigabbrev_np(i);
		if (abbrev && strcasecmp(name, abbrev) == 0)
			return i;
	}
	return err_set(err, ERR_INVALID, "Invalid signal: %.40s", text);
}

static int check_bindings(const struct json *bindings, struct err *err)
{
	const char *key;
	struct json *list;
	uint16_t port;
	char proto[5];

	for (void *iter = NULL; json_next(bindings, &iter, &key, &list);) {
		if (check_port(key, &port, proto, err) < 0)
			return -1;
		if (!json_is_array(list) && !json_is_null(list))
			return err_set(err, ERR_INVALID, "PortBindings.%s: not a list", key);
	}
	return 0;
}

static int check_env(const struct json_strings *env, struct err *err)
{
	for (size_t i = 0; i < env->count; i++)
		if (!*env->items[i] || *env->items[i] == '=')
			return err_set(err, ERR_INVALID, "invalid environment variable: %s",
			               env->items[i]);
	return 0;
}

int check_create(const struct api_container_create *create, struct err *err)
{
	const struct api_config *c = &create->config;
	const struct api_host_config *h = &create->host;
	struct check_security security;
	struct check_log log;

	if (check_unsupported(h, err) < 0 || check_resources(h, err) < 0 ||
	    check_restart(h, err) < 0 || check_modes(h, err) < 0 ||
	    check_security_options(&h->security_opt, &security, err) < 0 ||
	    check_log_config(&h->log_config, &log, err) < 0 ||
	    check_bindings(h->port_bindings, err) < 0 || check_env(&c->env, err) < 0)
		return -1;
	if (!str_empty(c->stop_signal) && check_signal(c->stop_signal, err) < 0)
		return -1;
	if (!str_empty(c->working_dir) && *c->working_dir != '/')
		return err_set(err, ERR_INVALID,
		               "the working directory '%s' is invalid, it needs to be an absolute "
		               "path",
		               c->working_dir);
	if (c->hostname && strlen(c->hostname) > 63)
		return err_set(err, ERR_INVALID, "invalid hostname: longer than 63 characters");
	if (!str_empty(h->runtime) && !str_eq(h->runtime, "buoy") && !str_eq(h->runtime, "runc"))
		return err_set(err, ERR_INVALID, "unknown or invalid runtime name: %s", h->runtime);
	return 0;
}
