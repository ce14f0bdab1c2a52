/* SPDX-License-Identifier: Apache-2.0 */
/* ps: the containers. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/str.h"
#include "cli/api.h"
#include "cli/commands.h"
#include "cli/out.h"

#define NANO      1000000000LL
#define PORTS_MAX (64u << 10)

static int by_port(const void *a, const void *b)
{
	const struct json *x = *(struct json *const *)a, *y = *(struct json *const *)b;
	int64_t p = json_get_int(x, "PrivatePort", 0), q = json_get_int(y, "PrivatePort", 0);

	return p != q ? (p < q ? -1 : 1) : 0;
}

/* "0.0.0.0:8080->80/tcp, 443/tcp". */
static struct json *ports(const struct json *list)
{
	auto_buf struct buf text = BUF_INIT(PORTS_MAX);
	size_t count = json_count(list);
	auto_free struct json **sorted = calloc(count + 1, sizeof(struct json *));

	for (size_t i = 0; sorted && i < count; i++)
		sorted[i] = json_at(list, i);
	if (sorted)
		qsort(sorted, count, sizeof(struct json *), by_port);
	for (size_t i = 0; sorted && i < count; i++) {
		const char *ip = json_get_string(sorted[i], "IP");
		int64_t public = json_get_int(sorted[i], "PublicPort", 0);
		const char *type = json_get_string(sorted[i], "Type");
		buf_add(&text, text.len ? ", " : "");
		if (public > 0)
			buf_addf(&text, ip && strchr(ip, ':') ? "[%s]:%d->" : "%s:%d->",
			         ip ? ip : "0.0.0.0", (int)public);
		buf_addf(&text, "%d/%s", (int)json_get_int(sorted[i], "PrivatePort", 0),
		         type ? type : "tcp");
	}
	return json_string(buf_str(&text));
}

static struct json *names(const struct json *list)
{
	auto_buf struct buf text = BUF_INIT(PORTS_MAX);

	for (size_t i = 0; i < json_count(list); i++) {
		const char *name = json_str(json_at(list, i));
		if (name)
			buf_addf(&text, "%s%s", i ? "," : "", name + (*name == '/'));
	}
	return json_string(buf_str(&text));
}

static struct json *pairs(const struct json *map)
{
	auto_buf struct buf text = BUF_INIT(1u << 20);
	void *iter = NULL;
	const char *key;
	struct json *value;

	while (json_next(map, &iter, &key, &value))
		buf_addf(&text, "%s%s=%s", text.len ? "," : "", key,
		         json_str(value) ? json_str(value) : "");
	return json_string(buf_str(&text));
}

static struct json *mounts(const struct json *list)
{
	auto_buf struct buf text = BUF_INIT(PORTS_MAX);

	for (size_t i = 0; i < json_count(list); i++) {
		const char *name = json_get_string(json_at(list, i), "Name");
		if (str_empty(name))
			name = json_get_string(json_at(list, i), "Source");
		buf_addf(&text, "%s%s", i ? "," : "", name ? name : "");
	}
	return json_string(buf_str(&text));
}

static struct json *networks(const struct json *c)
{
	const struct json *map = json_get(json_get(c, "NetworkSettings"), "Networks");
	auto_buf struct buf text = BUF_INIT(PORTS_MAX);
	void *iter = NULL;
	const char *key;
	struct json *value;

	while (json_next(map, &iter, &key, &value))
		buf_addf(&text, "%s%s", text.len ? "," : "", key);
	return json_string(buf_str(&text));
}

static struct json *size(const struct json *c)
{
	char own[24], all[24], text[64];

	snprintf(text, sizeof(text), "%s (virtual %s)", out_size(json_get_int(c, "SizeRw", 0), own),
	         out_size(json_get_int(c, "SizeRootFs", 0), all));
	return json_string(text);
}

static struct json *opt_outs(const struct json *list)
{
	auto_buf struct buf text = BUF_INIT(PORTS_MAX);

	for (size_t i = 0; i < json_count(list); i++)
		buf_addf(&text, "%s%s", i ? "," : "", json_str(json_at(list, i)));
	return json_string(buf_str(&text));
}

static struct json *row(struct cli *cli, const struct json *c, bool full)
{
	int64_t created = json_get_int(c, "Created", 0) * NANO;
	char when[CLOCK_TEXT_MAX];
	struct json *r = json_object();

