/* SPDX-License-Identifier: Apache-2.0 */
/* service ls, ps, inspect, rm, logs: looking at services. What changes them is in cmd_deploy.c. */

#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "cli/api.h"
#include "cli/commands.h"
#include "cli/demux.h"
#include "cli/inspect.h"
#include "cli/out.h"
#include "cli/tasks.h"
#include "cli/when.h"

#define TEXT_BYTES 4096

static struct json *ports_of(const struct json *service)
{
	const struct json *ports = json_get(json_get(service, "Endpoint"), "Ports");
	auto_buf struct buf text = BUF_INIT(TEXT_BYTES);

	if (!ports)
		ports = json_get(json_get(json_get(service, "Spec"), "EndpointSpec"), "Ports");
	for (size_t i = 0; i < json_count(ports); i++) {
		const struct json *p = json_at(ports, i);
		const char *proto = json_get_string(p, "Protocol");
		if (str_eq(json_get_string(p, "PublishMode"), "host"))
			continue;
		buf_addf(&text, "%s*:%d->%d/%s", text.len ? ", " : "",
		         (int)json_get_int(p, "PublishedPort", 0),
		         (int)json_get_int(p, "TargetPort", 0), proto ? proto : "tcp");
	}
	return json_string(buf_str(&text));
}

static struct json *row(struct cli *cli, const struct json *service, bool full)
{
	const struct json *spec = json_get(service, "Spec");
	const struct json *status = json_get(service, "ServiceStatus");
	const char *name = json_get_string(spec, "Name");
	const char *image =
		json_get_string(json_get(json_get(spec, "TaskTemplate"), "ContainerSpec"), "Image");
	bool global = json_get(json_get(spec, "Mode"), "Global") != NULL;
	char replicas[64], shown[512];
	struct json *r = json_object();

	snprintf(replicas, sizeof(replicas), "%d/%d", (int)json_get_int(status, "RunningTasks", 0),
	         (int)json_get_int(status, "DesiredTasks", 0));
	snprintf(shown, sizeof(shown), "%.*s", image ? (int)strcspn(image, "@") : 0,
	         image ? image : "");
	json_set(r, "ID", json_string(out_id(cli, json_get_string(service, "ID"), full)));
	json_set(r, "Name", json_string(name ? name : ""));
	json_set(r, "Mode", json_string(global ? "global" : "replicated"));
	json_set(r, "Replicas", json_string(replicas));
	json_set(r, "Image", json_string(shown));
	json_set(r, "Ports", ports_of(service));
	return r;
}

static int run_ls(struct cli *cli, const struct args *args, struct err *err)
{
	static const struct out_column columns[] = {
		{"ID", "ID"},       {"Name", "NAME"},   {"Mode", "MODE"}, {"Replicas", "REPLICAS"},
		{"Image", "IMAGE"}, {"Ports", "PORTS"}, {NULL, NULL}};
	const struct out_listing listing = {columns, 6, "ID"};
	auto_buf struct buf path = BUF_INIT(API_PATH_MAX);

	api_begin(&path, "/services", NULL, NULL);
	api_query(&path, "status", "true");
	if (api_filters(&path, args, err) < 0)
		return -1;
	auto_type(json) list = api_get(cli, buf_str(&path), err);
	if (!list)
		return -1;
	auto_type(json) rows = json_array();
	for (size_t i = 0; i < json_count(list); i++)
		json_append(rows, row(cli, json_at(list, i), args_bool(args, "no-trunc")));
	return out_rows(cli, args, &listing, rows, err);
}

static int run_ps(struct cli *cli, const struct args *args, struct err *err)
{
	return tasks_show(cli, args, "service", err);
}

static int run_inspect(struct cli *cli, const struct args *args, struct err *err)
{
	return inspect_run(cli, args, "service", err);
}

static int rm_one(struct cli *cli, const struct args *args, const char *name, struct err *err)
{
	const char *path = api_path(cli, "/services/", name, NULL, err);

	(void)args;
	if (!path || api_send(cli, "DELETE", path, NULL, NULL, err) < 0)
		return -1;
	printf("%s\n", name);
	return 0;
}

static int run_rm(struct cli *cli, const struct args *args, struct err *err)
{
	(void)err;
	return cli_each(cli, args, rm_one);
}

/* A service, or else a task of that id. */
static const char *logs_of(struct cli *cli, const char *name, bool *tty, struct err *err)
{
	const char *one = api_path(cli, "/services/", name, NULL, err);
	auto_type(json) service = one ? api_get(cli, one, NULL) : NULL;
	const struct json *task;

	if (service) {
		task = json_get(json_get(service, "Spec"), "TaskTemplate");
		*tty = json_get_bool(json_get(task, "ContainerSpec"), "TTY", false);
		return api_path(cli, "/services/", name, "/logs", err);
	}
	one = api_path(cli, "/tasks/", name, NULL, err);
	auto_type(json) doc = one ? api_get(cli, one, NULL) : NULL;
	if (!doc) {
		err_set(err, ERR_NOT_FOUND, "no such service or task: %s", name);
		return NULL;
	}
	*tty = json_get_bool(json_get(json_get(doc, "Spec"), "ContainerSpec"), "TTY", false);
	return api_path(cli, "/tasks/", name, "/logs", err);
}

static int run_logs(struct cli *cli, const struct args *args, struct err *err)
{
	auto_buf struct buf path = BUF_INIT(API_PATH_MAX);
	struct demux demux = {0};
	const char *base = logs_of(cli, args->words[0], &demux.raw, err);

	if (!base)
		return -1;
	buf_add(&path, base);
	if (when_logs(&path, args, err) < 0)
		return -1;
	const struct http_call call = {
		.method = "GET", .path = buf_str(&path), .write = demux_write, .write_arg = &demux};
	return api_stream(cli, &call, err);
}

static const struct flag none[] = {{NULL}};
static const struct flag ls_flags[] = {
	{"filter", 'f', FLAG_LIST, "KEY=VALUE", "Only those that fit: name, id, label, mode"},
	{"format", 0, FLAG_STRING, "TEMPLATE", "json, a template, or 'table ' and a template"},
	{"no-trunc", 0, FLAG_BOOL, NULL, "Do not shorten ids"},
	{"quiet", 'q', FLAG_BOOL, NULL, "Ids only"},
	{NULL},
};
static const struct flag ps_flags[] = {TASKS_FLAGS, {NULL}};
static const struct flag inspect_flags[] = {INSPECT_FLAGS, {NULL}};
static const struct flag log_flags[] = {WHEN_LOG_FLAGS, {NULL}};

#define SERVICES                                                                                   \
	.group = "service", .synopsis = "[OPTIONS] SERVICE [SERVICE...]", .min = 1,                \
	.max = CLI_ARGS_ANY

const struct command command_service[] = {
	{.group = "service",
         .name = "ls",
         .alias = "list",
         .synopsis = "[OPTIONS]",
         .summary = "List services",
         .flags = ls_flags,
         .run = run_ls},
	{SERVICES, .name = "ps", .summary = "List the tasks of services", .flags = ps_flags,
         .run = run_ps},
	{SERVICES, .name = "inspect", .summary = "Show everything about services",
         .flags = inspect_flags, .run = run_inspect},
	{SERVICES, .name = "rm", .alias = "remove", .summary = "Remove services", .flags = none,
         .run = run_rm},
	{.group = "service",
         .name = "logs",
         .synopsis = "[OPTIONS] SERVICE|TASK",
         .summary = "Show what the tasks of a service have written",
         .flags = log_flags,
         .min = 1,
         .max = 1,
         .run = run_logs},
	{.name = NULL},
};
