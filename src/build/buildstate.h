/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * buildstate - one build while it runs: where it stands, and how a step becomes an image.
 *
 * Each step that is done makes an image (nameless, but for the last), whose id is the parent of the
 * next: that chain is the cache. A step asks buildstate_cached() with a key; on a miss it does its work and
 * calls buildstate_commit(). Private to build/.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "build/build.h"
#include "build/dockerfile.h"
#include "build/words.h"
#include "image/image.h"

struct buf;
struct err;

#define BUILDSTATE_ARGS_MAX   512
#define BUILDSTATE_STAGES_MAX 256

struct buildstate_arg {
	const char *name, *value; /* value NULL: declared, not set */
};

struct buildstate_stage {
	const char *name; /* lower case; "" if it has none */
	char id[DIGEST_TEXT_MAX];
};

struct buildstate {
	struct image_store *store;
	const struct build_runner *runner;
	const struct build_request *request;
	const struct build_output *output;
	struct arena *arena;
	const char *file; /* the Dockerfile's name, for messages */
	char escape;

	size_t step, step_count;

	struct buildstate_arg globals[BUILDSTATE_ARGS_MAX]; /* ARG before the first FROM */
	size_t global_count;
	struct buildstate_stage stages[BUILDSTATE_STAGES_MAX];
	size_t stage_count;
	bool arg_used[BUILDSTATE_ARGS_MAX]; /* of request->args */

	/* The stage that is being built. */
	char id[DIGEST_TEXT_MAX];    /* image so far; "" for scratch without a step */
	char chain[DIGEST_TEXT_MAX]; /* its layers; "" for none */
	struct oci_run_config config;
	struct json *document; /* the image's config as JSON, kept whole; owned by the arena */
	const char *author;
	struct buildstate_arg args[BUILDSTATE_ARGS_MAX]; /* ARG of this stage */
	size_t arg_count;
	bool cmd_set; /* by this stage: ENTRYPOINT then leaves it */
};

/* Prints a line of Docker's build output. -1: the client is gone. */
int buildstate_print(struct buildstate *s, struct err *err, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Begins a stage on an image (id "" : scratch): loads its config. */
int buildstate_load(struct buildstate *s, const char *id, struct err *err);

/* Value of a name for words_expand(): ENV of the image, then ARG. `state` is the arg. */
const char *buildstate_find_variable(void *state, const char *name);
struct words_env buildstate_words(struct buildstate *s);
const char *buildstate_env(const struct buildstate *s,
                           const char *name); /* ENV only; NULL if unset */
int buildstate_set_env(struct buildstate *s, const char *name, const char *value, struct err *err);

/* Hex hash of the parent, the step as text and what it depends on (`extra` may be NULL). */
int buildstate_key(struct buildstate *s, const char *step, const char *extra, char key[65],
                   struct err *err);
/* 1: the cache had it and the state is there now (printed); 0: not. */
int buildstate_cached(struct buildstate *s, const char key[65], struct err *err);
/* Makes the image of a step: `layer` NULL for one that changed no files. created_by goes into the history. */
int buildstate_commit(struct buildstate *s, const char key[65], const char *created_by,
                      const struct image_layer *layer, struct err *err);

/* Scratch space of one step: upper and work below request->scratch_fd, and the root as the step sees it. */
struct buildstate_root {
	struct image_layers layers;
	char name[65];
	int dir_fd, upper_fd, work_fd;
	int root_fd; /* merged view to write into; -1 unless asked for */
};
int buildstate_root_open(struct buildstate *s, bool mounted, struct buildstate_root *out,
                         struct err *err);
void buildstate_root_close(struct buildstate *s, struct buildstate_root *root);
/* A read-only view of an image's files, for COPY --from. */
int buildstate_image_root(struct buildstate *s, const char *id, struct err *err);
