/* SPDX-License-Identifier: Apache-2.0 */
/* POST /build: a context comes in as tar, an image comes out, and every line on the way. */

#include "build/build.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/str.h"
#include "daemon/auth.h"
#include "daemon/daemon.h"
#include "daemon/progress.h"
#include "daemon/reply.h"
#include "engine/engine.h"
#include "image/image.h"

#define BUILD_ARENA (16u << 20)
#define TAGS_MAX    64
#define MOUNTS_MAX  32
#define BUILD_DIR   "build" /* below the root: contexts being built */

/* ---- the request ---- */

/* A JSON object of strings in a query parameter; null values are kept as NULL. */
static int read_map(struct http_request *req, const char *key, struct arena *arena,
                    struct json_strmap *out, struct err *err)
{
	const char *text = http_query(req, key);
	struct json *value;
	void *iter = NULL;
	const char *name;

	if (str_empty(text))
		return 0;
	auto_type(json) doc = json_parse(text, strlen(text), err);
	if (!doc)
		return err_wrap(err, "%s", key);
	if (!json_is_object(doc))
		return json_is_null(doc) ? 0 : err_set(err, ERR_INVALID, "%s: not an object", key);
	out->items = arena_array(arena, json_count(doc) + 1, sizeof(*out->items), err);
	if (!out->items)
		return -1;
	while (json_next(doc, &iter, &name, &value)) {
		const char *s = json_str(value);
		struct json_pair *pair = &out->items[out->count++];
		pair->key = arena_strdup(arena, name, err);
		pair->value = s ? arena_strdup(arena, s, err) : NULL;
		if (!pair->key || (s && !pair->value))
			return -1;
		if (!s && !json_is_null(value))
			return err_set(err, ERR_INVALID, "%s: %s is not a string", key, name);
	}
	out->present = true;
	return 0;
}

static const char **read_list(struct http_request *req, const char *key, size_t max,
                              struct arena *arena, struct err *err)
{
	size_t count = http_query_count(req, key);
	const char **list = arena_array(arena, count + 1, sizeof(*list), err);

	if (count > max) {
		err_set(err, ERR_LIMIT, "%s: more than %zu", key, max);
		return NULL;
	}
	for (size_t i = 0; list && i < count; i++)
		list[i] = http_query_at(req, key, i);
	return list;
}

/* Ours, not Docker's: mount=SOURCE:TARGET[:ro] binds a directory of the machine into RUN steps. */
static int read_mounts(struct http_request *req, struct build_mount *mounts, struct arena *arena,
                       struct build_request *out, struct err *err)
{
	size_t count = http_query_count(req, "mount");

	if (count > MOUNTS_MAX)
		return err_set(err, ERR_LIMIT, "mount: more than %d", MOUNTS_MAX);
	for (size_t i = 0; i < count; i++) {
		char *text = arena_strdup(arena, http_query_at(req, "mount", i), err);
		char *save = NULL;
		if (!text)
			return -1;
		mounts[i].source = strtok_r(text, ":", &save);
		mounts[i].target = strtok_r(NULL, ":", &save);
		const char *mode = strtok_r(NULL, ":", &save);
		mounts[i].read_only = str_eq(mode, "ro");
		if (!mounts[i].target || *mounts[i].source != '/' || *mounts[i].target != '/' ||
		    (mode && !mounts[i].read_only && strcmp(mode, "rw") != 0))
			return err_set(err, ERR_INVALID,
			               "mount '%s': not SOURCE:TARGET[:ro|:rw] with absolute paths",
			               http_query_at(req, "mount", i));
	}
	out->mounts = mounts;
	out->mount_count = count;
	return 0;
}

static int read_request(struct http_request *req, struct arena *arena, struct build_request *out,
                        struct err *err)
{
	const char *file = http_query(req, "dockerfile");
	const char *network = http_query(req, "networkmode");
	bool squash;

	*out = (struct build_request){
		.context_fd = -1,
		.dockerfile = str_empty(file) ? "Dockerfile" : file,
		.target = str_empty(http_query(req, "target")) ? NULL : http_query(req, "target"),
		.network = str_empty(network) ? "default" : network,
		.platform =
			str_empty(http_query(req, "platform")) ? NULL : http_query(req, "platform"),
		.tags = read_list(req, "t", TAGS_MAX, arena, err),
	};
	if (!out->tags || read_map(req, "buildargs", arena, &out->args, err) < 0 ||
	    read_map(req, "labels", arena, &out->labels, err) < 0)
		return -1;
	out->extra_hosts = read_list(req, "extrahosts", 256, arena, err);
	if (!out->extra_hosts || http_query_bool(req, "nocache", false, &out->no_cache, err) < 0 ||
	    http_query_bool(req, "q", false, &out->quiet, err) < 0 ||
	    http_query_bool(req, "squash", false, &squash, err) < 0 ||
	    http_query_int(req, "memory", 0, &out->memory_bytes, err) < 0 ||
	    http_query_int(req, "shmsize", 0, &out->shm_bytes, err) < 0)
		return -1;
	const char *fresh = http_query(req, "pull"); /* a bool, or "default"/"always" of old ones */
	out->pull = fresh && strcmp(fresh, "0") != 0 && strcmp(fresh, "false") != 0 &&
	            strcmp(fresh, "default") != 0 && *fresh;
	if (squash)
		return err_set(err, ERR_UNSUPPORTED, "--squash is not supported");
	if (!str_empty(http_query(req, "remote")))
		return err_set(err, ERR_UNSUPPORTED,
		               "a remote context (%s) is not supported: fetch it and send it",
		               http_query(req, "remote"));
	return 0;
}

