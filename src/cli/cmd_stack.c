/* SPDX-License-Identifier: Apache-2.0 */
/* stack: services, networks, secrets and configs that a Compose file names, as one thing. */

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"
#include "cli/api.h"
#include "cli/commands.h"
#include "cli/compose.h"
#include "cli/out.h"
#include "cli/service_show.h"
#include "cli/stack.h"
#include "cli/tasklist.h"

#define NAME_MAX_LEN 200
#define STOP_POLL_MS 200
#define STOP_MAX_MS  120000

/* ---- what all share ---- */

const char *stack_label(struct cli *cli, const char *name, struct err *err)
{
	size_t len = strlen(name);
	char text[NAME_MAX_LEN + 64];
	bool good = len > 0 && len <= NAME_MAX_LEN && isalnum((unsigned char)name[0]);

	for (size_t i = 0; i < len && good; i++)
		good = isalnum((unsigned char)name[i]) || strchr("_.-", name[i]);
	if (!good) {
		err_set(err, ERR_INVALID,
		        "'%.60s' is no name for a stack: letters, digits, _ . - (at most %d), "
		        "beginning with a letter or digit",
		        name, NAME_MAX_LEN);
		return NULL;
	}
	snprintf(text, sizeof(text), "%s=%s", COMPOSE_STACK_LABEL, name);
	return arena_strdup(&cli->arena, text, err);
}

struct json *stack_list(struct cli *cli, const char *kind, const char *name, struct err *err)
{
	const char *label = name ? stack_label(cli, name, err) : COMPOSE_STACK_LABEL;
	auto_buf struct buf path = BUF_INIT(API_PATH_MAX);
	char start[32];

	if (!label)
		return NULL;
	snprintf(start, sizeof(start), "/%s", kind);
	api_begin(&path, start, NULL, NULL);
	api_filter(&path, "label", label);
	return api_get(cli, buf_str(&path), err);
}

const char *stack_name_of(const struct json *object)
{
	const char *name = json_get_string(json_get(object, "Spec"), "Name");

	return name ? name : json_get_string(object, "Name");
}

struct json *stack_find(const struct json *list, const char *name)
{
	for (size_t i = 0; i < json_count(list); i++)
		if (str_eq(stack_name_of(json_at(list, i)), name))
			return json_at(list, i);
	return NULL;
}

void stack_keep_force(const struct json *old, struct json *spec)
{
	const struct json *before = json_get(json_get(old, "Spec"), "TaskTemplate");

	if (json_get(before, "ForceUpdate"))
		json_set(json_get(spec, "TaskTemplate"), "ForceUpdate",
		         json_ref(json_get(before, "ForceUpdate")));
}

static bool stands_before(const struct json *list, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (str_eq(json_str(json_at(list, k)), json_str(json_at(list, i))))
			return true;
	return false;
}

struct json *stack_read(struct cli *cli, const struct args *args, const char *name, struct err *err)
{
	size_t count = args_count(args, "compose-file");
	const char **paths = arena_array(&cli->arena, count + 1, sizeof(*paths), err);
	auto_type(json) ignored = json_array();
	struct compose file = {0};

	if (!paths || !stack_label(cli, name, err))
		return NULL;
	for (size_t i = 0; i < count; i++)
		paths[i] = args_at(args, "compose-file", i);
	if (count == 0)
		paths[count++] = "compose.yaml";
	int rc = compose_load(paths, count, &file, err);
	struct json *stack = rc == 0 ? compose_stack(&file, name, ignored, err) : NULL;
	if (rc == 0 && !stack)
		err_wrap(err, "%s", paths[0]);
	compose_done(&file);
	if (!stack || json_count(ignored) == 0)
		return stack;
	fprintf(stderr, "Ignoring what a cluster does not do:");
	for (size_t i = 0; i < json_count(ignored); i++)
		if (!stands_before(ignored, i))
			fprintf(stderr, "%s %s", i ? "," : "", json_str(json_at(ignored, i)));
	fprintf(stderr, "\n\n");
	return stack;
}

