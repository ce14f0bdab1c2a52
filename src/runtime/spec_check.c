/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/spec_check.h"

#include <sched.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/resource.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/json.h"
#include "base/str.h"
#include "runtime/mount_options.h"
#include "runtime/spec.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif

#define ID_MAX       4294967294LL /* uid_t -1 means "no change" */
#define MAPPINGS_MAX 340          /* user_namespaces(7) */
#define PATHS_MAX    1024         /* masked, read-only, mounts, devices */

/* ---- words ---- */

struct named {
	const char *name;
	int value;
};

static const struct named namespaces[] = {
	{"pid", CLONE_NEWPID},   {"network", CLONE_NEWNET},   {"mount", CLONE_NEWNS},
	{"ipc", CLONE_NEWIPC},   {"uts", CLONE_NEWUTS},       {"user", CLONE_NEWUSER},
	{"time", CLONE_NEWTIME}, {"cgroup", CLONE_NEWCGROUP},
};

const char *const spec_namespace_names[] = {
	"cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts", NULL,
};

static const struct named rlimits[] = {
	{"RLIMIT_AS", RLIMIT_AS},
	{"RLIMIT_CORE", RLIMIT_CORE},
	{"RLIMIT_CPU", RLIMIT_CPU},
	{"RLIMIT_DATA", RLIMIT_DATA},
	{"RLIMIT_FSIZE", RLIMIT_FSIZE},
	{"RLIMIT_LOCKS", RLIMIT_LOCKS},
	{"RLIMIT_MEMLOCK", RLIMIT_MEMLOCK},
	{"RLIMIT_MSGQUEUE", RLIMIT_MSGQUEUE},
	{"RLIMIT_NICE", RLIMIT_NICE},
	{"RLIMIT_NOFILE", RLIMIT_NOFILE},
	{"RLIMIT_NPROC", RLIMIT_NPROC},
	{"RLIMIT_RSS", RLIMIT_RSS},
	{"RLIMIT_RTPRIO", RLIMIT_RTPRIO},
	{"RLIMIT_RTTIME", RLIMIT_RTTIME},
	{"RLIMIT_SIGPENDING", RLIMIT_SIGPENDING},
	{"RLIMIT_STACK", RLIMIT_STACK},
};

static const struct named *find_named(const struct named *table, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(table[i].name, name) == 0)
			return &table[i];
	return NULL;
}

int spec_parse_namespace(const char *type, struct err *err)
{
	const struct named *found = find_named(namespaces, ARRAY_LEN(namespaces), type);

	if (!found)
		return err_set(err, ERR_INVALID,
		               "unknown namespace type '%s' (pid, network, mount, ipc, uts, user, "
		               "cgroup, time)",
		               type);
	return found->value;
}

int spec_parse_capability(const char *name, struct err *err)
{
	cap_value_t value;

	/* cap_from_name() also takes "cap_kill" and "12": only the config's own form here. */
	if (!str_starts(name, "CAP_") || cap_from_name(name, &value) < 0)
		return err_set(err, ERR_INVALID, "unknown capability '%s'", name);
	return value;
}

/* ---- small rules ---- */

int spec_check_range(const char *field, int64_t value, int64_t min, int64_t max, struct err *err)
{
	if (value == SPEC_UNSET || (value >= min && value <= max))
		return 0;
	return err_set(err, ERR_INVALID, "%s: %lld is not in %lld to %lld", field, (long long)value,
	               (long long)min, (long long)max);
}

/* An absolute path without NUL (JSON has none) and of sane length. */
static int check_absolute(const char *field, const char *path, struct err *err)
{
	if (str_empty(path) || *path != '/')
		return err_set(err, ERR_INVALID, "%s: '%s' is not an absolute path", field,
		               path ? path : "");
	if (strlen(path) >= 4096)
		return err_set(err, ERR_LIMIT, "%s: path is longer than 4095 bytes", field);
	return 0;
}

int spec_take_int(const char *field, const struct json *value, int64_t otherwise, int64_t *out,
                  struct err *err)
{
	if (!value || json_is_null(value)) {
		*out = otherwise;
		return 0;
	}
	if (!json_is_int(value))
		return err_set(err, ERR_INVALID, "%s: not an integer", field);
	*out = json_num(value, otherwise);
	return 0;
}

/* ---- process ---- */

