/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/spec.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/str.h"
#include "engine/check.h"
#include "engine/devices.h"
#include "engine/ids.h"
#include "engine/mounts.h"
#include "engine/private.h"
#include "engine/seccomp.h"

static struct json *strings(const char *const *items)
{
	struct json *list = json_array();
	int bad = list ? 0 : -1;

	for (size_t i = 0; items && items[i] && !bad; i++)
		bad = json_append(list, json_string(items[i]));
	if (bad < 0) {
		json_free(list);
		return NULL;
	}
	return list;
}

static struct json *user_json(const struct user *user)
{
	struct json *out = json_object(), *groups = json_array();
	int bad = json_set(out, "uid", json_int(user->uid)) |
	          json_set(out, "gid", json_int(user->gid));

	for (size_t i = 0; i < user->group_count; i++)
		bad |= json_append(groups, json_int(user->groups[i]));
	bad |= json_set(out, "additionalGids", groups);
	if (bad < 0) {
		json_free(out);
		return NULL;
	}
	return out;
}

static bool env_has(const struct json_strings *env, const char *name)
{
	size_t n = strlen(name);

	for (size_t i = 0; i < env->count; i++)
		if (strncmp(env->items[i], name, n) == 0 && env->items[i][n] == '=')
			return true;
	return false;
}

static int add_env(struct json *list, const char *name, const char *value)
{
	char text[512];

	snprintf(text, sizeof(text), "%s=%s", name, value);
	return json_append(list, json_string(text));
}