/* ---- ls, ps, services ---- */

static int run_ls(struct cli *cli, const struct args *args, struct err *err)
{
	static const struct out_column columns[] = {
		{"Name", "NAME"}, {"Services", "SERVICES"}, {NULL, NULL}};
	const struct out_listing listing = {columns, 2, "Name"};
	auto_type(json) services = stack_list(cli, "services", NULL, err);
	auto_type(json) rows = json_array();

	if (!services)
		return -1;
	for (size_t i = 0; i < json_count(services); i++) {
		const struct json *spec = json_get(json_at(services, i), "Spec");
		const char *name = json_get_string(json_get(spec, "Labels"), COMPOSE_STACK_LABEL);
		struct json *row = stack_find(rows, name ? name : "");
		if (!row) {
			row = json_object();
			json_append(rows, row);
			json_set(row, "Name", json_string(name ? name : ""));
		}
		json_set(row, "Services", json_int(json_get_int(row, "Services", 0) + 1));
	}
	auto_type(json) sorted = tasklist_sort(rows, "Name");
	return out_rows(cli, args, &listing, sorted, err);
}

/* ERR_NOT_FOUND where a table would be empty. */
static int check_there(struct cli *cli, const char *name, struct err *err)
{
	auto_type(json) services = stack_list(cli, "services", name, err);

	if (!services)
		return -1;
	return json_count(services)
	               ? 0
	               : err_set(err, ERR_NOT_FOUND, "nothing found in stack: %s", name);
}

static int run_ps(struct cli *cli, const struct args *args, struct err *err)
{
	const char *label = stack_label(cli, args->words[0], err);
	auto_type(json) labels = json_array();

	if (!label || check_there(cli, args->words[0], err) < 0)
		return -1;
	json_append(labels, json_string(label));
	return tasklist_show(cli, args, "label", labels, err);
}

static int run_services(struct cli *cli, const struct args *args, struct err *err)
{
	const char *label = stack_label(cli, args->words[0], err);

	if (!label || check_there(cli, args->words[0], err) < 0)
		return -1;
	return service_show_labelled(cli, args, label, err);
}

/* ---- rm ---- */

static int remove_all(struct cli *cli, const char *kind, const char *name, size_t *count,
                      struct err *err)
{
	auto_type(json) list = stack_list(cli, kind, name, err);
	char prefix[32];

	if (!list)
		return -1;
	snprintf(prefix, sizeof(prefix), "/%s/", kind);
	for (size_t i = 0; i < json_count(list); i++) {
		const struct json *one = json_at(list, i);
		const char *id = json_get_string(one, "ID");
		const char *path =
			api_path(cli, prefix, id ? id : json_get_string(one, "Id"), NULL, err);
		printf("Removing %.*s %s\n", (int)strlen(kind) - 1, kind, stack_name_of(one));
		fflush(stdout);
		if (!path || api_send(cli, "DELETE", path, NULL, NULL, err) < 0)
			return -1;
		++*count;
	}
	return 0;
}

/* Networks can go when nobody is on them any more: waits for the tasks. */
static int wait_for_tasks(struct cli *cli, const char *name, struct err *err)
{
	const char *label = stack_label(cli, name, err);
	auto_buf struct buf path = BUF_INIT(API_PATH_MAX);

	if (!label)
		return -1;
	api_begin(&path, "/tasks", NULL, NULL);
	api_filter(&path, "label", label);
	for (int64_t ms = 0; ms < STOP_MAX_MS; ms += STOP_POLL_MS) {
		auto_type(json) tasks = api_get(cli, buf_str(&path), err);
		if (!tasks)
			return -1;
		if (json_count(tasks) == 0)
			return 0;
		clock_sleep_ms(STOP_POLL_MS);
	}
	return err_set(err, ERR_CONFLICT,
	               "tasks of stack %s are still being stopped; their networks stay until "
	               "'stack rm' is run again",
	               name);
}

