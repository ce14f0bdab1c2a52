/* SPDX-License-Identifier: Apache-2.0 */
/* node: the machines of the cluster. */

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/str.h"
#include "cli/api.h"
#include "cli/commands.h"
#include "cli/inspect.h"
#include "cli/out.h"
#include "cli/service_lists.h"
#include "cli/tasklist.h"
#include "cli/template_eval.h"

#define TEXT_MAX (1u << 20)

static struct json *get(struct cli *cli, const char *before, const char *name, struct err *err)
{
	const char *path = api_path(cli, before, name, NULL, err);

	return path ? api_get(cli, path, err) : NULL;
}

/* Our node's id, in the arena; "" where there is none. */
static const char *self_id(struct cli *cli, struct err *err)
{
	auto_type(json) info = get(cli, "/info", NULL, err);
	const char *id = json_get_string(json_get(info, "Swarm"), "NodeID");

	return info ? arena_strdup(&cli->arena, id ? id : "", err) : NULL;
}

/* "self" is the node we talk to. */
static struct json *get_node(struct cli *cli, const char *name, struct err *err)
{
	if (str_eq(name, "self"))
		name = self_id(cli, err);
	if (!name)
		return NULL;
	if (!*name) {
		err_set(err, ERR_UNAVAILABLE, "this node is not part of a cluster");
		return NULL;
	}
	return get(cli, "/nodes/", name, err);
}

/* ---- ls ---- */

static struct json *row(struct cli *cli, const struct json *node, const char *self)
{
	const struct json *spec = json_get(node, "Spec");
	const struct json *description = json_get(node, "Description");
	const struct json *manager = json_get(node, "ManagerStatus");
	const char *id = json_get_string(node, "ID");
	bool own = str_eq(id, self);
	struct json *r = json_object();
	char marked[64];

	snprintf(marked, sizeof(marked), "%.48s%s", id ? id : "", own ? " *" : "");
	json_set(r, "ID", json_string(id ? id : ""));
	json_set(r, "Marked", json_string(marked));
	json_set(r, "Self", json_bool(own));
	json_set(r, "Hostname", json_ref(json_get(description, "Hostname")));
	json_set(r, "Status",
	         json_string(
			 tasklist_word(cli, json_get_string(json_get(node, "Status"), "State"))));
	json_set(r, "Availability",
	         json_string(tasklist_word(cli, json_get_string(spec, "Availability"))));
	json_set(r, "ManagerStatus",
	         json_string(
			 json_get_bool(manager, "Leader", false)
				 ? "Leader"
				 : tasklist_word(cli, json_get_string(manager, "Reachability"))));
	const char *version = json_get_string(json_get(description, "Engine"), "EngineVersion");
	json_set(r, "EngineVersion", json_string(version ? version : ""));
	return r;
}

static int run_ls(struct cli *cli, const struct args *args, struct err *err)
{
	static const struct out_column columns[] = {{"Marked", "ID"},
	                                            {"Hostname", "HOSTNAME"},
	                                            {"Status", "STATUS"},
	                                            {"Availability", "AVAILABILITY"},
	                                            {"ManagerStatus", "MANAGER STATUS"},
	                                            {"EngineVersion", "ENGINE VERSION"},
	                                            {"ID", "ID"},
	                                            {"Self", "SELF"},
	                                            {NULL, NULL}};
	const struct out_listing listing = {columns, 6, "ID"};
	auto_buf struct buf path = BUF_INIT(API_PATH_MAX);
	auto_type(json) rows = json_array();

	api_begin(&path, "/nodes", NULL, NULL);
	if (api_filters(&path, args, err) < 0)
		return -1;
	auto_type(json) list = api_get(cli, buf_str(&path), err);
	const char *self = list ? self_id(cli, err) : NULL;
	if (!self)
		return -1;
	for (size_t i = 0; i < json_count(list); i++)
		json_append(rows, row(cli, json_at(list, i), self));
	auto_type(json) sorted = tasklist_sort(rows, "Hostname");
	return out_rows(cli, args, &listing, sorted, err);
}

/* ---- inspect ---- */

static void line(const struct cli *cli, const char *label, const struct json *value)
{
	auto_buf struct buf text = BUF_INIT(TEXT_MAX);

	if (!value || json_is_null(value) || str_eq(json_str(value), ""))
		return;
	template_print(value, &text);
	printf("%-24s", label);
	out_text(stdout, buf_str(&text), cli->out_tty);
	fputc('\n', stdout);
}

static void labels(const struct cli *cli, const struct json *map)
{
	void *iter = NULL;
	const char *key;
	struct json *value;

	if (json_count(map) > 0)
		printf("Labels:\n");
	while (json_next(map, &iter, &key, &value)) {
		auto_buf struct buf text = BUF_INIT(TEXT_MAX);
		buf_addf(&text, " - %s=%s\n", key, json_str(value) ? json_str(value) : "");
		out_text(stdout, buf_str(&text), cli->out_tty);
	}
}

