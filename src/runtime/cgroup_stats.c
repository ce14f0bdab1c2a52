/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/cgroup_stats.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/id.h"
#include "base/json.h"
#include "base/str.h"
#include "runtime/cgroup.h"

#define FILE_MAX    65536
#define ENTRIES_MAX 256        /* of block devices' counters, and of CPUs */
#define NO_LIMIT    (1L << 60) /* v1 says "no limit" with a number near 2^63 */

/* Where a number stands in version 1 and 2. */
struct counter {
	const char *name;
	const char *controller;
	const char *v1_file, *v1_key; /* key NULL: the file is the number */
	const char *v2_file, *v2_key;
	int64_t v2_scale;
	bool is_limit;
};

static const struct counter memory_counters[] = {
	{"usage", "memory", "memory.usage_in_bytes", NULL, "memory.current", NULL, 1},
	{"limit", "memory", "memory.limit_in_bytes", NULL, "memory.max", NULL, 1, true},
	{"max_usage", "memory", "memory.max_usage_in_bytes", NULL, "memory.peak", NULL, 1},
	{"failcnt", "memory", "memory.failcnt", NULL, "memory.events", "max", 1},
};

static const struct counter cpu_counters[] = {
	{"total_ns", "cpuacct", "cpuacct.usage", NULL, "cpu.stat", "usage_usec", 1000},
	{"user_ns", "cpuacct", "cpuacct.usage_user", NULL, "cpu.stat", "user_usec", 1000},
	{"system_ns", "cpuacct", "cpuacct.usage_sys", NULL, "cpu.stat", "system_usec", 1000},
	{"periods", "cpu", "cpu.stat", "nr_periods", "cpu.stat", "nr_periods", 1},
	{"throttled_periods", "cpu", "cpu.stat", "nr_throttled", "cpu.stat", "nr_throttled", 1},
	{"throttled_ns", "cpu", "cpu.stat", "throttled_time", "cpu.stat", "throttled_usec", 1000},
};

static const struct counter pids_counters[] = {
	{"current", "pids", "pids.current", NULL, "pids.current", NULL, 1},
	{"limit", "pids", "pids.max", NULL, "pids.max", NULL, 1, true},
};

static bool read_counter(struct cgroup *cg, const struct counter *c, int64_t *out)
{
	auto_buf struct buf text = BUF_INIT(FILE_MAX);
	bool v2 = cgroup_controller_is_v2(cg, c->controller);
	const char *key = v2 ? c->v2_key : c->v1_key;
	uint64_t value = 0;
	const char *at;

	if (cgroup_read(cg, c->controller, c->v1_file, c->v2_file, &text, NULL) < 0)
		return false;
	at = buf_str(&text);
	if (key) {
		if (cgroup_parse_field(buf_str(&text), key, &value, NULL) < 0)
			return false;
	} else if (str_starts(buf_str(&text), "max")) {
		value = 0;
	} else if (!id_scan_u64(&at, &value)) {
		return false;
	}
	*out = (int64_t)(value > INT64_MAX ? INT64_MAX : value);
	if (c->is_limit && *out >= NO_LIMIT)
		*out = 0;
	if (v2 && c->v2_scale > 1 && __builtin_mul_overflow(*out, c->v2_scale, out))
		*out = INT64_MAX;
	return true;
}

static void add_counters(struct json *to, struct cgroup *cg, const struct counter *counters,
                         size_t count)
{
	for (size_t i = 0; i < count; i++) {
		int64_t value;

		if (read_counter(cg, &counters[i], &value))
			(void)json_set(to, counters[i].name, json_int(value));
	}
}

/* One line without its newline, in a buffer of its own; false at the end of the text. Lines longer
 * than the buffer are cut. */
static bool next_line(const char **text, char *line, size_t size)
{
	size_t len = strcspn(*text, "\n");
	size_t n = len < size - 1 ? len : size - 1;

	if (**text == '\0')
		return false;
	memcpy(line, *text, n);
	line[n] = '\0';
	*text += len + ((*text)[len] == '\n');
	return true;
}

#define KEY_MAX 127

struct json *cgroup_stats_flat(const char *text)
{
	struct json *out = json_object();
	char line[256];
	uint64_t value;

	while (next_line(&text, line, sizeof(line))) {
		size_t n = strspn(line, "abcdefghijklmnopqrstuvwxyz0123456789_");
		const char *at = line + n;
		if (n == 0 || n > KEY_MAX || !id_scan_u64(&at, &value))
			continue;
		line[n] = '\0';
		(void)json_set(out, line, json_int((int64_t)(value & INT64_MAX)));
	}
	return out;
}

struct device {
	uint64_t major, minor;
};

/* "8:0" */
static bool scan_device(const char **at, struct device *device)
{
	if (!id_scan_u64(at, &device->major) || **at != ':')
		return false;
	(*at)++;
	return id_scan_u64(at, &device->minor);
}

static struct json *blkio_entry(const struct device *device, const char *op, uint64_t value)
{
	struct json *entry = json_object();
	bool bad = json_set(entry, "major", json_int((int64_t)(device->major & INT64_MAX))) < 0;

