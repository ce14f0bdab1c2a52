/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * change - the instructions that only change an image's run config: CMD ENTRYPOINT ENV EXPOSE
 * HEALTHCHECK LABEL ONBUILD SHELL STOPSIGNAL USER VOLUME WORKDIR. Used by builds and by
 * --change of commit and import. Private to build/ but for build_apply_changes().
 */

#include <stdbool.h>

#include "build/dockerfile.h"
#include "build/words.h"
#include "oci/image.h"

struct arena;
struct err;

struct change {
	struct arena *arena;
	struct words_env words;
	struct oci_run_config *config;
	bool cmd_set; /* ENTRYPOINT drops an inherited CMD, not one of the same stage */
};

/* Applies the instruction; *done gets it as evaluated, e.g. `ENV a=b`, for history and cache. ERR_INVALID says
 * what is allowed. ERR_UNSUPPORTED for an instruction that is not of this kind. */
int change_apply(struct change *c, const struct dockerfile_instruction *in, char **done,
                 struct err *err);
/* The command of a RUN, CMD, ENTRYPOINT or HEALTHCHECK: JSON as it is, text behind the shell. NULL-terminated. */
int change_command(struct change *c, const struct dockerfile_instruction *in, size_t first,
                   struct json_strings *out, struct err *err);
/* A path of WORKDIR or COPY made absolute by the working directory. */
char *change_absolute(struct change *c, const char *path, struct err *err);
int change_set_pair(struct arena *arena, struct json_strmap *map, const char *key,
                    const char *value, struct err *err);
