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

/* ---- for events ---- */

static const struct counter swap_counters[] = {
	{"limit", "memory", "memory.memsw.limit_in_bytes", NULL, "memory.swap.max", NULL, 1, true},
	{"usage", "memory", "memory.memsw.usage_in_bytes", NULL, "memory.swap.current", NULL, 1},
	{"max", "memory", "memory.memsw.max_usage_in_bytes", NULL, "memory.swap.peak", NULL, 1},
	{"failcnt", "memory", "memory.memsw.failcnt", NULL, "memory.swap.events", "max", 1},
};

static const struct counter kernel_counters[] = {
	{"limit", "memory", "memory.kmem.limit_in_bytes", NULL, NULL, NULL, 1, true},
	{"usage", "memory", "memory.kmem.usage_in_bytes", NULL, "memory.stat", "kernel", 1},
	{"max", "memory", "memory.kmem.max_usage_in_bytes", NULL, NULL, NULL, 1},
	{"failcnt", "memory", "memory.kmem.failcnt", NULL, NULL, NULL, 1},
};

static const struct counter tcp_counters[] = {
	{"limit", "memory", "memory.kmem.tcp.limit_in_bytes", NULL, NULL, NULL, 1, true},
	{"usage", "memory", "memory.kmem.tcp.usage_in_bytes", NULL, "memory.stat", "sock", 1},
	{"max", "memory", "memory.kmem.tcp.max_usage_in_bytes", NULL, NULL, NULL, 1},
	{"failcnt", "memory", "memory.kmem.tcp.failcnt", NULL, NULL, NULL, 1},
};

static struct json *counters_json(struct cgroup *cg, const struct counter *counters, size_t count)
{
	struct json *out = json_object();

	add_counters(out, cg, counters, count);
	return out;
}

struct json *cgroup_stats_list(const char *text)
{
	struct json *list = json_array();
	uint64_t first, last;

	while (json_count(list) < ENTRIES_MAX && id_scan_u64(&text, &first)) {
		last = first;
		if (*text == '-') {
			text++;
			if (!id_scan_u64(&text, &last))
				break;
		}
		for (; first <= last && json_count(list) < ENTRIES_MAX; first++)
			(void)json_append(list, json_int((int64_t)first));
		text += *text == ',';
	}
	return list;
}

static void add_list(struct json *to, struct cgroup *cg, const char *name, const char *v1_file,
                     const char *v2_file)
{
	auto_buf struct buf text = BUF_INIT(FILE_MAX);

	if (cgroup_read(cg, "cpuset", v1_file, v2_file, &text, NULL) == 0)
		(void)json_set(to, name, cgroup_stats_list(buf_str(&text)));
}

static struct json *cpuset(struct cgroup *cg)
{
	static const char *const flags[] = {
		"cpu_exclusive",   "mem_hardwall",       "mem_exclusive",
		"memory_migrate",  "memory_spread_page", "memory_spread_slab",
		"memory_pressure", "sched_load_balance", "sched_relax_domain_level"};
	struct json *out = json_object();

	add_list(out, cg, "cpus", "cpuset.cpus", "cpuset.cpus.effective");
	add_list(out, cg, "mems", "cpuset.mems", "cpuset.mems.effective");
	for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
		auto_buf struct buf text = BUF_INIT(64);
		char file[64];

		(void)snprintf(file, sizeof(file), "cpuset.%s", flags[i]);
		if (cgroup_read(cg, "cpuset", file, NULL, &text, NULL) == 0)
			(void)json_set(out, flags[i], json_int(strtoll(buf_str(&text), NULL, 10)));
	}
	return out;
}

static bool add_page_size(struct json *to, struct cgroup *cg, const char *size)
{
	char names[5][64];
	const struct counter counters[] = {
		{"usage", "hugetlb", names[0], NULL, names[1], NULL, 1},
		{"max", "hugetlb", names[2], NULL, NULL, NULL, 1},
		{"failcnt", "hugetlb", names[3], NULL, names[4], "max", 1},
	};
	int64_t usage;

	(void)snprintf(names[0], sizeof(names[0]), "hugetlb.%s.usage_in_bytes", size);
	(void)snprintf(names[1], sizeof(names[1]), "hugetlb.%s.current", size);
	(void)snprintf(names[2], sizeof(names[2]), "hugetlb.%s.max_usage_in_bytes", size);
	(void)snprintf(names[3], sizeof(names[3]), "hugetlb.%s.failcnt", size);
	(void)snprintf(names[4], sizeof(names[4]), "hugetlb.%s.events", size);
	if (!read_counter(cg, &counters[0], &usage))
		return false;
	return json_set(to, size, counters_json(cg, counters, ARRAY_LEN(counters))) == 0;
}

static struct json *hugetlb(struct cgroup *cg)
{
	static const char *const sizes[] = {"64KB", "512KB", "1MB",   "2MB", "8MB", "16MB",
	                                    "32MB", "256MB", "512MB", "1GB", "2GB", "16GB"};
	struct json *out = json_object();

	for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
		(void)add_page_size(out, cg, sizes[i]);
	return out;
}

/* "cpu user system\n0 11 12\n1 ..." */
static void add_percpu(struct json *to, struct cgroup *cg)
{
	auto_buf struct buf text = BUF_INIT(FILE_MAX);
	struct json *user = json_array(), *kernel = json_array();
	uint64_t cpu_number, user_ns, kernel_ns;

	(void)cgroup_read(cg, "cpuacct", "cpuacct.usage_all", NULL, &text, NULL);
	for (const char *at = strchr(buf_str(&text), '\n'); at; at = strchr(at, '\n')) {
		at++;
		if (!id_scan_u64(&at, &cpu_number) || !id_scan_u64(&at, &user_ns) ||
		    !id_scan_u64(&at, &kernel_ns) || json_count(user) >= ENTRIES_MAX)
			break;
		(void)json_append(user, json_int((int64_t)(user_ns & INT64_MAX)));
		(void)json_append(kernel, json_int((int64_t)(kernel_ns & INT64_MAX)));
	}
	(void)json_set(to, "percpu_user", user);
	(void)json_set(to, "percpu_kernel", kernel);
}

struct json *cgroup_stats_more(struct cgroup *cg, struct err *err)
{
	struct json *out = json_object();
	bool bad = json_set(out, "cpuset", cpuset(cg)) < 0;

	add_percpu(out, cg);
	bad |= json_set(out, "swap", counters_json(cg, swap_counters, ARRAY_LEN(swap_counters))) <
	       0;
	bad |= json_set(out, "kernel",
	                counters_json(cg, kernel_counters, ARRAY_LEN(kernel_counters))) < 0;
	bad |= json_set(out, "kernelTCP",
	                counters_json(cg, tcp_counters, ARRAY_LEN(tcp_counters))) < 0;
	bad |= json_set(out, "hugetlb", hugetlb(cg)) < 0;
	if (!bad)
		return out;
	json_free(out);
	(void)err_nomem(err);
	return NULL;
}
