/* SPDX-License-Identifier: Apache-2.0 */
/* top, stats, port, diff: a look at one container from outside. */

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/str.h"
#include "cli/api.h"
#include "cli/commands.h"
#include "cli/out.h"
#include "cli/table.h"

#define TEXT_BYTES (4u << 20)
#define PERIOD_MS  1000
#define NAMES_MAX  256

/* ---- top ---- */

static void add_line(const struct json *cells, struct buf *text)
{
	for (size_t i = 0; i < json_count(cells); i++) {
		const char *cell = json_str(json_at(cells, i));
		buf_addf(text, "%s%s", i ? "\t" : "", cell ? cell : "");
	}
}

static int run_top(struct cli *cli, const struct args *args, struct err *err)
{
	auto_buf struct buf path = BUF_INIT(API_PATH_MAX);
	auto_buf struct buf options = BUF_INIT(4096);
	auto_buf struct buf text = BUF_INIT(TEXT_BYTES);
	auto_buf struct buf aligned = BUF_INIT(TEXT_BYTES);

	api_begin(&path, "/containers/", args->words[0], "/top");
	for (size_t i = 1; i < args->count; i++)
		buf_addf(&options, "%s%s", i > 1 ? " " : "", args->words[i]);
	if (options.len)
		api_query(&path, "ps_args", buf_str(&options));
	auto_type(json) doc = api_get(cli, buf_str(&path), err);
	if (!doc)
		return -1;
	const struct json *lines = json_get(doc, "Processes");
	add_line(json_get(doc, "Titles"), &text);
	for (size_t i = 0; i < json_count(lines); i++) {
		buf_add(&text, "\n");
		add_line(json_at(lines, i), &text);
	}
	if (buf_check(&text, err) < 0 || table_align(buf_str(&text), &aligned, err) < 0)
		return -1;
	out_text(stdout, buf_str(&aligned), cli->out_tty);
	return 0;
}

/* ---- stats ---- */

static double share_of_cpu(const struct json *stats)
{
	const struct json *now = json_get(stats, "cpu_stats");
	const struct json *before = json_get(stats, "precpu_stats");
	double own = (double)(json_get_int(json_get(now, "cpu_usage"), "total_usage", 0) -
	                      json_get_int(json_get(before, "cpu_usage"), "total_usage", 0));
	double all = (double)(json_get_int(now, "system_cpu_usage", 0) -
	                      json_get_int(before, "system_cpu_usage", 0));
	int64_t cpus = json_get_int(now, "online_cpus", 1);

	return own > 0 && all > 0 ? own / all * (double)cpus * 100 : 0;
}

static struct json *of_both(int64_t in, int64_t out)
{
	char one[24], two[24], text[64];

	snprintf(text, sizeof(text), "%s / %s", out_size(in, one), out_size(out, two));
	return json_string(text);
}

static struct json *net_io(const struct json *stats)
{
	const struct json *networks = json_get(stats, "networks");
	int64_t in = 0, out = 0;
	void *iter = NULL;
	const char *key;
	struct json *one;

	while (json_next(networks, &iter, &key, &one)) {
		in += json_get_int(one, "rx_bytes", 0);
		out += json_get_int(one, "tx_bytes", 0);
	}
	return of_both(in, out);
}

static struct json *block_io(const struct json *stats)
{
	const struct json *list =
		json_get(json_get(stats, "blkio_stats"), "io_service_bytes_recursive");
	int64_t in = 0, out = 0;

	for (size_t i = 0; i < json_count(list); i++) {
		const char *op = json_get_string(json_at(list, i), "op");
		int64_t value = json_get_int(json_at(list, i), "value", 0);
		if (op && strcasecmp(op, "read") == 0)
			in += value;
		else if (op && strcasecmp(op, "write") == 0)
			out += value;
	}
	return of_both(in, out);
}