static int check_groups(struct oci_user *user, struct arena *arena, struct err *err)
{
	size_t count = json_count(user->groups_json);

	if (!user->groups_json || json_is_null(user->groups_json))
		return 0;
	if (!json_is_array(user->groups_json))
		return err_set(err, ERR_INVALID, "process.user.additionalGids: not an array");
	if (count > 65536)
		return err_set(err, ERR_LIMIT, "process.user.additionalGids: more than 65536");
	user->groups = arena_array(arena, count + 1, sizeof(*user->groups), err);
	if (!user->groups)
		return -1;
	for (size_t i = 0; i < count; i++) {
		const struct json *item = json_at(user->groups_json, i);
		int64_t gid = json_num(item, -1);
		if (!json_is_int(item) || gid < 0 || gid > ID_MAX)
			return err_set(err, ERR_INVALID,
			               "process.user.additionalGids[%zu]: not a group id", i);
		user->groups[user->group_count++] = (uint32_t)gid;
	}
	return 0;
}

static int check_user(struct oci_user *user, struct arena *arena, struct err *err)
{
	if (spec_check_range("process.user.uid", user->uid, 0, ID_MAX, err) < 0 ||
	    spec_check_range("process.user.gid", user->gid, 0, ID_MAX, err) < 0 ||
	    spec_check_range("process.user.umask", user->umask, 0, 0777, err) < 0)
		return -1;
	return check_groups(user, arena, err);
}

static int check_capabilities(struct oci_capabilities *caps, struct err *err)
{
	static const char *const sets[] = {"bounding", "effective", "permitted", "inheritable",
	                                   "ambient"};

	for (int set = 0; set < SPEC_CAP_SETS; set++) {
		for (size_t i = 0; i < caps->names[set].count; i++) {
			int cap = spec_parse_capability(caps->names[set].items[i], err);
			if (cap < 0)
				return err_wrap(err, "process.capabilities.%s[%zu]", sets[set], i);
			caps->mask[set] |= 1ULL << cap;
		}
	}
	/* Kernel rules, said in words instead of a late EPERM. */
	if (caps->mask[SPEC_CAP_EFFECTIVE] & ~caps->mask[SPEC_CAP_PERMITTED])
		return err_set(err, ERR_INVALID,
		               "process.capabilities.effective: holds one that is not permitted");
	/* Common generators list ambient ones that are not inheritable; the kernel would refuse
	 * each. Leaving them out gives less than was asked for, never more. */
	caps->mask[SPEC_CAP_AMBIENT] &=
		caps->mask[SPEC_CAP_PERMITTED] & caps->mask[SPEC_CAP_INHERITABLE];
	return 0;
}

static int check_rlimits(struct oci_process *process, struct err *err)
{
	struct oci_rlimit *all = process->rlimits.items;

	for (size_t i = 0; i < process->rlimits.count; i++) {
		const struct named *found = find_named(rlimits, ARRAY_LEN(rlimits), all[i].type);
		if (!found)
			return err_set(err, ERR_INVALID, "process.rlimits[%zu].type: unknown '%s'",
			               i, all[i].type);
		if (all[i].soft > all[i].hard)
			return err_set(err, ERR_INVALID, "process.rlimits[%zu]: soft is above hard",
			               i);
		all[i].resource = found->value;
		for (size_t j = 0; j < i; j++)
			if (all[j].resource == all[i].resource)
				return err_set(err, ERR_INVALID,
				               "process.rlimits[%zu].type: %s is there twice", i,
				               all[i].type);
	}
	return 0;
}

static int check_env(const struct json_strings *env, struct err *err)
{
	for (size_t i = 0; i < env->count; i++) {
		const char *equals = strchr(env->items[i], '=');
		if (!equals || equals == env->items[i])
			return err_set(err, ERR_INVALID, "process.env[%zu]: not NAME=value", i);
	}
	return 0;
}

