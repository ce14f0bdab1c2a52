/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * catalog - which images there are and what they are called: the rows behind image_find(),
 * image_list(), image_tag() and image_create(). For this layer's files only.
 */

#include <stdbool.h>
#include <stddef.h>

#include "image/image.h"

struct err;

enum catalog_how {
	CATALOG_BY_ID,
	CATALOG_BY_NAME
};

/* What `text` names: an id, a unique prefix of one, or a reference (then *ref is it). ERR_NOT_FOUND
 * "No such image: x:latest", ERR_CONFLICT. ref and how may be NULL. */
int catalog_find_id(struct image_store *store, const char *text, char id[DIGEST_TEXT_MAX],
                    struct reference *ref, enum catalog_how *how, struct err *err);

/* An image to be; everything borrowed. */
struct catalog_image {
	const char *config_text;
	size_t config_len;
	const char *parent;              /* id or "" */
	const char *manifest;            /* digest of its manifest, or "" */
	const struct reference *ref;     /* name to give (tag, digest or both), or NULL */
	char id[DIGEST_TEXT_MAX];        /* filled by catalog_check() */
	char (*chains)[DIGEST_TEXT_MAX]; /* filled by catalog_check(); catalog_image_done() */
	size_t chain_count;
	int64_t created_ns;
};
/* Parses the config, computes id and chains. */
int catalog_check(struct catalog_image *image, struct err *err);
void catalog_image_done(struct catalog_image *image);
/* Adds the rows; inside a transaction. Its layers' rows must be there (ERR_NOT_FOUND). */
int catalog_add(struct image_store *store, const struct catalog_image *image, struct err *err);
/* Gives (or moves) a name: the tag, the digest, or both. Inside or outside a transaction. */
int catalog_name(struct image_store *store, const char *id, const struct reference *ref,
                 struct err *err);
/* Keeps a manifest's bytes by digest. */
int catalog_add_manifest(struct image_store *store, const char *digest, const char *type,
                         const void *body, size_t len, struct err *err);
