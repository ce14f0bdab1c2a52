/* SPDX-License-Identifier: Apache-2.0 */
/* Images on the move: pull, push, import, load, save, export, commit. */

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/container.h"
#include "base/arena.h"
#include "base/str.h"
#include "build/build.h"
#include "daemon/auth.h"
#include "daemon/daemon.h"
#include "daemon/progress.h"
#include "daemon/reply.h"
#include "daemon/tar_stream.h"
#include "engine/container.h"
#include "engine/engine.h"
#include "engine/event.h"
#include "image/image.h"

#define AUTH_ARENA  (256u << 10)
#define BODY_ARENA  (4u << 20)
#define NAMES_MAX   256
#define CHANGES_MAX 256

/* "repo" and "tag" of a query as one reference; tag may be a digest. */
static int reference_of(const char *repo, const char *tag, struct reference *ref, struct err *err)
{
	char text[REFERENCE_MAX * 2];
	const char *join = str_empty(tag) ? "" : strchr(tag, ':') ? "@" : ":";

	if (strlen(repo) >= REFERENCE_MAX || (tag && strlen(tag) >= REFERENCE_MAX / 2))
		return err_set(err, ERR_INVALID, "the image name is too long");
	snprintf(text, sizeof(text), "%s%s%s", repo, join, str_empty(tag) ? "" : tag);
	return reference_parse(text, ref, err);
}

/* ---- pull ---- */

static int pull(struct daemon *d, struct http_request *req, const char *from, struct err *err)
{
	auto_arena struct arena arena = ARENA_INIT(AUTH_ARENA);
	struct image_store *store = engine_images(d->engine);
	char line[REFERENCE_MAX + 64];
	struct image_pulled pulled;
	char familiar[REFERENCE_MAX];
	struct image_auth auth;
	struct reference ref;

	if (reference_of(from, http_query(req, "tag"), &ref, err) < 0 ||
	    auth_read(req, &arena, &auth, err) < 0)
		return -1;
	reference_familiar(&ref, familiar);
	struct image *old = image_find(store, familiar, NULL);
	char before[DIGEST_TEXT_MAX] = "";
	snprintf(before, sizeof(before), "%s", old ? old->id : "");
	image_free(old);

	snprintf(line, sizeof(line), "Pulling from %s", ref.path);
	struct progress p = {.req = req,
	                     .heading = reply_status(*ref.tag ? ref.tag : ref.digest, line)};
	struct image_progress progress = progress_of(&p);
	if (image_pull(store, &ref, http_query(req, "platform"), &auth, &progress, &pulled, err) <
	    0)
		return progress_end(&p, -1, err);

	snprintf(line, sizeof(line), "Digest: %s", pulled.digest);
	(void)progress_send(&p, reply_status(NULL, line), NULL);
	snprintf(line, sizeof(line), "Status: %s for %s",
	         strcmp(before, pulled.id) == 0 ? "Image is up to date" : "Downloaded newer image",
	         familiar);
	(void)progress_send(&p, reply_status(NULL, line), NULL);
	event_add(d->engine, "image", "pull", familiar, "name", familiar, NULL);
	return progress_end(&p, 0, NULL);
}

/* ---- import ---- */

static const char **changes_of(struct http_request *req, struct arena *arena, struct err *err)
{
	size_t count = http_query_count(req, "changes");

	if (count > CHANGES_MAX) {
		err_set(err, ERR_LIMIT, "more than %d changes", CHANGES_MAX);
		return NULL;
	}
	const char **list = arena_array(arena, count + 1, sizeof(*list), err);
	for (size_t i = 0; list && i < count; i++)
		list[i] = http_query_at(req, "changes", i);
	return list;
}