int spec_check_process(struct oci_process *process, struct arena *arena, struct err *err)
{
	if (process->args.count == 0 || str_empty(process->args.items[0]))
		return err_set(err, ERR_INVALID, "process.args: must name a program");
	if (check_absolute("process.cwd", process->cwd, err) < 0 ||
	    check_env(&process->env, err) < 0 || check_user(&process->user, arena, err) < 0 ||
	    check_capabilities(&process->capabilities, err) < 0 ||
	    check_rlimits(process, err) < 0 ||
	    spec_check_range("process.oomScoreAdj", process->oom_score_adj, -1000, 1000, err) < 0 ||
	    spec_check_range("process.consoleSize.height", process->console_size.height, 0, 65535,
	                     err) < 0 ||
	    spec_check_range("process.consoleSize.width", process->console_size.width, 0, 65535,
	                     err) < 0)
		return -1;
	return spec_check_task(process, arena, err);
}

/* ---- mounts ---- */

static int check_mappings(const char *field, const struct json_array *maps, struct err *err)
{
	const struct oci_idmap *all = maps->items;

	if (maps->count > MAPPINGS_MAX)
		return err_set(err, ERR_LIMIT, "%s: more than %d", field, MAPPINGS_MAX);
	for (size_t i = 0; i < maps->count; i++)
		if (all[i].container_id < 0 || all[i].host_id < 0 || all[i].size < 1 ||
		    all[i].container_id + all[i].size > ID_MAX + 1 ||
		    all[i].host_id + all[i].size > ID_MAX + 1)
			return err_set(err, ERR_INVALID, "%s[%zu]: out of range", field, i);
	return 0;
}

/* Maps of its own, or the container's; with maps the word may be missing. */
static int check_idmap(const struct oci_spec *spec, struct oci_mount *m, struct err *err)
{
	if (check_mappings("uidMappings", &m->uid_mappings, err) < 0 ||
	    check_mappings("gidMappings", &m->gid_mappings, err) < 0)
		return -1;
	if (!m->uid_mappings.count != !m->gid_mappings.count)
		return err_set(err, ERR_INVALID, "uidMappings and gidMappings go together");
	if (m->uid_mappings.count > 0)
		m->plan->idmap = true;
	if (!m->plan->idmap || m->uid_mappings.count > 0)
		return 0;
	if (spec->linux_.uid_mappings.count > 0 && spec->linux_.gid_mappings.count > 0)
		return 0;
	return err_set(
		err, ERR_INVALID,
		"idmap: needs uidMappings and gidMappings, of the mount or of the container");
}

static int check_mounts(struct oci_spec *spec, struct arena *arena, struct err *err)
{
	struct oci_mount *all = spec->mounts.items;

	if (spec->mounts.count > PATHS_MAX)
		return err_set(err, ERR_LIMIT, "mounts: more than %d", PATHS_MAX);
	for (size_t i = 0; i < spec->mounts.count; i++) {
		struct oci_mount *m = &all[i];

		if (str_empty(m->destination) || strlen(m->destination) >= 4096)
			return err_set(err, ERR_INVALID, "mounts[%zu].destination: not a path", i);
		m->plan = mount_options_parse(&m->options, m->type, arena, err);
		if (!m->plan)
			return err_wrap(err, "mounts[%zu] (%s)", i, m->destination);
		if (m->plan->bind && !m->plan->remount && str_empty(m->source))
			return err_set(err, ERR_INVALID, "mounts[%zu].source: a bind needs one", i);
		if (check_idmap(spec, m, err) < 0)
			return err_wrap(err, "mounts[%zu] (%s)", i, m->destination);
	}
	return 0;
}

/* ---- linux ---- */

static int check_namespaces(struct oci_linux *lin, struct err *err)
{
	struct oci_namespace *all = lin->namespaces.items;

	for (size_t i = 0; i < lin->namespaces.count; i++) {
		all[i].flag = spec_parse_namespace(all[i].type, err);
		if (all[i].flag < 0)
			return err_wrap(err, "linux.namespaces[%zu].type", i);
		for (size_t j = 0; j < i; j++)
			if (all[j].flag == all[i].flag)
				return err_set(err, ERR_INVALID,
				               "linux.namespaces[%zu].type: %s is there twice", i,
				               all[i].type);
		if (all[i].path && *all[i].path == '\0')
			all[i].path = NULL;
		if (all[i].path && check_absolute("linux.namespaces[].path", all[i].path, err) < 0)
			return -1;
	}
	return 0;
}

