/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/tasks.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/str.h"
#include "cli/api.h"
#include "cli/out.h"

#define TEXT_BYTES  4096
#define ERROR_SHOWN 30 /* characters */

/* Names of what tasks point to: services and nodes by id. */
struct names {
	struct json *services, *nodes;
};

static struct json *list(struct cli *cli, const char *what)
{
	const char *path = api_path(cli, what, NULL, NULL, NULL);

	return path ? api_get(cli, path, NULL) : NULL;
}

static const char *lookup(const struct json *all, const char *id, const char *object,
                          const char *key)
{
	for (size_t i = 0; i < json_count(all); i++)
		if (str_eq(json_get_string(json_at(all, i), "ID"), id))
			return json_get_string(json_get(json_at(all, i), object), key);
	return NULL;
}

static const char *service_of(const struct names *names, const struct json *task)
{
	const char *id = json_get_string(task, "ServiceID");
	const char *name = lookup(names->services, id, "Spec", "Name");

	return name ? name : id ? id : "";
}

static const char *node_of(const struct names *names, const struct json *task)
{
	const char *id = json_get_string(task, "NodeID");
	const char *name = lookup(names->nodes, id, "Description", "Hostname");

	return name ? name : id ? id : "";
}

static int64_t time_of(const struct json *task)
{
	const char *text = json_get_string(json_get(task, "Status"), "Timestamp");
	int64_t ns = 0;

	if (!text || clock_parse(text, &ns, NULL) < 0)
		(void)clock_parse(json_get_string(task, "CreatedAt")
		                          ? json_get_string(task, "CreatedAt")
		                          : CLOCK_ZERO,
		                  &ns, NULL);
	return ns;
}

/* By service, slot, and the newest first. */
static int by_slot(const void *a, const void *b)
{
	const struct json *x = *(struct json *const *)a, *y = *(struct json *const *)b;
	const char *s = json_get_string(x, "ServiceID"), *t = json_get_string(y, "ServiceID");
	int64_t p = json_get_int(x, "Slot", 0), q = json_get_int(y, "Slot", 0);
	int order = strcmp(s ? s : "", t ? t : "");

	if (order != 0 || p != q)
		return order ? order : p < q ? -1 : 1;
	p = time_of(x);
	q = time_of(y);
	return p > q ? -1 : p < q;
}

/* "Running 3 minutes ago". */
static struct json *current_state(const struct json *task)
{
	const char *state = json_get_string(json_get(task, "Status"), "State");
	char text[128], age[40];

	snprintf(text, sizeof(text), "%s %s ago", state ? state : "",
	         out_age(clock_wall_ns() - time_of(task), age));
	text[0] = (char)toupper((unsigned char)text[0]);
	for (char *p = strstr(text, " Less"); p; p = NULL)
		p[1] = 'l';
	for (char *p = strstr(text, " About"); p; p = NULL)
		p[1] = 'a';
	return json_string(text);
}

static struct json *error_of(const struct json *task, bool full)
{
	const char *text = json_get_string(json_get(task, "Status"), "Err");
	char quoted[TEXT_BYTES];

	if (str_empty(text))
		return json_string("");
	if (full || strlen(text) <= ERROR_SHOWN)
		snprintf(quoted, sizeof(quoted), "\"%s\"", text);
	else
		snprintf(quoted, sizeof(quoted), "\"%.*s\xe2\x80\xa6\"", ERROR_SHOWN, text);
	return json_string(quoted);
}

static struct json *ports_of(const struct json *task)
{
	const struct json *ports =
		json_get(json_get(json_get(task, "Status"), "PortStatus"), "Ports");
	auto_buf struct buf text = BUF_INIT(TEXT_BYTES);

	for (size_t i = 0; i < json_count(ports); i++) {
		const struct json *p = json_at(ports, i);
		const char *proto = json_get_string(p, "Protocol");
		buf_addf(&text, "%s*:%d->%d/%s", i ? "," : "",
		         (int)json_get_int(p, "PublishedPort", 0),
		         (int)json_get_int(p, "TargetPort", 0), proto ? proto : "tcp");
	}
	return json_string(buf_str(&text));
}

/* `old`: an earlier task of the same slot; it is shown below the newest. */
static struct json *row(struct cli *cli, const struct json *task, const struct names *names,
                        bool old, const struct args *args)
{
	const char *image =
		json_get_string(json_get(json_get(task, "Spec"), "ContainerSpec"), "Image");
	bool full = args_bool(args, "no-trunc");
	const char *id = json_get_string(task, "ID"), *at = image ? strchr(image, '@') : NULL;
	const char *node_id = json_get_string(task, "NodeID");
	char name[512], where[64], shown[512];
	struct json *r = json_object();

	if (json_get_int(task, "Slot", 0) > 0)
		snprintf(where, sizeof(where), "%d", (int)json_get_int(task, "Slot", 0));
	else
		snprintf(where, sizeof(where), "%.40s", node_id ? node_id : "");
	snprintf(name, sizeof(name), "%s%s.%s", old ? " \\_ " : "", service_of(names, task), where);
	snprintf(shown, sizeof(shown), "%.*s",
	         (int)(at && !full ? at - image
	               : image     ? (int)strlen(image)
	                           : 0),
	         image ? image : "");
	json_set(r, "ID", json_string(out_id(cli, id, full)));
	json_set(r, "Name", json_string(name));
	json_set(r, "Image", json_string(shown));
	json_set(r, "Node", json_string(node_of(names, task)));
	json_set(r, "DesiredState", out_capital(json_get_string(task, "DesiredState")));
	json_set(r, "CurrentState", current_state(task));
	json_set(r, "Error", error_of(task, full));
	json_set(r, "Ports", ports_of(task));
	return r;
}

