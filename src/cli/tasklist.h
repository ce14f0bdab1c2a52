/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * tasklist - the tasks of services or nodes as a table: `service ps` and `node ps`.
 *
 *	tasklist_show(cli, args, "service", ids, err);
 *
 * Newest first within a slot; in the plain table, those before it are indented under it.
 */

#include <stdbool.h>

#include "base/buf.h"
#include "base/json.h"
#include "cli/args.h"

struct err;

#define TASKLIST_FLAGS                                                                             \
	{"filter", 'f', FLAG_LIST, "KEY=VALUE", "Only those that fit: name, node, desired-state"}, \
		{"format", 0, FLAG_STRING, "TEMPLATE",                                             \
	         "json, a template, or 'table ' and a template"},                                  \
		{"no-resolve", 0, FLAG_BOOL, NULL, "Ids instead of names"},                        \
		{"no-trunc", 0, FLAG_BOOL, NULL, "Do not shorten ids and errors"},                 \
	{                                                                                          \
		"quiet", 'q', FLAG_BOOL, NULL, "Ids only"                                          \
	}

/* The tasks that have one of `ids` (array of strings) as their `key`, and fit --filter. */
int tasklist_show(struct cli *cli, const struct args *args, const char *key, struct json *ids,
                  struct err *err);

/* GET /tasks with one filter beside --filter; `ids` as above. The caller owns the array. */
struct json *tasklist_get(struct cli *cli, const struct args *args, const char *key,
                          struct json *ids, struct err *err);

/* "Ready" for "ready". Lives in the arena. */
const char *tasklist_word(struct cli *cli, const char *state);
/* "*:8080->80/tcp, ..." of an array of ports; those published by a node only have mode "host". The
 * caller owns the string. */
struct json *tasklist_ports(const struct json *ports, const char *mode);
/* Sorts an array of objects by the text of a key; the caller owns the result. */
struct json *tasklist_sort(const struct json *rows, const char *key);
