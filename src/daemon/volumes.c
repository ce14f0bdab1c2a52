/* SPDX-License-Identifier: Apache-2.0 */
/* /volumes: directories that outlive containers. */

#include "base/arena.h"
#include "base/clock.h"
#include "base/str.h"
#include "daemon/daemon.h"
#include "daemon/reply.h"
#include "engine/engine.h"
#include "engine/event.h"
#include "engine/filter.h"
#include "engine/volume.h"

#define VOLUME_ARENA (16u << 20) /* bytes of a list */

static struct json *view(const struct volume *v)
{
	char created[CLOCK_TEXT_MAX];
	struct json *doc = json_object();

	json_set(doc, "CreatedAt", json_string(clock_format(v->created_ns, created)));
	json_set(doc, "Driver", json_string(v->driver));
	json_set(doc, "Labels", reply_strmap(&v->labels));
	json_set(doc, "Mountpoint", json_string(v->mountpoint));
	json_set(doc, "Name", json_string(v->name));
	json_set(doc, "Options", reply_strmap(&v->options));
	json_set(doc, "Scope", json_string("local"));
	return doc;
}

static int create(void *ctx, struct http_request *req, struct err *err)
{
	struct body {
		char *name, *driver;
		struct json_strmap labels, options;
	};
	static const struct json_field fields[] = {
		JSON_FIELD(struct body, name, "Name", JSON_STRING),
		JSON_FIELD(struct body, driver, "Driver", JSON_STRING),
		JSON_FIELD(struct body, labels, "Labels", JSON_STRMAP),
		JSON_FIELD(struct body, options, "DriverOpts", JSON_STRMAP),
		JSON_END,
	};
	static const struct json_table table = JSON_TABLE(struct body, fields);
	struct daemon *d = ctx;
	auto_arena struct arena arena = ARENA_INIT(VOLUME_ARENA);
	auto_type(json) doc = http_body_json(req, err);
	struct body body = {0};
	struct volume volume = {0};

	if (!doc || json_decode(doc, &table, &arena, &body, err) < 0)
		return -1;
	struct volume_spec spec = {.name = body.name,
	                           .driver = body.driver,
	                           .labels = body.labels,
	                           .options = body.options};
	if (volume_create(d->engine, &spec, &arena, &volume, err) < 0)
		return -1;
	return http_reply_json(req, 201, view(&volume));
}

static bool wanted(const struct json *filters, const struct volume *v, bool dangling_given,
                   bool dangling)
{
	if (dangling_given && dangling != (v->ref_count == 0))
		return false;
	return filter_matches_part(filters, "name", v->name) &&
	       filter_matches(filters, "driver", v->driver) &&
	       filter_matches_labels(filters, &v->labels);
}

static int list(void *ctx, struct http_request *req, struct err *err)
{
	static const char *const allowed[] = {"dangling", "driver", "label",
	                                      "label!",   "name",   NULL};
	struct daemon *d = ctx;
	auto_arena struct arena arena = ARENA_INIT(VOLUME_ARENA);
	auto_type(json) filters = filter_parse(http_query(req, "filters"), err);
	struct volume *volumes = NULL;
	size_t count = 0;
	bool dangling = false;

	if (!filters || filter_check(filters, allowed, err) < 0 ||
	    filter_bool(filters, "dangling", &dangling, err) < 0 ||
	    volume_list(d->engine, false, &arena, &volumes, &count, err) < 0)
		return -1;
	bool given = filter_has(filters, "dangling");
	struct json *items = json_array();
	for (size_t i = 0; i < count; i++)
		if (wanted(filters, &volumes[i], given, dangling))
			json_append(items, view(&volumes[i]));
	struct json *doc = json_object();
	json_set(doc, "Volumes", items);
	json_set(doc, "Warnings", json_null());
	return http_reply_json(req, 200, doc);
}

static int inspect(void *ctx, struct http_request *req, struct err *err)
{
	struct daemon *d = ctx;
	auto_arena struct arena arena = ARENA_INIT(VOLUME_ARENA);
	struct volume volume = {0};

	if (volume_find(d->engine, http_arg(req, 0), &arena, &volume, err) < 0)
		return -1;
	return http_reply_json(req, 200, view(&volume));
}

static int delete (void *ctx, struct http_request *req, struct err *err)
{
	struct daemon *d = ctx;
	bool force;

	if (http_query_bool(req, "force", false, &force, err) < 0 ||
	    volume_remove(d->engine, http_arg(req, 0), force, err) < 0)
		return -1;
	return http_reply_empty(req, 204);
}

static int prune(void *ctx, struct http_request *req, struct err *err)
{
	static const char *const allowed[] = {"all", "label", "label!", NULL};
	struct daemon *d = ctx;
	auto_arena struct arena arena = ARENA_INIT(VOLUME_ARENA);
	auto_type(json) filters = filter_parse(http_query(req, "filters"), err);
	struct json_strings removed = {0};
	bool all = http_version(req) < 142; /* before 1.42 named ones went as well */

	if (!filters || filter_check(filters, allowed, err) < 0 ||
	    filter_bool(filters, "all", &all, err) < 0)
		return -1;
	int64_t bytes = volume_prune(d->engine, all, filters, &arena, &removed, err);
	if (bytes < 0)
		return -1;
	struct json *doc = json_object();
	json_set(doc, "VolumesDeleted", reply_strings(&removed));
	json_set(doc, "SpaceReclaimed", json_int(bytes));
	return http_reply_json(req, 200, doc);
}

const struct http_route volumes_routes[] = {
	{"GET", "/volumes", list, false},         {"POST", "/volumes/create", create, false},
	{"POST", "/volumes/prune", prune, false}, {"GET", "/volumes/{}", inspect, false},
	{"DELETE", "/volumes/{}", delete, false}, {NULL, NULL, NULL, false},
};
