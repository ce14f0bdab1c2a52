/* SPDX-License-Identifier: Apache-2.0 */
/* /containers/{id}/checkpoints. A start from one is in containers.c. */

#include "base/arena.h"
#include "daemon/daemon.h"
#include "engine/checkpoint.h"
#include "engine/engine.h"

#define CHECKPOINT_ARENA (1u << 20)

static int create(void *ctx, struct http_request *req, struct err *err)
{
	struct body {
		char *name, *dir;
		bool ends;
	};
	static const struct json_field fields[] = {
		JSON_FIELD(struct body, name, "CheckpointID", JSON_STRING),
		JSON_FIELD(struct body, dir, "CheckpointDir", JSON_STRING),
		JSON_FIELD(struct body, ends, "Exit", JSON_BOOL),
		JSON_END,
	};
	static const struct json_table table = JSON_TABLE(struct body, fields);
	struct daemon *d = ctx;
	auto_arena struct arena arena = ARENA_INIT(CHECKPOINT_ARENA);
	auto_type(json) doc = http_body_json(req, err);
	struct body body = {0};

	if (!doc || json_decode(doc, &table, &arena, &body, err) < 0)
		return -1;
	const struct checkpoint_place place = {body.name, body.dir};
	if (checkpoint_create(d->engine, http_arg(req, 0), &place, body.ends, err) < 0)
		return -1;
	return http_reply_empty(req, 201);
}

static int list(void *ctx, struct http_request *req, struct err *err)
{
	struct daemon *d = ctx;
	auto_arena struct arena arena = ARENA_INIT(CHECKPOINT_ARENA);
	struct json_strings names = {0};

	if (checkpoint_list(d->engine, http_arg(req, 0), http_query(req, "dir"), &arena, &names,
	                    err) < 0)
		return -1;
	struct json *doc = json_array();
	for (size_t i = 0; i < names.count; i++) {
		struct json *one = json_object();
		json_set(one, "Name", json_string(names.items[i]));
		json_append(doc, one);
	}
	return http_reply_json(req, 200, doc);
}

static int delete (void *ctx, struct http_request *req, struct err *err)
{
	struct daemon *d = ctx;
	const struct checkpoint_place place = {http_arg(req, 1), http_query(req, "dir")};

	if (checkpoint_remove(d->engine, http_arg(req, 0), &place, err) < 0)
		return -1;
	return http_reply_empty(req, 204);
}

const struct http_route checkpoints_routes[] = {
	{"POST", "/containers/{}/checkpoints", create, false},
	{"GET", "/containers/{}/checkpoints", list, false},
	{"DELETE", "/containers/{}/checkpoints/{}", delete, false},
	{NULL, NULL, NULL, false},
};
