/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * event - what happened on this machine, in Docker's words.
 *
 *	event_add(engine, "image", "tag", id, "name", "debian:12", NULL);
 *
 *	struct event_feed *feed = event_subscribe(engine, &filter, err);
 *	while (event_next(feed, cancel_fd, arena, &event, err) > 0) ...
 *	event_feed_free(feed);
 *
 * The last 1024 events are kept in memory for `since`; a feed that falls further behind loses the
 * oldest ones. Types and actions are those of Docker's GET /events: container create start die
 * (exitCode) kill (signal) stop restart pause unpause rename destroy oom attach resize exec_create
 * exec_start exec_die health_status; image pull push tag untag delete import load save; network
 * create connect disconnect destroy; volume create mount unmount destroy.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/json.h"

struct arena;
struct engine;
struct err;
struct event_feed;

/* Pairs of attribute and value end with NULL; a NULL value drops its pair. Cannot fail: when memory
 * is short the event is dropped. */
void event_add(struct engine *engine, const char *type, const char *action, const char *actor, ...)
	__attribute__((sentinel));
void event_add_map(struct engine *engine, const char *type, const char *action, const char *actor,
                   const struct json_strmap *attributes);

struct event {
	char *type, *action, *actor, *scope; /* scope: "local" */
	struct json_strmap attributes;
	int64_t time_ns; /* wall clock */
};

struct event_filter {
	int64_t since_ns; /* replay from here; 0: none */
	int64_t until_ns; /* stop there; 0: never */
	const struct json *
		filters; /* Docker's, either encoding (see filter.h); NULL: all. Borrowed until event_feed_free() */
};

struct event_feed *event_subscribe(struct engine *engine, const struct event_filter *filter,
                                   struct err *err);
void event_feed_free(struct event_feed *feed);
DEFINE_AUTO(event_feed)
/* Blocks for the next one. 1: *event is in the arena; 0: `until` has passed, or the engine stops, or
 * cancel_fd (-1: none) became readable or hung up; -1 error. */
int event_next(struct event_feed *feed, int cancel_fd, struct arena *arena, struct event *event,
               struct err *err);
/* {"Type", "Action", "Actor": {...}, "scope", "time", "timeNano", and the old "status", "id", "from"}. */
struct json *event_json(const struct event *event);
