/* SPDX-License-Identifier: Apache-2.0 */
/* node ls, ps, inspect, update, promote, demote, rm: the machines of a swarm. */

#include <stdio.h>
#include <string.h>

#include "base/id.h"
#include "base/str.h"
#include "cli/api.h"
#include "cli/commands.h"
#include "cli/inspect.h"
#include "cli/out.h"
#include "cli/spec.h"
#include "cli/tasks.h"

static struct json *row(struct cli *cli, const struct json *node, const char *self)
{
	const struct json *manager = json_get(node, "ManagerStatus");
	const struct json *description = json_get(node, "Description");
	const char *id = json_get_string(node, "ID");
	const char *hostname = json_get_string(description, "Hostname");
	const char *version = json_get_string(json_get(description, "Engine"), "EngineVersion");
	bool own = str_eq(id, self), leader = json_get_bool(manager, "Leader", false);
	struct json *r = json_object();

	(void)cli;
	json_set(r, "ID", json_string(id ? id : ""));
	json_set(r, "Self", json_string(own ? "*" : ""));
	json_set(r, "Hostname", json_string(hostname ? hostname : ""));
	json_set(r, "Status", out_capital(json_get_string(json_get(node, "Status"), "State")));
	json_set(r, "Availability",
	         out_capital(json_get_string(json_get(node, "Spec"), "Availability")));
	json_set(r, "ManagerStatus",
	         leader ? json_string("Leader")
	                : out_capital(json_get_string(manager, "Reachability")));
	json_set(r, "EngineVersion", json_string(version ? version : ""));
	return r;
}

static int run_ls(struct cli *cli, const struct args *args, struct err *err)
{
	static const struct out_column columns[] = {{"ID", "ID"},
	                                            {"Hostname", "HOSTNAME"},
	                                            {"Status", "STATUS"},
	                                            {"Availability", "AVAILABILITY"},
	                                            {"ManagerStatus", "MANAGER STATUS"},
	                                            {"EngineVersion", "ENGINE VERSION"},
	                                            {"Self", "SELF"},
	                                            {NULL, NULL}};
	const struct out_listing listing = {columns, 6, "ID"};
	auto_buf struct buf path = BUF_INIT(API_PATH_MAX);
	const char *info_path = api_path(cli, "/info", NULL, NULL, err);

	api_begin(&path, "/nodes", NULL, NULL);
	if (!info_path || api_filters(&path, args, err) < 0)
		return -1;
	auto_type(json) nodes = api_get(cli, buf_str(&path), err);
	auto_type(json) info = nodes ? api_get(cli, info_path, err) : NULL;
	if (!info)
		return -1;
	const char *self = json_get_string(json_get(info, "Swarm"), "NodeID");
	auto_type(json) rows = json_array();
	for (size_t i = 0; i < json_count(nodes); i++)
		json_append(rows, row(cli, json_at(nodes, i), self));
	return out_rows(cli, args, &listing, rows, err);
}

static int run_ps(struct cli *cli, const struct args *args, struct err *err)
{
	return tasks_show(cli, args, "node", err);
}

static int run_inspect(struct cli *cli, const struct args *args, struct err *err)
{
	return inspect_run(cli, args, "node", err);
}

static int rm_one(struct cli *cli, const struct args *args, const char *name, struct err *err)
{
	auto_buf struct buf path = BUF_INIT(API_PATH_MAX);

	api_begin(&path, "/nodes/", name, NULL);
	if (args_bool(args, "force"))
		api_query(&path, "force", "1");
	if (api_send(cli, "DELETE", buf_str(&path), NULL, NULL, err) < 0)
		return -1;
	printf("%s\n", name);
	return 0;
}

static int run_rm(struct cli *cli, const struct args *args, struct err *err)
{
	(void)err;
	return cli_each(cli, args, rm_one);
}

/* ---- update ---- */

/* The labels with --label-add put in and --label-rm left out. */
static struct json *changed_labels(const struct args *args, const struct json *old, struct err *err)
{
	auto_type(json) labels = json_object();
	void *iter = NULL;
	const char *key;
	struct json *value;

	while (json_next(old, &iter, &key, &value)) {
		bool gone = false;
		for (size_t i = 0; i < args_count(args, "label-rm"); i++)
			gone = gone || str_eq(args_at(args, "label-rm", i), key);
		if (!gone)
			json_set(labels, key, json_ref(value));
	}
	for (size_t i = 0; i < args_count(args, "label-add"); i++)
		if (spec_label(args_at(args, "label-add", i), labels, err) < 0)
			return NULL;
	return move_ptr(labels);
}

