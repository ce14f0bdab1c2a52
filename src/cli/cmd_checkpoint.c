/* SPDX-License-Identifier: Apache-2.0 */
/* checkpoint create, ls, rm. To go on from one: start --checkpoint. */

#include <stdio.h>

#include "cli/api.h"
#include "cli/commands.h"
#include "cli/out.h"

static int run_create(struct cli *cli, const struct args *args, struct err *err)
{
	const char *path = api_path(cli, "/containers/", args->words[0], "/checkpoints", err);
	const char *dir = args_string(args, "checkpoint-dir");
	auto_type(json) doc = json_object();

	json_set(doc, "CheckpointID", json_string(args->words[1]));
	json_set(doc, "CheckpointDir", json_string(dir ? dir : ""));
	json_set(doc, "Exit", json_bool(!args_bool(args, "leave-running")));
	if (!path || api_send(cli, "POST", path, json_ref(doc), NULL, err) < 0)
		return -1;
	printf("%s\n", args->words[1]);
	return 0;
}

static int run_ls(struct cli *cli, const struct args *args, struct err *err)
{
	static const struct out_column columns[] = {{"Name", "CHECKPOINT NAME"}, {NULL, NULL}};
	const struct out_listing listing = {columns, 1, "Name"};
	auto_buf struct buf path = BUF_INIT(API_PATH_MAX);

	api_begin(&path, "/containers/", args->words[0], "/checkpoints");
	if (args_has(args, "checkpoint-dir"))
		api_query(&path, "dir", args_string(args, "checkpoint-dir"));
	auto_type(json) rows = api_get(cli, buf_str(&path), err);
	return rows ? out_rows(cli, args, &listing, rows, err) : -1;
}

static int run_rm(struct cli *cli, const struct args *args, struct err *err)
{
	auto_buf struct buf path = BUF_INIT(API_PATH_MAX);

	api_begin(&path, "/containers/", args->words[0], "/checkpoints/");
	http_encode(&path, args->words[1]);
	if (args_has(args, "checkpoint-dir"))
		api_query(&path, "dir", args_string(args, "checkpoint-dir"));
	return api_send(cli, "DELETE", buf_str(&path), NULL, NULL, err);
}

#define DIR_FLAG                                                                                         \
	{                                                                                                \
		"checkpoint-dir", 0, FLAG_STRING, "DIR",                                                 \
			"Directory of checkpoints on the daemon's machine (default: with the container)" \
	}

static const struct flag create_flags[] = {
	DIR_FLAG,
	{"leave-running", 0, FLAG_BOOL, NULL, "The container runs on"},
	{NULL},
};
static const struct flag ls_flags[] = {
	DIR_FLAG,
	{"format", 0, FLAG_STRING, "TEMPLATE", "json, a template, or 'table ' and a template"},
	{"quiet", 'q', FLAG_BOOL, NULL, "Names only"},
	{NULL},
};
static const struct flag rm_flags[] = {DIR_FLAG, {NULL}};

const struct command command_checkpoint[] = {
	{.group = "checkpoint",
         .name = "create",
         .synopsis = "[OPTIONS] CONTAINER CHECKPOINT",
         .summary =
                 "Write a container's processes to files (CRIU); it ends then, unless it is to run on",
         .flags = create_flags,
         .min = 2,
         .max = 2,
         .run = run_create},
	{.group = "checkpoint",
         .name = "ls",
         .alias = "list",
         .synopsis = "[OPTIONS] CONTAINER",
         .summary = "List a container's checkpoints",
         .flags = ls_flags,
         .min = 1,
         .max = 1,
         .run = run_ls},
	{.group = "checkpoint",
         .name = "rm",
         .alias = "remove",
         .synopsis = "[OPTIONS] CONTAINER CHECKPOINT",
         .summary = "Remove a checkpoint",
         .flags = rm_flags,
         .min = 2,
         .max = 2,
         .run = run_rm},
	{.name = NULL},
};
