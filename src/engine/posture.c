/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/posture.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/json.h"
#include "base/str.h"
#include "engine/private.h"
#include "engine/spec.h"

#define TEXT_MAX   (1u << 20)
#define CONFIG_MAX (4u << 20)

struct posture {
	int proc, root;      /* /proc/PID, and root in it */
	struct json *config; /* the bundle's */
	struct json *out, *differs;
	struct buf status;
};

/* ---- what differs ---- */

/* A line for people: where, what was asked for, what is so. */
static int differ(struct posture *p, const char *what, const char *asked, const char *is)
{
	struct json *one = json_object();
	int bad = json_set(one, "What", json_string(what)) |
	          json_set(one, "Config", json_string(asked)) |
	          json_set(one, "Kernel", json_string(is));

	return bad | json_append(p->differs, one);
}

/* ---- /proc/PID/status ---- */

/* The text after "Key:" up to the end of its line. */
static bool status_line(const struct posture *p, const char *key, char *out, size_t size)
{
	size_t n = strlen(key);

	for (const char *line = p->status.data; line && *line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, key, n) != 0 || line[n] != ':')
			continue;
		line += n + 1;
		line += strspn(line, " \t");
		snprintf(out, size, "%.*s", (int)strcspn(line, "\n"), line);
		return true;
	}
	*out = '\0';
	return false;
}

static struct json *ids_of(const struct posture *p, const char *key)
{
	struct json *list = json_array();
	char line[4096];

	if (status_line(p, key, line, sizeof(line)))
		for (const char *at = line; *at; at += strspn(at, " \t")) {
			uint64_t id;
			if (!id_scan_u64(&at, &id) || json_append(list, json_int((int64_t)id)) < 0)
				break;
		}
	return list;
}

/* ---- capabilities ---- */

static uint64_t mask_of(const struct json *names)
{
	uint64_t mask = 0;

	for (size_t i = 0; i < json_count(names); i++)
		mask |= spec_capability_mask(json_str(json_at(names, i)));
	return mask;
}

static struct json *names_of(uint64_t mask)
{
	struct json *list = json_array();

	for (unsigned cap = 0; cap < 64; cap++)
		if (mask & (UINT64_C(1) << cap) &&
		    json_append(list, json_string(spec_capability_name(cap))) < 0)
			break;
	return list;
}

static int add_capabilities(struct posture *p)
{
	static const char *const sets[][3] = {{"CapBnd", "Bounding", "bounding"},
	                                      {"CapEff", "Effective", "effective"},
	                                      {"CapPrm", "Permitted", "permitted"},
	                                      {"CapInh", "Inheritable", "inheritable"},
	                                      {"CapAmb", "Ambient", "ambient"}};
	const struct json *asked = json_get(json_get(p->config, "process"), "capabilities");
	struct json *out = json_object();
	int bad = 0;

	for (size_t i = 0; i < ARRAY_LEN(sets); i++) {
		char line[64], want[64], what[64];
		if (!status_line(p, sets[i][0], line, sizeof(line)))
			continue;
		uint64_t have = strtoull(line, NULL, 16),
			 wanted = mask_of(json_get(asked, sets[i][2]));
		bad |= json_set(out, sets[i][1], names_of(have));
		snprintf(want, sizeof(want), "%016" PRIx64, wanted);
		snprintf(what, sizeof(what), "Capabilities.%s", sets[i][1]);
		/* What the machine itself lacks cannot be given: only more than asked for is an alarm. */
		if (have & ~wanted)
			bad |= differ(p, what, want, line);
	}
	return bad | json_set(p->out, "Capabilities", out);
}

/* ---- no_new_privs, seccomp ---- */

