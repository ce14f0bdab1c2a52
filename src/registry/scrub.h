/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * scrub - reads all content again, slowly, and finds what the disk has changed.
 *
 * A damaged file of the pool is moved into <root>/quarantine and taken from the repositories that share it, so that nobody
 * gets it and a push brings it anew. Where a repository is an upstream's, it is fetched at once.
 *
 * One thread; scrub-interval is between the end of a round and the next, scrub-rate the bytes it reads a second.
 */

#include "base/cleanup.h"

struct buf;
struct err;
struct registry;
struct scrub;

/* Starts the thread. `r` is borrowed. */
struct scrub *scrub_start(struct registry *r, struct err *err);
void scrub_free(struct scrub *s); /* waits for the thread; accepts NULL */
DEFINE_AUTO(scrub)

/* For Prometheus; accepts NULL. */
void scrub_write_metrics(struct scrub *s, struct buf *out);
