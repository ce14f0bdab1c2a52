/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/systemd.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/str.h"
#include "runtime/spec.h"
#include "runtime/tool.h"

#define MANAGER_WAIT_MS 30000
#define JOIN_WAIT_MS    10000 /* from the answer to the member's being in it */
#define JOIN_LOOK_MS    2
#define NO_LIMIT        "18446744073709551615"

/* ---- names ---- */

/* One of the three parts of "slice:prefix:name". */
static int take_part(const char **at, char out[SYSTEMD_NAME_MAX], struct err *err)
{
	size_t len = strcspn(*at, ":");

	if (len >= SYSTEMD_NAME_MAX / 2 || memchr(*at, '/', len))
		return err_set(err, ERR_INVALID, "a name is too long or has a '/'");
	memcpy(out, *at, len);
	out[len] = '\0';
	*at += len + ((*at)[len] == ':');
	return 0;
}

int systemd_parse(const char *cgroups_path, const char *id, bool user, struct systemd_scope *out,
                  struct err *err)
{
	char prefix[SYSTEMD_NAME_MAX] = "buoy", name[SYSTEMD_NAME_MAX];
	const char *at = cgroups_path;

	*out = (struct systemd_scope){.user = user};
	(void)snprintf(name, sizeof(name), "%s", id);
	if (!str_empty(cgroups_path)) {
		const char *first = strchr(cgroups_path, ':');
		const char *second = first ? strchr(first + 1, ':') : NULL;
		if (!second || strchr(second + 1, ':') || !second[1])
			return err_set(
				err, ERR_INVALID,
				"linux.cgroupsPath: '%s' is not slice:prefix:name, as systemd's "
				"cgroups are named",
				cgroups_path);
		if (take_part(&at, out->slice, err) < 0 || take_part(&at, prefix, err) < 0 ||
		    take_part(&at, name, err) < 0)
			return err_wrap(err, "linux.cgroupsPath: '%s'", cgroups_path);
	}
	char path[CGROUP_PATH_MAX];
	if (systemd_slice_path(out->slice, path, err) < 0)
		return err_wrap(err, "linux.cgroupsPath");
	int n = snprintf(out->unit, sizeof(out->unit), "%s%s%s%s", prefix, *prefix ? "-" : "", name,
	                 str_ends(name, ".scope") ? "" : ".scope");
	return n < (int)sizeof(out->unit)
	               ? 0
	               : err_set(err, ERR_LIMIT, "linux.cgroupsPath: the unit's name is too long");
}

int systemd_slice_path(const char *slice, char path[CGROUP_PATH_MAX], struct err *err)
{
	size_t len = strlen(slice), used = 0;

	path[0] = '\0';
	if (len == 0 || str_eq(slice, "-.slice"))
		return 0;
	if (!str_ends(slice, ".slice") || len == 6 || *slice == '-' || slice[len - 7] == '-' ||
	    strstr(slice, "--") || strchr(slice, '/'))
		return err_set(err, ERR_INVALID, "'%s' is not the name of a slice", slice);
	size_t stem = len - 6;
	for (size_t i = 1; i <= stem; i++)
		if (slice[i] == '-' || i == stem)
			used += (size_t)snprintf(path + used, CGROUP_PATH_MAX - used, "/%.*s.slice",
			                         (int)i, slice);
	return 0;
}

/* ---- properties ---- */

static const char *keep(struct systemd_words *w, long long n)
{
	char *at = w->text + w->used;
	size_t room = sizeof(w->text) - w->used;
	int len = snprintf(at, room, "%lld", n);

	if (len < 0 || (size_t)len >= room) {
		w->full = true;
		return "";
	}
	w->used += (size_t)len + 1;
	return at;
}

static void add(struct systemd_words *w, const char *word)
{
	if (w->count == SYSTEMD_WORDS_MAX)
		w->full = true;
	else
		w->items[w->count++] = word;
}

static void add_property(struct systemd_words *w, const char *name, const char *signature,
                         const char *value)
{
	add(w, name);
	add(w, signature);
	add(w, value);
	w->properties++;
}

