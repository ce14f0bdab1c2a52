/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * checkpoint - the processes of a container in files, and a container that goes on from them (CRIU).
 *
 * A checkpoint is a directory: <root>/containers/<id>/checkpoints/<name>, which goes with the container, or <dir>/<name>, which
 * stays. Files of the container are not in it: it goes on with those that are there. CRIU's last log is in
 * <root>/containers/<id>/criu. A container with a user namespace of its own has none (ERR_UNSUPPORTED): CRIU knows no
 * id-mapped mounts and would give its files back with other owners.
 *
 * `ref`, threads, blocking: see engine.h. ERR_INVALID: name or dir.
 */

#include <stdbool.h>

#include "base/json.h"

struct arena;
struct engine;
struct err;

#define CHECKPOINT_MAX 256 /* per directory */

struct checkpoint_place {
	const char *name;
	const char *dir; /* an absolute path without ".."; NULL or "": with the container */
};

/* ends: the container ends with it, as one that was stopped, with exit code 137; returned when that is known. ERR_CONFLICT:
 * it does not run, or the name is taken; ERR_LIMIT; what launcher_checkpoint() says. On failure it runs on. */
int checkpoint_create(struct engine *engine, const char *ref, const struct checkpoint_place *place,
                      bool ends, struct err *err);
/* Names in order, in the arena. */
int checkpoint_list(struct engine *engine, const char *ref, const char *dir, struct arena *arena,
                    struct json_strings *out, struct err *err);
/* ERR_NOT_FOUND. */
int checkpoint_remove(struct engine *engine, const char *ref, const struct checkpoint_place *place,
                      struct err *err);
/* container_start() from it. ERR_NOT_FOUND. The checkpoint stays. */
int checkpoint_start(struct engine *engine, const char *ref, const struct checkpoint_place *place,
                     struct err *err);