static int add_privileges(struct posture *p)
{
	static const char *const modes[] = {"disabled", "strict", "filter"};
	const struct json *process = json_get(p->config, "process");
	bool nnp = json_get_bool(process, "noNewPrivileges", false), is, filtered;
	char line[32], filters[32];
	int bad = 0;

	status_line(p, "NoNewPrivs", line, sizeof(line));
	is = str_eq(line, "1");
	bad |= json_set(p->out, "NoNewPrivileges", json_bool(is));
	if (nnp != is)
		bad |= differ(p, "NoNewPrivileges", nnp ? "true" : "false", is ? "true" : "false");
	status_line(p, "Seccomp", line, sizeof(line));
	status_line(p, "Seccomp_filters", filters, sizeof(filters));
	const char *mode = *line >= '0' && *line <= '2' ? modes[*line - '0'] : "unknown";
	struct json *seccomp = json_object();
	bad |= json_set(seccomp, "Mode", json_string(mode)) |
	       json_set(seccomp, "Filters", json_int(strtoll(filters, NULL, 10))) |
	       json_set(p->out, "Seccomp", seccomp);
	filtered = json_get(json_get(p->config, "linux"), "seccomp");
	if (filtered && !str_eq(mode, "filter"))
		bad |= differ(p, "Seccomp", "filter", mode);
	return bad;
}

/* ---- namespaces ---- */

static bool asked_for(const struct json *list, const char *type)
{
	for (size_t i = 0; i < json_count(list); i++)
		if (str_eq(json_get_string(json_at(list, i), "type"), type))
			return true;
	return false;
}

static int add_namespaces(struct posture *p)
{
	static const char *const kinds[][2] = {
		{"mnt", "mount"}, {"net", "network"}, {"pid", "pid"},      {"ipc", "ipc"},
		{"uts", "uts"},   {"user", "user"},   {"cgroup", "cgroup"}};
	const struct json *asked = json_get(json_get(p->config, "linux"), "namespaces");
	auto_close int own = fs_trusted_open("/proc/self/ns", O_PATH | O_DIRECTORY, 0, NULL);
	struct json *out = json_object();
	int bad = 0;

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		char path[32];
		auto_buf struct buf theirs = BUF_INIT(128), ours = BUF_INIT(128);
		snprintf(path, sizeof(path), "ns/%s", kinds[i][0]);
		if (fs_readlink(p->proc, path, &theirs, NULL) < 0 ||
		    fs_readlink(own, kinds[i][0], &ours, NULL) < 0)
			continue;
		bool host = str_eq(buf_str(&theirs), buf_str(&ours));
		bool wanted = asked_for(asked, kinds[i][1]);
		struct json *one = json_object();
		bad |= json_set(one, "Id", json_string(buf_str(&theirs))) |
		       json_set(one, "Host", json_bool(host)) | json_set(out, kinds[i][1], one);
		if (wanted == host)
			bad |= differ(p, kinds[i][1], wanted ? "own namespace" : "the host's",
			              host ? "the host's" : "own namespace");
	}
	return bad | json_set(p->out, "Namespaces", out);
}

static int add_map(struct posture *p, const char *file, const char *key, const char *config_key)
{
	const struct json *asked = json_get(json_get(p->config, "linux"), config_key);
	auto_buf struct buf text = BUF_INIT(TEXT_MAX);
	struct json *list = json_array();
	uint64_t n[3] = {0};
	int bad = 0;

	(void)fs_read(p->proc, file, TEXT_MAX, &text, NULL);
	for (const char *at = buf_str(&text); *at;) {
		for (size_t i = 0; i < 3; i++) {
			at += strspn(at, " \t");
			if (!id_scan_u64(&at, &n[i]))
				break;
		}
		at += strspn(at, " \n");
		struct json *one = json_object();
		bad |= json_set(one, "Inside", json_int((int64_t)n[0])) |
		       json_set(one, "Host", json_int((int64_t)n[1])) |
		       json_set(one, "Count", json_int((int64_t)n[2])) | json_append(list, one);
	}
	int64_t first = json_get_int(json_at(asked, 0), "hostID", 0);
	if (json_count(list) == 1 && first != (int64_t)n[1]) {
		char want[32], is[32];
		snprintf(want, sizeof(want), "%" PRId64, first);
		snprintf(is, sizeof(is), "%" PRIu64, n[1]);
		bad |= differ(p, key, want, is);
	}
	return bad | json_set(p->out, key, list);
}

