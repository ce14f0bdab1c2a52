/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * mounts - binds, volumes and tmpfs of a container: -v, --mount, --tmpfs, and the image's VOLUMEs.
 *
 * Resolved once, at create: names become volumes, relative things are refused, missing sources of -v are made, the
 * image's files are copied into a volume that is new. What comes of it is in config->mounts, sorted so that an outer
 * mount comes before an inner one.
 */

#include <stddef.h>

struct config;
struct container;
struct err;
struct json;

/* c->op held; c is not in the tables yet. */
int mounts_create(struct container *c, struct config *config, struct err *err);
/* Appends OCI mounts to the array. */
int mounts_spec(const struct config *config, struct json *list, struct err *err);

/* One OCI mount; options end with NULL. NULL for lack of memory. */
struct json *mounts_json(const char *type, const char *source, const char *target,
                         const char *const *options);

struct mounts_bind {  /* -v's text, taken apart; everything borrowed from the arena */
	char *source; /* NULL: anonymous volume */
	char *target;
	char *mode; /* "ro,z" or "" */
	char *propagation;
	int read_only, no_copy;
};
struct arena;
int mounts_parse_bind(const char *text, struct arena *arena, struct mounts_bind *out,
                      struct err *err);