static int import(struct daemon *d, struct http_request *req, struct err *err)
{
	auto_arena struct arena arena = ARENA_INIT(BODY_ARENA);
	struct oci_run_config config = {0};
	const char *repo = http_query(req, "repo");
	const char *message = http_query(req, "message");
	char id[DIGEST_TEXT_MAX];
	struct reference ref;

	if (!str_eq(http_query(req, "fromSrc"), "-"))
		return err_set(
			err, ERR_UNSUPPORTED,
			"import from a URL is not supported: fetch it and pipe it to import -");
	if (!str_empty(repo) && reference_of(repo, http_query(req, "tag"), &ref, err) < 0)
		return -1;
	const char **changes = changes_of(req, &arena, err);
	if (!changes || build_apply_changes(changes, &arena, &config, err) < 0)
		return -1;
	auto_close int tar = http_body_fd(req, err);
	if (tar < 0 || image_import(engine_images(d->engine), tar, str_empty(repo) ? NULL : &ref,
	                            str_empty(message) ? NULL : message, &config, id, err) < 0)
		return -1;
	event_add(d->engine, "image", "import", id, "name", id, NULL);

	struct progress p = {.req = req};
	(void)progress_send(&p, reply_status(NULL, id), NULL);
	return progress_end(&p, 0, NULL);
}

static int create(void *ctx, struct http_request *req, struct err *err)
{
	const char *from = http_query(req, "fromImage");

	if (!str_empty(from))
		return pull(ctx, req, from, err);
	if (!http_query(req, "fromSrc"))
		return err_set(err, ERR_INVALID, "fromImage or fromSrc is needed");
	return import(ctx, req, err);
}

/* ---- push ---- */

static int send_pushed(struct progress *p, const struct reference *ref, const char *digest,
                       int64_t size)
{
	char line[REFERENCE_MAX];
	struct json *aux = json_object();
	struct json *doc = json_object();

	snprintf(line, sizeof(line), "%s: digest: %s size: %lld", ref->tag, digest,
	         (long long)size);
	json_set(aux, "Tag", json_string(ref->tag));
	json_set(aux, "Digest", json_string(digest));
	json_set(aux, "Size", json_int(size));
	json_set(doc, "progressDetail", json_object());
	json_set(doc, "aux", aux);
	(void)progress_send(p, reply_status(NULL, line), NULL);
	return progress_send(p, doc, NULL);
}

static int push(void *ctx, struct http_request *req, struct err *err)
{
	struct daemon *d = ctx;
	auto_arena struct arena arena = ARENA_INIT(AUTH_ARENA);
	char digest[DIGEST_TEXT_MAX], line[REFERENCE_MAX + 64], name[REFERENCE_MAX];
	struct image_auth auth;
	struct reference ref;
	int64_t size = 0;

	if (reference_of(http_arg(req, 0), http_query(req, "tag"), &ref, err) < 0 ||
	    auth_read(req, &arena, &auth, err) < 0)
		return -1;
	auto_type(image) image =
		image_find(engine_images(d->engine), reference_familiar(&ref, name), NULL);
	if (!image)
		return err_set(err, ERR_NOT_FOUND,
		               "An image does not exist locally with the tag: %s",
		               reference_familiar_name(&ref, name));
	snprintf(line, sizeof(line), "The push refers to repository [%s]",
	         reference_name(&ref, name));
	struct progress p = {.req = req};
	if (progress_send(&p, reply_status(NULL, line), err) < 0)
		return progress_end(&p, 0, NULL);
	struct image_progress progress = progress_of(&p);
	int rc = image_push(engine_images(d->engine), &ref, &auth, &progress, digest, &size, err);
	if (rc == 0) {
		(void)send_pushed(&p, &ref, digest, size);
		event_add(d->engine, "image", "push", reference_familiar(&ref, name), "name", name,
		          NULL);
	}
	return progress_end(&p, rc, err);
}

/* ---- load ---- */

static int loaded(void *arg, const char *name, bool is_name)
{
	struct progress *p = arg;
	char line[REFERENCE_MAX + 32];
	struct json *doc = json_object();

	snprintf(line, sizeof(line), "Loaded image%s: %s\n", is_name ? "" : " ID", name);
	json_set(doc, "stream", json_string(line));
	return progress_send(p, doc, NULL);
}

