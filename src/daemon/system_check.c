/* SPDX-License-Identifier: Apache-2.0 */
/* /buoy/v1/system/check: are the layers what their digests say; and mending those that are not. */

#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "daemon/auth.h"
#include "daemon/daemon.h"
#include "daemon/progress.h"
#include "daemon/reply.h"
#include "engine/container.h"
#include "engine/engine.h"
#include "image/image.h"

#define CHECK_ARENA (4u << 20)

struct check {
	struct daemon *daemon;
	struct json *list; /* owned */
};

/* An image as people call it: by a name if it has one. */
static struct json *image_name(struct check *c, const char *id)
{
	auto_type(image) image = image_find(engine_images(c->daemon->engine), id, NULL);

	return json_string(image && image->names[0] ? image->names[0] : id);
}

/* The containers among the holders of leases. */
static struct json *containers(struct check *c, char *const *holders)
{
	static const char prefix[] = "container:";
	struct json *list = json_array();

	for (; *holders; holders++) {
		auto_arena struct arena arena = ARENA_INIT(CHECK_ARENA);
		struct container_view view = {0};
		if (!str_starts(*holders, prefix))
			continue;
		const char *id = *holders + strlen(prefix);
		bool known =
			container_inspect(c->daemon->engine, id, false, &arena, &view, NULL) == 0;
		struct json *one = json_object();
		json_set(one, "ID", json_string(id));
		json_set(one, "Name", json_string(known ? view.name : id));
		json_set(one, "Running", json_bool(known && view.running));
		json_append(list, one);
	}
	return list;
}

static int damaged(void *arg, const struct image_damage *d)
{
	struct check *c = arg;
	struct json *one = json_object(), *images = json_array();

	for (char *const *id = d->images; *id; id++)
		json_append(images, image_name(c, *id));
	json_set(one, "Layer", json_string(d->layer));
	json_set(one, "DiffID", json_string(d->diff_id));
	json_set(one, "Blob", json_string(d->blob));
	json_set(one, "Damaged", json_string(d->what));
	json_set(one, "Reason", json_string(d->reason));
	json_set(one, "Images", images);
	json_set(one, "Containers", containers(c, d->holders));
	json_set(one, "Repaired", json_bool(d->mended));
	json_set(one, "Outcome", json_string(d->outcome));
	json_append(c->list, one);
	return 0;
}

static int send_result(struct progress *p, struct check *c, const struct image_checked *done)
{
	struct json *doc = json_object(), *aux = json_object();

	json_set(aux, "Layers", json_int(done->layers));
	json_set(aux, "Bytes", json_int(done->bytes));
	json_set(aux, "Damaged", json_int(done->damaged));
	json_set(aux, "Repaired", json_int(done->mended));
	json_set(aux, "Damage", move_ptr(c->list));
	json_set(doc, "aux", aux);
	return progress_send(p, doc, NULL);
}

static int check(void *ctx, struct http_request *req, struct err *err)
{
	struct daemon *d = ctx;
	auto_arena struct arena arena = ARENA_INIT(CHECK_ARENA);
	struct auth_registries registries = {.arena = &arena};
	struct check c = {.daemon = d};
	struct progress p = {.req = req};
	const struct image_progress progress = progress_of(&p);
	struct image_check options = {
		.auth_for = auth_registries_find,
		.auth_arg = &registries,
		.progress = &progress,
		.damaged = damaged,
		.arg = &c,
	};
	struct image_checked done;

	if (http_query_bool(req, "repair", false, &options.repair, err) < 0 ||
	    auth_registries_read(req, &registries, err) < 0)
		return -1;
	c.list = json_array();
	int rc = image_check(engine_images(d->engine), &options, &done, err);
	if (rc == 0)
		(void)send_result(&p, &c, &done);
	json_free(c.list);
	json_free(registries.doc);
	return progress_end(&p, rc, err);
}

const struct http_route system_check_routes[] = {
	{"POST", "/buoy/v1/system/check", check, false},
	{NULL, NULL, NULL, false},
};
