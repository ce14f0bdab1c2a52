/* SPDX-License-Identifier: Apache-2.0 */
/* The prunes: throwing away what nobody uses. */

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/str.h"
#include "cli/api.h"
#include "cli/commands.h"
#include "cli/out.h"
#include "cli/terminal.h"

/* 1: go on, 0: no. */
static int confirm(const struct args *args, const char *what, struct err *err)
{
	auto_buf struct buf answer = BUF_INIT(64);

	if (args_bool(args, "force"))
		return 1;
	fprintf(stderr, "WARNING! This will remove %s.\n", what);
	if (terminal_ask("Are you sure you want to continue? [y/N] ", false, &answer, err) < 0)
		return -1;
	return strcasecmp(buf_str(&answer), "y") == 0 || strcasecmp(buf_str(&answer), "yes") == 0;
}

/* Prints the names below `key` under a heading; the bytes freed. */
static int64_t show_removed(const struct json *doc, const char *heading, const char *key)
{
	const struct json *list = json_get(doc, key);

	if (json_count(list))
		printf("%s:\n", heading);
	for (size_t i = 0; i < json_count(list); i++) {
		const struct json *one = json_at(list, i);
		const char *name = json_str(one), *untagged = json_get_string(one, "Untagged");
		const char *deleted = json_get_string(one, "Deleted");
		if (name)
			printf("%s\n", name);
		else if (untagged || deleted)
			printf("%s: %s\n", untagged ? "untagged" : "deleted",
			       untagged ? untagged : deleted);
	}
	if (json_count(list))
		putchar('\n');
	return json_get_int(doc, "SpaceReclaimed", 0);
}

static const struct pruning {
	const char *path, *heading, *key, *what;
} container_pruning = {"/containers/prune", "Deleted Containers", "ContainersDeleted",
                       "all containers that do not run"},
  image_pruning = {"/images/prune", "Deleted Images", "ImagesDeleted", "all images without a name"},
  network_pruning = {"/networks/prune", "Deleted Networks", "NetworksDeleted",
                     "all networks that no container uses"},
  volume_pruning = {"/volumes/prune", "Deleted Volumes", "VolumesDeleted",
                    "all volumes that no container uses"};

/* *freed grows by what was freed. */
static int prune(struct cli *cli, const struct args *args, const struct pruning *p, int64_t *freed,
                 struct err *err)
{
	auto_buf struct buf path = BUF_INIT(API_PATH_MAX);
	struct json *answer = NULL;

	api_begin(&path, p->path, NULL, NULL);
	bool all = args_bool(args, "all");
	const char *key = all && p == &image_pruning    ? "dangling"
	                  : all && p == &volume_pruning ? "all"
	                                                : NULL;
	if (api_filters_and(&path, args, key, p == &image_pruning ? "false" : "true", err) < 0)
		return -1;
	if (api_send(cli, "POST", buf_str(&path), NULL, &answer, err) < 0)
		return -1;
	*freed += show_removed(answer, p->heading, p->key);
	json_free(answer);
	return 0;
}

static int prune_one(struct cli *cli, const struct args *args, const struct pruning *p,
                     struct err *err)
{
	int64_t freed = 0;
	char size[24];
	int yes = confirm(args, p->what, err);

	if (yes <= 0)
		return yes;
	if (prune(cli, args, p, &freed, err) < 0)
		return -1;
	if (p != &network_pruning)
		printf("Total reclaimed space: %s\n", out_size(freed, size));
	return 0;
}

static int run_container_prune(struct cli *cli, const struct args *args, struct err *err)
{
	return prune_one(cli, args, &container_pruning, err);
}

static int run_image_prune(struct cli *cli, const struct args *args, struct err *err)
{
	return prune_one(cli, args, &image_pruning, err);
}

static int run_network_prune(struct cli *cli, const struct args *args, struct err *err)
{
	return prune_one(cli, args, &network_pruning, err);
}

static int run_volume_prune(struct cli *cli, const struct args *args, struct err *err)
{
	return prune_one(cli, args, &volume_pruning, err);
}

static int run_system_prune(struct cli *cli, const struct args *args, struct err *err)
{
	const struct pruning *const order[] = {&container_pruning, &network_pruning, &image_pruning,
	                                       args_bool(args, "volumes") ? &volume_pruning : NULL};
	int64_t freed = 0;
	char size[24];

	for (size_t i = 0; args_bool(args, "volumes") && i < args_count(args, "filter"); i++)
		if (str_starts(args_at(args, "filter", i), "until="))
			return err_set(err, ERR_INVALID,
			               "the \"until\" filter is not supported with \"--volumes\"");
	int yes = confirm(args, "all containers that do not run, unused networks and images", err);

	if (yes <= 0)
		return yes;
	for (size_t i = 0; i < ARRAY_LEN(order); i++)
		if (order[i] && prune(cli, args, order[i], &freed, err) < 0)
			return -1;
	printf("Total reclaimed space: %s\n", out_size(freed, size));
	return 0;
}

#define PRUNE_FLAGS                                                                                \
	{"filter", 0, FLAG_LIST, "KEY=VALUE", "Only those that fit: label, until"},                \
	{                                                                                          \
		"force", 'f', FLAG_BOOL, NULL, "Do not ask"                                        \
	}
static const struct flag prune_flags[] = {PRUNE_FLAGS, {NULL}};
static const struct flag all_flags[] = {
	{"all", 'a', FLAG_BOOL, NULL, "Also those with a name, if nobody uses them"},
	PRUNE_FLAGS,
	{NULL},
};
static const struct flag system_flags[] = {
	{"all", 'a', FLAG_BOOL, NULL, "Also images with a name, if nobody uses them"},
	PRUNE_FLAGS,
	{"volumes", 0, FLAG_BOOL, NULL, "Also volumes"},
	{NULL},
};

#define PRUNE(group_, summary_, flags_, run_)                                                      \
	{                                                                                          \
		.group = (group_), .name = "prune", .synopsis = "[OPTIONS]",                       \
		.summary = (summary_), .flags = (flags_), .run = (run_)                            \
	}

const struct command command_prune[] = {
	PRUNE("system", "Remove what nobody uses", system_flags, run_system_prune),
	PRUNE("container", "Remove containers that do not run", prune_flags, run_container_prune),
	PRUNE("image", "Remove images without a name", all_flags, run_image_prune),
	PRUNE("network", "Remove networks that no container uses", prune_flags, run_network_prune),
	PRUNE("volume", "Remove volumes that no container uses", all_flags, run_volume_prune),
	{.name = NULL},
};
