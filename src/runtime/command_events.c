/* SPDX-License-Identifier: Apache-2.0 */
/* events: statistics and OOM kills of a container, one JSON object a line, in runc's shape. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/id.h"
#include "base/json.h"
#include "base/str.h"
#include "runtime/cgroup.h"
#include "runtime/cgroup_stats.h"
#include "runtime/command.h"
#include "runtime/container.h"

#define LINE_MAX_BYTES (1 << 20)
#define INTERVAL_MS    5000
#define LOOK_MS        50 /* between two looks at the OOM counter */

/* Copies numbers under other names; what the kernel does not keep stays out. */
static void rename_numbers(const struct json *from, struct json *to, const char *const (*names)[2],
                           size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (json_get(from, names[i][0]))
			(void)json_set(to, names[i][1],
			               json_int(json_get_int(from, names[i][0], 0)));
}

static void copy(const struct json *from, const char *key, struct json *to, const char *as)
{
	if (json_get(from, key))
		(void)json_set(to, as, json_ref(json_get(from, key)));
}

static struct json *cpu_data(const struct json *cpu, const struct json *more)
{
	static const char *const usage_names[][2] = {
		{"total_ns", "total"}, {"system_ns", "kernel"}, {"user_ns", "user"}};
	static const char *const throttling_names[][2] = {{"periods", "periods"},
	                                                  {"throttled_periods", "throttledPeriods"},
	                                                  {"throttled_ns", "throttledTime"}};
	struct json *j = json_object(), *usage = json_object(), *throttling = json_object();

	rename_numbers(cpu, usage, usage_names, ARRAY_LEN(usage_names));
	copy(cpu, "percpu_ns", usage, "percpu");
	copy(more, "percpu_kernel", usage, "percpu_kernel");
	copy(more, "percpu_user", usage, "percpu_user");
	rename_numbers(cpu, throttling, throttling_names, ARRAY_LEN(throttling_names));
	(void)json_set(j, "usage", usage);
	(void)json_set(j, "throttling", throttling);
	return j;
}

static struct json *memory_data(const struct json *memory, const struct json *more)
{
	static const char *const names[][2] = {{"limit", "limit"},
	                                       {"usage", "usage"},
	                                       {"max_usage", "max"},
	                                       {"failcnt", "failcnt"}};
	const struct json *stat = json_get(memory, "stat");
	struct json *j = json_object(), *usage = json_object();

	rename_numbers(memory, usage, names, ARRAY_LEN(names));
	(void)json_set(j, "usage", usage);
	copy(stat, json_get_int(memory, "version", 1) == 1 ? "cache" : "file", j, "cache");
	copy(more, "swap", j, "swap");
	copy(more, "kernel", j, "kernel");
	copy(more, "kernelTCP", j, "kernelTCP");
	copy(memory, "stat", j, "raw");
	return j;
}

static struct json *make_stats(struct cgroup *cg, struct err *err)
{
	auto_type(json) stats = cgroup_stats(cg, err);
	auto_type(json) more = stats ? cgroup_stats_more(cg, err) : NULL;
	struct json *data = json_object(), *blkio = json_object();

	if (!more) {
		json_free(data);
		json_free(blkio);
		return NULL;
	}
	(void)json_set(data, "cpu", cpu_data(json_get(stats, "cpu"), more));
	(void)json_set(data, "memory", memory_data(json_get(stats, "memory"), more));
	copy(stats, "pids", data, "pids");
	copy(json_get(stats, "blkio"), "service_bytes", blkio, "ioServiceBytesRecursive");
	copy(json_get(stats, "blkio"), "serviced", blkio, "ioServicedRecursive");
	(void)json_set(data, "blkio", blkio);
	copy(more, "cpuset", data, "cpuset");
	copy(more, "hugetlb", data, "hugetlb");
	(void)json_set(data, "intel_rdt", json_object()); /* nothing is measured by class */
	(void)json_set(data, "network_interfaces", json_null());
	return data;
}