static bool same_slot(const struct json *a, const struct json *b)
{
	return a && json_get_int(a, "Slot", 0) > 0 &&
	       json_get_int(a, "Slot", 0) == json_get_int(b, "Slot", 0) &&
	       str_eq(json_get_string(a, "ServiceID"), json_get_string(b, "ServiceID"));
}

static struct json *make_rows(struct cli *cli, const struct args *args, const struct json *tasks)
{
	bool resolve = !args_bool(args, "no-resolve");
	auto_type(json) services = resolve ? list(cli, "/services") : NULL;
	auto_type(json) nodes = resolve ? list(cli, "/nodes") : NULL;
	const struct names names = {services, nodes};
	size_t count = json_count(tasks);
	auto_free struct json **sorted = calloc(count + 1, sizeof(struct json *));
	struct json *rows = json_array();

	if (!sorted)
		return rows;
	for (size_t i = 0; i < count; i++)
		sorted[i] = json_at(tasks, i);
	qsort(sorted, count, sizeof(struct json *), by_slot);
	for (size_t i = 0; i < count; i++)
		json_append(rows, row(cli, sorted[i], &names,
		                      i > 0 && same_slot(sorted[i - 1], sorted[i]), args));
	return rows;
}

/* The words and --filter in one document. */
static int add_filters(struct buf *path, const struct args *args, const char *key,
                       const char *first, struct err *err)
{
	auto_type(json) all = json_object();
	auto_buf struct buf text = BUF_INIT(API_PATH_MAX);
	struct json *ids = json_array();

	json_append(ids, json_string(first));
	for (size_t i = 1; i < args->count; i++)
		json_append(ids, json_string(args->words[i]));
	json_set(all, key, ids);
	for (size_t i = 0; i < args_count(args, "filter"); i++) {
		const char *pair = args_at(args, "filter", i);
		const char *equals = strchr(pair, '=');
		char name[64];
		if (!equals)
			return err_set(err, ERR_INVALID, "--filter %s: not KEY=VALUE", pair);
		snprintf(name, sizeof(name), "%.*s", (int)(equals - pair), pair);
		if (!json_get(all, name))
			json_set(all, name, json_array());
		json_append(json_get(all, name), json_string(equals + 1));
	}
	if (json_write(all, &text, err) < 0)
		return -1;
	api_query(path, "filters", buf_str(&text));
	return 0;
}

int tasks_show(struct cli *cli, const struct args *args, const char *key, struct err *err)
{
	static const struct out_column columns[] = {{"ID", "ID"},
	                                            {"Name", "NAME"},
	                                            {"Image", "IMAGE"},
	                                            {"Node", "NODE"},
	                                            {"DesiredState", "DESIRED STATE"},
	                                            {"CurrentState", "CURRENT STATE"},
	                                            {"Error", "ERROR"},
	                                            {"Ports", "PORTS"},
	                                            {NULL, NULL}};
	const struct out_listing listing = {columns, 8, "ID"};
	auto_buf struct buf path = BUF_INIT(API_PATH_MAX);
	const char *first = args->count ? args->words[0] : "self";

	/* Each must be there: a name that is not known is no empty list. */
	for (size_t i = 0; i < args->count; i++) {
		const char *what = str_eq(key, "service") ? "/services/" : "/nodes/";
		const char *one = api_path(cli, what, args->words[i], NULL, err);
		if (str_eq(args->words[i], "self"))
			continue;
		auto_type(json) doc = one ? api_get(cli, one, err) : NULL;
		if (!doc)
			return -1;
		args->words[i] = arena_strdup(&cli->arena, json_get_string(doc, "ID"), err);
		if (!args->words[i])
			return -1;
		first = args->words[0];
	}
	if (str_eq(first, "self")) {
		const char *info = api_path(cli, "/info", NULL, NULL, err);
		auto_type(json) doc = info ? api_get(cli, info, err) : NULL;
		const char *id = json_get_string(json_get(doc, "Swarm"), "NodeID");
		if (!doc)
			return -1;
		first = arena_strdup(&cli->arena, id ? id : "", err);
	}
	api_begin(&path, "/tasks", NULL, NULL);
	if (!first || add_filters(&path, args, key, first, err) < 0)
		return -1;
	auto_type(json) tasks = api_get(cli, buf_str(&path), err);
	if (!tasks)
		return -1;
	auto_type(json) rows = make_rows(cli, args, tasks);
	return out_rows(cli, args, &listing, rows, err);
}
