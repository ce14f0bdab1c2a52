/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * manifest - the manifest of an image in the store: the one it came with if every blob of that is
 * here still, else one made of the blobs that are (always the same bytes for the same blobs).
 */

#include <stddef.h>
#include <stdint.h>

#include "image/image.h"

struct err;

struct manifest_layer {
	char digest[DIGEST_TEXT_MAX];
	int64_t size;
	const char *media_type;
};

struct manifest {
	char digest[DIGEST_TEXT_MAX];
	char type[128];
	char *body; /* owned */
	size_t len;
	struct manifest_layer *layers; /* owned; lowest first */
	size_t layer_count;
};

int manifest_of(struct image_store *store, const struct image *image, struct manifest *out,
                struct err *err);
void manifest_done(struct manifest *m);
