/* SPDX-License-Identifier: Apache-2.0 */
/* stop, restart, kill, rm, wait, pause, unpause, rename: the small verbs of a container's life. */

#include <inttypes.h>
#include <stdio.h>

#include "base/str.h"
#include "cli/api.h"
#include "cli/commands.h"

/* POST /containers/{name}/{verb} with a time and a signal, if given; the name is printed. */
static int post_verb(struct cli *cli, const struct args *args, const char *name, const char *verb,
                     struct err *err)
{
	auto_buf struct buf path = BUF_INIT(API_PATH_MAX);

	api_begin(&path, "/containers/", name, verb);
	if (args_has(args, "time"))
		api_query(&path, "t", args_string(args, "time"));
	if (args_has(args, "signal"))
		api_query(&path, "signal", args_string(args, "signal"));
	if (api_send(cli, "POST", buf_str(&path), NULL, NULL, err) < 0)
		return -1;
	printf("%s\n", name);
	return 0;
}

static int stop_one(struct cli *cli, const struct args *args, const char *name, struct err *err)
{
	return post_verb(cli, args, name, "/stop", err);
}

static int restart_one(struct cli *cli, const struct args *args, const char *name, struct err *err)
{
	return post_verb(cli, args, name, "/restart", err);
}

static int kill_one(struct cli *cli, const struct args *args, const char *name, struct err *err)
{
	return post_verb(cli, args, name, "/kill", err);
}

static int pause_one(struct cli *cli, const struct args *args, const char *name, struct err *err)
{
	return post_verb(cli, args, name, "/pause", err);
}

static int unpause_one(struct cli *cli, const struct args *args, const char *name, struct err *err)
{
	return post_verb(cli, args, name, "/unpause", err);
}

static int rm_one(struct cli *cli, const struct args *args, const char *name, struct err *err)
{
	auto_buf struct buf path = BUF_INIT(API_PATH_MAX);
	struct err why = ERR_INIT;

	api_begin(&path, "/containers/", name, NULL);
	if (args_bool(args, "force"))
		api_query(&path, "force", "1");
	if (args_bool(args, "volumes"))
		api_query(&path, "v", "1");
	if (api_send(cli, "DELETE", buf_str(&path), NULL, NULL, &why) < 0) {
		if (err)
			*err = why;
		/* -f: what is gone is fine. */
		return args_bool(args, "force") && why.kind == ERR_NOT_FOUND ? 0 : -1;
	}
	printf("%s\n", name);
	return 0;
}

static int wait_one(struct cli *cli, const struct args *args, const char *name, struct err *err)
{
	const char *path = api_path(cli, "/containers/", name, "/wait", err);
	struct json *answer = NULL;

	(void)args;
	if (!path || api_send(cli, "POST", path, NULL, &answer, err) < 0)
		return -1;
	printf("%" PRId64 "\n", json_get_int(answer, "StatusCode", -1));
	fflush(stdout);
	json_free(answer);
	return 0;
}

static int run_stop(struct cli *cli, const struct args *args, struct err *err)
{
	(void)err;
	return cli_each(cli, args, stop_one);
}

static int run_restart(struct cli *cli, const struct args *args, struct err *err)
{
	(void)err;
	return cli_each(cli, args, restart_one);
}

static int run_kill(struct cli *cli, const struct args *args, struct err *err)
{
	(void)err;
	return cli_each(cli, args, kill_one);
}

static int run_pause(struct cli *cli, const struct args *args, struct err *err)
{
	(void)err;
	return cli_each(cli, args, pause_one);
}

static int run_unpause(struct cli *cli, const struct args *args, struct err *err)
{
	(void)err;
	return cli_each(cli, args, unpause_one);
}

static int run_rm(struct cli *cli, const struct args *args, struct err *err)
{
	(void)err;
	return cli_each(cli, args, rm_one);
}

static int run_wait(struct cli *cli, const struct args *args, struct err *err)
{
	(void)err;
	return cli_each(cli, args, wait_one);
}

static int run_rename(struct cli *cli, const struct args *args, struct err *err)
{
	auto_buf struct buf path = BUF_INIT(API_PATH_MAX);

	api_begin(&path, "/containers/", args->words[0], "/rename");
	api_query(&path, "name", args->words[1]);
	return api_send(cli, "POST", buf_str(&path), NULL, NULL, err);
}

static const struct flag none[] = {{NULL}};

static const struct flag stop_flags[] = {
	{"time", 't', FLAG_INT, "SECONDS", "Time until it is killed; -1: no limit"},
	{"signal", 's', FLAG_STRING, "SIGNAL", "Signal to send first"},
	{NULL},
};

static const struct flag kill_flags[] = {
	{"signal", 's', FLAG_STRING, "SIGNAL", "Signal to send (default KILL)"},
	{NULL},
};

static const struct flag rm_flags[] = {
	{"force", 'f', FLAG_BOOL, NULL, "Kill it first if it runs"},
	{"volumes", 'v', FLAG_BOOL, NULL, "Remove its anonymous volumes as well"},
	{NULL},
};

#define CONTAINERS .synopsis = "[OPTIONS] CONTAINER [CONTAINER...]", .min = 1, .max = CLI_ARGS_ANY

const struct command command_life[] = {
	{.name = "stop",
         CONTAINERS,
         .summary = "Stop containers: a signal, and after a while a kill",
         .flags = stop_flags,
         .run = run_stop},
	{.name = "restart",
         CONTAINERS,
         .summary = "Stop and start containers",
         .flags = stop_flags,
         .run = run_restart},
	{.name = "kill",
         CONTAINERS,
         .summary = "Send a signal to containers",
         .flags = kill_flags,
         .run = run_kill},
	{.name = "rm",
         .alias = "remove",
         CONTAINERS,
         .summary = "Remove containers",
         .flags = rm_flags,
         .run = run_rm},
	{.name = "wait",
         CONTAINERS,
         .summary = "Wait until containers end, then print their exit codes",
         .flags = none,
         .run = run_wait},
	{.name = "pause",
         CONTAINERS,
         .summary = "Freeze all processes of containers",
         .flags = none,
         .run = run_pause},
	{.name = "unpause",
         CONTAINERS,
         .summary = "Let frozen containers go on",
         .flags = none,
         .run = run_unpause},
	{.name = "rename",
         .synopsis = "CONTAINER NAME",
         .min = 2,
         .max = 2,
         .summary = "Give a container another name",
         .flags = none,
         .run = run_rename},
	{.name = NULL},
};
