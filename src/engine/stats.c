/* SPDX-License-Identifier: Apache-2.0 */
/* stats - counters and processes of a running container, in Docker's shapes. */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/json.h"
#include "base/str.h"
#include "engine/private.h"

#define PIDS_MAX 4096
#define PROC_MAX (1u << 16)

/* All of the machine's processor time in nanoseconds: /proc/stat's first line, guest time not
 * counted twice. */
static int64_t system_cpu_ns(void)
{
	auto_buf struct buf text = BUF_INIT(1u << 20);
	int64_t total = 0;
	char *p;

	if (fs_trusted_read("/proc/stat", 1u << 20, &text, NULL) < 0 ||
	    strncmp(buf_str(&text), "cpu ", 4) != 0)
		return 0;
	p = text.data + 4;
	for (int i = 0; i < 8; i++)
		total += strtoll(p, &p, 10);
	return total * (1000000000 / sysconf(_SC_CLK_TCK));
}

static int64_t memory_total(void)
{
	return (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
}

static struct json *copy_or_zero(const struct json *from, const char *key)
{
	return json_int(json_get_int(from, key, 0));
}

static struct json *cpu_stats(const struct json *raw)
{
	const struct json *cpu = json_get(raw, "cpu");
	struct json *out = json_object(), *usage = json_object(), *throttled = json_object();
	const struct json *percpu = json_get(cpu, "percpu_ns");
	int bad = json_set(usage, "total_usage", copy_or_zero(cpu, "total_ns")) |
	          json_set(usage, "usage_in_kernelmode", copy_or_zero(cpu, "system_ns")) |
	          json_set(usage, "usage_in_usermode", copy_or_zero(cpu, "user_ns"));

	if (json_count(percpu))
		bad |= json_set(usage, "percpu_usage", json_ref((struct json *)percpu));
	bad |= json_set(throttled, "periods", copy_or_zero(cpu, "periods"));
	bad |= json_set(throttled, "throttled_periods", copy_or_zero(cpu, "throttled_periods"));
	bad |= json_set(throttled, "throttled_time", copy_or_zero(cpu, "throttled_ns"));
	bad |= json_set(out, "cpu_usage", usage);
	bad |= json_set(out, "system_cpu_usage", json_int(raw ? system_cpu_ns() : 0));
	bad |= json_set(out, "online_cpus", json_int(sysconf(_SC_NPROCESSORS_ONLN)));
	bad |= json_set(out, "throttling_data", throttled);
	if (bad < 0) {
		json_free(out);
		return NULL;
	}
	return out;
}

static struct json *memory_stats(const struct json *raw)
{
	const struct json *memory = json_get(raw, "memory");
	struct json *out = json_object(), *stat = json_get(memory, "stat");
	int64_t limit = json_get_int(memory, "limit", 0);
	int bad = 0;

	if (!memory)
		return out;
	bad |= json_set(out, "usage", copy_or_zero(memory, "usage"));
	bad |= json_set(out, "max_usage", copy_or_zero(memory, "max_usage"));
	bad |= json_set(out, "failcnt", copy_or_zero(memory, "failcnt"));
	bad |= json_set(out, "limit",
	                json_int(limit > 0 && limit < memory_total() ? limit : memory_total()));
	bad |= json_set(out, "stats", stat ? json_ref(stat) : json_object());
	if (bad < 0) {
		json_free(out);
		return NULL;
	}
	return out;
}

static struct json *blkio_stats(const struct json *raw)
{
	static const char *const keys[][2] = {
		{"io_service_bytes_recursive", "service_bytes"},
		{"io_serviced_recursive", "serviced"},
	};
	struct json *out = json_object();
	int bad = 0;

	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		struct json *list = json_get(json_get(raw, "blkio"), keys[i][1]);
		bad |= json_set(out, keys[i][0], list ? json_ref(list) : json_array());
	}
	if (bad < 0) {
		json_free(out);
		return NULL;
	}
	return out;
}

static struct json *pids_stats(const struct json *raw)
{
	const struct json *pids = json_get(raw, "pids");
	struct json *out = json_object();

	if (pids && json_set(out, "current", copy_or_zero(pids, "current")) |
	                    json_set(out, "limit", copy_or_zero(pids, "limit"))) {
		json_free(out);
		return NULL;
	}
	return out;
}