/* ---- output ---- */

struct output {
	struct progress progress;
	bool quiet;
};

static int send_text(void *arg, const char *text, size_t len)
{
	struct output *o = arg;
	auto_buf struct buf line = BUF_INIT(1u << 20);
	struct json *doc;

	if (o->quiet)
		return 0;
	buf_add_mem(&line, text, len);
	/* A program may print anything; JSON may not. */
	struct json *s = json_string(buf_str(&line));
	if (!s) {
		for (size_t i = 0; i < line.len; i++)
			if ((unsigned char)line.data[i] >= 0x80 || line.data[i] == '\0')
				line.data[i] = '?';
		s = json_string(buf_str(&line));
	}
	doc = json_object();
	json_set(doc, "stream", s);
	return progress_send(&o->progress, doc, NULL);
}

static int send_result(void *arg, const char *id)
{
	struct output *o = arg;
	struct json *aux = json_object();
	struct json *doc = json_object();

	json_set(aux, "ID", json_string(id));
	json_set(doc, "aux", aux);
	return progress_send(&o->progress, doc, NULL);
}

/* With -q the only line is the id. */
static void send_quiet(struct output *o, const char *id)
{
	struct json *doc = json_object();
	char line[DIGEST_TEXT_MAX + 1];

	snprintf(line, sizeof(line), "%s\n", id);
	json_set(doc, "stream", json_string(line));
	(void)progress_send(&o->progress, doc, NULL);
}

/* ---- the build ---- */

/* The context of one build, unpacked below the root; gone when the build is. */
struct context {
	int parent_fd; /* <root>/build */
	int fd;
	char name[ID_HEX_MAX];
};

static void context_remove(struct context *c)
{
	if (c->fd >= 0)
		close(c->fd);
	if (c->parent_fd >= 0) {
		(void)fs_remove_tree(c->parent_fd, c->name, NULL);
		close(c->parent_fd);
	}
}

static int context_receive(struct daemon *d, struct http_request *req, struct context *c,
                           struct err *err)
{
	id_make_hex(c->name);
	c->parent_fd = fs_mkdir_all(engine_root_fd(d->engine), BUILD_DIR, 0700, err);
	if (c->parent_fd < 0 || fs_mkdir(c->parent_fd, c->name, 0700, err) < 0)
		return -1;
	c->fd = fs_open_dir(c->parent_fd, c->name, err);
	if (c->fd < 0)
		return -1;
	auto_close int tar = http_body_fd(req, err);
	if (tar < 0 || image_unpack_context(engine_images(d->engine), tar, c->fd, err) < 0)
		return err_wrap(err, "build context");
	return 0;
}

static int run(struct daemon *d, struct http_request *req, struct build_request *request,
               struct auth_registries *registries, struct err *err)
{
	struct output output = {.progress = {.req = req}, .quiet = request->quiet};
	const struct build_output out = {
		.text = send_text,
		.pull = request->quiet ? (struct image_progress){0} : progress_of(&output.progress),
		.result = request->quiet ? NULL : send_result,
		.arg = &output,
	};
	char id[DIGEST_TEXT_MAX];

	request->auth_for = auth_registries_find;
	request->auth_arg = registries;
	int rc = build_run(engine_images(d->engine), engine_build_runner(d->engine), request, &out,
	                   id, err);
	if (rc == 0 && request->quiet)
		send_quiet(&output, id);
	return progress_end(&output.progress, rc, err);
}

static int build(void *ctx, struct http_request *req, struct err *err)
{
	struct daemon *d = ctx;
	auto_arena struct arena arena = ARENA_INIT(BUILD_ARENA);
	struct auth_registries registries = {.arena = &arena};
	struct context context = {.parent_fd = -1, .fd = -1};
	struct build_mount mounts[MOUNTS_MAX];
	struct build_request request;

	if (read_request(req, &arena, &request, err) < 0 ||
	    read_mounts(req, mounts, &arena, &request, err) < 0 ||
	    auth_registries_read(req, &registries, err) < 0)
		return -1;
	int rc = context_receive(d, req, &context, err);
	if (rc == 0) {
		request.context_fd = context.fd;
		request.scratch_fd = context.parent_fd;
		rc = run(d, req, &request, &registries, err);
	}
	context_remove(&context);
	json_free(registries.doc);
	return rc;
}

/* The cache lives and dies with the images: pruning images prunes it. */
static int prune(void *ctx, struct http_request *req, struct err *err)
{
	struct json *doc = json_object();

	(void)ctx, (void)err;
	json_set(doc, "CachesDeleted", json_null());
	json_set(doc, "SpaceReclaimed", json_int(0));
	return http_reply_json(req, 200, doc);
}

const struct http_route build_routes[] = {
	{"POST", "/build", build, true},
	{"POST", "/build/prune", prune, false},
	{NULL, NULL, NULL, false},
};
