/* SPDX-License-Identifier: Apache-2.0 */
/* swarm init, join, join-token, leave, update: machines become a cluster. */

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/id.h"
#include "base/str.h"
#include "cli/api.h"
#include "cli/commands.h"

#define LISTEN_DEFAULT "0.0.0.0:2377"

static void set_addresses(const struct args *args, struct json *doc)
{
	const char *listen = args_string(args, "listen-addr");
	const char *advertise = args_string(args, "advertise-addr");

	json_set(doc, "ListenAddr", json_string(listen ? listen : LISTEN_DEFAULT));
	json_set(doc, "AdvertiseAddr", json_string(advertise ? advertise : ""));
	if (args_has(args, "availability"))
		json_set(doc, "Availability", json_string(args_string(args, "availability")));
}

static struct json *show_swarm(struct cli *cli, struct err *err)
{
	const char *path = api_path(cli, "/swarm", NULL, NULL, err);

	return path ? api_get(cli, path, err) : NULL;
}

/* Where others reach this manager. */
static const char *manager_address(struct cli *cli, struct err *err)
{
	const char *path = api_path(cli, "/info", NULL, NULL, err);
	auto_type(json) info = path ? api_get(cli, path, err) : NULL;
	const struct json *swarm = json_get(info, "Swarm");
	const struct json *managers = json_get(swarm, "RemoteManagers");
	const char *own = json_get_string(swarm, "NodeID"), *address = NULL;

	if (!info)
		return NULL;
	for (size_t i = 0; i < json_count(managers); i++) {
		const struct json *manager = json_at(managers, i);
		if (!address || str_eq(json_get_string(manager, "NodeID"), own))
			address = json_get_string(manager, "Addr");
	}
	if (!address)
		address = json_get_string(swarm, "NodeAddr");
	return arena_strdup(&cli->arena, address ? address : "", err);
}

static int show_join(struct cli *cli, const char *role, struct err *err)
{
	auto_type(json) swarm = show_swarm(cli, err);
	const char *address = swarm ? manager_address(cli, err) : NULL;

	if (!address)
		return -1;
	const char *token = json_get_string(json_get(swarm, "JoinTokens"),
	                                    str_eq(role, "worker") ? "Worker" : "Manager");
	printf("To add a %s to this swarm, run the following command:\n\n"
	       "    buoy swarm join --token %s %s\n\n",
	       role, token ? token : "", address);
	return 0;
}

static int run_init(struct cli *cli, const struct args *args, struct err *err)
{
	const char *path = api_path(cli, "/swarm/init", NULL, NULL, err);
	struct json *doc = json_object(), *spec = json_object(), *answer = NULL;

	set_addresses(args, doc);
	json_set(doc, "ForceNewCluster", json_bool(args_bool(args, "force-new-cluster")));
	json_set(spec, "Labels", json_object());
	json_set(doc, "Spec", spec);
	if (!path || api_send(cli, "POST", path, doc, &answer, err) < 0)
		return -1;
	printf("Swarm initialized: current node (%s) is now a manager.\n\n",
	       json_str(answer) ? json_str(answer) : "");
	json_free(answer);
	return show_join(cli, "worker", err);
}

static int run_join(struct cli *cli, const struct args *args, struct err *err)
{
	const char *path = api_path(cli, "/swarm/join", NULL, NULL, err);
	struct json *doc, *remotes;

	if (!args_has(args, "token"))
		return err_set(
			err, ERR_INVALID,
			"--token is missing: a manager tells it with 'buoy swarm join-token worker'");
	doc = json_object();
	remotes = json_array();
	set_addresses(args, doc);
	json_append(remotes, json_string(args->words[0]));
	json_set(doc, "RemoteAddrs", remotes);
	json_set(doc, "JoinToken", json_string(args_string(args, "token")));
	if (!path || api_send(cli, "POST", path, doc, NULL, err) < 0)
		return -1;
	puts("This node joined a swarm.");
	return 0;
}

/* POST /swarm/update with the spec as it is, or changed. Takes ownership of spec. */
static int update(struct cli *cli, const struct json *swarm, struct json *spec, const char *rotate,
                  struct err *err)
{
	auto_buf struct buf path = BUF_INIT(API_PATH_MAX);

	api_begin(&path, "/swarm/update", NULL, NULL);
	api_query_int(&path, "version", json_get_int(json_get(swarm, "Version"), "Index", 0));
	if (rotate)
		api_query(&path, rotate, "true");
	return api_send(cli, "POST", buf_str(&path), spec, NULL, err);
}