static struct json *stats_row(struct cli *cli, const struct json *stats)
{
	const struct json *memory = json_get(stats, "memory_stats");
	const char *name = json_get_string(stats, "name");
	int64_t usage = json_get_int(memory, "usage", 0), limit = json_get_int(memory, "limit", 0);
	char text[64], one[24], two[24];
	struct json *r = json_object();

	/* The page cache that could go at once is not counted, as docker does. */
	usage -= json_get_int(json_get(memory, "stats"), "inactive_file", 0);
	json_set(r, "ID", json_string(out_id(cli, json_get_string(stats, "id"), false)));
	json_set(r, "Container", json_string(out_id(cli, json_get_string(stats, "id"), false)));
	json_set(r, "Name", json_string(name ? name + (*name == '/') : ""));
	snprintf(text, sizeof(text), "%.2f%%", share_of_cpu(stats));
	json_set(r, "CPUPerc", json_string(text));
	snprintf(text, sizeof(text), "%s / %s", out_size_binary(usage, one),
	         out_size_binary(limit, two));
	json_set(r, "MemUsage", json_string(text));
	snprintf(text, sizeof(text), "%.2f%%",
	         limit > 0 ? (double)usage / (double)limit * 100 : 0.0);
	json_set(r, "MemPerc", json_string(text));
	json_set(r, "NetIO", net_io(stats));
	json_set(r, "BlockIO", block_io(stats));
	json_set(r, "PIDs", json_int(json_get_int(json_get(stats, "pids_stats"), "current", 0)));
	return r;
}

/* Names given, or those that run. Borrowed from `list` or args. */
static size_t choose(const struct args *args, const struct json *list, const char *names[NAMES_MAX])
{
	size_t count = 0;

	for (size_t i = 0; i < args->count && count < NAMES_MAX; i++)
		names[count++] = args->words[i];
	for (size_t i = 0; i < json_count(list) && count < NAMES_MAX && args->count == 0; i++) {
		names[count] = json_get_string(json_at(list, i), "Id");
		count += names[count] != NULL;
	}
	return count;
}

static int show_stats(struct cli *cli, const struct args *args, struct err *err)
{
	static const struct out_column columns[] = {
		{"ID", "CONTAINER ID"},     {"Name", "NAME"},
		{"CPUPerc", "CPU %"},       {"MemUsage", "MEM USAGE / LIMIT"},
		{"MemPerc", "MEM %"},       {"NetIO", "NET I/O"},
		{"BlockIO", "BLOCK I/O"},   {"PIDs", "PIDS"},
		{"Container", "CONTAINER"}, {NULL, NULL}};
	const struct out_listing listing = {columns, 8, NULL};
	auto_buf struct buf path = BUF_INIT(API_PATH_MAX);
	const char *names[NAMES_MAX];

	api_begin(&path, "/containers/json", NULL, NULL);
	if (args_bool(args, "all"))
		api_query(&path, "all", "1");
	auto_type(json) list = api_get(cli, buf_str(&path), err);
	if (!list)
		return -1;
	size_t count = choose(args, list, names);
	auto_type(json) rows = json_array();
	for (size_t i = 0; i < count; i++) {
		api_begin(&path, "/containers/", names[i], "/stats");
		api_query(&path, "stream", "0");
		auto_type(json) stats = api_get(cli, buf_str(&path), args->count ? err : NULL);
		if (!stats && args->count)
			return -1;
		if (stats)
			json_append(rows, stats_row(cli, stats));
	}
	if (cli->out_tty && !args_bool(args, "no-stream"))
		fputs("\033[H\033[2J", stdout);
	return out_rows(cli, args, &listing, rows, err);
}

static int run_stats(struct cli *cli, const struct args *args, struct err *err)
{
	int rc = show_stats(cli, args, err);

	while (rc == 0 && !args_bool(args, "no-stream")) {
		if (fflush(stdout) != 0)
			return err_sys(err, "standard output");
		clock_sleep_ms(PERIOD_MS);
		rc = show_stats(cli, args, err);
	}
	return rc;
}

/* ---- port ---- */