static void pretty(const struct cli *cli, const struct json *node)
{
	const struct json *description = json_get(node, "Description");
	const struct json *resources = json_get(description, "Resources");
	const struct json *platform = json_get(description, "Platform");
	const struct json *manager = json_get(node, "ManagerStatus");
	char size[24];

	line(cli, "ID:", json_get(node, "ID"));
	labels(cli, json_get(json_get(node, "Spec"), "Labels"));
	line(cli, "Hostname:", json_get(description, "Hostname"));
	line(cli, "Joined at:", json_get(node, "CreatedAt"));
	printf("Status:\n");
	line(cli, " State:", json_get(json_get(node, "Status"), "State"));
	line(cli, " Availability:", json_get(json_get(node, "Spec"), "Availability"));
	line(cli, " Address:", json_get(json_get(node, "Status"), "Addr"));
	if (json_is_object(manager)) {
		printf("Manager Status:\n");
		line(cli, " Address:", json_get(manager, "Addr"));
		line(cli, " Raft Status:", json_get(manager, "Reachability"));
		printf("%-24s%s\n",
		       " Leader:", json_get_bool(manager, "Leader", false) ? "Yes" : "No");
	}
	printf("Platform:\n");
	line(cli, " Operating System:", json_get(platform, "OS"));
	line(cli, " Architecture:", json_get(platform, "Architecture"));
	printf("Resources:\n%-24s%g\n%-24s%s\n",
	       " CPUs:", (double)json_get_int(resources, "NanoCPUs", 0) / 1e9,
	       " Memory:", out_size_binary(json_get_int(resources, "MemoryBytes", 0), size));
	line(cli, "Engine Version:", json_get(json_get(description, "Engine"), "EngineVersion"));
}

static int pretty_one(struct cli *cli, const struct args *args, const char *name, struct err *err)
{
	auto_type(json) node = get_node(cli, name, err);

	(void)args;
	if (!node)
		return -1;
	pretty(cli, node);
	return 0;
}

/* The words with "self" looked up. */
static int resolve_self(struct cli *cli, const struct args *args, struct args *out, struct err *err)
{
	const char **words = arena_array(&cli->arena, args->count + 1, sizeof(*words), err);

	if (!words)
		return -1;
	for (size_t i = 0; i < args->count; i++) {
		words[i] = str_eq(args->words[i], "self") ? self_id(cli, err) : args->words[i];
		if (!words[i])
			return -1;
	}
	*out = *args;
	out->words = words;
	return 0;
}

static int run_inspect(struct cli *cli, const struct args *args, struct err *err)
{
	struct args resolved;

	if (args_bool(args, "pretty") && args_has(args, "format"))
		return err_set(err, ERR_INVALID, "--pretty and --format exclude each other");
	if (args_bool(args, "pretty"))
		return cli_each(cli, args, pretty_one);
	if (resolve_self(cli, args, &resolved, err) < 0)
		return -1;
	return inspect_run(cli, &resolved, "node", err);
}

/* ---- update, promote, demote, rm ---- */

static int check_word(const struct args *args, const char *flag, const char *const *allowed,
                      struct err *err)
{
	const char *text = args_string(args, flag);
	auto_buf struct buf names = BUF_INIT(ERR_MSG_MAX);

	for (size_t i = 0; text && allowed[i]; i++) {
		if (str_eq(text, allowed[i]))
			return 0;
		buf_addf(&names, "%s%s", i ? ", " : "", allowed[i]);
	}
	if (!text)
		return 0;
	return err_set(err, ERR_INVALID, "--%s %s: not one of %s", flag, text, buf_str(&names));
}

static int write_node(struct cli *cli, const struct json *node, struct err *err)
{
	auto_buf struct buf path = BUF_INIT(API_PATH_MAX);

	api_begin(&path, "/nodes/", json_get_string(node, "ID"), "/update");
	api_query_int(&path, "version", json_get_int(json_get(node, "Version"), "Index", 0));
	return api_send(cli, "POST", buf_str(&path), json_ref(json_get(node, "Spec")), NULL, err);
}

static int run_update(struct cli *cli, const struct args *args, struct err *err)
{
	static const char *const availabilities[] = {"active", "pause", "drain", NULL};
	static const char *const roles[] = {"worker", "manager", NULL};

	if (check_word(args, "availability", availabilities, err) < 0 ||
	    check_word(args, "role", roles, err) < 0)
		return -1;
	auto_type(json) node = get_node(cli, args->words[0], err);
	struct json *spec = json_get(node, "Spec");
	if (!node || service_lists_labels(args, "label-add", "label-rm", spec, "Labels", err) < 0)
		return -1;
	if (args_has(args, "availability"))
		json_set(spec, "Availability", json_string(args_string(args, "availability")));
	if (args_has(args, "role"))
		json_set(spec, "Role", json_string(args_string(args, "role")));
	if (write_node(cli, node, err) < 0)
		return -1;
	printf("%s\n", args->words[0]);
	return 0;
}

