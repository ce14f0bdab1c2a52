/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/event.h"

#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/clock.h"
#include "base/str.h"
#include "engine/filter.h"
#include "engine/private.h"

#define RING           1024
#define ATTRIBUTES_MAX 32 /* of event_add() */

/* One event; shared by the ring and the readers that copy it. In one piece: a thousand are kept. */
struct record {
	atomic_int refs;
	struct event event; /* points into what follows */
	uint64_t serial;
	struct json_pair pairs[]; /* then the texts */
};

struct events {
	pthread_mutex_t lock;
	struct record *ring[RING]; /* serial % RING */
	uint64_t next;             /* serial of the next one */
	struct event_feed *feeds;
};

struct event_feed {
	struct engine *engine;
	struct event_filter filter;
	uint64_t serial; /* next one to look at */
	int wake_fd;     /* eventfd */
	struct event_feed *next;
};

static void record_drop(struct record *r)
{
	if (r && atomic_fetch_sub(&r->refs, 1) == 1)
		free(r);
}

struct events *events_create(struct err *err)
{
	struct events *events = calloc(1, sizeof(*events));

	if (!events)
		return err_nomem(err), NULL;
	pthread_mutex_init(&events->lock, NULL);
	return events;
}

void events_free(struct events *events)
{
	if (!events)
		return;
	for (size_t i = 0; i < RING; i++)
		record_drop(events->ring[i]);
	pthread_mutex_destroy(&events->lock);
	free(events);
}

static void publish(struct events *events, struct record *r)
{
	struct record *old;

	pthread_mutex_lock(&events->lock);
	r->serial = events->next++;
	old = events->ring[r->serial % RING];
	events->ring[r->serial % RING] = r;
	for (struct event_feed *feed = events->feeds; feed; feed = feed->next)
		(void)eventfd_write(feed->wake_fd, 1);
	pthread_mutex_unlock(&events->lock);
	record_drop(old);
}

static char *put(char **at, const char *text)
{
	size_t n = strlen(text) + 1;
	char *copy = memcpy(*at, text, n);

	*at += n;
	return copy;
}

/* NULL: no memory. */
static struct record *record_create(const struct event *event)
{
	const struct json_strmap *in = &event->attributes;
	size_t texts = strlen(event->type) + strlen(event->action) + strlen(event->actor) +
	               strlen(event->scope) + 4;

	for (size_t i = 0; i < in->count; i++)
		texts += strlen(in->items[i].key) + strlen(in->items[i].value) + 2;
	struct record *r = calloc(1, sizeof(*r) + in->count * sizeof(*in->items) + texts);
	if (!r)
		return NULL;
	char *at = (char *)(r->pairs + in->count);
	atomic_store(&r->refs, 1);
	r->event = (struct event){
		.type = put(&at, event->type),
		.action = put(&at, event->action),
		.actor = put(&at, event->actor),
		.scope = put(&at, event->scope),
		.attributes = {r->pairs, in->count, true},
		.time_ns = event->time_ns,
	};
	for (size_t i = 0; i < in->count; i++) {
		r->pairs[i].key = put(&at, in->items[i].key);
		r->pairs[i].value = put(&at, in->items[i].value);
	}
	return r;
}

/* A later pair of the same name replaces the one before. */
static void set_pair(struct json_strmap *map, const char *key, const char *value)
{
	size_t i = 0;

	while (i < map->count && !str_eq(map->items[i].key, key))
		i++;
	map->items[i] = (struct json_pair){(char *)key, (char *)(value ? value : "")};
	if (i == map->count)
		map->count++;
}

static void add(struct engine *engine, const char *type, const char *action, const char *actor,
                const struct json_strmap *attributes)
{
	const struct event event = {
		.type = (char *)type,
		.action = (char *)action,
		.actor = (char *)(actor ? actor : ""),
		.scope = (char *)"local",
		.attributes = *attributes,
		.time_ns = clock_wall_ns(),
	};
	struct record *r = record_create(&event);

	if (r)
		publish(engine->events, r);
}

void event_add_map(struct engine *engine, const char *type, const char *action, const char *actor,
                   const struct json_strmap *attributes)
{
	struct json_strmap map = {calloc(attributes->count + 1, sizeof(struct json_pair)), 0, true};

	for (size_t i = 0; map.items && i < attributes->count; i++)
		if (attributes->items[i].key)
			set_pair(&map, attributes->items[i].key, attributes->items[i].value);
	if (map.items)
		add(engine, type, action, actor, &map);
	free(map.items);
}