/* ---- mounts ---- */

/* Field n (from 0) of a line. */
static void field(const char *line, int n, char *out, size_t size)
{
	while (n-- > 0) {
		line += strcspn(line, " \n");
		line += *line == ' ';
	}
	snprintf(out, size, "%.*s", (int)strcspn(line, " \n"), line);
}

struct mount_seen {
	bool found, read_only;
	bool hides; /* nothing of what is below it can be seen */
};

/* What is mounted right at this path; the last one is on top. */
static struct mount_seen seen_at(const char *mountinfo, const char *path)
{
	struct mount_seen seen = {0};

	for (const char *line = mountinfo; *line;) {
		char at[512], options[512], root[512], rest[512];
		field(line, 3, root, sizeof(root));
		field(line, 4, at, sizeof(at));
		field(line, 5, options, sizeof(options));
		size_t len = strcspn(line, "\n");
		snprintf(rest, sizeof(rest), "%.*s", (int)len, line);
		if (str_eq(at, path)) {
			seen.found = true;
			seen.read_only = str_starts(options, "ro");
			seen.hides = str_eq(root, "/null") ||
			             (seen.read_only && strstr(rest, " - tmpfs "));
		}
		line += len + (line[len] == '\n');
	}
	return seen;
}

static bool is_there(const struct posture *p, const char *path)
{
	auto_close int fd = fs_open_in(p->root, path, O_PATH, 0, NULL);

	return fd >= 0;
}

static int add_paths(struct posture *p, const char *mountinfo, const char *config_key,
                     const char *key, bool masks)
{
	const struct json *asked = json_get(json_get(p->config, "linux"), config_key);
	struct json *list = json_array();
	int bad = 0;

	for (size_t i = 0; i < json_count(asked); i++) {
		const char *path = json_str(json_at(asked, i));
		struct mount_seen seen = seen_at(mountinfo, path ? path : "");
		if (seen.found && (masks ? seen.hides : seen.read_only))
			bad |= json_append(list, json_string(path));
		else if (path && is_there(p, path)) /* what this kernel lacks needs no mask */
			bad |= differ(p, path, masks ? "masked" : "read-only", "open");
	}
	return bad | json_set(p->out, key, list);
}

static int add_mounts(struct posture *p, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(TEXT_MAX);
	bool wanted = json_get_bool(json_get(p->config, "root"), "readonly", false);

	if (fs_read(p->proc, "mountinfo", TEXT_MAX, &text, err) < 0)
		return -1;
	const char *info = buf_str(&text);
	bool is = seen_at(info, "/").read_only;
	int bad = json_set(p->out, "ReadonlyRootfs", json_bool(is));
	if (wanted && !is)
		bad |= differ(p, "ReadonlyRootfs", "true", "false");
	bad |= add_paths(p, info, "maskedPaths", "MaskedPaths", true) |
	       add_paths(p, info, "readonlyPaths", "ReadonlyPaths", false);
	return bad ? err_nomem(err) : 0;
}

/* ---- limits ---- */

static int add_limit(struct posture *p, struct json *out, const char *key, int64_t is,
                     int64_t asked)
{
	char want[32], have[32];
	int bad = json_set(out, key, json_int(is));

	if (asked <= 0 || is == asked)
		return bad;
	snprintf(want, sizeof(want), "%" PRId64, asked);
	snprintf(have, sizeof(have), "%" PRId64, is);
	return bad | differ(p, key, want, have);
}

