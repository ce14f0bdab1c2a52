/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * out - text for people: escaped names, ages, sizes, tables and --format.
 *
 *	struct out_table t;
 *	auto_type(json) rows = json_array();     // one object per row, keys named as docker names them
 *	out_rows(cli, args, &columns, rows, err);
 *
 * A listing command makes one JSON object per row; its columns, `--format` and `--quiet` are all
 * answered from it.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/json.h"
#include "cli/args.h"
#include "cli/cli.h"
#include "oci/reference.h"

/* Control characters but \n and \t are shown as \x1b when `terminal`: a name is no command for it. */
void out_text(FILE *out, const char *text, bool terminal);

/* "3 hours", "About a minute", as docker words them. Returns text. */
char *out_age(int64_t ns, char text[40]);
/* "3 hours ago", of a moment of the wall clock. */
struct json *out_ago(int64_t wall_ns);
/* A container's command in quotes, its first 20 bytes unless `full`; "" for NULL. */
struct json *out_command(const char *text, bool full);
/* "repo:5000/name:tag" taken apart; without a tag: "<none>". */
struct out_image_name {
	char repository[REFERENCE_MAX], tag[REFERENCE_MAX];
};
void out_split_tag(const char *text, struct out_image_name *out);
/* "12.3MB", "812kB" (powers of 1000, as docker shows images). */
char *out_size(int64_t bytes, char text[24]);
/* The same with powers of 1024 and MiB. */
char *out_size_binary(int64_t bytes, char text[24]);
/* "running" as "Running"; "" for NULL. */
struct json *out_capital(const char *text);
/* Without "sha256:", 12 digits, unless `full`. Lives in the arena; "" for NULL. */
const char *out_id(struct cli *cli, const char *id, bool full);

struct out_column {
	const char *field;  /* ".Names" without the dot */
	const char *header; /* "NAMES" */
};

struct out_listing {
	const struct out_column
		*columns;  /* those of the plain table, then more headers; field NULL ends */
	size_t shown;      /* how many of them make the plain table */
	const char *quiet; /* the field for --quiet, or NULL */
};

/* Prints the rows (array of objects) as args' --format and --quiet want; flags that the command does
 * not have count as not given. */
int out_rows(struct cli *cli, const struct args *args, const struct out_listing *listing,
             const struct json *rows, struct err *err);
