/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * mend - a damaged layer made whole again, from what is nearest:
 *
 *	index            from the tar
 *	blob             packed again from the layer, where that gives the same bytes; else from a registry
 *	tar, directory   from the blob; else from a registry
 *
 * The registries are those that images with this layer were pulled from, and their mirrors. All of it is verified before it takes
 * the place of what was there, in one rename; those who have the old layer mounted keep it until they end. Only a directory
 * in use is left alone (ERR_CONFLICT): its files would go from under the containers.
 */

#include "image/fetch.h"
#include "image/verify.h"

struct mend {
	struct image_store *store; /* borrowed */
	const char *chain;         /* borrowed */
	unsigned damage;           /* enum damage */
	/* Credentials for a registry, or NULL; may itself be NULL. */
	const struct image_auth *(*auth_for)(void *arg, const char *domain);
	void *auth_arg;
	/* As in struct fetch. */
	int (*tell)(void *arg, enum fetch_stage stage, int64_t current);
	void *tell_arg;

	char how[96 + REFERENCE_MAX]; /* "fetched from ...": filled */
};

/* What err says after a failure can be shown to people: it says what to do. */
int layer_mend(struct mend *m, struct err *err);
