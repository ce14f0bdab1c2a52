/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * pool - a few threads for work that blocks.
 *
 * Threads start when work arrives, up to the limit, and end after being idle
 * for ten seconds, so an idle daemon has none. Jobs are taken in order. All
 * calls may come from any thread.
 */

#include <stddef.h>

#include "base/cleanup.h"

struct err;
struct pool;

struct pool *pool_create(size_t threads_max, size_t queue_max, struct err *err);
/* Waits for running jobs; drops none of the queued. */
void pool_free(struct pool *pool);
DEFINE_AUTO(pool)

/* Runs fn(arg) on a thread. ERR_LIMIT when the queue is full. */
int pool_add(struct pool *pool, void (*fn)(void *arg), void *arg, struct err *err);
