/* SPDX-License-Identifier: Apache-2.0 */
/* logs: what a container said. */

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/str.h"
#include "cli/api.h"
#include "cli/commands.h"
#include "cli/demux.h"
#include "cli/when.h"

static int run(struct cli *cli, const struct args *args, struct err *err)
{
	const char *inspect = api_path(cli, "/containers/", args->words[0], "/json", err);
	auto_type(json) doc = inspect ? api_get(cli, inspect, err) : NULL;
	auto_buf struct buf path = BUF_INIT(API_PATH_MAX);

	if (!doc)
		return -1;
	struct demux demux = {.raw = json_get_bool(json_get(doc, "Config"), "Tty", false)};
	api_begin(&path, "/containers/", args->words[0], "/logs");
	if (when_logs(&path, args, err) < 0)
		return -1;
	const struct http_call call = {
		.method = "GET", .path = buf_str(&path), .write = demux_write, .write_arg = &demux};
	return api_stream(cli, &call, err);
}

static const struct flag flags[] = {WHEN_LOG_FLAGS, {NULL}};

const struct command command_logs[] = {
	{.name = "logs",
         .synopsis = "[OPTIONS] CONTAINER",
         .summary = "Show what a container has written",
         .flags = flags,
         .min = 1,
         .max = 1,
         .run = run},
	{.name = NULL},
};
