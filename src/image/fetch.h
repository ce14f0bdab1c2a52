/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * fetch - one layer of a pull: its bytes, from wherever they are nearest, into a layer_maker, in one pass.
 *
 *	struct fetch f = {.store = store, .blob = descriptor, .diff_id = diff_id, .tell = tell, .arg = me};
 *	fetch_run(&f, registry, err);      // f.maker: the verified layer, to be published
 *	...
 *	fetch_done(&f);
 *
 * A blob that the store has, or that another pull has just fetched, is read from here; one that is on its way is
 * waited for (flight.h). What comes from the registry goes to the blob's file and to the unpacker at the same
 * time; digest and size of the blob and the digest of the tar are compared at the end. A connection that breaks is
 * taken up where it broke (Range), after a pause (retry.h); a pull that gives up leaves what it has in
 * partial/<hex>, and the next one goes on from there. Those bytes are not trusted: all is hashed again.
 *
 * Blocks. One thread per fetch.
 */

#include <stdbool.h>
#include <stdint.h>

#include "oci/image.h"

struct err;
struct image_store;
struct layer_maker;
struct registry;

enum fetch_stage {
	FETCH_WAITING, /* for a place, or for another pull that fetches the same blob */
	FETCH_DOWNLOADING,
	FETCH_RETRYING,  /* `current` is the pause in seconds */
	FETCH_VERIFYING, /* all bytes are here; the unpacker ends */
	FETCH_COMPLETE,
};

struct fetch {
	struct image_store *store;         /* borrowed */
	const struct oci_descriptor *blob; /* borrowed */
	const char *diff_id;               /* borrowed */
	/* What is happening; -1 stops the work (ERR_CANCELED). Called often. */
	int (*tell)(void *arg, enum fetch_stage stage, int64_t current);
	void *arg;

	struct layer_maker *maker; /* owned; NULL until it is begun */
	bool flew;                 /* flight_forget() is due */
	enum fetch_stage stage;
	int64_t current; /* bytes of the blob so far */
};

int fetch_run(struct fetch *f, struct registry *registry, struct err *err);
/* The same from the store's blob alone. ERR_NOT_FOUND. */
int fetch_stored(struct fetch *f, struct err *err);
/* Throws away what was not published. */
void fetch_done(struct fetch *f);
