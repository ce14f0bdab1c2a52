/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * volume - named directories under <root>/volumes/<name>/_data that outlive containers.
 *
 * Driver "local" only, without options for now (a foreign driver or option is ERR_UNSUPPORTED). Rows in
 * engine.db; the directory is made before the row, and removed after it. Thread-safe, blocking.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/id.h"
#include "base/json.h"

struct arena;
struct engine;
struct err;

struct volume_spec {
	const char *name;   /* NULL or "": a random one, 64 hex digits */
	const char *driver; /* NULL, "" or "local" */
	struct json_strmap labels, options;
};

struct volume {
	char *name, *driver, *scope; /* scope: "local" */
	char *mountpoint;            /* absolute path */
	struct json_strmap labels, options;
	int64_t created_ns;
	bool anonymous;
	int64_t ref_count; /* containers that use it, running or not */
	int64_t size;      /* bytes; -1 unless asked for */
};

/* Results live in the caller's arena. Making one that exists is success (labels stay as they were). */
int volume_create(struct engine *engine, const struct volume_spec *spec, struct arena *arena,
                  struct volume *out, struct err *err);
int volume_find(struct engine *engine, const char *name, struct arena *arena, struct volume *out,
                struct err *err); /* ERR_NOT_FOUND "get x: no such volume" */
int volume_list(struct engine *engine, bool with_size, struct arena *arena, struct volume **out,
                size_t *count, struct err *err);
/* ERR_CONFLICT "volume is in use - [id]" while a container has it; force: a missing one is success. */
int volume_remove(struct engine *engine, const char *name, bool force, struct err *err);
/* Unused anonymous volumes (all: named ones too) that pass the filters (label). Names removed go into
 * the arena. Returns bytes given back, or -1. */
int64_t volume_prune(struct engine *engine, bool all, const struct json *filters,
                     struct arena *arena, struct json_strings *removed, struct err *err);