void event_add(struct engine *engine, const char *type, const char *action, const char *actor, ...)
{
	struct json_pair pairs[ATTRIBUTES_MAX];
	struct json_strmap map = {pairs, 0, true};
	va_list ap;

	va_start(ap, actor);
	for (const char *key; map.count < ATTRIBUTES_MAX && (key = va_arg(ap, const char *));) {
		const char *value = va_arg(ap, const char *);
		if (value)
			set_pair(&map, key, value);
	}
	va_end(ap);
	add(engine, type, action, actor, &map);
}

struct event_feed *event_subscribe(struct engine *engine, const struct event_filter *filter,
                                   struct err *err)
{
	static const char *const allowed[] = {
		"type",   "event",   "container", "image",  "network", "volume", "label", "scope",
		"daemon", "service", "node",      "config", "secret",  "plugin", NULL,
	};
	struct events *events = engine->events;

	if (filter->filters && filter_check(filter->filters, allowed, err) < 0)
		return NULL;
	struct event_feed *feed = calloc(1, sizeof(*feed));
	if (!feed)
		return err_nomem(err), NULL;
	feed->engine = engine;
	feed->filter = *filter;
	feed->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (feed->wake_fd < 0) {
		err_sys(err, "event feed");
		free(feed);
		return NULL;
	}
	pthread_mutex_lock(&events->lock);
	feed->serial = events->next;
	if (filter->since_ns)
		feed->serial = events->next > RING ? events->next - RING : 0;
	feed->next = events->feeds;
	events->feeds = feed;
	pthread_mutex_unlock(&events->lock);
	return feed;
}

void event_feed_free(struct event_feed *feed)
{
	if (!feed)
		return;
	struct events *events = feed->engine->events;

	pthread_mutex_lock(&events->lock);
	for (struct event_feed **p = &events->feeds; *p; p = &(*p)->next) {
		if (*p == feed) {
			*p = feed->next;
			break;
		}
	}
	pthread_mutex_unlock(&events->lock);
	close(feed->wake_fd);
	free(feed);
}

/* The next record that the feed has not seen, with a reference, or NULL. */
static struct record *feed_take(struct event_feed *feed)
{
	struct events *events = feed->engine->events;
	struct record *r = NULL;

	pthread_mutex_lock(&events->lock);
	if (events->next > RING && feed->serial < events->next - RING)
		feed->serial = events->next - RING;
	if (feed->serial < events->next) {
		r = events->ring[feed->serial++ % RING];
		atomic_fetch_add(&r->refs, 1);
	}
	pthread_mutex_unlock(&events->lock);
	return r;
}

static const char *attribute(const struct event *event, const char *key)
{
	for (size_t i = 0; i < event->attributes.count; i++)
		if (str_eq(event->attributes.items[i].key, key))
			return event->attributes.items[i].value;
	return NULL;
}

/* "container=web" fits the actor's id (or a prefix of it) or its name. */
static bool actor_matches(const struct json *filters, const char *key, const struct event *event)
{
	const char *name = attribute(
		event, str_eq(key, "image") && str_eq(event->type, "container") ? "image" : "name");

	if (!filter_has(filters, key))
		return true;
	if (!str_eq(event->type, key) &&
	    !(str_eq(key, "image") && str_eq(event->type, "container")))
		return false;
	return filter_matches_prefix(filters, key, event->actor) ||
	       (name && filter_matches(filters, key, name)) ||
	       (str_eq(key, "image") && name && filter_matches_prefix(filters, key, name));
}

static bool action_matches(const struct json *filters, const char *action)
{
	char head[64];
	const char *colon = strchr(action, ':'); /* "exec_create: sh -c ..." */
	size_t n = colon ? (size_t)(colon - action) : strlen(action);

	if (!filter_has(filters, "event") || filter_matches(filters, "event", action))
		return true;
	if (n >= sizeof(head))
		return false;
	memcpy(head, action, n);
	head[n] = '\0';
	return filter_matches(filters, "event", head);
}

