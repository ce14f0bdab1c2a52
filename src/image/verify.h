/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * verify - is what lies on the disk of a layer still what its digests say?
 *
 *	struct verdict v;
 *	layer_verify(store, chain, VERIFY_BLOB, &watch, &v, err);   // v.damage: 0, or what is damaged
 *
 * A tar has the layer's diff id, its index the digest that was noted when it was written, a blob its name. Of an unpacked
 * directory no digest is known: what buoy packed itself has the diff id again when it is packed again; anything else is
 * compared with the same blob, unpacked once more. The disk is read, not the page cache.
 *
 * Damage is a finding, not a failure: -1 means that the question could not be answered (no memory, full disk, canceled).
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/hash.h"
#include "image/layer.h"

enum damage {
	DAMAGE_BLOB = 1 << 0,
	DAMAGE_TAR = 1 << 1,
	DAMAGE_INDEX = 1 << 2,
	DAMAGE_TREE = 1 << 3, /* the unpacked directory */
};

struct verdict {
	unsigned damage;  /* enum damage */
	bool tar;         /* the layer is a tar with an index */
	char reason[200]; /* of the first damage found */
};

/* Hears how many bytes were read; -1 stops the work (ERR_CANCELED). */
struct verify_watch {
	int (*tell)(void *arg, int64_t bytes);
	void *arg;
};

/* with_blob: the blob too. watch may be NULL. ERR_NOT_FOUND: there is no such layer. */
int layer_verify(struct image_store *store, const char *chain, bool with_blob,
                 const struct verify_watch *watch, struct verdict *out, struct err *err);
/* What is noted of an index: the hash of its blocks that are not all zeroes, each behind its place, and of its size. The
 * contents of an image's sparse files are in it, holes and all: 100 GB of them are no more work than none. */
int verify_index_hash(int fd, char hex[HASH_HEX_MAX], struct err *err);
/* "tar, index" */
char *damage_words(unsigned damage, char text[40]);
