/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * state - one build while it runs: where it stands, and how a step becomes an image.
 *
 * Each step that is done makes an image (nameless, but for the last), whose id is the parent of the
 * next: that chain is the cache. A step asks state_cached() with a key; on a miss it does its work and
 * calls state_commit(). Private to build/.
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

#define STATE_ARGS_MAX   512
#define STATE_STAGES_MAX 256

struct state_arg {
	const char *name, *value; /* value NULL: declared, not set */
};

struct state_stage {
	const char *name; /* lower case; "" if it has none */
	char id[DIGEST_TEXT_MAX];
};

struct state {
	struct image_store *store;
	const struct build_runner *runner;
	const struct build_request *request;
	const struct build_output *output;
	struct arena *arena;
	const char *file; /* the Dockerfile's name, for messages */
	char escape;

	size_t step, step_count;

	struct state_arg globals[STATE_ARGS_MAX]; /* ARG before the first FROM */
	size_t global_count;
	struct state_stage stages[STATE_STAGES_MAX];
	size_t stage_count;
	bool arg_used[STATE_ARGS_MAX]; /* of request->args */

	/* The stage that is being built. */
	char id[DIGEST_TEXT_MAX];    /* image so far; "" for scratch without a step */
	char chain[DIGEST_TEXT_MAX]; /* its layers; "" for none */
	struct oci_run_config config;
	struct json *document; /* the image's config as JSON, kept whole; owned by the arena */
	const char *author;
	struct state_arg args[STATE_ARGS_MAX]; /* ARG of this stage */
	size_t arg_count;
	bool cmd_set; /* by this stage: ENTRYPOINT then leaves it */
};

/* Prints a line of Docker's build output. -1: the client is gone. */
int state_print(struct state *s, struct err *err, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Begins a stage on an image (id "" : scratch): loads its config. */
int state_load(struct state *s, const char *id, struct err *err);

/* Value of a name for words_expand(): ENV of the image, then ARG. `state` is the arg. */
const char *state_find_variable(void *state, const char *name);
struct words_env state_words(struct state *s);
const char *state_env(const struct state *s, const char *name); /* ENV only; NULL if unset */
int state_set_env(struct state *s, const char *name, const char *value, struct err *err);

/* Hex hash of the parent, the step as text and what it depends on (`extra` may be NULL). */
int state_key(struct state *s, const char *step, const char *extra, char key[65], struct err *err);
/* 1: the cache had it and the state is there now (printed); 0: not. */
int state_cached(struct state *s, const char key[65], struct err *err);
/* Makes the image of a step: `layer` NULL for one that changed no files. created_by goes into the history. */
int state_commit(struct state *s, const char key[65], const char *created_by,
                 const struct image_layer *layer, struct err *err);

/* Scratch space of one step: upper and work below request->scratch_fd, and the root as the step sees it. */
struct state_root {
	struct image_layers layers;
	char name[65];
	int dir_fd, upper_fd, work_fd;
	int root_fd; /* merged view to write into; -1 unless asked for */
};
int state_root_open(struct state *s, bool mounted, struct state_root *out, struct err *err);
void state_root_close(struct state *s, struct state_root *root);
/* A read-only view of an image's files, for COPY --from. */
int state_image_root(struct state *s, const char *id, struct err *err);
