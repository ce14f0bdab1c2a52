/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * layer - the layer store: how a layer lies on the disk is known here and nowhere else.
 *
 * A layer is either an unpacked directory, layers/<chain hex>/diff, or, where the kernel can mount that, its tar with
 * an index (tarindex.h), "tar" and "index" in layers/<chain hex>, beside an empty "diff" that is there to be locked. Both have
 * overlayfs' own marks for what they remove. What overlayfs wrote itself (build, commit) stays a directory. The rest of the code sees chain ids, directory
 * descriptors and this:
 *
 *	auto_type(layer_maker) m = layer_maker_create(store, 0, err);   // starts an unpacker
 *	layer_maker_add(m, data, len, err);                             // as the bytes arrive
 *	layer_maker_finish(m, err);                                     // m->layer: diff id, blob, sizes
 *	layer_publish(store, &m, 1, rows, arg, err);                    // rename, one sync, rows
 *
 * The order of durability: the files of a layer go to the disk while they are written and are on it (flush.h) before they are
 * named; the directories of names are synced, then one transaction brings the rows of the layers and whatever rows() adds (the
 * image). An unpacked layer has too many files for that: one syncfs(2) covers them.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "image/compress.h"
#include "image/image.h"
#include "image/store.h"
#include "image/worker.h"

struct blob_writer;
struct compress_writer;
struct flush;

enum layer_maker_flags {
	LAYER_COMPRESS = 1 << 0, /* what is added is a plain tar: its blob is gzip */
	LAYER_COPY = 1 << 1,  /* what is added is no form for a registry: recompress at the end */
	LAYER_MOVED = 1 << 2, /* no unpacker: the caller fills diff_fd and gives the diff id */
};

struct layer_maker {
	struct image_store *store; /* borrowed */
	unsigned flags;
	struct image_layer layer;     /* chain_id is the caller's to set before publishing */
	char parent[DIGEST_TEXT_MAX]; /* chain id below it, or "" */
	char staging[STORE_NAME_MAX]; /* "" once it is published */
	int diff_fd;                  /* the directory; owned */
	int copy_fd;                  /* of the uncompressed archive; owned, or -1 */
	int tar_dir_fd; /* where copy_fd and its index lie; owned, or -1: it is unpacked */
	int index_fd;   /* beside it, once it is written; owned, or -1 */
	struct blob_writer *blob;
	struct flush *
		flush; /* of blob, tar and index; NULL: not started, or no layer is to be durable (a test) */
	struct compress_writer *gzip;
	struct worker worker;
	bool worker_runs;
	size_t waiting; /* bytes added since the disk was set to work */
};

struct layer_maker *layer_maker_create(struct image_store *store, unsigned flags, struct err *err);
void layer_maker_free(struct layer_maker *m); /* throws away what was not published */
DEFINE_AUTO(layer_maker)
int layer_maker_add(struct layer_maker *m, const void *data, size_t len, struct err *err);
/* Fills m->layer but chain_id. */
int layer_maker_finish(struct layer_maker *m, struct err *err);
/* From chain and diff id: Docker's and OCI's formula. */
void layer_chain(const char *parent, const char *diff_id, char chain[DIGEST_TEXT_MAX]);

/* Makes them durable and known. rows() runs inside the transaction; may be NULL. A layer that is there
 * already is left as it is. */
int layer_publish(struct image_store *store, struct layer_maker **makers, size_t count,
                  int (*rows)(void *arg, struct err *err), void *arg, struct err *err);

/* A finished maker takes the place of the layer of this chain id, which has a row; its blob that of the layer's. `whole` false: the
 * blob alone. Whoever has the old one open or mounted keeps it. */
int layer_replace(struct layer_maker *m, bool whole, struct err *err);
/* The index was written again: its digest; the layer is as it should be. */
int layer_note_index(struct image_store *store, const char *chain, const char *digest,
                     struct err *err);
/* What the unpacker has to do for a layer in dir_fd: unpack it, or (index) index it. in_fd is the caller's to set. */
struct worker_job layer_job(int dir_fd, bool index);

/* Holds a layer against collection until the descriptor and its duplicates are closed. ERR_NOT_FOUND. */
int layer_pin(struct image_store *store, const char *chain, struct err *err);
/* The directory of a layer, or a mount of it; *pin holds it (-1: the result itself does). ERR_NOT_FOUND. */
int layer_open(struct image_store *store, const char *chain, int *pin, struct err *err);
/* The next lower one of `layers`. On failure what is there is the caller's to close. */
int image_layers_add(struct image_store *store, struct image_layers *layers, const char *chain,
                     struct err *err);

#define LAYER_DIFF "diff"
#define LAYER_TAR  "tar"

/* layer_mount.c: */
/* The mount of the tar and index in dir_fd, made if nobody has it yet: one for all, as each has a page cache of its own.
 * The caller closes the result. */
int layer_mount_shared(struct image_store *store, const char *chain, int dir_fd, struct err *err);
/* 0: tars can be mounted and be an overlay's lowers here; -1: err says why not. */
int layer_probe(struct image_store *store, struct err *err);
/* The layer is gone: its mount may go when nobody uses it. */
void layer_forget(struct image_store *store, const char *chain);
void layer_forget_all(struct image_store *store);
/* 1 and its row, or 0. blob_kind may be NULL. */
int layer_find(struct image_store *store, const char *chain, struct image_layer *out,
               enum compress_kind *blob_kind, struct err *err);
