/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* inspect - shared by `inspect` and the groups' own (`network inspect`, ...). */

#include "cli/args.h"

struct err;

#define INSPECT_FLAGS                                                                              \
	{                                                                                          \
		"format", 'f', FLAG_STRING, "TEMPLATE", "json, or a template over the keys"        \
	}

/* Looks each word up as `type` ("network"; NULL: whatever it is) and shows it. The exit code, or -1. */
int inspect_run(struct cli *cli, const struct args *args, const char *type, struct err *err);