static int rm_one(struct cli *cli, const struct args *args, const char *name, struct err *err)
{
	size_t count = 0;

	(void)args;
	if (remove_all(cli, "services", name, &count, err) < 0 ||
	    remove_all(cli, "secrets", name, &count, err) < 0 ||
	    remove_all(cli, "configs", name, &count, err) < 0 ||
	    wait_for_tasks(cli, name, err) < 0 ||
	    remove_all(cli, "networks", name, &count, err) < 0)
		return -1;
	if (count == 0)
		fprintf(stderr, "Nothing found in stack: %s\n", name);
	return 0;
}

static int run_rm(struct cli *cli, const struct args *args, struct err *err)
{
	(void)err;
	return cli_each(cli, args, rm_one);
}

/* ---- flags ---- */

#define FILE_FLAG                                                                                  \
	{                                                                                          \
		"compose-file", 'c', FLAG_LIST, "FILE",                                            \
			"Compose file, - for standard input; several are laid one over the "       \
			"other (default compose.yaml)"                                             \
	}

static const struct flag deploy_flags[] = {
	FILE_FLAG,
	{"detach", 'd', FLAG_BOOL, NULL, "Do not wait until the services run"},
	{"prune", 0, FLAG_BOOL, NULL, "Remove services that the files do not name any more"},
	{"quiet", 'q', FLAG_BOOL, NULL, "Show no progress"},
	{"with-registry-auth", 0, FLAG_BOOL, NULL, "Send our credentials for the images along"},
	{NULL},
};

static const struct flag plan_flags[] = {
	FILE_FLAG,
	{"prune", 0, FLAG_BOOL, NULL, "As with deploy: services not named would go"},
	{"format", 0, FLAG_STRING, "FORMAT", "json: for programs"},
	{NULL},
};

static const struct flag list_flags[] = {
	{"format", 0, FLAG_STRING, "TEMPLATE", "json, a template, or 'table ' and a template"},
	{"quiet", 'q', FLAG_BOOL, NULL, "Names only"},
	{NULL},
};

static const struct flag services_flags[] = {
	{"filter", 'f', FLAG_LIST, "KEY=VALUE", "Only those that fit: id, name, label, mode"},
	{"format", 0, FLAG_STRING, "TEMPLATE", "json, a template, or 'table ' and a template"},
	{"quiet", 'q', FLAG_BOOL, NULL, "Ids only"},
	{NULL},
};

static const struct flag ps_flags[] = {TASKLIST_FLAGS, {NULL}};

const struct command command_stack[] = {
	{.group = "stack",
         .name = "deploy",
         .alias = "up",
         .synopsis = "[OPTIONS] STACK",
         .summary = "Make or change a stack from Compose files",
         .flags = deploy_flags,
         .min = 1,
         .max = 1,
         .run = stack_deploy_run},
	{.group = "stack",
         .name = "plan",
         .synopsis = "[OPTIONS] STACK",
         .summary = "Show what deploy would change, and where each task would go",
         .flags = plan_flags,
         .min = 1,
         .max = 1,
         .run = stack_plan_run},
	{.group = "stack",
         .name = "ls",
         .alias = "list",
         .synopsis = "[OPTIONS]",
         .summary = "List stacks",
         .flags = list_flags,
         .run = run_ls},
	{.group = "stack",
         .name = "ps",
         .synopsis = "[OPTIONS] STACK",
         .summary = "List the tasks of a stack",
         .flags = ps_flags,
         .min = 1,
         .max = 1,
         .run = run_ps},
	{.group = "stack",
         .name = "services",
         .synopsis = "[OPTIONS] STACK",
         .summary = "List the services of a stack",
         .flags = services_flags,
         .min = 1,
         .max = 1,
         .run = run_services},
	{.group = "stack",
         .name = "rm",
         .alias = "down",
         .synopsis = "STACK [STACK...]",
         .summary = "Remove stacks: services, secrets, configs, networks; volumes stay",
         .min = 1,
         .max = CLI_ARGS_ANY,
         .run = run_rm},
	{.name = NULL},
};