static int change_role(struct cli *cli, const struct args *args, const char *name, struct err *err)
{
	bool promote = str_eq(args->command->name, "promote");
	const char *role = promote ? "manager" : "worker";
	auto_type(json) node = get_node(cli, name, err);
	struct json *spec = json_get(node, "Spec");

	if (!node)
		return -1;
	if (str_eq(json_get_string(spec, "Role"), role)) {
		printf("Node %s is already a %s.\n", name, role);
		return 0;
	}
	json_set(spec, "Role", json_string(role));
	if (write_node(cli, node, err) < 0)
		return -1;
	printf(promote ? "Node %s promoted to a manager in the swarm.\n"
	               : "Manager %s demoted in the swarm.\n",
	       name);
	return 0;
}

static int run_role(struct cli *cli, const struct args *args, struct err *err)
{
	(void)err;
	return cli_each(cli, args, change_role);
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

/* ---- ps ---- */

static int run_ps(struct cli *cli, const struct args *args, struct err *err)
{
	auto_type(json) ids = json_array();
	int code = 0;

	for (size_t i = 0; i < args->count || i == 0; i++) {
		struct err why = ERR_INIT;
		auto_type(json) node = get_node(cli, args->count ? args->words[i] : "self", &why);
		if (node) {
			json_append(ids, json_ref(json_get(node, "ID")));
			continue;
		}
		cli_complain(cli, &why);
		code = 1;
	}
	if (json_count(ids) == 0)
		return code;
	return tasklist_show(cli, args, "node", ids, err) < 0 ? -1 : code;
}

/* ---- flags ---- */

static const struct flag list_flags[] = {
	{"filter", 'f', FLAG_LIST, "KEY=VALUE", "Only those that fit: id, name, role, membership"},
	{"format", 0, FLAG_STRING, "TEMPLATE", "json, a template, or 'table ' and a template"},
	{"quiet", 'q', FLAG_BOOL, NULL, "Ids only"},
	{NULL},
};

static const struct flag inspect_flags[] = {
	INSPECT_FLAGS,
	{"pretty", 0, FLAG_BOOL, NULL, "For people"},
	{NULL},
};

static const struct flag ps_flags[] = {TASKLIST_FLAGS, {NULL}};

static const struct flag update_flags[] = {
	{"availability", 0, FLAG_STRING, "WHAT", "active, pause (nothing new) or drain (nothing)"},
	{"label-add", 0, FLAG_LIST, "KEY=VALUE", "Add or change a label"},
	{"label-rm", 0, FLAG_LIST, "KEY", "Remove a label"},
	{"role", 0, FLAG_STRING, "ROLE", "worker or manager"},
	{NULL},
};

static const struct flag rm_flags[] = {
	{"force", 'f', FLAG_BOOL, NULL, "Even if it is not down"},
	{NULL},
};

static const struct flag none[] = {{NULL}};

#define NODES .synopsis = "[OPTIONS] NODE [NODE...]", .min = 1, .max = CLI_ARGS_ANY

const struct command command_node[] = {
	{.group = "node",
         .name = "demote",
         NODES,
         .summary = "Make managers workers",
         .flags = none,
         .run = run_role},
	{.group = "node",
         .name = "inspect",
         NODES,
         .summary = "Show everything about nodes",
         .flags = inspect_flags,
         .run = run_inspect},
	{.group = "node",
         .name = "ls",
         .alias = "list",
         .synopsis = "[OPTIONS]",
         .summary = "List the nodes of the cluster",
         .flags = list_flags,
         .run = run_ls},
	{.group = "node",
         .name = "promote",
         NODES,
         .summary = "Make workers managers",
         .flags = none,
         .run = run_role},
	{.group = "node",
         .name = "ps",
         .synopsis = "[OPTIONS] [NODE...]",
         .summary = "List the tasks on nodes, this one by default",
         .flags = ps_flags,
         .max = CLI_ARGS_ANY,
         .run = run_ps},
	{.group = "node",
         .name = "rm",
         .alias = "remove",
         NODES,
         .summary = "Remove nodes from the cluster",
         .flags = rm_flags,
         .run = run_rm},
	{.group = "node",
         .name = "update",
         .synopsis = "[OPTIONS] NODE",
         .summary = "Change a node",
         .flags = update_flags,
         .min = 1,
         .max = 1,
         .run = run_update},
	{.name = NULL},
};
