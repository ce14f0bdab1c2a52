/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * progress - what the daemon streams while it pulls, pushes, loads or builds: one JSON object a line.
 *
 *	struct progress p;
 *	progress_init(&p, cli, stdout);
 *	call.write = progress_write; call.write_arg = &p;
 *	api_stream(cli, &call, err);
 *	progress_done(&p, err);       // fails when the stream said so
 *
 * On a terminal each layer has a line of its own with a bar; else each change is a plain line. The last
 * `aux` object is kept: a build says its image's id in it.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/err.h"

struct cli;
struct json;

#define PROGRESS_LAYERS_MAX 256

struct progress_layer {
	char id[80];
	char status[80];
};

struct progress {
	FILE *out;
	bool terminal, quiet;
	struct buf line;
	struct progress_layer *layers; /* lines on the terminal, top to bottom; owned */
	size_t layer_count;
	struct json *aux; /* owned, or NULL */
	struct err err;
};

void progress_init(struct progress *p, const struct cli *cli, FILE *out);
int progress_write(void *arg, const void *data, size_t len);
/* Releases it; -1 with the daemon's words if the stream ended in an error. */
int progress_done(struct progress *p, struct err *err);
