/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * copy - COPY and ADD: which files, what they hash to, and getting them there.
 *
 * Sources are looked up in a root (the context, a stage, an image) as a container would: nothing
 * outside it can be named. A directory's content is copied, not the directory. Wildcards match within one
 * path component. .dockerignore holds for the context only. Private to build/.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/pattern.h"

struct arena;
struct buf;
struct err;

struct copy_source {
	char *path; /* in the root, no wildcards left; "" is the root itself */
	bool is_dir;
};

struct copy_plan {
	int root_fd;                       /* borrowed */
	const struct pattern_list *ignore; /* NULL: nothing is left out */
	struct copy_source *sources;
	size_t count;
};

/* Expands the source arguments. ERR_NOT_FOUND: `COPY failed: file not found in build context or excluded by
 * .dockerignore: "x"`. */
int copy_plan_make(int root_fd, const struct pattern_list *ignore, const char *const *args,
                   size_t count, struct arena *arena, struct copy_plan *out, struct err *err);

/* Hash over names, types, modes and content of all that would be copied; times do not count. */
int copy_plan_hash(const struct copy_plan *plan, char hex[65], struct err *err);

struct copy_target {
	int root_fd;       /* where to write: the image's root; borrowed */
	const char *path;  /* absolute */
	bool is_dir;       /* ends with "/", or several sources */
	uint32_t uid, gid; /* owners of everything that is made */
	int mode;          /* --chmod; -1: as in the source */
};
int copy_plan_run(const struct copy_plan *plan, const struct copy_target *target, struct err *err);
