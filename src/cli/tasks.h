/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* tasks - the table of tasks that `service ps` and `node ps` show. */

#include "base/json.h"
#include "cli/args.h"

struct err;

#define TASKS_FLAGS                                                                                \
	{"filter", 'f', FLAG_LIST, "KEY=VALUE",                                                    \
	 "Only those that fit: desired-state, name, node, id"},                                    \
		{"format", 0, FLAG_STRING, "TEMPLATE",                                             \
	         "json, a template, or 'table ' and a template"},                                  \
		{"no-resolve", 0, FLAG_BOOL, NULL, "Show ids instead of names"},                   \
		{"no-trunc", 0, FLAG_BOOL, NULL, "Do not shorten"},                                \
	{                                                                                          \
		"quiet", 'q', FLAG_BOOL, NULL, "Ids only"                                          \
	}

/* Lists the tasks that key=value chooses ("service", "node"), and --filter besides. */
int tasks_show(struct cli *cli, const struct args *args, const char *key, struct err *err);