/* Reads the node, lets `role` (or the flags) change its spec, writes it back. */
static int change(struct cli *cli, const struct args *args, const char *name, const char *role,
                  struct err *err)
{
	auto_buf struct buf path = BUF_INIT(API_PATH_MAX);
	const char *one = api_path(cli, "/nodes/", name, NULL, err);
	auto_type(json) node = one ? api_get(cli, one, err) : NULL;

	if (!node)
		return -1;
	struct json *spec = json_get(node, "Spec");
	struct json *labels = changed_labels(args, json_get(spec, "Labels"), err);
	if (!labels)
		return -1;
	json_set(spec, "Labels", labels);
	if (role)
		json_set(spec, "Role", json_string(role));
	if (args_has(args, "availability"))
		json_set(spec, "Availability", json_string(args_string(args, "availability")));
	api_begin(&path, "/nodes/", json_get_string(node, "ID"), "/update");
	api_query_int(&path, "version", json_get_int(json_get(node, "Version"), "Index", 0));
	return api_send(cli, "POST", buf_str(&path), json_ref(spec), NULL, err);
}

static int update_one(struct cli *cli, const struct args *args, const char *name, struct err *err)
{
	if (change(cli, args, name, args_string(args, "role"), err) < 0)
		return -1;
	printf("%s\n", name);
	return 0;
}

static int promote_one(struct cli *cli, const struct args *args, const char *name, struct err *err)
{
	if (change(cli, args, name, "manager", err) < 0)
		return -1;
	printf("Node %s promoted to a manager in the swarm.\n", name);
	return 0;
}

static int demote_one(struct cli *cli, const struct args *args, const char *name, struct err *err)
{
	if (change(cli, args, name, "worker", err) < 0)
		return -1;
	printf("Manager %s demoted in the swarm.\n", name);
	return 0;
}

static int run_update(struct cli *cli, const struct args *args, struct err *err)
{
	(void)err;
	return cli_each(cli, args, update_one);
}

static int run_promote(struct cli *cli, const struct args *args, struct err *err)
{
	(void)err;
	return cli_each(cli, args, promote_one);
}

static int run_demote(struct cli *cli, const struct args *args, struct err *err)
{
	(void)err;
	return cli_each(cli, args, demote_one);
}

static const struct flag none[] = {{NULL}};
static const struct flag ls_flags[] = {
	{"filter", 'f', FLAG_LIST, "KEY=VALUE", "Only those that fit: name, id, label, role"},
	{"format", 0, FLAG_STRING, "TEMPLATE", "json, a template, or 'table ' and a template"},
	{"quiet", 'q', FLAG_BOOL, NULL, "Ids only"},
	{NULL},
};
static const struct flag ps_flags[] = {TASKS_FLAGS, {NULL}};
static const struct flag inspect_flags[] = {INSPECT_FLAGS, {NULL}};
static const struct flag rm_flags[] = {
	{"force", 'f', FLAG_BOOL, NULL, "Also if it is up"},
	{NULL},
};
static const struct flag update_flags[] = {
	{"availability", 0, FLAG_STRING, "WORD", "active, pause or drain"},
	{"label-add", 0, FLAG_LIST, "KEY=VALUE", "Set a label"},
	{"label-rm", 0, FLAG_LIST, "KEY", "Take a label away"},
	{"role", 0, FLAG_STRING, "WORD", "worker or manager"},
	{NULL},
};

#define NODES .group = "node", .synopsis = "[OPTIONS] NODE [NODE...]", .min = 1, .max = CLI_ARGS_ANY

const struct command command_node[] = {
	{.group = "node",
         .name = "ls",
         .alias = "list",
         .synopsis = "[OPTIONS]",
         .summary = "List the machines of the swarm",
         .flags = ls_flags,
         .run = run_ls},
	{.group = "node",
         .name = "ps",
         .synopsis = "[OPTIONS] [NODE...]",
         .summary = "List the tasks of machines (this one, if none is named)",
         .flags = ps_flags,
         .max = CLI_ARGS_ANY,
         .run = run_ps},
	{NODES, .name = "inspect", .summary = "Show everything about machines",
         .flags = inspect_flags, .run = run_inspect},
	{NODES, .name = "update", .summary = "Change availability, labels or role of a machine",
         .flags = update_flags, .run = run_update},
	{NODES, .name = "promote", .summary = "Make machines managers", .flags = none,
         .run = run_promote},
	{NODES, .name = "demote", .summary = "Make managers workers", .flags = none,
         .run = run_demote},
	{NODES, .name = "rm", .alias = "remove", .summary = "Forget machines that are down",
         .flags = rm_flags, .run = run_rm},
	{.name = NULL},
};