/* "t": unsigned 64 bits, in which the greatest is no limit. */
static void add_number(struct systemd_words *w, const char *name, int64_t value)
{
	if (value != SPEC_UNSET)
		add_property(w, name, "t", value < 0 ? NO_LIMIT : keep(w, value));
}

/* "0-2,7" as a bit mask in bytes, the first CPU in the first one. */
static void add_set(struct systemd_words *w, const char *name, const char *list)
{
	uint8_t mask[SPEC_SET_BITS / 8] = {0};
	size_t bytes = 0;

	for (const char *p = list; p && *p;) {
		char *end;
		unsigned long first = strtoul(p, &end, 10), last = first;
		if (*end == '-')
			last = strtoul(end + 1, &end, 10);
		for (; first <= last && first < SPEC_SET_BITS; first++) {
			mask[first / 8] |= (uint8_t)(1U << (first % 8));
			bytes = bytes > first / 8 ? bytes : first / 8 + 1;
		}
		p = *end == ',' ? end + 1 : end + strlen(end);
	}
	if (bytes == 0)
		return;
	add_property(w, name, "ay", keep(w, (long long)bytes));
	for (size_t i = 0; i < bytes; i++)
		add(w, keep(w, mask[i]));
}

static void add_cpu(const struct oci_cpu *cpu, bool v2, struct systemd_words *w)
{
	int64_t shares = cpu->shares > 0 ? cpu->shares : SPEC_UNSET;

	if (shares != SPEC_UNSET && v2) /* as cgroup_limits.c has it */
		shares = 1 + ((shares < 2 ? 2 : shares) - 2) * 9999 / 262142;
	add_number(w, v2 ? "CPUWeight" : "CPUShares", shares);
	if (cpu->quota != SPEC_UNSET && cpu->quota != 0) {
		int64_t period = cpu->period > 0 ? cpu->period : 100000;
		/* Microseconds of CPU in a second; systemd wants whole percents. */
		int64_t usec = cpu->quota < 0 ? -1 : cpu->quota * 1000000 / period;
		add_number(w, "CPUQuotaPerSecUSec",
		           usec < 0 ? usec : (usec + 9999) / 10000 * 10000);
		if (v2 && cpu->period > 0)
			add_number(w, "CPUQuotaPeriodUSec", cpu->period);
	}
	if (v2) {
		add_set(w, "AllowedCPUs", cpu->cpus);
		add_set(w, "AllowedMemoryNodes", cpu->mems);
	}
}

void systemd_add_limits(const struct oci_resources *r, bool v2, struct systemd_words *w)
{
	const struct oci_memory *m = &r->memory;

	add_number(w, v2 ? "MemoryMax" : "MemoryLimit", m->limit);
	if (v2) {
		add_number(w, "MemoryLow", m->reservation);
		if (m->swap != SPEC_UNSET &&
		    (m->swap < 0 || m->limit >= 0)) /* theirs is swap alone */
			add_number(w, "MemorySwapMax", m->swap < 0 ? -1 : m->swap - m->limit);
	}
	add_cpu(&r->cpu, v2, w);
	if (r->pids.limit != SPEC_UNSET)
		add_number(w, "TasksMax", r->pids.limit > 0 ? r->pids.limit : -1);
}

/* ---- speaking ---- */

static void begin(struct systemd_words *w, const struct systemd_scope *scope, const char *method,
                  const char *signature)
{
	const char *const head[] = {
		"busctl",
		scope->user ? "--user" : "--system",
		"--quiet",
		"call",
		"org.freedesktop.systemd1",
		"/org/freedesktop/systemd1",
		"org.freedesktop.systemd1.Manager",
		method,
		signature,
	};

	*w = (struct systemd_words){0};
	for (size_t i = 0; i < ARRAY_LEN(head); i++)
		add(w, head[i]);
	add(w, scope->unit);
}

static int call(struct systemd_words *w, struct err *err)
{
	struct err why = ERR_INIT;

	if (w->full)
		return err_set(err, ERR_LIMIT, "too many properties for systemd");
	w->items[w->count] = NULL;
	if (tool_run(w->items, MANAGER_WAIT_MS, NULL, &why) == 0)
		return 0;
	if (why.kind == ERR_NOT_FOUND)
		return err_set(err, ERR_NOT_FOUND,
		               "the systemd cgroup driver needs busctl, of the package systemd");
	if (err)
		*err = why;
	return err_wrap(err, "systemd");
}

