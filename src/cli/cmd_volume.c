/* SPDX-License-Identifier: Apache-2.0 */
/* volume ls, create, rm, inspect. */

#include <stdio.h>

#include "base/str.h"
#include "cli/api.h"
#include "cli/commands.h"
#include "cli/inspect.h"
#include "cli/out.h"
#include "cli/spec.h"

static int run_ls(struct cli *cli, const struct args *args, struct err *err)
{
	static const struct out_column columns[] = {
		{"Driver", "DRIVER"}, {"Name", "VOLUME NAME"},      {"Scope", "SCOPE"},
		{"Labels", "LABELS"}, {"Mountpoint", "MOUNTPOINT"}, {"CreatedAt", "CREATED AT"},
		{NULL, NULL}};
	const struct out_listing listing = {columns, 2, "Name"};
	auto_buf struct buf path = BUF_INIT(API_PATH_MAX);

	api_begin(&path, "/volumes", NULL, NULL);
	if (api_filters(&path, args, err) < 0)
		return -1;
	auto_type(json) doc = api_get(cli, buf_str(&path), err);
	if (!doc)
		return -1;
	auto_type(json) none = json_array();
	const struct json *rows = json_get(doc, "Volumes");
	return out_rows(cli, args, &listing, json_is_array(rows) ? rows : none, err);
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

static int run_create(struct cli *cli, const struct args *args, struct err *err)
{
	const char *path = api_path(cli, "/volumes/create", NULL, NULL, err);
	const char *driver = args_string(args, "driver");
	const char *name = args->count ? args->words[0] : args_string(args, "name");
	auto_type(json) doc = json_object();
	struct json *answer = NULL;

	json_set(doc, "Name", json_string(name ? name : ""));
	json_set(doc, "Driver", json_string(driver ? driver : "local"));
	if (!path || set_map(args, "opt", "DriverOpts", doc, err) < 0 ||
	    set_map(args, "label", "Labels", doc, err) < 0 ||
	    api_send(cli, "POST", path, json_ref(doc), &answer, err) < 0)
		return -1;
	name = json_get_string(answer, "Name");
	printf("%s\n", name ? name : "");
	json_free(answer);
	return 0;
}

static int rm_one(struct cli *cli, const struct args *args, const char *name, struct err *err)
{
	auto_buf struct buf path = BUF_INIT(API_PATH_MAX);

	api_begin(&path, "/volumes/", name, NULL);
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

static int run_inspect(struct cli *cli, const struct args *args, struct err *err)
{
	return inspect_run(cli, args, "volume", err);
}

static const struct flag ls_flags[] = {
	{"filter", 'f', FLAG_LIST, "KEY=VALUE", "Only those that fit: name, dangling, label"},
	{"format", 0, FLAG_STRING, "TEMPLATE", "json, a template, or 'table ' and a template"},
	{"quiet", 'q', FLAG_BOOL, NULL, "Names only"},
	{NULL},
};
static const struct flag create_flags[] = {
	{"driver", 'd', FLAG_STRING, "NAME", "Driver (default local)"},
	{"label", 0, FLAG_LIST, "KEY=VALUE", "Set a label"},
	{"name", 0, FLAG_STRING, "NAME", "Name, as by the word"},
	{"opt", 'o', FLAG_LIST, "KEY=VALUE", "Option of the driver"},
	{NULL},
};
static const struct flag rm_flags[] = {
	{"force", 'f', FLAG_BOOL, NULL, "What is gone is fine"},
	{NULL},
};
static const struct flag inspect_flags[] = {INSPECT_FLAGS, {NULL}};

const struct command command_volume[] = {
	{.group = "volume",
         .name = "ls",
         .alias = "list",
         .synopsis = "[OPTIONS]",
         .summary = "List volumes",
         .flags = ls_flags,
         .run = run_ls},
	{.group = "volume",
         .name = "create",
         .synopsis = "[OPTIONS] [VOLUME]",
         .summary = "Make a volume",
         .flags = create_flags,
         .max = 1,
         .run = run_create},
	{.group = "volume",
         .name = "rm",
         .alias = "remove",
         .synopsis = "[OPTIONS] VOLUME [VOLUME...]",
         .summary = "Remove volumes",
         .flags = rm_flags,
         .min = 1,
         .max = CLI_ARGS_ANY,
         .run = run_rm},
	{.group = "volume",
         .name = "inspect",
         .synopsis = "[OPTIONS] VOLUME [VOLUME...]",
         .summary = "Show everything about volumes",
         .flags = inspect_flags,
         .min = 1,
         .max = CLI_ARGS_ANY,
         .run = run_inspect},
	{.name = NULL},
};
