/* SPDX-License-Identifier: Apache-2.0 */
/* service: what shall run in the cluster. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/id.h"
#include "base/str.h"
#include "cli/api.h"
#include "cli/commands.h"
#include "cli/inspect.h"
#include "cli/out.h"
#include "cli/service_explain.h"
#include "cli/service_files.h"
#include "cli/service_send.h"
#include "cli/service_show.h"
#include "cli/service_spec.h"
#include "cli/service_wait.h"
#include "cli/tasklist.h"

#define REPLICAS_MAX 1000000

static int wait_unless_detached(struct cli *cli, const struct args *args, const char *ref,
                                bool rollback, struct err *err)
{
	fflush(stdout);
	if (args_bool(args, "detach"))
		return 0;
	return service_wait(cli, ref, args_bool(args, "quiet"), rollback, err);
}

static int run_create(struct cli *cli, const struct args *args, struct err *err)
{
	const char *path = api_path(cli, "/services/create", NULL, NULL, err);
	auto_type(json) spec = service_spec_new(args, err);
	struct json *answer = NULL;

	if (!path || !spec || service_files_resolve(cli, spec, err) < 0)
		return -1;
	int rc = service_send(cli, args, path, spec, &answer, err);
	auto_type(json) reply = answer;
	if (rc < 0)
		return -1;
	cli_show_warnings(cli, reply);
	const char *id = json_get_string(reply, "ID");
	if (!id)
		return err_set(err, ERR_INTERNAL, "the daemon gave the service no ID");
	printf("%s\n", id);
	return wait_unless_detached(cli, args, id, false, err);
}

/* ---- update, scale, rollback: read, change, write ---- */

static struct json *read_service(struct cli *cli, const char *name, struct err *err)
{
	const char *path = api_path(cli, "/services/", name, NULL, err);

	return path ? api_get(cli, path, err) : NULL;
}

/* Posts the spec of `service` as it is now. The version says which one was read. */
static int write_service(struct cli *cli, const struct args *args, const struct json *service,
                         bool rollback, struct err *err)
{
	auto_buf struct buf path = BUF_INIT(API_PATH_MAX);
	struct json *answer = NULL;

	api_begin(&path, "/services/", json_get_string(service, "ID"), "/update");
	api_query_int(&path, "version", json_get_int(json_get(service, "Version"), "Index", 0));
	if (rollback)
		api_query(&path, "rollback", "previous");
	else
		api_query(&path, "registryAuthFrom", "spec");
	if (service_send(cli, args, buf_str(&path), json_get(service, "Spec"), &answer, err) < 0)
		return -1;
	cli_show_warnings(cli, answer);
	json_free(answer);
	return 0;
}

static int run_update(struct cli *cli, const struct args *args, struct err *err)
{
	const char *name = args->words[0];
	bool rollback = args_bool(args, "rollback");
	auto_type(json) service = read_service(cli, name, err);

	if (!service)
		return -1;
	if (!rollback && (service_spec_apply(args, json_get(service, "Spec"), err) < 0 ||
	                  service_files_resolve(cli, json_get(service, "Spec"), err) < 0))
		return -1;
	if (write_service(cli, args, service, rollback, err) < 0)
		return -1;
	printf("%s\n", name);
	return wait_unless_detached(cli, args, name, rollback, err);
}

static int run_rollback(struct cli *cli, const struct args *args, struct err *err)
{
	const char *name = args->words[0];
	auto_type(json) service = read_service(cli, name, err);

	if (!service || write_service(cli, args, service, true, err) < 0)
		return -1;
	printf("%s\n", name);
	return wait_unless_detached(cli, args, name, true, err);
}

/* "NAME=N", taken apart: the name lives in the arena. */
static const char *split_scale(struct cli *cli, const char *text, int64_t *replicas,
                               struct err *err)
{
	const char *equals = strrchr(text, '=');

	if (!equals || equals == text) {
		err_set(err, ERR_INVALID, "'%s': not SERVICE=REPLICAS", text);
		return NULL;
	}
	if (id_parse_int(equals + 1, "replicas", 0, REPLICAS_MAX, replicas, err) < 0)
		return NULL;
	return arena_strndup(&cli->arena, text, (size_t)(equals - text), err);
}

static int scale_one(struct cli *cli, const struct args *args, const char *text, struct err *err)
{
	int64_t replicas;
	const char *name = split_scale(cli, text, &replicas, err);
	auto_type(json) service = name ? read_service(cli, name, err) : NULL;

	if (!service)
		return -1;
	if (service_spec_scale(json_get(service, "Spec"), replicas, err) < 0)
		return err_wrap(err, "%s", name);
	if (write_service(cli, args, service, false, err) < 0)
		return -1;
	printf("%s scaled to %lld\n", name, (long long)replicas);
	return 0;
}

/* All are told first, then waited for. */
static int run_scale(struct cli *cli, const struct args *args, struct err *err)
{
	int64_t replicas;

	for (size_t i = 0; i < args->count; i++)
		if (!split_scale(cli, args->words[i], &replicas, err))
			return -1;
	int code = cli_each(cli, args, scale_one);
	for (size_t i = 0; code == 0 && i < args->count; i++) {
		const char *name = split_scale(cli, args->words[i], &replicas, err);
		if (!name || wait_unless_detached(cli, args, name, false, err) < 0)
			return -1;
	}
	return code;
}

/* ---- the rest ---- */

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

