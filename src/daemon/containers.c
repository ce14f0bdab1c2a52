/* SPDX-License-Identifier: Apache-2.0 */
/* /containers: their life, and looking at them. What streams (attach, logs, wait, stats) is in streams.c. */

#include <stdio.h>
#include <string.h>

#include "api/container.h"
#include "base/arena.h"
#include "base/str.h"
#include "daemon/daemon.h"
#include "daemon/overlays.h"
#include "daemon/reply.h"
#include "daemon/view.h"
#include "engine/checkpoint.h"
#include "engine/container.h"
#include "engine/engine.h"
#include "engine/filter.h"
#include "engine/hint.h"
#include "engine/posture.h"

#define CREATE_ARENA (8u << 20)
#define VIEW_ARENA   (4u << 20)
#define LIST_ARENA   (256u << 20)

static int check_networks(struct daemon *d, const struct api_container_create *body,
                          struct err *err)
{
	const char *mode = body->host.network_mode;

	if (!str_empty(mode) && overlays_prepare(d->overlays, engine_net(d->engine), mode, err) < 0)
		return -1;
	for (size_t i = 0; i < body->endpoint_count; i++)
		if (overlays_prepare(d->overlays, engine_net(d->engine), body->endpoints[i].network,
		                     err) < 0)
			return -1;
	return 0;
}

static int create(void *ctx, struct http_request *req, struct err *err)
{
	struct daemon *d = ctx;
	auto_arena struct arena arena = ARENA_INIT(CREATE_ARENA);
	struct api_container_create body = {0};
	char id[ID_HEX_MAX];
	size_t len;
	const char *text = http_body(req, &len);

	if (len == 0)
		return err_set(err, ERR_INVALID,
		               "the request has no body: it needs at least Image");
	if (api_container_create_parse(text, len, &arena, &body, err) < 0 ||
	    check_networks(d, &body, err) < 0 ||
	    container_create(d->engine, http_query(req, "name"), &body, id, err) < 0)
		return -1;
	struct json *doc = json_object();
	json_set(doc, "Id", json_string(id));
	json_set(doc, "Warnings", hint_container(d->engine, id));
	return http_reply_json(req, 201, doc);
}

static int list(void *ctx, struct http_request *req, struct err *err)
{
	struct daemon *d = ctx;
	auto_arena struct arena arena = ARENA_INIT(LIST_ARENA);
	auto_type(json) filters = filter_parse(http_query(req, "filters"), err);
	struct container_list_options options = {.filters = filters};
	struct container_view *views = NULL;
	size_t count = 0;

	if (!filters || http_query_bool(req, "all", false, &options.all, err) < 0 ||
	    http_query_bool(req, "size", false, &options.size, err) < 0 ||
	    http_query_int(req, "limit", 0, &options.limit, err) < 0 ||
	    container_list(d->engine, &options, &arena, &views, &count, err) < 0)
		return -1;
	struct json *doc = json_array();
	for (size_t i = 0; i < count; i++)
		json_append(doc, view_summary(&views[i]));
	return http_reply_json(req, 200, doc);
}

static int inspect(void *ctx, struct http_request *req, struct err *err)
{
	struct daemon *d = ctx;
	auto_arena struct arena arena = ARENA_INIT(VIEW_ARENA);
	struct container_view view;
	bool size;

	if (http_query_bool(req, "size", false, &size, err) < 0 ||
	    container_inspect(d->engine, http_arg(req, 0), size, &arena, &view, err) < 0)
		return -1;
	return http_reply_json(req, 200, view_container(&view));
}

/* ---- life ---- */

static int start(void *ctx, struct http_request *req, struct err *err)
{
	struct daemon *d = ctx;
	const struct checkpoint_place from = {http_query(req, "checkpoint"),
	                                      http_query(req, "checkpoint-dir")};
	int rc = str_empty(from.name) ? container_start(d->engine, http_arg(req, 0), err)
	                              : checkpoint_start(d->engine, http_arg(req, 0), &from, err);

	return rc < 0 ? -1 : http_reply_empty(req, rc == 1 ? 304 : 204);
}

/* t=-1 means: no limit. */
static int read_timeout(struct http_request *req, int64_t *timeout_s, struct err *err)
{
	if (http_query_int(req, "t", -1, timeout_s, err) < 0)
		return -1;
	if (http_query(req, "t") && *timeout_s < 0)
		*timeout_s = INT64_MAX;
	return 0;
}

static int stop(void *ctx, struct http_request *req, struct err *err)
{
	struct daemon *d = ctx;
	int64_t timeout_s;

	if (read_timeout(req, &timeout_s, err) < 0)
		return -1;
	int rc = container_stop(d->engine, http_arg(req, 0), timeout_s, http_query(req, "signal"),
	                        err);
	return rc < 0 ? -1 : http_reply_empty(req, rc == 1 ? 304 : 204);
}

static int restart(void *ctx, struct http_request *req, struct err *err)
{
	struct daemon *d = ctx;
	int64_t timeout_s;

	if (read_timeout(req, &timeout_s, err) < 0 ||
	    container_restart(d->engine, http_arg(req, 0), timeout_s, http_query(req, "signal"),
	                      err) < 0)
		return -1;
	return http_reply_empty(req, 204);
}