	bad |= json_set(entry, "minor", json_int((int64_t)(device->minor & INT64_MAX))) < 0;
	bad |= json_set(entry, "op", json_string(op)) < 0;
	bad |= json_set(entry, "value", json_int((int64_t)(value & INT64_MAX))) < 0;
	if (!bad)
		return entry;
	json_free(entry);
	return NULL;
}

/* "8:0 rbytes=1 wbytes=2 rios=3 wios=4 ..." */
static void add_v2_entries(struct json *list, const char *line, int ios)
{
	static const char *const keys[2][2] = {{" rbytes=", " wbytes="}, {" rios=", " wios="}};
	static const char *const names[2] = {"Read", "Write"};
	struct device device;
	const char *rest = line;

	if (!scan_device(&rest, &device))
		return;
	for (int i = 0; i < 2; i++) {
		const char *key = keys[ios ? 1 : 0][i], *at = strstr(rest, key);
		uint64_t value;

		if (!at)
			continue;
		at += strlen(key);
		if (id_scan_u64(&at, &value))
			(void)json_append(list, blkio_entry(&device, names[i], value));
	}
}

/* "8:0 Read 4096" */
static void add_v1_entry(struct json *list, const char *line)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
	struct device device;
	char op[16];
	uint64_t value;

	if (!scan_device(&line, &device))
		return;
	line += strspn(line, " ");
	size_t n = strspn(line, letters);
	if (n == 0 || n >= sizeof(op))
		return;
	(void)snprintf(op, sizeof(op), "%.*s", (int)n, line);
	line += n;
	if (id_scan_u64(&line, &value))
		(void)json_append(list, blkio_entry(&device, op, value));
}

struct json *cgroup_stats_blkio(const char *text, int ios)
{
	struct json *list = json_array();
	char line[512];

	while (json_count(list) < ENTRIES_MAX && next_line(&text, line, sizeof(line))) {
		if (strchr(line, '='))
			add_v2_entries(list, line, ios);
		else
			add_v1_entry(list, line);
	}
	return list;
}

static struct json *memory(struct cgroup *cg)
{
	auto_buf struct buf text = BUF_INIT(FILE_MAX);
	struct json *out = json_object();
	int version = cgroup_controller_is_v2(cg, "memory") ? 2 : 1;

	(void)json_set(out, "version", json_int(version));
	add_counters(out, cg, memory_counters, ARRAY_LEN(memory_counters));
	if (cgroup_read(cg, "memory", "memory.stat", "memory.stat", &text, NULL) == 0)
		(void)json_set(out, "stat", cgroup_stats_flat(buf_str(&text)));
	return out;
}

static struct json *percpu(struct cgroup *cg)
{
	auto_buf struct buf text = BUF_INIT(FILE_MAX);
	struct json *list = json_array();
	char *end;

	(void)cgroup_read(cg, "cpuacct", "cpuacct.usage_percpu", NULL, &text, NULL);
	for (const char *at = buf_str(&text); json_count(list) < ENTRIES_MAX; at = end) {
		unsigned long long value = strtoull(at, &end, 10);

		if (end == at)
			break;
		(void)json_append(list, json_int((int64_t)(value & INT64_MAX)));
	}
	return list;
}

static struct json *cpu(struct cgroup *cg)
{
	struct json *out = json_object();

	add_counters(out, cg, cpu_counters, ARRAY_LEN(cpu_counters));
	(void)json_set(out, "percpu_ns", percpu(cg));
	return out;
}

static struct json *pids(struct cgroup *cg)
{
	struct json *out = json_object();

	add_counters(out, cg, pids_counters, ARRAY_LEN(pids_counters));
	return out;
}

static struct json *blkio(struct cgroup *cg)
{
	auto_buf struct buf bytes = BUF_INIT(FILE_MAX);
	auto_buf struct buf serviced = BUF_INIT(FILE_MAX);
	struct json *out = json_object();

	(void)cgroup_read(cg, "blkio", "blkio.throttle.io_service_bytes_recursive", "io.stat",
	                  &bytes, NULL);
	(void)cgroup_read(cg, "blkio", "blkio.throttle.io_serviced_recursive", "io.stat", &serviced,
	                  NULL);
	(void)json_set(out, "service_bytes", cgroup_stats_blkio(buf_str(&bytes), 0));
	(void)json_set(out, "serviced", cgroup_stats_blkio(buf_str(&serviced), 1));
	return out;
}

struct json *cgroup_stats(struct cgroup *cg, struct err *err)
{
	struct json *out = json_object();
	bool bad = json_set(out, "memory", memory(cg)) < 0;

	bad |= json_set(out, "cpu", cpu(cg)) < 0;
	bad |= json_set(out, "pids", pids(cg)) < 0;
	bad |= json_set(out, "blkio", blkio(cg)) < 0;
	if (!bad)
		return out;
	json_free(out);
	(void)err_nomem(err);
	return NULL;
}
