/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/record.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/json.h"
#include "base/str.h"

#define FILE_MAX      16384
#define PROC_STAT_MAX 4096

/* OCI's words (runtime.md, "State"). */
static const char *const state_names[] = {
	[SUPERVISED_CREATED] = "created",
	[SUPERVISED_RUNNING] = "running",
	[SUPERVISED_PAUSED] = "paused",
	[SUPERVISED_STOPPED] = "stopped",
};

struct json *record_encode(const char *id, const struct record *r)
{
	struct json *doc = json_object();
	const struct {
		const char *key;
		struct json *value;
	} rows[] = {
		{"id", json_string(id)},
		{"state", json_string(state_names[r->seen.state])},
		{"pid", json_int(r->seen.pid)},
		{"pid_started", json_int((int64_t)r->pid_started)},
		{"supervisor", json_int(r->supervisor)},
		{"supervisor_started", json_int((int64_t)r->supervisor_started)},
		{"started", json_int(r->seen.started_ns)},
		{"finished", json_int(r->seen.finished_ns)},
		{"exit_code", json_int(r->seen.exit_code)},
		{"oom_killed", json_bool(r->seen.oom_killed)},
		{"oom_kills", json_int((int64_t)r->oom_kills)},
		{"cgroup", json_string(r->cgroup)},
	};
	bool bad = false;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		bad |= json_set(doc, rows[i].key, rows[i].value) < 0;
	if (!bad)
		return doc;
	json_free(doc);
	return NULL;
}

int record_decode(const struct json *doc, struct record *out, struct err *err)
{
	const char *state = json_get_string(doc, "state"), *cgroup = json_get_string(doc, "cgroup");
	struct record r = {.seen.state = SUPERVISED_CREATED};
	bool known = false;

	for (size_t i = 0; i < ARRAY_LEN(state_names); i++) {
		if (!str_eq(state, state_names[i]))
			continue;
		r.seen.state = (enum supervised_state)i;
		known = true;
	}
	if (!known)
		return err_set(err, ERR_INVALID,
		               "state: \"%s\" is none of created, running, paused, stopped",
		               state ? state : "");
	r.seen.pid = (pid_t)json_get_int(doc, "pid", 0);
	r.seen.started_ns = json_get_int(doc, "started", 0);
	r.seen.finished_ns = json_get_int(doc, "finished", 0);
	r.seen.exit_code = (int)json_get_int(doc, "exit_code", 0);
	r.seen.oom_killed = json_get_bool(doc, "oom_killed", false);
	r.pid_started = (uint64_t)json_get_int(doc, "pid_started", 0);
	r.supervisor = (pid_t)json_get_int(doc, "supervisor", 0);
	r.supervisor_started = (uint64_t)json_get_int(doc, "supervisor_started", 0);
	r.oom_kills = (uint64_t)json_get_int(doc, "oom_kills", 0);
	if (cgroup && strlen(cgroup) >= sizeof(r.cgroup))
		return err_set(err, ERR_LIMIT, "cgroup: longer than %zu bytes",
		               sizeof(r.cgroup) - 1);
	if (cgroup)
		memcpy(r.cgroup, cgroup, strlen(cgroup) + 1);
	*out = r;
	return 0;
}

int record_write(int dir_fd, const char *name, const char *id, const struct record *record,
                 struct err *err)
{
	auto_type(json) doc = record_encode(id, record);
	auto_buf struct buf text = BUF_INIT(FILE_MAX);

	if (!doc)
		return err_nomem(err);
	if (json_write(doc, &text, err) < 0)
		return -1;
	buf_add(&text, "\n");
	if (buf_check(&text, err) < 0)
		return -1;
	if (str_eq(name, RECORD_EXIT))
		return fs_write_durable(dir_fd, name, text.data, text.len, 0600, err);
	return fs_write_atomic(dir_fd, name, text.data, text.len, 0600, err);
}

int record_read(int dir_fd, const char *name, struct record *out, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(FILE_MAX);

	if (fs_read(dir_fd, name, FILE_MAX, &text, err) < 0)
		return -1;

	auto_type(json) doc = json_parse(buf_str(&text), text.len, err);
	if (!doc || record_decode(doc, out, err) < 0)
		return err_wrap(err, "%s", name);
	return 0;
}

uint64_t record_process_start(pid_t pid)
{
	auto_buf struct buf text = BUF_INIT(PROC_STAT_MAX);
	char path[64];
	uint64_t ticks = 0;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	if (fs_trusted_read(path, PROC_STAT_MAX, &text, NULL) < 0)
		return 0;

	/* The name in parentheses may itself hold spaces and parentheses: count from the last one. */
	const char *at = strrchr(buf_str(&text), ')');

	for (int field = 2; at && field < 22; field++)
		at = strchr(at + 1, ' ');
	if (at && !id_scan_u64(&at, &ticks))
		return 0;
	return ticks;
}