static int kill_container(void *ctx, struct http_request *req, struct err *err)
{
	struct daemon *d = ctx;

	if (container_kill(d->engine, http_arg(req, 0), http_query(req, "signal"), err) < 0)
		return -1;
	return http_reply_empty(req, 204);
}

static int pause_container(void *ctx, struct http_request *req, struct err *err)
{
	struct daemon *d = ctx;

	return container_pause(d->engine, http_arg(req, 0), true, err) < 0
	               ? -1
	               : http_reply_empty(req, 204);
}

static int unpause(void *ctx, struct http_request *req, struct err *err)
{
	struct daemon *d = ctx;

	return container_pause(d->engine, http_arg(req, 0), false, err) < 0
	               ? -1
	               : http_reply_empty(req, 204);
}

static int rename_container(void *ctx, struct http_request *req, struct err *err)
{
	struct daemon *d = ctx;
	const char *name = http_query(req, "name");

	if (str_empty(name))
		return err_set(err, ERR_INVALID, "name: the new name is missing");
	if (container_rename(d->engine, http_arg(req, 0), name, err) < 0)
		return -1;
	return http_reply_empty(req, 204);
}

static int delete (void *ctx, struct http_request *req, struct err *err)
{
	struct daemon *d = ctx;
	bool force, volumes, link;

	if (http_query_bool(req, "force", false, &force, err) < 0 ||
	    http_query_bool(req, "v", false, &volumes, err) < 0 ||
	    http_query_bool(req, "link", false, &link, err) < 0)
		return -1;
	if (link)
		return err_set(err, ERR_UNSUPPORTED, "links are not supported: use a network");
	if (container_remove(d->engine, http_arg(req, 0), force, volumes, err) < 0)
		return -1;
	return http_reply_empty(req, 204);
}

static int read_size(struct http_request *req, uint16_t *rows, uint16_t *cols, struct err *err)
{
	int64_t h, w;

	if (http_query_int(req, "h", 0, &h, err) < 0 || http_query_int(req, "w", 0, &w, err) < 0)
		return -1;
	if (h < 0 || h > UINT16_MAX || w < 0 || w > UINT16_MAX)
		return err_set(err, ERR_INVALID, "h and w: 0 to 65535");
	*rows = (uint16_t)h;
	*cols = (uint16_t)w;
	return 0;
}

static int resize(void *ctx, struct http_request *req, struct err *err)
{
	struct daemon *d = ctx;
	uint16_t rows, cols;

	if (read_size(req, &rows, &cols, err) < 0 ||
	    container_resize(d->engine, http_arg(req, 0), rows, cols, err) < 0)
		return -1;
	return http_reply_empty(req, 200);
}

static int update(void *ctx, struct http_request *req, struct err *err)
{
	struct daemon *d = ctx;
	auto_type(json) body = http_body_json(req, err);

	if (!body || container_update(d->engine, http_arg(req, 0), body, err) < 0)
		return -1;
	struct json *doc = json_object();
	json_set(doc, "Warnings", json_null());
	return http_reply_json(req, 200, doc);
}

static int prune(void *ctx, struct http_request *req, struct err *err)
{
	struct daemon *d = ctx;
	auto_arena struct arena arena = ARENA_INIT(VIEW_ARENA);
	auto_type(json) filters = filter_parse(http_query(req, "filters"), err);
	struct json_strings removed = {0};

	if (!filters)
		return -1;
	int64_t bytes = container_prune(d->engine, filters, &arena, &removed, err);
	if (bytes < 0)
		return -1;
	struct json *doc = json_object();
	json_set(doc, "ContainersDeleted", reply_strings(&removed));
	json_set(doc, "SpaceReclaimed", json_int(bytes));
	return http_reply_json(req, 200, doc);
}

static int posture(void *ctx, struct http_request *req, struct err *err)
{
	struct daemon *d = ctx;
	struct json *doc = container_posture(d->engine, http_arg(req, 0), err);

	return doc ? http_reply_json(req, 200, doc) : -1;
}

static int top(void *ctx, struct http_request *req, struct err *err)
{
	struct daemon *d = ctx;
	struct json *doc =
		container_top(d->engine, http_arg(req, 0), http_query(req, "ps_args"), err);

	return doc ? http_reply_json(req, 200, doc) : -1;
}

const struct http_route containers_routes[] = {
	{"POST", "/containers/create", create, false},
	{"GET", "/containers/json", list, false},
	{"GET", "/containers/{}/json", inspect, false},
	{"POST", "/containers/{}/start", start, false},
	{"POST", "/containers/{}/stop", stop, false},
	{"POST", "/containers/{}/restart", restart, false},
	{"POST", "/containers/{}/kill", kill_container, false},
	{"POST", "/containers/{}/pause", pause_container, false},
	{"POST", "/containers/{}/unpause", unpause, false},
	{"POST", "/containers/{}/rename", rename_container, false},
	{"POST", "/containers/{}/resize", resize, false},
	{"POST", "/containers/{}/update", update, false},
	{"GET", "/containers/{}/top", top, false},
	{"GET", "/buoy/v1/containers/{}/posture", posture, false},
	{"POST", "/containers/prune", prune, false},
	{"DELETE", "/containers/{}", delete, false},
	{NULL, NULL, NULL, false},
};