static int print_event(const char *type, const char *id, struct json *data, struct err *err)
{
	auto_buf struct buf line = BUF_INIT(LINE_MAX_BYTES);
	auto_type(json) event = json_object();

	(void)json_set(event, "type", json_string(type));
	int rc = json_set(event, "id", json_string(id));
	if (data)
		rc |= json_set(event, "data", data);
	if (rc < 0)
		return err_nomem(err);
	if (json_write(event, &line, err) < 0 || buf_check(&line, err) < 0)
		return -1;
	if (puts(buf_str(&line)) < 0 || fflush(stdout) != 0)
		return err_sys(err, "standard output");
	return 0;
}

static int print_stats(struct cgroup *cg, const char *id, struct err *err)
{
	struct json *data = make_stats(cg, err);

	return data ? print_event("stats", id, data, err) : -1;
}

static int follow(struct container *c, struct cgroup *cg, int64_t interval_ms, struct err *err)
{
	int64_t next = clock_mono_ms() + interval_ms;
	uint64_t before = 0, now;

	(void)cgroup_oom_kills(cg, &before, NULL);
	while (container_is_alive(c)) {
		clock_sleep_ms(LOOK_MS);
		if (cgroup_oom_kills(cg, &now, NULL) == 0 && now > before) {
			before = now;
			if (print_event("oom", c->id, NULL, err) < 0)
				return -1;
		}
		if (clock_mono_ms() < next)
			continue;
		next += interval_ms;
		if (container_is_alive(c) && print_stats(cg, c->id, err) < 0)
			return -1;
	}
	return 0;
}

/* "5s", "300ms", "2m", as Go writes durations; a number by itself is seconds. */
static int parse_interval(const char *text, int64_t *ms, struct err *err)
{
	static const struct {
		const char *unit;
		int64_t ms;
	} units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"", 1000}};
	char digits[16];
	size_t len = strspn(text, "0123456789");
	int64_t n;

	if (len < sizeof(digits)) {
		memcpy(digits, text, len);
		digits[len] = '\0';
		for (size_t i = 0; i < ARRAY_LEN(units); i++)
			if (str_eq(text + len, units[i].unit) &&
			    id_parse_int(digits, "--interval", 1, 1000000, &n, NULL) == 0) {
				*ms = n * units[i].ms;
				return 0;
			}
	}
	return err_set(err, ERR_INVALID, "--interval: '%s' is not a time such as 5s or 300ms",
	               text);
}

struct events_options {
	const char *interval;
	bool stats;
};

static const struct option_entry events_options[] = {
	OPTION(struct events_options, stats, "stats", 0, OPTION_FLAG, NULL,
               "print statistics once"),
	OPTION(struct events_options, interval, "interval", 0, OPTION_TEXT, "TIME",
               "time between statistics (default: 5s)"),
	OPTIONS_END,
};

static int events(const struct command_globals *g, const void *options, char **words,
                  struct err *err)
{
	const struct events_options *o = options;
	int64_t interval_ms = INTERVAL_MS;

	if (o->interval && parse_interval(o->interval, &interval_ms, err) < 0)
		return -1;
	const char *id = command_take_id(words, err);
	auto_type(container) k = id ? container_open(g->root, id, err) : NULL;
	auto_type(cgroup) cg = k ? container_cgroup(k, err) : NULL;
	if (!cg)
		return -1;
	if (container_status(k) == CONTAINER_STOPPED)
		return err_set(err, ERR_CONFLICT, "container %s is not running", id);
	return o->stats ? print_stats(cg, id, err) : follow(k, cg, interval_ms, err);
}

const struct command command_events = {
	.name = "events",
	.arguments = "[OPTIONS] ID",
	.summary = "print statistics and OOM kills, one JSON object a line",
	.options = events_options,
	.options_size = sizeof(struct events_options),
	.run = events,
	.failed_exit = 1,
};