static int run_join_token(struct cli *cli, const struct args *args, struct err *err)
{
	const char *role = args->words[0];
	bool worker = str_eq(role, "worker");

	if (!worker && !str_eq(role, "manager"))
		return err_set(err, ERR_INVALID, "join-token %s: worker or manager", role);
	if (args_bool(args, "rotate")) {
		auto_type(json) before = show_swarm(cli, err);
		if (!before || update(cli, before, json_ref(json_get(before, "Spec")),
		                      worker ? "rotateWorkerToken" : "rotateManagerToken", err) < 0)
			return -1;
		if (!args_bool(args, "quiet"))
			printf("Successfully rotated %s join token.\n\n", role);
	}
	if (!args_bool(args, "quiet"))
		return show_join(cli, role, err);
	auto_type(json) swarm = show_swarm(cli, err);
	if (!swarm)
		return -1;
	const char *token =
		json_get_string(json_get(swarm, "JoinTokens"), worker ? "Worker" : "Manager");
	printf("%s\n", token ? token : "");
	return 0;
}

static int run_leave(struct cli *cli, const struct args *args, struct err *err)
{
	auto_buf struct buf path = BUF_INIT(API_PATH_MAX);

	api_begin(&path, "/swarm/leave", NULL, NULL);
	if (args_bool(args, "force"))
		api_query(&path, "force", "1");
	if (api_send(cli, "POST", buf_str(&path), NULL, NULL, err) < 0)
		return -1;
	puts("Node left the swarm.");
	return 0;
}

static int run_update(struct cli *cli, const struct args *args, struct err *err)
{
	auto_type(json) swarm = show_swarm(cli, err);
	int64_t ns;

	if (!swarm)
		return -1;
	struct json *spec = json_get(swarm, "Spec");
	if (args_has(args, "task-history-limit")) {
		if (!json_get(spec, "Orchestration"))
			json_set(spec, "Orchestration", json_object());
		json_set(json_get(spec, "Orchestration"), "TaskHistoryRetentionLimit",
		         json_int(args_int(args, "task-history-limit", 5)));
	}
	if (args_has(args, "dispatcher-heartbeat")) {
		if (clock_parse_duration(args_string(args, "dispatcher-heartbeat"), &ns, err) < 0)
			return err_wrap(err, "--dispatcher-heartbeat");
		if (!json_get(spec, "Dispatcher"))
			json_set(spec, "Dispatcher", json_object());
		json_set(json_get(spec, "Dispatcher"), "HeartbeatPeriod", json_int(ns));
	}
	if (update(cli, swarm, json_ref(spec), NULL, err) < 0)
		return -1;
	puts("Swarm updated.");
	return 0;
}

#define ADDRESS_FLAGS                                                                              \
	{"advertise-addr", 0, FLAG_STRING, "IP[:PORT]", "Address that others reach us at"},        \
		{"listen-addr", 0, FLAG_STRING, "IP[:PORT]",                                       \
	         "Address to listen at (default " LISTEN_DEFAULT ")"},                             \
	{                                                                                          \
		"availability", 0, FLAG_STRING, "WORD", "active, pause or drain"                   \
	}

static const struct flag init_flags[] = {
	ADDRESS_FLAGS,
	{"force-new-cluster", 0, FLAG_BOOL, NULL, "Begin anew from what this machine knows"},
	{NULL},
};
static const struct flag join_flags[] = {
	ADDRESS_FLAGS,
	{"token", 0, FLAG_STRING, "TOKEN", "What lets us in, from join-token"},
	{NULL},
};
static const struct flag token_flags[] = {
	{"quiet", 'q', FLAG_BOOL, NULL, "Print the token only"},
	{"rotate", 0, FLAG_BOOL, NULL, "Make a new one; the old one is worth nothing from then on"},
	{NULL},
};
static const struct flag leave_flags[] = {
	{"force", 'f', FLAG_BOOL, NULL, "Also as the last manager: the swarm is gone"},
	{NULL},
};
static const struct flag update_flags[] = {
	{"dispatcher-heartbeat", 0, FLAG_STRING, "DURATION", "Time between heartbeats"},
	{"task-history-limit", 0, FLAG_INT, "N", "Old tasks kept for each slot"},
	{NULL},
};

const struct command command_swarm[] = {
	{.group = "swarm",
         .name = "init",
         .synopsis = "[OPTIONS]",
         .summary = "Make this machine the first of a swarm",
         .flags = init_flags,
         .run = run_init},
	{.group = "swarm",
         .name = "join",
         .synopsis = "[OPTIONS] HOST:PORT",
         .summary = "Join the swarm of a manager",
         .flags = join_flags,
         .min = 1,
         .max = 1,
         .run = run_join},
	{.group = "swarm",
         .name = "join-token",
         .synopsis = "[OPTIONS] worker|manager",
         .summary = "Show or renew the token that others join with",
         .flags = token_flags,
         .min = 1,
         .max = 1,
         .run = run_join_token},
	{.group = "swarm",
         .name = "leave",
         .synopsis = "[OPTIONS]",
         .summary = "Leave the swarm",
         .flags = leave_flags,
         .run = run_leave},
	{.group = "swarm",
         .name = "update",
         .synopsis = "[OPTIONS]",
         .summary = "Change the swarm's settings",
         .flags = update_flags,
         .run = run_update},
	{.name = NULL},
};
