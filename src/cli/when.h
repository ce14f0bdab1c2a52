/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* when - times in flags ("10m" ago, RFC 3339, seconds since 1970), and the flags of logs. */

#include "base/buf.h"
#include "cli/args.h"

struct err;

#define WHEN_LOG_FLAGS                                                                             \
	{"details", 0, FLAG_BOOL, NULL, "Show further attributes"},                                \
		{"follow", 'f', FLAG_BOOL, NULL, "Stay and show what comes"},                      \
		{"since", 0, FLAG_STRING, "TIME", "From then on: a time, or 10m ago"},             \
		{"tail", 'n', FLAG_STRING, "N", "Only the last N lines (default all)"},            \
		{"timestamps", 't', FLAG_BOOL, NULL, "Put the time before each line"},             \
	{                                                                                          \
		"until", 0, FLAG_STRING, "TIME", "Up to then: a time, or 10m ago"                  \
	}

/* Adds the flag, if given, as seconds since 1970 with a fraction. */
int when_query(struct buf *path, const struct args *args, const char *flag, struct err *err);
/* Adds the queries that WHEN_LOG_FLAGS stand for. */
int when_logs(struct buf *path, const struct args *args, struct err *err);