/* The line of the hierarchy that the manager keeps: "1:name=systemd:/path" or "0::/path". */
static bool find_path(const char *text, const char *unit, char path[CGROUP_PATH_MAX])
{
	for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
		const char *at = strchr(line, '/');
		size_t len = at ? strcspn(at, "\n") : 0, want = strlen(unit);
		if (!at || at >= line + strcspn(line, "\n") || len >= CGROUP_PATH_MAX)
			continue;
		if (len > want && at[len - want - 1] == '/' &&
		    strncmp(at + len - want, unit, want) == 0) {
			memcpy(path, at, len);
			path[len] = '\0';
			return true;
		}
	}
	return false;
}

/* The answer is a job that has begun; that it is done is seen by where the member is. */
static int await_member(const struct systemd_scope *scope, pid_t member, char path[CGROUP_PATH_MAX],
                        struct err *err)
{
	int64_t deadline = clock_mono_ms() + JOIN_WAIT_MS;
	char file[64];

	(void)snprintf(file, sizeof(file), "/proc/%d/cgroup", member);
	for (;;) {
		auto_buf struct buf text = BUF_INIT(64 << 10);
		if (fs_trusted_read(file, 64 << 10, &text, err) < 0)
			return -1;
		if (find_path(buf_str(&text), scope->unit, path))
			return 0;
		if (clock_mono_ms() >= deadline)
			return err_set(err, ERR_TIMEOUT,
			               "systemd: process %d did not come into %s in %d ms", member,
			               scope->unit, JOIN_WAIT_MS);
		clock_sleep_ms(JOIN_LOOK_MS);
	}
}

int systemd_start(const struct systemd_scope *scope, const struct oci_resources *resources, bool v2,
                  pid_t member, char path[CGROUP_PATH_MAX], struct err *err)
{
	auto_free struct systemd_words *w = malloc(sizeof(*w));

	if (!w)
		return err_nomem(err);
	begin(w, scope, "StartTransientUnit", "ssa(sv)a(sa(sv))");
	add(w, "fail"); /* one of this name is somebody else's */
	size_t count_at = w->count;
	add(w, ""); /* the number of properties, once it is known */
	add_property(w, "Description", "s", scope->unit);
	if (*scope->slice)
		add_property(w, "Slice", "s", scope->slice);
	add_property(w, "Delegate", "b", "true");
	add_property(w, "DefaultDependencies", "b", "false");
	add_property(w, "CollectMode", "s", "inactive-or-failed");
	add_property(w, "PIDs", "au", "1");
	add(w, keep(w, member));
	systemd_add_limits(resources, v2, w);
	w->items[count_at] = keep(w, (long long)w->properties);
	add(w, "0"); /* auxiliary units */
	return call(w, err) < 0 ? -1 : await_member(scope, member, path, err);
}

int systemd_update(const struct systemd_scope *scope, const struct oci_resources *resources,
                   bool v2, struct err *err)
{
	auto_free struct systemd_words *w = malloc(sizeof(*w));

	if (!w)
		return err_nomem(err);
	begin(w, scope, "SetUnitProperties", "sba(sv)");
	add(w, "true"); /* for this boot */
	size_t count_at = w->count;
	add(w, "");
	systemd_add_limits(resources, v2, w);
	if (w->properties == 0)
		return 0;
	w->items[count_at] = keep(w, (long long)w->properties);
	return call(w, err);
}

int systemd_stop(const struct systemd_scope *scope, struct err *err)
{
	auto_free struct systemd_words *w = malloc(sizeof(*w));
	struct err why = ERR_INIT;

	if (!w)
		return err_nomem(err);
	begin(w, scope, "StopUnit", "ss");
	add(w, "replace");
	/* "Unit x.scope not loaded.": empty scopes end by themselves. */
	if (call(w, &why) == 0 || strstr(why.msg, "not loaded"))
		return 0;
	if (err)
		*err = why;
	return -1;
}