/* What is not found is said, and the others are shown nevertheless. */
static int run_ps(struct cli *cli, const struct args *args, struct err *err)
{
	auto_type(json) ids = json_array();
	int code = 0;

	for (size_t i = 0; i < args->count; i++) {
		struct err why = ERR_INIT;
		auto_type(json) service = read_service(cli, args->words[i], &why);
		if (service) {
			json_append(ids, json_ref(json_get(service, "ID")));
			continue;
		}
		cli_complain(cli, &why);
		code = 1;
	}
	if (json_count(ids) == 0)
		return code;
	return tasklist_show(cli, args, "service", ids, err) < 0 ? -1 : code;
}

static int run_inspect(struct cli *cli, const struct args *args, struct err *err)
{
	if (args_bool(args, "pretty") && args_has(args, "format"))
		return err_set(err, ERR_INVALID, "--pretty and --format exclude each other");
	return args_bool(args, "pretty") ? service_show_pretty(cli, args, err)
	                                 : inspect_run(cli, args, "service", err);
}

/* ---- flags ---- */

static const struct flag create_flags[] = {SERVICE_CREATE_FLAGS, {NULL}};

static const struct flag update_flags[] = {
	SERVICE_UPDATE_FLAGS,
	{"rollback", 0, FLAG_BOOL, NULL, "Go back to the spec before the last update"},
	{NULL},
};

static const struct flag wait_flags[] = {
	{"detach", 'd', FLAG_BOOL, NULL, "Do not wait until it runs"},
	{"quiet", 'q', FLAG_BOOL, NULL, "Show no progress"},
	{NULL},
};

static const struct flag list_flags[] = {
	{"filter", 'f', FLAG_LIST, "KEY=VALUE", "Only those that fit: id, name, label, mode"},
	{"format", 0, FLAG_STRING, "TEMPLATE", "json, a template, or 'table ' and a template"},
	{"quiet", 'q', FLAG_BOOL, NULL, "Ids only"},
	{NULL},
};

static const struct flag ps_flags[] = {TASKLIST_FLAGS, {NULL}};

static const struct flag inspect_flags[] = {
	INSPECT_FLAGS,
	{"pretty", 0, FLAG_BOOL, NULL, "For people"},
	{NULL},
};

static const struct flag logs_flags[] = {
	{"follow", 'f', FLAG_BOOL, NULL, "Stay and show what comes"},
	{"no-resolve", 0, FLAG_BOOL, NULL, "Ids instead of names"},
	{"no-task-ids", 0, FLAG_BOOL, NULL, "Names without the ids of tasks"},
	{"no-trunc", 0, FLAG_BOOL, NULL, "Do not shorten ids"},
	{"raw", 0, FLAG_BOOL, NULL, "Only what the tasks wrote"},
	{"since", 0, FLAG_STRING, "TIME", "From then on: a time, or 10m ago"},
	{"tail", 'n', FLAG_STRING, "N", "Only the last N lines of each task (default all)"},
	{"timestamps", 't', FLAG_BOOL, NULL, "Put the time before each line"},
	{NULL},
};

static const struct flag none[] = {{NULL}};

const struct command command_service[] = {
	{.group = "service",
         .name = "create",
         .synopsis = "[OPTIONS] IMAGE [COMMAND] [ARG...]",
         .summary = "Run an image as a service of the cluster",
         .flags = create_flags,
         .min = 1,
         .max = CLI_ARGS_ANY,
         .passes_on = true,
         .run = run_create},
	{.group = "service",
         .name = "explain",
         .synopsis = "SERVICE",
         .summary = "Say why tasks of a service do not run yet",
         .flags = none,
         .min = 1,
         .max = 1,
         .run = service_explain_run},
	{.group = "service",
         .name = "inspect",
         .synopsis = "[OPTIONS] SERVICE [SERVICE...]",
         .summary = "Show everything about services",
         .flags = inspect_flags,
         .min = 1,
         .max = CLI_ARGS_ANY,
         .run = run_inspect},
	{.group = "service",
         .name = "logs",
         .synopsis = "[OPTIONS] SERVICE|TASK",
         .summary = "Show what the tasks of a service have written",
         .flags = logs_flags,
         .min = 1,
         .max = 1,
         .run = service_logs_run},
	{.group = "service",
         .name = "ls",
         .alias = "list",
         .synopsis = "[OPTIONS]",
         .summary = "List services",
         .flags = list_flags,
         .run = service_show_list},
	{.group = "service",
         .name = "ps",
         .synopsis = "[OPTIONS] SERVICE [SERVICE...]",
         .summary = "List the tasks of services",
         .flags = ps_flags,
         .min = 1,
         .max = CLI_ARGS_ANY,
         .run = run_ps},
	{.group = "service",
         .name = "rm",
         .alias = "remove",
         .synopsis = "SERVICE [SERVICE...]",
         .summary = "Remove services and stop their tasks",
         .flags = none,
         .min = 1,
         .max = CLI_ARGS_ANY,
         .run = run_rm},
	{.group = "service",
         .name = "rollback",
         .synopsis = "[OPTIONS] SERVICE",
         .summary = "Go back to the spec before the last update",
         .flags = wait_flags,
         .min = 1,
         .max = 1,
         .run = run_rollback},
	{.group = "service",
         .name = "scale",
         .synopsis = "[OPTIONS] SERVICE=REPLICAS [SERVICE=REPLICAS...]",
         .summary = "Change how many tasks services have",
         .flags = wait_flags,
         .min = 1,
         .max = CLI_ARGS_ANY,
         .run = run_scale},
	{.group = "service",
         .name = "update",
         .synopsis = "[OPTIONS] SERVICE",
         .summary = "Change a service; its tasks are replaced where that is needed",
         .flags = update_flags,
         .min = 1,
         .max = 1,
         .run = run_update},
	{.name = NULL},
};
