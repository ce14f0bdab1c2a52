/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * args - the command line of one command, taken apart by its flag table.
 *
 *	struct args args;
 *	args_parse(command, argc, argv, &arena, &args, err);
 *	if (args_bool(&args, "all")) ...
 *	for (size_t i = 0; i < args_count(&args, "env"); i++) args_at(&args, "env", i);
 *
 * Understood: --name value, --name=value, --flag=false, -n value, -nvalue, -n=value, -abc, and "--".
 * Flags and words may be mixed, unless the command passes what follows the first word on.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/cli.h"

struct args_value {
	const struct flag *flag;
	const char *text; /* "true" or "false" for FLAG_BOOL */
};

struct args {
	const struct command *command;
	struct args_value *values; /* in the order given */
	size_t value_count;
	const char **words; /* NULL-terminated */
	size_t count;
	bool help; /* --help was among them */
};

/* argv: what follows the command's name; borrowed. ERR_INVALID says what is wrong. */
int args_parse(const struct command *command, int argc, char *const *argv, struct arena *arena,
               struct args *out, struct err *err);

/* A flag that the command does not have counts as not given. */
bool args_has(const struct args *args, const char *name);
bool args_bool(const struct args *args, const char *name);
const char *args_string(const struct args *args, const char *name); /* NULL: not given */
int64_t args_int(const struct args *args, const char *name, int64_t otherwise);
size_t args_count(const struct args *args, const char *name);
const char *args_at(const struct args *args, const char *name, size_t index);