/* "  eth0: rxbytes rxpackets rxerrs rxdrop fifo frame compressed multicast txbytes txpackets ..." */
static int add_interface(struct json *out, char *line)
{
	static const char *const keys[] = {
		"rx_bytes", "rx_packets", "rx_errors", "rx_dropped", NULL,        NULL,
		NULL,       NULL,         "tx_bytes",  "tx_packets", "tx_errors", "tx_dropped",
	};
	char *name = line + strspn(line, " "), *colon = strchr(name, ':');
	struct json *one;
	int bad = 0;

	if (!colon)
		return 0;
	*colon = '\0';
	if (str_eq(name, "lo"))
		return 0;
	one = json_object();
	char *p = colon + 1;
	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		long long n = strtoll(p, &p, 10);
		if (keys[i])
			bad |= json_set(one, keys[i], json_int(n));
	}
	return bad | json_set(out, name, one);
}

static struct json *network_stats(pid_t pid)
{
	auto_buf struct buf text = BUF_INIT(PROC_MAX), path = BUF_INIT(64);
	struct json *out = json_object();
	int bad = 0;

	buf_addf(&path, "/proc/%d/net/dev", (int)pid);
	if (pid <= 0 || fs_trusted_read(buf_str(&path), PROC_MAX, &text, NULL) < 0)
		return out;
	char *rest = text.data;
	for (char *line; (line = strsep(&rest, "\n"));)
		bad |= add_interface(out, line);
	if (bad < 0) {
		json_free(out);
		return NULL;
	}
	return out;
}

static struct json *read_raw(struct container *c)
{
	auto_type(supervisor) s = container_supervisor(c, NULL);
	auto_free char *text = s ? supervisor_stats(s, NULL) : NULL;

	return text ? json_parse(text, strlen(text), NULL) : NULL;
}

struct json *container_stats(struct engine *engine, const char *ref, struct err *err)
{
	auto_type(container) c = container_get(engine, ref, err);
	auto_type(json) raw = c ? read_raw(c) : NULL;
	auto_type(json) out = json_object();
	char now[CLOCK_TEXT_MAX], name[256];

	if (!c)
		return NULL;
	pthread_mutex_lock(&c->lock);
	snprintf(name, sizeof(name), "/%s", c->name);
	pid_t pid = container_is_up(c) ? c->pid : 0;
	pthread_mutex_unlock(&c->lock);
	int bad = json_set(out, "name", json_string(name)) |
	          json_set(out, "id", json_string(c->id)) |
	          json_set(out, "read",
	                   json_string(raw ? clock_format(clock_wall_ns(), now) : CLOCK_ZERO)) |
	          json_set(out, "num_procs", json_int(0)) |
	          json_set(out, "storage_stats", json_object()) |
	          json_set(out, "pids_stats", pids_stats(raw)) |
	          json_set(out, "blkio_stats", blkio_stats(raw)) |
	          json_set(out, "cpu_stats", cpu_stats(raw)) |
	          json_set(out, "memory_stats", memory_stats(raw));
	if (pid > 0)
		bad |= json_set(out, "networks", network_stats(pid));
	if (bad < 0)
		return err_nomem(err), NULL;
	return move_ptr(out);
}

/* ---- top ---- */

struct process {
	char uid[16], pid[16], ppid[16], start[32], tty[16], time[32];
	char *command;
};

static void format_time(char *out, size_t size, int64_t seconds)
{
	snprintf(out, size, "%02d:%02d:%02d", (int)(seconds / 3600), (int)(seconds / 60 % 60),
	         (int)(seconds % 60));
}

static void format_start(char *out, size_t size, int64_t start_ticks)
{
	int64_t hz = sysconf(_SC_CLK_TCK);
	time_t at =
		(time_t)(clock_wall_ns() / 1000000000 - clock_boot_ms() / 1000 + start_ticks / hz);
	struct tm tm;

	if (!localtime_r(&at, &tm) || strftime(out, size, "%H:%M", &tm) == 0)
		snprintf(out, size, "?");
}

/* after: the ')' that ends field 2. */
static bool stat_field(const char *after, int field, int64_t *out)
{
	uint64_t n;

	for (int f = 2; after && f < field; f++)
		after = strchr(after + 1, ' ');
	if (!after || !id_scan_u64(&after, &n))
		return false;
	*out = (int64_t)(n & INT64_MAX);
	return true;
}