static struct json *inspect(struct cli *cli, const char *name, struct err *err)
{
	const char *path = api_path(cli, "/containers/", name, "/json", err);

	return path ? api_get(cli, path, err) : NULL;
}

/* "80" is "80/tcp". */
static bool same_port(const char *wanted, const char *port)
{
	size_t len = strcspn(port, "/");

	return !wanted || str_eq(wanted, port) ||
	       (strlen(wanted) == len && strncmp(wanted, port, len) == 0 &&
	        str_eq(port + len, "/tcp"));
}

/* Returns how many lines it printed. */
static size_t print_bindings(const char *prefix, const struct json *bindings)
{
	for (size_t i = 0; i < json_count(bindings); i++) {
		const char *ip = json_get_string(json_at(bindings, i), "HostIp");
		const char *host = json_get_string(json_at(bindings, i), "HostPort");

		if (prefix)
			printf("%s -> ", prefix);
		printf(ip && strchr(ip, ':') ? "[%s]:%s\n" : "%s:%s\n",
		       str_empty(ip) ? "0.0.0.0" : ip, host ? host : "");
	}
	return json_count(bindings);
}

static int run_port(struct cli *cli, const struct args *args, struct err *err)
{
	auto_type(json) doc = inspect(cli, args->words[0], err);
	const char *wanted = args->count > 1 ? args->words[1] : NULL, *port;
	struct json *bindings;
	void *iter = NULL;
	size_t shown = 0;

	if (!doc)
		return -1;
	const struct json *ports = json_get(json_get(doc, "NetworkSettings"), "Ports");
	while (json_next(ports, &iter, &port, &bindings))
		if (same_port(wanted, port))
			shown += print_bindings(wanted ? NULL : port, bindings);
	if (wanted && !shown)
		return err_set(err, ERR_NOT_FOUND, "port %s of %s is not published", wanted,
		               args->words[0]);
	return 0;
}

/* ---- diff ---- */

static int run_diff(struct cli *cli, const struct args *args, struct err *err)
{
	static const char kinds[] = {'C', 'A', 'D'};
	const char *path = api_path(cli, "/containers/", args->words[0], "/changes", err);
	auto_type(json) list = path ? api_get(cli, path, err) : NULL;

	if (!list)
		return -1;
	for (size_t i = 0; i < json_count(list); i++) {
		int64_t kind = json_get_int(json_at(list, i), "Kind", 0);
		const char *name = json_get_string(json_at(list, i), "Path");
		printf("%c ", kind >= 0 && kind < 3 ? kinds[kind] : '?');
		out_text(stdout, name ? name : "", cli->out_tty);
		putchar('\n');
	}
	return 0;
}

static const struct flag none[] = {{NULL}};
static const struct flag stats_flags[] = {
	{"all", 'a', FLAG_BOOL, NULL, "Also those that do not run"},
	{"format", 0, FLAG_STRING, "TEMPLATE", "json, a template, or 'table ' and a template"},
	{"no-stream", 0, FLAG_BOOL, NULL, "Once, and end"},
	{NULL},
};

const struct command command_watch[] = {
	{.name = "top",
         .synopsis = "CONTAINER [PS OPTIONS]",
         .summary = "Show the processes of a container",
         .flags = none,
         .min = 1,
         .max = CLI_ARGS_ANY,
         .passes_on = true,
         .run = run_top},
	{.name = "stats",
         .synopsis = "[OPTIONS] [CONTAINER...]",
         .summary = "Show what containers use, again and again",
         .flags = stats_flags,
         .max = CLI_ARGS_ANY,
         .run = run_stats},
	{.name = "port",
         .synopsis = "CONTAINER [PORT[/PROTO]]",
         .summary = "Show the published ports of a container",
         .flags = none,
         .min = 1,
         .max = 2,
         .run = run_port},
	{.name = "diff",
         .synopsis = "CONTAINER",
         .summary = "Show which files a container has changed",
         .flags = none,
         .min = 1,
         .max = 1,
         .run = run_diff},
	{.name = NULL},
};