/* As the supervisor reads them from the cgroup's files. */
static int add_limits(struct posture *p, struct container *c, struct err *err)
{
	auto_type(supervisor) s = container_supervisor(c, err);
	auto_free char *text = s ? supervisor_stats(s, err) : NULL;
	auto_type(json) stats = text ? json_parse(text, strlen(text), err) : NULL;
	auto_buf struct buf cgroup = BUF_INIT(TEXT_MAX);
	const struct json *asked = json_get(json_get(p->config, "linux"), "resources");
	struct json *out = json_object(), *lines = json_array();
	int bad = 0;

	if (!stats || fs_read(p->proc, "cgroup", TEXT_MAX, &cgroup, err) < 0) {
		json_free(out);
		json_free(lines);
		return -1;
	}
	for (char *rest = cgroup.data, *line; (line = strsep(&rest, "\n"));)
		if (*line)
			bad |= json_append(lines, json_string(line));
	bad |= add_limit(p, out, "MemoryLimit", json_get_int(json_get(stats, "memory"), "limit", 0),
	                 json_get_int(json_get(asked, "memory"), "limit", 0)) |
	       add_limit(p, out, "PidsLimit", json_get_int(json_get(stats, "pids"), "limit", 0),
	                 json_get_int(json_get(asked, "pids"), "limit", 0));
	bad |= json_set(p->out, "Cgroup", lines) | json_set(p->out, "Limits", out);
	return bad ? err_nomem(err) : 0;
}

/* ---- the whole ---- */

static int read_sources(struct posture *p, struct container *c, pid_t pid, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(CONFIG_MAX);
	auto_close int dir = container_dir(c, err);
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d", (int)pid);
	p->proc = dir < 0 ? -1 : fs_trusted_open(path, O_RDONLY | O_DIRECTORY, 0, err);
	if (p->proc < 0)
		return -1;
	snprintf(path, sizeof(path), "/proc/%d/root", (int)pid);
	p->root = fs_trusted_open(path, O_PATH | O_DIRECTORY, 0, err);
	if (p->root < 0 || fs_read(p->proc, "status", TEXT_MAX, &p->status, err) < 0 ||
	    fs_read(dir, "config.json", CONFIG_MAX, &text, err) < 0)
		return -1;
	p->config = json_parse(buf_str(&text), text.len, err);
	return p->config ? 0 : -1;
}

static int fill(struct posture *p, struct container *c, pid_t pid, struct err *err)
{
	int bad = json_set(p->out, "Id", json_string(c->id)) |
	          json_set(p->out, "Pid", json_int(pid)) |
	          json_set(p->out, "Uids", ids_of(p, "Uid")) |
	          json_set(p->out, "Gids", ids_of(p, "Gid")) |
	          json_set(p->out, "Groups", ids_of(p, "Groups"));

	bad |= add_capabilities(p) | add_privileges(p) | add_namespaces(p) |
	       add_map(p, "uid_map", "UidMap", "uidMappings") |
	       add_map(p, "gid_map", "GidMap", "gidMappings");
	if (bad)
		return err_nomem(err);
	if (add_mounts(p, err) < 0 || add_limits(p, c, err) < 0)
		return -1;
	return json_set(p->out, "Differs", json_ref(p->differs)) < 0 ? err_nomem(err) : 0;
}

struct json *container_posture(struct engine *engine, const char *ref, struct err *err)
{
	auto_type(container) c = container_get(engine, ref, err);
	struct posture p = {.proc = -1,
	                    .root = -1,
	                    .out = json_object(),
	                    .differs = json_array(),
	                    .status = BUF_INIT(TEXT_MAX)};
	int rc = -1;

	if (c) {
		pthread_mutex_lock(&c->lock);
		pid_t pid = container_is_up(c) ? c->pid : 0;
		pthread_mutex_unlock(&c->lock);
		if (pid <= 0)
			rc = err_set(err, ERR_CONFLICT, "container %s is not running", c->id);
		else if (read_sources(&p, c, pid, err) == 0)
			rc = fill(&p, c, pid, err);
	}
	cleanup_close(&p.proc);
	cleanup_close(&p.root);
	buf_free(&p.status);
	json_free(p.config);
	json_free(p.differs);
	if (rc == 0)
		return p.out;
	json_free(p.out);
	return NULL;
}
