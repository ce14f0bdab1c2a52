/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * flight - blobs that are on their way from a registry, so that none is fetched twice.
 *
 *	rc = flight_begin(store, digest, stopped, arg, &fd, err);
 *	if (rc > 0) ... read it from fd, no need to ask the registry ...
 *	if (rc == 0) ... fetch and verify it, then flight_end(store, digest, fd) ...
 *	flight_forget(store, digest);   // once it is published or thrown away
 *
 * The unit is the compressed blob: two images that have a layer in common fetch it once even when it lies on
 * different parents. Who waits holds nothing that a fetcher could need, so nobody waits in a ring.
 *
 * Here as well: how many layers are worked on at once, in all pulls together (Docker's three).
 */

#include <stdbool.h>

struct err;
struct image_store;

/* Layers at once in all pulls together: with three processors, and with fewer. */
#define FLIGHT_LAYERS_MAX 3
#define FLIGHT_LAYERS_MIN 2

/* 1: *fd (the caller's to close; read it with pread) is the verified blob. 0: the caller fetches it. -1: ERR_CANCELED,
 * as stopped() said so while another was fetching. */
int flight_begin(struct image_store *store, const char *digest, bool (*stopped)(void *arg),
                 void *arg, int *fd, struct err *err);
/* fd is the verified blob (it is duplicated); -1: it did not come, and one of those who wait may try. True if
 * flight_forget() is due. */
bool flight_end(struct image_store *store, const char *digest, int fd);
void flight_forget(struct image_store *store, const char *digest);
void flight_forget_all(struct image_store *store); /* at the store's end */

/* One of the places for layers. -1: ERR_CANCELED. */
int flight_place_take(struct image_store *store, bool (*stopped)(void *arg), void *arg,
                      struct err *err);
void flight_place_give(struct image_store *store);