static int load(void *ctx, struct http_request *req, struct err *err)
{
	struct daemon *d = ctx;
	struct progress p = {.req = req};
	struct image_progress progress = progress_of(&p);
	bool quiet;

	if (http_query_bool(req, "quiet", false, &quiet, err) < 0)
		return -1;
	auto_close int tar = http_body_fd(req, err);
	if (tar < 0)
		return -1;
	int rc = image_load(engine_images(d->engine), tar, quiet ? NULL : &progress, loaded, &p,
	                    err);
	return progress_end(&p, rc, err);
}

/* ---- save, export ---- */

static int make_save(struct tar_stream *p, int out_fd, struct err *err)
{
	return image_save(engine_images(p->d->engine), p->names, p->count, out_fd, err);
}

static int save_names(struct daemon *d, struct http_request *req, const char **names, size_t count,
                      struct err *err)
{
	struct tar_stream p = {
		.make = make_save, .d = d, .names = names, .count = count, .err = ERR_INIT};

	for (size_t i = 0; i < count; i++) {
		auto_type(image) image = image_find(engine_images(d->engine), names[i], err);
		if (!image)
			return -1;
	}
	return tar_stream_run(req, &p, "application/x-tar", err);
}

static int save(void *ctx, struct http_request *req, struct err *err)
{
	const char *names[NAMES_MAX];
	size_t count = http_query_count(req, "names");

	if (count == 0 || count > NAMES_MAX)
		return err_set(err, ERR_INVALID, "names: give 1 to %d images", NAMES_MAX);
	for (size_t i = 0; i < count; i++)
		names[i] = http_query_at(req, "names", i);
	return save_names(ctx, req, names, count, err);
}

static int save_one(void *ctx, struct http_request *req, struct err *err)
{
	const char *name = http_arg(req, 0);

	return save_names(ctx, req, &name, 1, err);
}

static int make_export(struct tar_stream *p, int out_fd, struct err *err)
{
	return image_export_dir(engine_images(p->d->engine), p->dir_fd, out_fd, err);
}

static int export(void *ctx, struct http_request *req, struct err *err)
{
	struct daemon *d = ctx;
	auto_close int root = container_layers_open(d->engine, http_arg(req, 0), err);
	struct tar_stream p = {.make = make_export, .d = d, .dir_fd = root, .err = ERR_INIT};

	return root < 0 ? -1 : tar_stream_run(req, &p, "application/octet-stream", err);
}

/* ---- commit ---- */

static int commit(void *ctx, struct http_request *req, struct err *err)
{
	struct daemon *d = ctx;
	auto_arena struct arena arena = ARENA_INIT(BODY_ARENA);
	auto_type(json) doc = http_body_json(req, err);
	const char *repo = http_query(req, "repo");
	struct api_config config = {0};
	char id[DIGEST_TEXT_MAX];
	struct reference ref;
	bool pause;

	if (!doc || http_query_bool(req, "pause", true, &pause, err) < 0)
		return -1;
	if (str_empty(http_query(req, "container")))
		return err_set(err, ERR_INVALID, "container: name the container");
	if (!str_empty(repo) && reference_of(repo, http_query(req, "tag"), &ref, err) < 0)
		return -1;
	bool has_config = json_count(doc) > 0;
	if (has_config && json_decode(doc, &api_config_table, &arena, &config, err) < 0)
		return -1;
	const char **changes = changes_of(req, &arena, err);
	if (!changes)
		return -1;
	const struct container_commit what = {
		.name = str_empty(repo) ? NULL : &ref,
		.author = http_query(req, "author"),
		.comment = http_query(req, "comment"),
		.changes = changes,
		.config = has_config ? &config : NULL,
		.pause = pause,
	};
	if (container_commit(d->engine, http_query(req, "container"), &what, id, err) < 0)
		return -1;
	struct json *answer = json_object();
	json_set(answer, "Id", json_string(id));
	return http_reply_json(req, 201, answer);
}

const struct http_route transfer_routes[] = {
	{"POST", "/images/create", create, true},
	{"POST", "/images/load", load, true},
	{"POST", "/images/{*}/push", push, false},
	{"GET", "/images/get", save, false},
	{"GET", "/images/{*}/get", save_one, false},
	{"GET", "/containers/{}/export", export, false},
	{"POST", "/commit", commit, false},
	{NULL, NULL, NULL, false},
};
