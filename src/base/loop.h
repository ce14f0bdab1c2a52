/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * loop - one thread that waits for descriptors, timers, signals and posts.
 * sd-event stands behind it.
 *
 * Callbacks run on the loop's thread and must not block: what may block goes to
 * a pool (base/pool.h) and comes back by loop_post(). All calls but loop_post()
 * and loop_stop() belong to the loop's thread (or to the time before loop_run()).
 */

#include <stdint.h>

#include "base/cleanup.h"

struct err;
struct loop;
struct loop_source; /* one registration; owned by the caller */

struct loop *loop_create(struct err *err);
void loop_free(struct loop *loop);
DEFINE_AUTO(loop)

/* Blocks until loop_stop(). 0, or -1 if waiting itself failed. */
int loop_run(struct loop *loop, struct err *err);
void loop_stop(struct loop *loop); /* from any thread */

/* events and revents: EPOLLIN and kin. fd is borrowed. */
struct loop_source *loop_add_fd(struct loop *loop, int fd, uint32_t events,
                                void (*fn)(void *arg, int fd, uint32_t revents), void *arg,
                                struct err *err);
int loop_set_events(struct loop_source *source, uint32_t events, struct err *err);

/* Once, delay_ms from now (CLOCK_MONOTONIC). loop_rearm() sets it again, also from fn. */
struct loop_source *loop_add_timer(struct loop *loop, int64_t delay_ms, void (*fn)(void *arg),
                                   void *arg, struct err *err);
int loop_rearm(struct loop_source *timer, int64_t delay_ms, struct err *err);

/* The signal must be blocked in every thread. */
struct loop_source *loop_add_signal(struct loop *loop, int signal,
                                    void (*fn)(void *arg, int signal), void *arg, struct err *err);

/* Unregisters; the callback does not run again. Accepts NULL. May be called from the callback. */
void loop_source_free(struct loop_source *source);
DEFINE_AUTO(loop_source)

/* Runs fn(arg) on the loop's thread soon, in order. From any thread. ERR_NOMEM. */
int loop_post(struct loop *loop, void (*fn)(void *arg), void *arg, struct err *err);