static bool event_matches(const struct event_filter *filter, const struct event *event)
{
	const struct json *f = filter->filters;

	if (filter->since_ns && event->time_ns < filter->since_ns)
		return false;
	if (!f)
		return true;
	return filter_matches(f, "type", event->type) && action_matches(f, event->action) &&
	       filter_matches(f, "scope", event->scope) &&
	       filter_matches_labels(f, &event->attributes) &&
	       actor_matches(f, "container", event) && actor_matches(f, "image", event) &&
	       actor_matches(f, "network", event) && actor_matches(f, "volume", event) &&
	       actor_matches(f, "service", event) && actor_matches(f, "node", event);
}

static int event_copy(const struct event *in, struct arena *arena, struct event *out,
                      struct err *err)
{
	*out = *in;
	out->type = arena_strdup(arena, in->type, err);
	out->action = arena_strdup(arena, in->action, err);
	out->actor = arena_strdup(arena, in->actor, err);
	out->scope = arena_strdup(arena, in->scope, err);
	out->attributes.items =
		arena_array(arena, in->attributes.count + 1, sizeof(*in->attributes.items), err);
	if (!out->type || !out->action || !out->actor || !out->scope || !out->attributes.items)
		return -1;
	for (size_t i = 0; i < in->attributes.count; i++) {
		struct json_pair *pair = &out->attributes.items[i];
		pair->key = arena_strdup(arena, in->attributes.items[i].key, err);
		pair->value = arena_strdup(arena, in->attributes.items[i].value, err);
		if (!pair->key || !pair->value)
			return -1;
	}
	return 0;
}

#define FEED_EMPTY 2

/* What is there already: 1 with *event, 0 if the time is over, -1, or FEED_EMPTY. */
static int next_ready(struct event_feed *feed, struct arena *arena, struct event *event,
                      struct err *err)
{
	int64_t until = feed->filter.until_ns;

	for (struct record *r; (r = feed_take(feed));) {
		bool late = until && r->event.time_ns > until;
		bool fits = !late && event_matches(&feed->filter, &r->event);
		int rc = fits ? event_copy(&r->event, arena, event, err) : 0;
		record_drop(r);
		if (late)
			return 0;
		if (fits)
			return rc < 0 ? -1 : 1;
	}
	return FEED_EMPTY;
}

int event_next(struct event_feed *feed, int cancel_fd, struct arena *arena, struct event *event,
               struct err *err)
{
	int64_t until = feed->filter.until_ns;

	for (;;) {
		eventfd_t ignored;
		(void)eventfd_read(feed->wake_fd, &ignored);
		int rc = next_ready(feed, arena, event, err);
		if (rc != FEED_EMPTY)
			return rc;
		int64_t left = until ? (until - clock_wall_ns()) / 1000000 : -1;
		if (until && left <= 0)
			return 0;
		struct err why = ERR_INIT;
		if (engine_poll(feed->engine, feed->wake_fd, cancel_fd, left, &why) < 0) {
			if (err_is(&why, ERR_CANCELED))
				return 0;
			if (err)
				*err = why;
			return -1;
		}
	}
}

struct json *event_json(const struct event *event)
{
	struct json *doc = json_object(), *actor = json_object(), *attributes = json_object();
	bool container = str_eq(event->type, "container");
	int bad = 0;

	for (size_t i = 0; i < event->attributes.count; i++)
		bad |= json_set(attributes, event->attributes.items[i].key,
		                json_string(event->attributes.items[i].value));
	bad |= json_set(actor, "ID", json_string(event->actor));
	bad |= json_set(actor, "Attributes", attributes);
	if (container || str_eq(event->type, "image")) {
		bad |= json_set(doc, "status", json_string(event->action));
		bad |= json_set(doc, "id", json_string(event->actor));
		if (container && attribute(event, "image"))
			bad |= json_set(doc, "from", json_string(attribute(event, "image")));
	}
	bad |= json_set(doc, "Type", json_string(event->type));
	bad |= json_set(doc, "Action", json_string(event->action));
	bad |= json_set(doc, "Actor", actor);
	bad |= json_set(doc, "scope", json_string(event->scope));
	bad |= json_set(doc, "time", json_int(event->time_ns / 1000000000));
	bad |= json_set(doc, "timeNano", json_int(event->time_ns));
	if (bad) {
		json_free(doc);
		return NULL;
	}
	return doc;
}