	json_set(r, "ID", json_string(out_id(cli, json_get_string(c, "Id"), full)));
	json_set(r, "Image", json_ref(json_get(c, "Image")));
	json_set(r, "Command", out_command(json_get_string(c, "Command"), full));
	json_set(r, "CreatedAt", json_string(clock_format(created, when)));
	json_set(r, "RunningFor", out_ago(created));
	json_set(r, "Status", json_ref(json_get(c, "Status")));
	json_set(r, "State", json_ref(json_get(c, "State")));
	json_set(r, "Ports", ports(json_get(c, "Ports")));
	json_set(r, "Names", names(json_get(c, "Names")));
	json_set(r, "Labels", pairs(json_get(c, "Labels")));
	json_set(r, "Mounts", mounts(json_get(c, "Mounts")));
	json_set(r, "Networks", networks(c));
	json_set(r, "OptOuts", opt_outs(json_get(c, "OptOuts")));
	json_set(r, "Size", size(c));
	return r;
}

/* What a container does without is seen where there is such a container. */
static int print_rows(struct cli *cli, const struct args *args, const struct json *rows,
                      bool opt_outs, struct err *err)
{
	bool size = args_bool(args, "size");
	const struct out_column optional[] = {{"OptOuts", "OPT-OUTS"}, {"Size", "SIZE"}};
	const struct out_column columns[] = {
		{"ID", "CONTAINER ID"},      {"Image", "IMAGE"},         {"Command", "COMMAND"},
		{"RunningFor", "CREATED"},   {"Status", "STATUS"},       {"Ports", "PORTS"},
		{"Names", "NAMES"},          optional[opt_outs ? 0 : 1], optional[opt_outs ? 1 : 0],
		{"CreatedAt", "CREATED AT"}, {"State", "STATE"},         {"Labels", "LABELS"},
		{"Mounts", "MOUNTS"},        {"Networks", "NETWORKS"},   {NULL, NULL}};
	const struct out_listing listing = {columns, 7U + opt_outs + size, "ID"};

	return out_rows(cli, args, &listing, rows, err);
}

static int run(struct cli *cli, const struct args *args, struct err *err)
{
	auto_buf struct buf path = BUF_INIT(API_PATH_MAX);
	int64_t last = args_bool(args, "latest") ? 1 : args_int(args, "last", -1);

	api_begin(&path, "/containers/json", NULL, NULL);
	if (args_bool(args, "all") || last > 0)
		api_query(&path, "all", "1");
	if (last > 0)
		api_query_int(&path, "limit", last);
	if (args_bool(args, "size"))
		api_query(&path, "size", "1");
	if (api_filters(&path, args, err) < 0)
		return -1;
	auto_type(json) list = api_get(cli, buf_str(&path), err);
	if (!list)
		return -1;
	auto_type(json) rows = json_array();
	bool any = false;
	for (size_t i = 0; i < json_count(list); i++) {
		json_append(rows, row(cli, json_at(list, i), args_bool(args, "no-trunc")));
		any |= json_count(json_get(json_at(list, i), "OptOuts")) > 0;
	}
	return print_rows(cli, args, rows, any, err);
}

static const struct flag flags[] = {
	{"all", 'a', FLAG_BOOL, NULL, "Also those that do not run"},
	{"filter", 'f', FLAG_LIST, "KEY=VALUE", "Only those that fit: name, label, status, ..."},
	{"format", 0, FLAG_STRING, "TEMPLATE", "json, a template, or 'table ' and a template"},
	{"last", 'n', FLAG_INT, "N", "The N made last, in any state"},
	{"latest", 'l', FLAG_BOOL, NULL, "The one made last, in any state"},
	{"no-trunc", 0, FLAG_BOOL, NULL, "Do not shorten ids and commands"},
	{"quiet", 'q', FLAG_BOOL, NULL, "Ids only"},
	{"size", 's', FLAG_BOOL, NULL, "Show sizes"},
	{NULL},
};

const struct command command_ps[] = {
	{.name = "ps",
         .synopsis = "[OPTIONS]",
         .summary = "List containers",
         .flags = flags,
         .run = run},
	{.name = NULL},
};
