/* SPDX-License-Identifier: Apache-2.0 */
/* network ls, create, rm, inspect, connect, disconnect. */

#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "cli/api.h"
#include "cli/commands.h"
#include "cli/inspect.h"
#include "cli/out.h"
#include "cli/spec.h"

static struct json *row(struct cli *cli, const struct json *n, bool full)
{
	static const char *const keys[] = {"Name", "Driver", "Scope"};
	const char *created = json_get_string(n, "Created");
	struct json *r = json_object();

	json_set(r, "ID", json_string(out_id(cli, json_get_string(n, "Id"), full)));
	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		json_set(r, keys[i], json_ref(json_get(n, keys[i])));
	json_set(r, "Internal", json_bool(json_get_bool(n, "Internal", false)));
	json_set(r, "CreatedAt", json_string(created ? created : ""));
	json_set(r, "Labels", json_ref(json_get(n, "Labels")));
	return r;
}

static int run_ls(struct cli *cli, const struct args *args, struct err *err)
{
	static const struct out_column columns[] = {
		{"ID", "NETWORK ID"},     {"Name", "NAME"},
		{"Driver", "DRIVER"},     {"Scope", "SCOPE"},
		{"Internal", "INTERNAL"}, {"CreatedAt", "CREATED AT"},
		{"Labels", "LABELS"},     {NULL, NULL}};
	const struct out_listing listing = {columns, 4, "ID"};
	auto_buf struct buf path = BUF_INIT(API_PATH_MAX);

	api_begin(&path, "/networks", NULL, NULL);
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

static int set_map(const struct args *args, const char *flag, const char *key, struct json *doc,
                   struct err *err)
{
	auto_type(json) map = json_object();

	for (size_t i = 0; i < args_count(args, flag); i++)
		if (spec_label(args_at(args, flag, i), map, err) < 0)
			return -1;
	return json_set(doc, key, json_ref(map));
}

/* One subnet with its gateway and range, by their order. */
static struct json *ipam(const struct args *args)
{
	static const struct {
		const char *flag, *key;
	} parts[] = {{"subnet", "Subnet"}, {"gateway", "Gateway"}, {"ip-range", "IPRange"}};
	struct json *doc = json_object(), *configs = json_array();
	size_t count = args_count(args, "subnet");

	for (size_t i = 0; i < count; i++) {
		struct json *config = json_object();
		for (size_t k = 0; k < ARRAY_LEN(parts); k++)
			if (i < args_count(args, parts[k].flag))
				json_set(config, parts[k].key,
				         json_string(args_at(args, parts[k].flag, i)));
		json_append(configs, config);
	}
	json_set(doc, "Driver", json_string("default"));
	json_set(doc, "Config", configs);
	return doc;
}

static int run_create(struct cli *cli, const struct args *args, struct err *err)
{
	const char *path = api_path(cli, "/networks/create", NULL, NULL, err);
	const char *driver = args_string(args, "driver");
	auto_type(json) doc = json_object();
	struct json *answer = NULL;

	json_set(doc, "Name", json_string(args->words[0]));
	json_set(doc, "CheckDuplicate", json_bool(true));
	json_set(doc, "Driver", json_string(driver ? driver : "bridge"));
	json_set(doc, "Internal", json_bool(args_bool(args, "internal")));
	json_set(doc, "Attachable", json_bool(args_bool(args, "attachable")));
	json_set(doc, "EnableIPv6", json_bool(args_bool(args, "ipv6")));
	json_set(doc, "IPAM", ipam(args));
	if (!path || set_map(args, "opt", "Options", doc, err) < 0 ||
	    set_map(args, "label", "Labels", doc, err) < 0 ||
	    api_send(cli, "POST", path, json_ref(doc), &answer, err) < 0)
		return -1;
	const char *id = json_get_string(answer, "Id");
	printf("%s\n", id ? id : "");
	json_free(answer);
	return 0;
}

static int rm_one(struct cli *cli, const struct args *args, const char *name, struct err *err)
{
	const char *path = api_path(cli, "/networks/", name, NULL, err);
	struct err why = ERR_INIT;

	if (!path)
		return -1;
	if (api_send(cli, "DELETE", path, NULL, NULL, &why) < 0) {
		if (err)
			*err = why;
		return args_bool(args, "force") && why.kind == ERR_NOT_FOUND ? 0 : -1;
	}
	printf("%s\n", name);
	return 0;
}

static int run_rm(struct cli *cli, const struct args *args, struct err *err)
{
	(void)err;
	return cli_each(cli, args, rm_one);
}

static int run_inspect(struct cli *cli, const struct args *args, struct err *err)
{
	return inspect_run(cli, args, "network", err);
}

static int run_connect(struct cli *cli, const struct args *args, struct err *err)
{
	const char *path = api_path(cli, "/networks/", args->words[0], "/connect", err);
	struct json *doc = json_object(), *endpoint = json_object();

	if (args_has(args, "alias"))
		json_set(endpoint, "Aliases", spec_list(args, "alias"));
	if (args_has(args, "ip")) {
		struct json *address = json_object();
		json_set(address, "IPv4Address", json_string(args_string(args, "ip")));
		json_set(endpoint, "IPAMConfig", address);
	}
	json_set(doc, "Container", json_string(args->words[1]));
	json_set(doc, "EndpointConfig", endpoint);
	if (path)
		return api_send(cli, "POST", path, doc, NULL, err);
	json_free(doc);
	return -1;
}

static int run_disconnect(struct cli *cli, const struct args *args, struct err *err)
{
	const char *path = api_path(cli, "/networks/", args->words[0], "/disconnect", err);
	struct json *doc = json_object();

	json_set(doc, "Container", json_string(args->words[1]));
	json_set(doc, "Force", json_bool(args_bool(args, "force")));
	if (path)
		return api_send(cli, "POST", path, doc, NULL, err);
	json_free(doc);
	return -1;
}

static const struct flag ls_flags[] = {
	{"filter", 'f', FLAG_LIST, "KEY=VALUE", "Only those that fit: name, id, driver, label"},
	{"format", 0, FLAG_STRING, "TEMPLATE", "json, a template, or 'table ' and a template"},
	{"no-trunc", 0, FLAG_BOOL, NULL, "Do not shorten ids"},
	{"quiet", 'q', FLAG_BOOL, NULL, "Ids only"},
	{NULL},
};
static const struct flag create_flags[] = {
	{"attachable", 0, FLAG_BOOL, NULL, "Containers may join it by hand"},
	{"driver", 'd', FLAG_STRING, "NAME", "Driver (default bridge)"},
	{"gateway", 0, FLAG_LIST, "IP", "The machine's address in the subnet"},
	{"internal", 0, FLAG_BOOL, NULL, "No way to the outside"},
	{"ip-range", 0, FLAG_LIST, "CIDR", "Addresses that containers get"},
	{"ipv6", 0, FLAG_BOOL, NULL, "IPv6 as well"},
	{"label", 0, FLAG_LIST, "KEY=VALUE", "Set a label"},
	{"opt", 'o', FLAG_LIST, "KEY=VALUE", "Option of the driver"},
	{"subnet", 0, FLAG_LIST, "CIDR", "The subnet, as in 10.1.2.0/24"},
	{NULL},
};
static const struct flag rm_flags[] = {
	{"force", 'f', FLAG_BOOL, NULL, "What is gone is fine"},
	{NULL},
};
static const struct flag inspect_flags[] = {INSPECT_FLAGS, {NULL}};
static const struct flag connect_flags[] = {
	{"alias", 0, FLAG_LIST, "NAME", "Further name of the container in the network"},
	{"ip", 0, FLAG_STRING, "IP", "Address in the network"},
	{NULL},
};
static const struct flag disconnect_flags[] = {
	{"force", 'f', FLAG_BOOL, NULL, "Also if the container is in a bad state"},
	{NULL},
};

const struct command command_network[] = {
	{.group = "network",
         .name = "ls",
         .alias = "list",
         .synopsis = "[OPTIONS]",
         .summary = "List networks",
         .flags = ls_flags,
         .run = run_ls},
	{.group = "network",
         .name = "create",
         .synopsis = "[OPTIONS] NETWORK",
         .summary = "Make a network",
         .flags = create_flags,
         .min = 1,
         .max = 1,
         .run = run_create},
	{.group = "network",
         .name = "rm",
         .alias = "remove",
         .synopsis = "[OPTIONS] NETWORK [NETWORK...]",
         .summary = "Remove networks",
         .flags = rm_flags,
         .min = 1,
         .max = CLI_ARGS_ANY,
         .run = run_rm},
	{.group = "network",
         .name = "inspect",
         .synopsis = "[OPTIONS] NETWORK [NETWORK...]",
         .summary = "Show everything about networks",
         .flags = inspect_flags,
         .min = 1,
         .max = CLI_ARGS_ANY,
         .run = run_inspect},
	{.group = "network",
         .name = "connect",
         .synopsis = "[OPTIONS] NETWORK CONTAINER",
         .summary = "Connect a container to a network",
         .flags = connect_flags,
         .min = 2,
         .max = 2,
         .run = run_connect},
	{.group = "network",
         .name = "disconnect",
         .synopsis = "[OPTIONS] NETWORK CONTAINER",
         .summary = "Disconnect a container from a network",
         .flags = disconnect_flags,
         .min = 2,
         .max = 2,
         .run = run_disconnect},
	{.name = NULL},
};