/* `more` (of an exec) wins over the container's own. */
static struct json *env_json(const struct api_config *c, const struct json_strings *more, bool tty,
                             const struct user *user)
{
	struct json *list = json_array();
	const struct json_strings *env = &c->env;
	int bad = 0;

	if (!env_has(env, "PATH") && !env_has(more, "PATH"))
		bad |= add_env(list, "PATH",
		               "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	if (!env_has(env, "HOSTNAME") && !env_has(more, "HOSTNAME") && !str_empty(c->hostname))
		bad |= add_env(list, "HOSTNAME", c->hostname);
	if (tty && !env_has(env, "TERM") && !env_has(more, "TERM"))
		bad |= add_env(list, "TERM", "xterm");
	for (size_t i = 0; i < env->count; i++) {
		size_t n = strcspn(env->items[i], "=");
		char name[256];
		if (n < sizeof(name)) {
			snprintf(name, sizeof(name), "%.*s", (int)n, env->items[i]);
			if (env_has(more, name))
				continue;
		}
		bad |= json_append(list, json_string(env->items[i]));
	}
	for (size_t i = 0; i < more->count; i++)
		bad |= json_append(list, json_string(more->items[i]));
	if (!env_has(env, "HOME") && !env_has(more, "HOME"))
		bad |= add_env(list, "HOME", user->home);
	if (bad < 0) {
		json_free(list);
		return NULL;
	}
	return list;
}

static struct json *caps_json(const char *const *caps, const struct user *user)
{
	struct json *out = json_object();
	const char *const none[] = {NULL};
	bool root = user->uid == 0;
	/* A user other than root keeps the bounding set only, as execve(2) would have it. */
	int bad = json_set(out, "bounding", strings(caps)) |
	          json_set(out, "effective", strings(root ? caps : none)) |
	          json_set(out, "permitted", strings(root ? caps : none));

	if (bad < 0) {
		json_free(out);
		return NULL;
	}
	return out;
}

static struct json *rlimits_json(const struct api_host_config *h, struct err *err)
{
	static const char *const known[] = {
		"core",   "cpu",   "data", "fsize",  "locks",  "memlock",    "msgqueue", "nice",
		"nofile", "nproc", "rss",  "rtprio", "rttime", "sigpending", "stack",    "as",
	};
	struct json *list = json_array();

	for (size_t i = 0; i < h->ulimits.count; i++) {
		const struct api_ulimit *u = (const struct api_ulimit *)h->ulimits.items + i;
		char type[32] = "RLIMIT_";
		size_t k = 0;
		while (k < ARRAY_LEN(known) && !str_eq(known[k], u->name))
			k++;
		if (k == ARRAY_LEN(known)) {
			json_free(list);
			err_set(err, ERR_INVALID, "invalid ulimit type: %s",
			        u->name ? u->name : "");
			return NULL;
		}
		for (size_t n = 0; known[k][n]; n++)
			type[7 + n] = (char)(known[k][n] - 'a' + 'A');
		struct json *one = json_object();
		/* -1 is "unlimited", which OCI writes as the largest number. */
		int64_t soft = u->soft < 0 ? -1 : u->soft, hard = u->hard < 0 ? -1 : u->hard;
		int bad =
			json_set(one, "type", json_string(type)) |
			json_set(one, "soft",
		                 soft < 0 ? json_double(18446744073709551615.0) : json_int(soft)) |
			json_set(one, "hard",
		                 hard < 0 ? json_double(18446744073709551615.0) : json_int(hard));
		if (json_append(list, one) < 0 || bad < 0) {
			json_free(list);
			return err_nomem(err), NULL;
		}
	}
	return list;
}

/* Whoever has everything anyway gains nothing by it. */
static bool wants_nnp(const struct api_host_config *h, const struct check_security *security)
{
	return !h->privileged && security->no_new_privileges;
}

static struct json *process_json(const struct spec_input *in, const char *const *caps,
                                 struct err *err)
{
	const struct api_config *c = &in->config->create.config;
	const struct api_host_config *h = &in->config->create.host;
	struct json_strings none = {0};
	struct check_security security;
	auto_type(json) out = json_object();

	if (check_security_options(&h->security_opt, &security, err) < 0)
		return NULL;
	struct json *rlimits = rlimits_json(h, err);
	if (!rlimits)
		return NULL;
	int bad = json_set(out, "terminal", json_bool(c->tty)) |
	          json_set(out, "user", user_json(in->user)) |
	          json_set(out, "args", strings((const char *const *)in->config->argv)) |
	          json_set(out, "env", env_json(c, &none, c->tty, in->user)) |
	          json_set(out, "cwd",
	                   json_string(str_empty(c->working_dir) ? "/" : c->working_dir)) |
	          json_set(out, "capabilities", caps_json(caps, in->user)) |
	          json_set(out, "rlimits", rlimits) |
	          json_set(out, "noNewPrivileges", json_bool(wants_nnp(h, &security)));
	if (h->oom_score_adj)
		bad |= json_set(out, "oomScoreAdj", json_int(h->oom_score_adj));
	if (bad < 0)
		return err_nomem(err), NULL;
	return move_ptr(out);
}

static int add_file_mount(struct json *list, const struct config *config, const char *source,
                          const char *target, struct err *err)
{
	const char *options[] = {"rbind", "rprivate",
	                         config->create.host.readonly_rootfs ? "ro" : "rw", NULL};

	if (!source)
		return 0;
	for (size_t i = 0; i < config->mount_count; i++)
		if (str_eq(config->mounts[i].destination, target))
			return 0;
	return json_append(list, mounts_json("bind", source, target, options)) < 0 ? err_nomem(err)
	                                                                           : 0;
}

static bool targets(const struct config *config, const char *path)
{
	for (size_t i = 0; i < config->mount_count; i++)
		if (str_eq(config->mounts[i].destination, path))
			return true;
	for (size_t i = 0; i < config->create.host.tmpfs.count; i++)
		if (str_eq(config->create.host.tmpfs.items[i].key, path))
			return true;
	return false;
}

#define OPTIONS(...)                                                                               \
	(const char *const[])                                                                      \
	{                                                                                          \
		__VA_ARGS__, NULL                                                                  \
	}

static int add_system_mounts(struct json *list, const struct config *config)
{
	const struct api_host_config *h = &config->create.host;
	const char *ro = h->privileged ? "rw" : "ro";
	char shm[40];
	int bad = 0;

	snprintf(shm, sizeof(shm), "size=%lld", (long long)h->shm_size);
	bad |= json_append(
		list, mounts_json("proc", "proc", "/proc", OPTIONS("nosuid", "noexec", "nodev")));
	bad |= json_append(
		list, mounts_json("tmpfs", "tmpfs", "/dev",
	                          OPTIONS("nosuid", "strictatime", "mode=755", "size=65536k")));
	bad |= json_append(list, mounts_json("devpts", "devpts", "/dev/pts",
	                                     OPTIONS("nosuid", "noexec", "newinstance",
	                                             "ptmxmode=0666", "mode=0620", "gid=5")));
	bad |= json_append(list, mounts_json("sysfs", "sysfs", "/sys",
	                                     OPTIONS("nosuid", "noexec", "nodev", ro)));
	bad |= json_append(list, mounts_json("cgroup", "cgroup", "/sys/fs/cgroup",
	                                     OPTIONS("nosuid", "noexec", "nodev", "relatime", ro)));
	bad |= json_append(list, mounts_json("mqueue", "mqueue", "/dev/mqueue",
	                                     OPTIONS("nosuid", "noexec", "nodev")));
	if (targets(config, "/dev/shm"))
		return bad;
	if (check_mode_is(h->ipc_mode, "host"))
		bad |= json_append(list,
		                   mounts_json("bind", "/dev/shm", "/dev/shm",
		                               OPTIONS("rbind", "nosuid", "noexec", "nodev")));
	else if (!check_mode_is(h->ipc_mode, "none"))
		bad |= json_append(
			list, mounts_json("tmpfs", "shm", "/dev/shm",
		                          OPTIONS("nosuid", "noexec", "nodev", "mode=1777", shm)));
	return bad;
}

static struct json *all_mounts(const struct spec_input *in, struct err *err)
{
	auto_type(json) list = json_array();
	const struct spec_files *f = &in->files;

	if (!list || add_system_mounts(list, in->config) < 0)
		return err_nomem(err), NULL;
	if (add_file_mount(list, in->config, f->resolv_conf, "/etc/resolv.conf", err) < 0 ||
	    add_file_mount(list, in->config, f->hostname, "/etc/hostname", err) < 0 ||
	    add_file_mount(list, in->config, f->hosts, "/etc/hosts", err) < 0 ||
	    mounts_spec(in->config, list, err) < 0)
		return NULL;
	return move_ptr(list);
}

static int add_namespace(struct json *list, const char *type, const char *path)
{
	struct json *one = json_object();
	int bad = json_set(one, "type", json_string(type));

	if (path)
		bad |= json_set(one, "path", json_string(path));
	return bad | json_append(list, one);
}

static struct json *namespaces(const struct spec_input *in)
{
	const struct api_host_config *h = &in->config->create.host;
	struct json *list = json_array();
	int bad = add_namespace(list, "mount", NULL);

	if (in->netns_path)
		bad |= add_namespace(list, "network", in->netns_path);
	if (!check_mode_is(h->uts_mode, "host"))
		bad |= add_namespace(list, "uts", NULL);
	if (!check_mode_is(h->pid_mode, "host"))
		bad |= add_namespace(list, "pid", in->pid_path);
	if (!check_mode_is(h->ipc_mode, "host"))
		bad |= add_namespace(list, "ipc", in->ipc_path);
	if (in->first_id)
		bad |= add_namespace(list, "user", NULL);
	if (!check_mode_is(h->cgroupns_mode, "host"))
		bad |= add_namespace(list, "cgroup", NULL);
	if (bad < 0) {
		json_free(list);
		return NULL;
	}
	return list;
}

static int set_maps(struct json *linux_json, uint32_t first_id)
{
	static const char *const keys[] = {"uidMappings", "gidMappings"};
	int bad = 0;

	for (size_t i = 0; first_id && i < ARRAY_LEN(keys); i++) {
		struct json *list = json_array(), *one = json_object();
		bad |= json_set(one, "containerID", json_int(0)) |
		       json_set(one, "hostID", json_int(first_id)) |
		       json_set(one, "size", json_int(IDS_COUNT)) | json_append(list, one) |
		       json_set(linux_json, keys[i], list);
	}
	return bad;
}

static int set_positive(struct json *out, const char *key, int64_t value)
{
	return value ? json_set(out, key, json_int(value)) : 0;
}

/* A mount's options and those of its file system stand at the ends of a line of mountinfo: "... - cgroup cgroup rw,memory". */
bool spec_memory_is_v2(const char *mountinfo)
{
	bool v2 = false;

	for (const char *line = mountinfo; *line;
	     line += strcspn(line, "\n"), line += *line == '\n') {
		auto_free char *text = strndup(line, strcspn(line, "\n"));
		const char *type = text ? strstr(text, " - ") : NULL;
		if (!type)
			continue;
		if (str_starts(type, " - cgroup2 "))
			v2 = true;
		else if (str_starts(type, " - cgroup ") && strstr(strrchr(type, ' '), ",memory"))
			return false;
	}
	return v2;
}

static struct json *memory_json(const struct api_host_config *h, bool v2)
{
	struct json *out = json_object();
	int64_t swappiness = json_num(h->memory_swappiness, -1);
	int bad = set_positive(out, "limit", h->memory) |
	          set_positive(out, "reservation", h->memory_reservation) |
	          set_positive(out, "swap", h->memory_swap);

	/* Version 2 knows neither; whoever asked has been told (hint.h). */
	if (swappiness >= 0 && !v2)
		bad |= json_set(out, "swappiness", json_int(swappiness));
	if (json_truth(h->oom_kill_disable) && !v2)
		bad |= json_set(out, "disableOOMKiller", json_bool(true));
	if (bad < 0) {
		json_free(out);
		return NULL;
	}
	return out;
}

static struct json *cpu_json(const struct api_host_config *h)
{
	struct json *out = json_object();
	int64_t period = h->cpu_period, quota = h->cpu_quota;

	if (h->nano_cpus) {
		period = 100000;
		quota = h->nano_cpus / 10000;
	}
	int bad = set_positive(out, "shares", h->cpu_shares) | set_positive(out, "period", period) |
	          set_positive(out, "quota", quota);
	if (!str_empty(h->cpuset_cpus))
		bad |= json_set(out, "cpus", json_string(h->cpuset_cpus));
	if (!str_empty(h->cpuset_mems))
		bad |= json_set(out, "mems", json_string(h->cpuset_mems));
	if (bad < 0) {
		json_free(out);
		return NULL;
	}
	return out;
}

struct json *spec_resources(const struct api_host_config *h, bool memory_v2, struct err *err)
{
	auto_type(json) out = json_object();
	struct json *memory = memory_json(h, memory_v2), *cpu = cpu_json(h);
	int64_t pids = json_num(h->pids_limit, 0);
	int bad = 0;

	/* An empty object would ask for a controller that need not be there. */
	if (memory && json_count(memory) == 0)
		json_free(memory);
	else
		bad |= json_set(out, "memory", memory);
	if (cpu && json_count(cpu) == 0)
		json_free(cpu);
	else
		bad |= json_set(out, "cpu", cpu);
	if (pids) {
		struct json *limit = json_object();
		bad |= json_set(limit, "limit", json_int(pids < 0 ? -1 : pids));
		bad |= json_set(out, "pids", limit);
	}
	if (bad < 0)
		return err_nomem(err), NULL;
	return move_ptr(out);
}

/* The union of what Docker, podman and crun hide. */
static const char *const masked[] = {
	"/proc/acpi",        "/proc/asound",    "/proc/interrupts",
	"/proc/kcore",       "/proc/keys",      "/proc/latency_stats",
	"/proc/sched_debug", "/proc/scsi",      "/proc/timer_list",
	"/proc/timer_stats", "/sys/dev/block",  "/sys/devices/virtual/powercap",
	"/sys/firmware",     "/sys/fs/selinux", NULL,
};
static const char *const read_only[] = {
	"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger", NULL,
};

static int set_paths(struct json *linux_json, const struct api_host_config *h,
                     const struct check_security *security)
{
	const char *const none[] = {NULL};
	bool open = h->privileged || security->systempaths_unconfined;
	const char *const *hide =
		h->masked_paths.present ? (const char *const *)h->masked_paths.items : masked;
	const char *const *lock = h->readonly_paths.present
	                                  ? (const char *const *)h->readonly_paths.items
	                                  : read_only;

	return json_set(linux_json, "maskedPaths", strings(open ? none : hide)) |
	       json_set(linux_json, "readonlyPaths", strings(open ? none : lock));
}

static int set_seccomp(struct json *linux_json, const struct api_host_config *h,
                       const struct check_security *security, const char *const *caps,
                       struct err *err)
{
	struct json *seccomp;

	if (h->privileged || security->seccomp_unconfined)
		return 0;
	seccomp = security->seccomp_json ? seccomp_profile(security->seccomp_json, caps, err)
	                                 : seccomp_default(caps, err);
	if (!seccomp)
		return -1;
	return json_set(linux_json, "seccomp", seccomp) < 0 ? err_nomem(err) : 0;
}

static int set_sysctls(struct json *linux_json, const struct api_host_config *h, struct err *err)
{
	struct json *out = json_object();
	int bad = 0;

	for (size_t i = 0; i < h->sysctls.count; i++)
		bad |= json_set(out, h->sysctls.items[i].key,
		                json_string(h->sysctls.items[i].value));
	return json_set(linux_json, "sysctl", out) | bad ? err_nomem(err) : 0;
}

static int set_devices(struct json *linux_json, const struct spec_input *in, struct err *err)
{
	const struct api_host_config *h = &in->config->create.host;
	struct json *resources = spec_resources(h, in->memory_v2, err);

	if (!resources)
		return -1;
	if (json_set(linux_json, "resources", resources) < 0)
		return err_nomem(err);
	return devices_spec(h, linux_json, resources, err);
}

static struct json *linux_part(const struct spec_input *in, const char *const *caps,
                               struct err *err)
{
	const struct api_host_config *h = &in->config->create.host;
	auto_type(json) out = json_object();
	struct check_security security;
	char cgroup[512];

	if (check_security_options(&h->security_opt, &security, err) < 0)
		return NULL;
	snprintf(cgroup, sizeof(cgroup), "%s/%s",
	         str_empty(h->cgroup_parent) ? ENGINE_CGROUP : h->cgroup_parent, in->id);
	int bad = json_set(out, "cgroupsPath", json_string(cgroup)) |
	          json_set(out, "namespaces", namespaces(in)) | set_maps(out, in->first_id) |
	          set_paths(out, h, &security);
	if (bad < 0)
		return err_nomem(err), NULL;
	if (set_devices(out, in, err) < 0 || set_sysctls(out, h, err) < 0 ||
	    set_seccomp(out, h, &security, caps, err) < 0)
		return NULL;
	return move_ptr(out);
}

static enum spec_caps caps_of(bool privileged, const struct check_security *security)
{
	if (privileged)
		return SPEC_CAPS_ALL;
	return security->docker_caps ? SPEC_CAPS_DOCKER : SPEC_CAPS_TEN;
}

struct json *spec_build(const struct spec_input *in, struct err *err)
{
	const struct api_config *c = &in->config->create.config;
	const struct api_host_config *h = &in->config->create.host;
	const char *caps[SPEC_CAPS_MAX];
	auto_type(json) out = json_object();
	struct json *root = json_object();

	struct check_security security;

	if (check_security_options(&h->security_opt, &security, err) < 0 ||
	    spec_capabilities(&h->cap_add, &h->cap_drop, caps_of(h->privileged, &security), caps,
	                      err) < 0) {
		json_free(root);
		return NULL;
	}
	int bad = json_set(out, "ociVersion", json_string("1.2.0")) |
	          json_set(root, "path", json_string("rootfs")) |
	          json_set(root, "readonly", json_bool(h->readonly_rootfs)) |
	          json_set(out, "root", root);
	struct json *process = process_json(in, caps, err);
	struct json *mounts = process ? all_mounts(in, err) : NULL;
	struct json *linux_json = mounts ? linux_part(in, caps, err) : NULL;
	if (process)
		bad |= json_set(out, "process", process);
	if (mounts)
		bad |= json_set(out, "mounts", mounts);
	if (!linux_json)
		return NULL;
	bad |= json_set(out, "linux", linux_json);
	if (!str_empty(c->hostname) && !check_mode_is(h->uts_mode, "host"))
		bad |= json_set(out, "hostname", json_string(c->hostname));
	if (!str_empty(c->domainname) && !check_mode_is(h->uts_mode, "host"))
		bad |= json_set(out, "domainname", json_string(c->domainname));
	if (bad < 0)
		return err_nomem(err), NULL;
	return move_ptr(out);
}

struct json *spec_exec_process(const struct config *config, const struct api_exec_create *create,
                               const struct user *user, struct err *err)
{
	const struct api_config *c = &config->create.config;
	const struct api_host_config *h = &config->create.host;
	const char *cwd = !str_empty(create->working_dir) ? create->working_dir : c->working_dir;
	const char *caps[SPEC_CAPS_MAX];
	struct check_security security;
	auto_type(json) out = json_object();

	bool privileged = h->privileged || create->privileged;

	if (check_security_options(&h->security_opt, &security, err) < 0 ||
	    spec_capabilities(&h->cap_add, &h->cap_drop, caps_of(privileged, &security), caps,
	                      err) < 0)
		return NULL;
	if (!str_empty(cwd) && *cwd != '/')
		return err_set(err, ERR_INVALID, "Cwd must be an absolute path: %s", cwd), NULL;
	struct json *rlimits = rlimits_json(h, err);
	if (!rlimits)
		return NULL;
	int bad = json_set(out, "terminal", json_bool(create->tty)) |
	          json_set(out, "user", user_json(user)) |
	          json_set(out, "args", strings((const char *const *)create->cmd.items)) |
	          json_set(out, "env", env_json(c, &create->env, create->tty, user)) |
	          json_set(out, "cwd", json_string(str_empty(cwd) ? "/" : cwd)) |
	          json_set(out, "capabilities", caps_json(caps, user)) |
	          json_set(out, "rlimits", rlimits) |
	          json_set(out, "noNewPrivileges",
	                   json_bool(!privileged && security.no_new_privileges));
	if (h->oom_score_adj)
		bad |= json_set(out, "oomScoreAdj", json_int(h->oom_score_adj));
	if (bad < 0)
		return err_nomem(err), NULL;
	return move_ptr(out);
}
