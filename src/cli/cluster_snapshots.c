/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cluster_snapshots.h"

#include <stdio.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/json.h"
#include "base/str.h"
#include "cli/api.h"
#include "cli/out.h"
#include "cli/table.h"

#define SNAPSHOTS "/buoy/v1/cluster/snapshots"
#define LIST_MAX  (1u << 20)
#define NS_PER_S  1000000000

const struct flag cluster_snapshots_flags[] = {
	{"interval", 0, FLAG_STRING, "DURATION", "Take one so often from now on; 0: none"},
	{"keep", 0, FLAG_INT, "N", "How many are kept (24)"},
	{"quiet", 'q', FLAG_BOOL, NULL, "Only the names"},
	{"take", 0, FLAG_BOOL, NULL, "Take one now"},
	{"verify", 0, FLAG_BOOL, NULL, "Read each whole, and say whether it is good"},
	{NULL},
};

static struct json *get(struct cli *cli, struct err *err)
{
	const char *path = api_path(cli, SNAPSHOTS, NULL, NULL, err);

	return path ? api_get(cli, path, err) : NULL;
}

static int set(struct cli *cli, const struct args *args, const struct json *now, struct err *err)
{
	const char *path = api_path(cli, SNAPSHOTS, NULL, NULL, err);
	int64_t ns = json_get_int(now, "IntervalSeconds", 0) * NS_PER_S;
	const char *interval = args_string(args, "interval");
	struct json *body;

	if (!path)
		return -1;
	if (interval && clock_parse_duration(interval, &ns, err) < 0)
		return err_wrap(err, "--interval");
	if (ns != 0 && ns < NS_PER_S)
		return err_set(err, ERR_INVALID, "--interval %s: a second at least, or 0 for none",
		               interval);
	body = json_object();
	json_set(body, "IntervalSeconds", json_int(ns / NS_PER_S));
	json_set(body, "Keep", json_int(args_int(args, "keep", json_get_int(now, "Keep", 1))));
	return api_send(cli, "POST", path, body, NULL, err);
}

static int take(struct cli *cli, struct err *err)
{
	const char *path = api_path(cli, SNAPSHOTS "/take", NULL, NULL, err);

	return path ? api_send(cli, "POST", path, NULL, NULL, err) : -1;
}

/* What there is to say of one; "": nothing. False: it is damaged. */
static bool is_good(struct cli *cli, const char *name)
{
	struct err err = ERR_INIT;
	const char *path = api_path(cli, SNAPSHOTS "/", name, "/verify", &err);

	if (path && api_send(cli, "POST", path, NULL, NULL, &err) == 0)
		return true;
	fprintf(stderr, "%s: %s\n", name, err.msg);
	return false;
}

static int show(struct cli *cli, const struct args *args, const struct json *doc, struct err *err)
{
	auto_buf struct buf rows = BUF_INIT(LIST_MAX), text = BUF_INIT(LIST_MAX);
	const struct json *list = json_get(doc, "Snapshots");
	bool verify = args_bool(args, "verify"), quiet = args_bool(args, "quiet");
	size_t bad = 0;

	if (!quiet)
		buf_add(&rows, verify ? "NAME\tSIZE\tSTATE" : "NAME\tSIZE");
	for (size_t i = 0; i < json_count(list); i++) {
		const struct json *item = json_at(list, i);
		const char *name = json_get_string(item, "Name");
		bool good = !verify || is_good(cli, name);

		bad += !good;
		if (quiet)
			buf_addf(&rows, "%s\n", name);
		else
			buf_addf(&rows, "\n%s\t%lld%s", name,
			         (long long)json_get_int(item, "Size", 0),
			         !verify ? ""
			         : good  ? "\tgood"
			                 : "\tdamaged");
	}
	if (quiet)
		out_text(stdout, buf_str(&rows), cli->out_tty);
	else if (table_align(buf_str(&rows), &text, err) < 0)
		return -1;
	else
		out_text(stdout, buf_str(&text), cli->out_tty);
	return bad ? err_set(err, ERR_INVALID, "%zu of %zu snapshots are damaged", bad,
	                     json_count(list))
	           : 0;
}

static void tell_settings(const struct json *doc)
{
	long long interval = (long long)json_get_int(doc, "IntervalSeconds", 0);
	const char *host = json_get_string(doc, "Hostname");
	const char *directory = json_get_string(doc, "Directory");

	if (interval == 0)
		printf("\nNone are taken by themselves: buoy cluster snapshots --interval 6h\n");
	else
		printf("\nOne every %lld s; %lld are kept.\n", interval,
		       (long long)json_get_int(doc, "Keep", 0));
	printf("They are on %s, which leads, in the directory %s below buoyd's root.\n",
	       host ? host : "the manager", directory ? directory : "");
}

int cluster_snapshots_run(struct cli *cli, const struct args *args, struct err *err)
{
	auto_type(json) now = get(cli, err);

	if (!now)
		return -1;
	if ((args_has(args, "interval") || args_has(args, "keep")) && set(cli, args, now, err) < 0)
		return -1;
	if (args_bool(args, "take") && take(cli, err) < 0)
		return -1;
	auto_type(json) after = get(cli, err);
	if (!after || show(cli, args, after, err) < 0)
		return -1;
	if (!args_bool(args, "quiet"))
		tell_settings(after);
	return 0;
}
