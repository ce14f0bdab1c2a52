/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * store - the inside of struct image_store: its database, its directories, and what may
 * happen at the same time. For this layer's files only; the outside is image.h.
 *
 * Reads (find, list, open) take no lock of ours: rows appear after what they name is durable.
 * Publishing new blobs and layers holds `gate` shared; garbage collection holds it
 * exclusively, so nothing is collected between "it is there" and "there is a row that needs it".
 * A layer in use is pinned by a shared flock on its directory, which ends with the descriptor, wherever
 * that went. `making` makes two pulls of one layer wait for each other instead of working twice.
 * Order: making_lock, then gate, then the database's own lock. None is held while bytes are fetched. flight_lock
 * and mounts_lock stand alone.
 */

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "image/image.h"

struct db;
struct err;
struct log;
struct map;

struct image_store {
	int root_fd, blobs_fd, layers_fd, staging_fd, partial_fd; /* owned */
	struct db *db;
	struct log *log; /* borrowed; may be NULL */
	char *worker_path;
	char **insecure, **mirrors, **certs; /* NULL-terminated: endpoint.h */
	pthread_rwlock_t gate;
	pthread_mutex_t making_lock;
	pthread_cond_t making_done;
	struct map *making; /* chain ids; guarded by making_lock */
	pthread_mutex_t flight_lock;
	pthread_cond_t flight_changed;
	struct map *flights; /* blob digests to what flight.c has of them; guarded by flight_lock */
	size_t flight_layers; /* being worked on; guarded by flight_lock */
	bool locks_ready;
	bool erofs; /* new layers are tars with an index */
	pthread_mutex_t mounts_lock;
	struct map *
		mounts; /* chain ids to descriptors (int *) of mounted layers; guarded by mounts_lock */
	bool counted;      /* the boot has a row that says that this store is open (boot.c) */
	bool doubts;       /* there are layers that wait for layer_settle(); from open on */
	int64_t opened_ns; /* wall clock; layers born before and used by no image are left-overs */
};

#define STORE_NAME_MAX 40 /* bytes, NUL included */

/* A fresh name for something in staging/. Returns name. */
char *store_staging_name(char name[STORE_NAME_MAX]);
/* Makes staging/<name>/ and opens it. */
int store_staging_dir(struct image_store *store, char name[STORE_NAME_MAX], struct err *err);
/* Throws away staging/<name>; failure is only logged, as the next open tries again. */
void store_staging_remove(struct image_store *store, const char *name);

/* boot.c: after a power cut or a crash of the machine, all layers are in doubt. At open and at close. */
int boot_begin(struct image_store *store, struct err *err);
void boot_end(struct image_store *store);

/* Waits until nobody else makes `chain`, then claims it for the caller. */
int store_making_begin(struct image_store *store, const char *chain, struct err *err);
void store_making_end(struct image_store *store, const char *chain);

/* Removes unreferenced layers and blobs: of all layers that no image has if `all` (but those
 * made since the store was opened and younger than an hour), else only of `chains`. told may be NULL.
 * Returns bytes given back. */
int64_t store_collect(struct image_store *store, bool all, const char (*chains)[DIGEST_TEXT_MAX],
                      size_t count, const struct image_removed *told, struct err *err);