static int check_user_namespace(const struct oci_spec *spec, struct err *err)
{
	const struct oci_namespace *user = spec_namespace(spec, CLONE_NEWUSER);
	const struct oci_linux *lin = &spec->linux_;
	bool mapped = lin->uid_mappings.count > 0 || lin->gid_mappings.count > 0;

	if (!user && mapped)
		return err_set(err, ERR_INVALID,
		               "linux.uidMappings: need a namespace of type user");
	if (user && !user->path && (!lin->uid_mappings.count || !lin->gid_mappings.count))
		return err_set(
			err, ERR_INVALID,
			"linux.uidMappings, linux.gidMappings: a new user namespace needs both");
	return 0;
}

/* A sysctl may touch only what belongs to one of the container's own namespaces. */
static int check_sysctl(const struct oci_spec *spec, const char *key, struct err *err)
{
	static const struct {
		const char *prefix;
		int flag;
		const char *type;
	} owned[] = {
		{"kernel.msgmax", CLONE_NEWIPC, "ipc"},
		{"kernel.msgmnb", CLONE_NEWIPC, "ipc"},
		{"kernel.msgmni", CLONE_NEWIPC, "ipc"},
		{"kernel.sem", CLONE_NEWIPC, "ipc"},
		{"kernel.shmall", CLONE_NEWIPC, "ipc"},
		{"kernel.shmmax", CLONE_NEWIPC, "ipc"},
		{"kernel.shmmni", CLONE_NEWIPC, "ipc"},
		{"kernel.shm_rmid_forced", CLONE_NEWIPC, "ipc"},
		{"fs.mqueue.", CLONE_NEWIPC, "ipc"},
		{"kernel.domainname", CLONE_NEWUTS, "uts"},
		{"net.", CLONE_NEWNET, "network"},
	};

	if (strspn(key, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/:@") !=
	            strlen(key) ||
	    strstr(key, "..") || strlen(key) > 255)
		return err_set(err, ERR_INVALID, "linux.sysctl: '%s' is not a name", key);
	for (size_t i = 0; i < ARRAY_LEN(owned); i++) {
		bool prefix = str_ends(owned[i].prefix, ".");
		if (prefix ? !str_starts(key, owned[i].prefix) : !str_eq(key, owned[i].prefix))
			continue;
		if (spec_namespace(spec, owned[i].flag))
			return 0;
		return err_set(err, ERR_INVALID, "linux.sysctl.%s: needs a namespace of type %s",
		               key, owned[i].type);
	}
	return err_set(err, ERR_INVALID, "linux.sysctl.%s: not a namespaced sysctl", key);
}

static int check_devices(struct oci_linux *lin, struct err *err)
{
	struct oci_device *all = lin->devices.items;

	if (lin->devices.count > PATHS_MAX)
		return err_set(err, ERR_LIMIT, "linux.devices: more than %d", PATHS_MAX);
	for (size_t i = 0; i < lin->devices.count; i++) {
		struct oci_device *d = &all[i];

		if (strlen(d->type) != 1 || !strchr("cbup", *d->type))
			return err_set(err, ERR_INVALID,
			               "linux.devices[%zu].type: '%s' is not c, "
			               "b, u or p",
			               i, d->type);
		if (check_absolute("linux.devices[].path", d->path, err) < 0 ||
		    spec_check_range("linux.devices[].major", d->major, 0, UINT32_MAX, err) < 0 ||
		    spec_check_range("linux.devices[].minor", d->minor, 0, UINT32_MAX, err) < 0 ||
		    spec_take_int("linux.devices[].fileMode", d->mode_json, SPEC_UNSET, &d->mode,
		                  err) < 0 ||
		    spec_take_int("linux.devices[].uid", d->uid_json, 0, &d->uid, err) < 0 ||
		    spec_take_int("linux.devices[].gid", d->gid_json, 0, &d->gid, err) < 0 ||
		    spec_check_range("linux.devices[].uid", d->uid, 0, ID_MAX, err) < 0 ||
		    spec_check_range("linux.devices[].gid", d->gid, 0, ID_MAX, err) < 0)
			return -1;
		/* Docker sends the file type along in the mode. */
		if (d->mode != SPEC_UNSET)
			d->mode &= 07777;
	}
	return 0;
}

static int check_paths(const char *field, const struct json_strings *paths, struct err *err)
{
	if (paths->count > PATHS_MAX)
		return err_set(err, ERR_LIMIT, "%s: more than %d", field, PATHS_MAX);
	for (size_t i = 0; i < paths->count; i++)
		if (check_absolute(field, paths->items[i], err) < 0)
			return -1;
	return 0;
}

static int check_cgroups_path(const char *path, struct err *err)
{
	if (!path)
		return 0;
	if (strlen(path) >= 1024)
		return err_set(err, ERR_LIMIT, "linux.cgroupsPath: longer than 1023 bytes");
	for (const char *p = path; p; p = strchr(p, '/')) {
		p += *p == '/';
		if (strcmp(p, "..") == 0 || str_starts(p, "../"))
			return err_set(err, ERR_INVALID, "linux.cgroupsPath: '%s' leads upwards",
			               path);
	}
	return 0;
}

static int check_linux(struct oci_spec *spec, struct arena *arena, struct err *err)
{
	struct oci_linux *lin = &spec->linux_;

	if (check_namespaces(lin, err) < 0 ||
	    check_mappings("linux.uidMappings", &lin->uid_mappings, err) < 0 ||
	    check_mappings("linux.gidMappings", &lin->gid_mappings, err) < 0 ||
	    check_user_namespace(spec, err) < 0 || check_devices(lin, err) < 0 ||
	    spec_check_resources(&lin->resources, arena, err) < 0 ||
	    check_paths("linux.maskedPaths", &lin->masked_paths, err) < 0 ||
	    check_paths("linux.readonlyPaths", &lin->readonly_paths, err) < 0 ||
	    check_cgroups_path(lin->cgroups_path, err) < 0 ||
	    spec_check_linux_task(spec, arena, err) < 0)
		return -1;

	for (size_t i = 0; i < lin->sysctl.count; i++)
		if (check_sysctl(spec, lin->sysctl.items[i].key, err) < 0)
			return -1;
	if (!str_empty(lin->rootfs_propagation)) {
		lin->propagation = mount_options_propagation(lin->rootfs_propagation);
		if (!lin->propagation)
			return err_set(err, ERR_INVALID,
			               "linux.rootfsPropagation: '%s' is not (r)private, (r)slave, "
			               "(r)shared or (r)unbindable",
			               lin->rootfs_propagation);
	}
	return 0;
}

static int check_hooks(struct oci_hooks *hooks, struct err *err)
{
	for (int point = 0; point < SPEC_HOOK_POINTS; point++) {
		struct oci_hook *all = hooks->at[point].items;
		for (size_t i = 0; i < hooks->at[point].count; i++) {
			bool timed = all[i].timeout_json && !json_is_null(all[i].timeout_json);
			if (check_absolute("hooks[].path", all[i].path, err) < 0 ||
			    spec_take_int("hooks[].timeout", all[i].timeout_json, 0,
			                  &all[i].timeout, err) < 0 ||
			    spec_check_range("hooks[].timeout", all[i].timeout, timed ? 1 : 0,
			                     86400, err) < 0)
				return -1;
		}
	}
	return 0;
}

/* Any 1.x: a later minor only adds fields, and an added field is unknown here, so refused. */
static int check_version(const char *version, struct err *err)
{
	if (str_starts(version, "1."))
		return 0;
	return err_set(err, ERR_UNSUPPORTED, "ociVersion: '%s' is not 1.x", version);
}

int spec_check(struct oci_spec *spec, struct arena *arena, struct err *err)
{
	if (check_version(spec->version, err) < 0)
		return -1;
	if (spec->annotations && !json_is_null(spec->annotations) &&
	    !json_is_object(spec->annotations))
		return err_set(err, ERR_INVALID, "annotations: not an object");
	if (str_empty(spec->root.path))
		return err_set(err, ERR_INVALID, "root.path: is empty");
	if (spec_check_process(&spec->process, arena, err) < 0 ||
	    check_mounts(spec, arena, err) < 0 || check_linux(spec, arena, err) < 0 ||
	    check_hooks(&spec->hooks, err) < 0)
		return -1;

	if (!spec_namespace(spec, CLONE_NEWNS))
		return err_set(err, ERR_UNSUPPORTED,
		               "linux.namespaces: a container needs a namespace of type mount");
	if ((!str_empty(spec->hostname) || !str_empty(spec->domainname)) &&
	    !spec_namespace(spec, CLONE_NEWUTS))
		return err_set(err, ERR_INVALID, "hostname: needs a namespace of type uts");
	return 0;
}