/* Fields 4 (ppid), 7 (tty), 14, 15 (time), 22 (start) come after the name, which may hold anything. */
static int read_stat(int proc, struct process *p)
{
	auto_buf struct buf text = BUF_INIT(PROC_MAX);
	int64_t ppid, tty, utime, stime, start;
	const char *after;

	if (fs_read(proc, "stat", PROC_MAX, &text, NULL) < 0)
		return -1;
	after = strrchr(buf_str(&text), ')');
	if (!stat_field(after, 4, &ppid) || !stat_field(after, 7, &tty) ||
	    !stat_field(after, 14, &utime) || !stat_field(after, 15, &stime) ||
	    !stat_field(after, 22, &start))
		return -1;
	snprintf(p->ppid, sizeof(p->ppid), "%lld", (long long)ppid);
	if (tty >> 8 == 136)
		snprintf(p->tty, sizeof(p->tty), "pts/%lld", (long long)tty & 0xff);
	else
		snprintf(p->tty, sizeof(p->tty), "?");
	format_time(p->time, sizeof(p->time), (utime + stime) / sysconf(_SC_CLK_TCK));
	format_start(p->start, sizeof(p->start), start);
	return 0;
}

static int read_process(pid_t pid, struct process *p)
{
	auto_buf struct buf path = BUF_INIT(64), text = BUF_INIT(PROC_MAX), comm = BUF_INIT(256);
	struct stat st;

	*p = (struct process){0};
	buf_addf(&path, "/proc/%d", (int)pid);
	auto_close int proc = fs_trusted_open(buf_str(&path), O_RDONLY | O_DIRECTORY, 0, NULL);
	if (proc < 0 || fstat(proc, &st) < 0 || read_stat(proc, p) < 0)
		return -1;
	snprintf(p->uid, sizeof(p->uid), "%u", st.st_uid);
	snprintf(p->pid, sizeof(p->pid), "%d", (int)pid);
	(void)fs_read(proc, "cmdline", PROC_MAX - 1, &text, NULL);
	if (text.len == 0) { /* a kernel thread or a zombie */
		if (fs_read(proc, "comm", 255, &comm, NULL) == 0)
			buf_addf(&text, "[%.*s]", (int)strcspn(buf_str(&comm), "\n"),
			         buf_str(&comm));
	}
	for (size_t i = 0; text.len && i + 1 < text.len; i++)
		if (text.data[i] == '\0')
			text.data[i] = ' ';
	p->command = buf_take(&text, NULL);
	return 0;
}

static struct json *process_row(const struct process *p)
{
	const char *const cells[] = {p->uid,   p->pid, p->ppid, "0",
	                             p->start, p->tty, p->time, p->command ? p->command : ""};
	struct json *row = json_array();
	int bad = 0;

	for (size_t i = 0; i < ARRAY_LEN(cells); i++) {
		struct json *cell = json_string(cells[i]);
		bad |= json_append(row, cell ? cell : json_string("?")); /* not UTF-8 */
	}
	if (bad < 0) {
		json_free(row);
		return NULL;
	}
	return row;
}

struct json *container_top(struct engine *engine, const char *ref, const char *ps_args,
                           struct err *err)
{
	static const char *const titles[] = {"UID",   "PID", "PPID", "C",
	                                     "STIME", "TTY", "TIME", "CMD"};
	auto_type(container) c = container_get(engine, ref, err);
	auto_type(supervisor) s = c ? container_supervisor(c, err) : NULL;
	auto_free pid_t *pids = calloc(PIDS_MAX, sizeof(*pids));
	auto_type(json) out = json_object();
	struct json *head = json_array(), *rows = json_array();
	int bad = json_set(out, "Titles", head) | json_set(out, "Processes", rows);

	if (!s)
		return NULL;
	if (!pids || bad < 0)
		return err_nomem(err), NULL;
	if (!str_empty(ps_args) && !str_eq(ps_args, "-ef"))
		return err_set(err, ERR_UNSUPPORTED,
		               "ps arguments other than -ef are not supported"),
		       NULL;
	ssize_t n = supervisor_pids(s, pids, PIDS_MAX, err);
	if (n < 0)
		return NULL;
	for (size_t i = 0; i < ARRAY_LEN(titles); i++)
		bad |= json_append(head, json_string(titles[i]));
	for (ssize_t i = 0; i < n && i < PIDS_MAX; i++) {
		struct process p;
		if (read_process(pids[i], &p) < 0)
			continue;
		bad |= json_append(rows, process_row(&p));
		free(p.command);
	}
	if (bad < 0)
		return err_nomem(err), NULL;
	return move_ptr(out);
}
