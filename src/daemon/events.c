/* SPDX-License-Identifier: Apache-2.0 */
/* GET /events: what happened, as a stream. */

#include "base/arena.h"
#include "base/clock.h"
#include "base/str.h"
#include "daemon/daemon.h"
#include "engine/engine.h"
#include "engine/event.h"
#include "engine/filter.h"

#define EVENT_ARENA (256u << 10) /* bytes of one event */

static int read_time(struct http_request *req, const char *key, int64_t *ns, struct err *err)
{
	const char *text = http_query(req, key);

	*ns = 0;
	if (str_empty(text) || strcmp(text, "0") == 0)
		return 0;
	if (clock_parse(text, ns, err) < 0)
		return err_wrap(err, "%s", key);
	return 0;
}

/* Sends what comes until the peer goes away, `until` has passed, or the daemon stops. */
static int feed_peer(struct event_feed *feed, struct http_stream *stream, struct err *err)
{
	for (;;) {
		auto_arena struct arena arena = ARENA_INIT(EVENT_ARENA);
		struct event event = {0};
		int rc = event_next(feed, http_stream_closed_fd(stream), &arena, &event, err);
		if (rc <= 0)
			return rc;
		if (http_stream_json(stream, event_json(&event), err) < 0)
			return 0; /* gone: nothing to say to anybody */
	}
}

static int events(void *ctx, struct http_request *req, struct err *err)
{
	struct daemon *d = ctx;
	struct event_filter filter = {0};
	auto_type(json) filters = filter_parse(http_query(req, "filters"), err);

	if (!filters || read_time(req, "since", &filter.since_ns, err) < 0 ||
	    read_time(req, "until", &filter.until_ns, err) < 0)
		return -1;
	filter.filters = filters;
	auto_type(event_feed) feed = event_subscribe(d->engine, &filter, err);
	if (!feed)
		return -1;
	/* The headers go out before the first event: clients wait for them. */
	struct http_stream *stream = http_stream_begin(req, 200, "application/json", err);
	if (!stream)
		return -1;
	(void)feed_peer(feed, stream, NULL);
	http_stream_end(stream);
	return 0;
}

const struct http_route events_routes[] = {
	{"GET", "/events", events, false},
	{NULL, NULL, NULL, false},
};
