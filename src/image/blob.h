/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * blob - compressed layers by digest, in blobs/sha256/.
 *
 *	struct blob_writer *w = blob_writer_create(store, err);
 *	blob_writer_add(w, data, len, err);
 *	blob_writer_finish(w, digest, &size, err);   // complete, still without a name
 *	blob_writer_publish(w, err);                 // named; not yet synced, not yet a row
 *
 * An unnamed file until it is complete, so a crash leaves nothing. One thread at a time.
 */

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"
#include "image/compress.h"
#include "oci/digest.h"

struct err;
struct image_store;
struct blob_writer;

struct blob_writer *blob_writer_create(struct image_store *store, struct err *err);
void blob_writer_free(struct blob_writer *w); /* an unpublished blob vanishes */
DEFINE_AUTO(blob_writer)
int blob_writer_add(struct blob_writer *w, const void *data, size_t len, struct err *err);
int blob_writer_finish(struct blob_writer *w, char digest[DIGEST_TEXT_MAX], int64_t *size,
                       struct err *err);
int blob_writer_publish(struct blob_writer *w, struct err *err);
enum compress_kind blob_writer_kind(const struct blob_writer *w);
/* The bytes so far, for reading from the start; borrowed. */
int blob_writer_fd(const struct blob_writer *w);

/* Gives what came of `digest` a name in partial/, where the next fetch finds it. */
int blob_writer_keep(struct blob_writer *w, const char *digest, struct err *err);
/* What an earlier fetch left of it, for reading; it has no name any more. -1: nothing. */
int blob_partial_take(struct image_store *store, const char *digest);

/* A blob that has a row and this size, for reading, or -1. */
int blob_find(struct image_store *store, const char *digest, int64_t size);
/* A published blob for reading. ERR_NOT_FOUND. */
int blob_open(struct image_store *store, const char *digest, struct err *err);
int blob_remove(struct image_store *store, const char *digest, struct err *err);
