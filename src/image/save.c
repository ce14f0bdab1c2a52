/* SPDX-License-Identifier: Apache-2.0 */

/*
 * save - images as one tar that is an OCI image layout and a docker-archive at once: the layers
 * stand in blobs/sha256/ and both index.json and manifest.json point there.
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/map.h"
#include "base/str.h"
#include "image/blob.h"
#include "image/catalog.h"
#include "image/manifest.h"
#include "image/store.h"
#include "image/tarball.h"

#define SAVE_BLOCK     (256u << 10)
#define SAVE_JSON_MAX  (16u << 20)
#define SAVE_NAMES_MAX 1000

struct save {
	struct image_store *store;
	int out_fd;
	struct tarball_writer *tar;
	struct map *written; /* digests that are in the archive */
	struct json *index;  /* "manifests" of index.json */
	struct json *docker; /* manifest.json */
};

static int write_out(void *arg, const void *data, size_t len, struct err *err)
{
	return fs_write_all(((struct save *)arg)->out_fd, data, len, err);
}

static int put_text(struct save *s, const char *path, const char *text, size_t len, struct err *err)
{
	struct tarball_entry e = {.path = path, .mode = S_IFREG | 0644, .size = (int64_t)len};

	if (tarball_writer_entry(s->tar, &e, err) < 0)
		return -1;
	return tarball_writer_data(s->tar, text, len, err);
}

static int put_json(struct save *s, const char *path, const struct json *doc, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(SAVE_JSON_MAX);

	if (json_write(doc, &text, err) < 0)
		return -1;
	return put_text(s, path, buf_str(&text), text.len, err);
}

#define BLOB_PATH_MAX 96

static char *blob_path(const char *digest, char path[BLOB_PATH_MAX])
{
	(void)snprintf(path, BLOB_PATH_MAX, "blobs/sha256/%.64s", digest_hex(digest));
	return path;
}

/* 1: not in the archive so far. */
static int first_time(struct save *s, const char *digest, struct err *err)
{
	if (map_find(s->written, digest))
		return 0;
	return map_set(s->written, digest, s, NULL, err) < 0 ? -1 : 1;
}

static int put_bytes(struct save *s, const char *digest, const char *text, size_t len,
                     struct err *err)
{
	char path[BLOB_PATH_MAX];
	int first = first_time(s, digest, err);

	return first <= 0 ? first : put_text(s, blob_path(digest, path), text, len, err);
}

/* Everything of fd; what it is not is told at its end, so that no damage is carried along. */
static int put_blob(struct save *s, int fd, const char *digest, struct err *err)
{
	auto_free char *data = malloc(SAVE_BLOCK);
	auto_type(hash) hash = hash_create(err);
	char hex[HASH_HEX_MAX];
	ssize_t n;

	if (!data || !hash)
		return data ? -1 : err_nomem(err);
	while ((n = read(fd, data, SAVE_BLOCK)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(err, "cannot read blob %s", digest);
		hash_add(hash, data, (size_t)n);
		if (tarball_writer_data(s->tar, data, (size_t)n, err) < 0)
			return -1;
	}
	if (!str_eq(hash_hex(hash, hex), digest_hex(digest)))
		return err_set(err, ERR_SYSTEM,
		               "blob %s is damaged on disk; remove its image and pull it again",
		               digest);
	return 0;
}

static int put_layer(struct save *s, const struct manifest_layer *layer, struct err *err)
{
	char path[BLOB_PATH_MAX];
	struct tarball_entry e = {.path = blob_path(layer->digest, path),
	                          .mode = S_IFREG | 0644,
	                          .size = layer->size};
	int first = first_time(s, layer->digest, err);

	if (first <= 0)
		return first;
	auto_close int fd = blob_open(s->store, layer->digest, err);
	if (fd < 0 || tarball_writer_entry(s->tar, &e, err) < 0)
		return -1;
	return put_blob(s, fd, layer->digest, err);
}

static int add_to_index(struct save *s, const struct manifest *m, const struct reference *ref)
{
	struct json *d = json_object();
	int rc = json_set(d, "mediaType", json_string(m->type));

	rc |= json_set(d, "digest", json_string(m->digest));
	rc |= json_set(d, "size", json_int((int64_t)m->len));
	if (ref) {
		struct json *annotations = json_object();
		char full[REFERENCE_MAX];
		rc |= json_set(annotations, "io.containerd.image.name",
		               json_string(reference_format(ref, full)));
		rc |= json_set(annotations, "org.opencontainers.image.ref.name",
		               json_string(ref->tag));
		rc |= json_set(d, "annotations", annotations);
	}
	return rc | json_append(s->index, d);
}

/* The entry of manifest.json for this image, made at its first name. */
static struct json *docker_entry(struct save *s, const char *id, const struct manifest *m)
{
	char path[BLOB_PATH_MAX];
	struct json *layers = json_array();

	blob_path(id, path);
	for (size_t i = 0; i < json_count(s->docker); i++) {
		struct json *there = json_at(s->docker, i);
		if (str_eq(json_get_string(there, "Config"), path)) {
			json_free(layers);
			return there;
		}
	}
	struct json *entry = json_object();
	(void)json_set(entry, "Config", json_string(path));
	(void)json_set(entry, "RepoTags", json_null());
	for (size_t i = 0; i < m->layer_count; i++)
		(void)json_append(layers, json_string(blob_path(m->layers[i].digest, path)));
	(void)json_set(entry, "Layers", layers);
	return json_append(s->docker, entry) < 0 ? NULL
	                                         : json_at(s->docker, json_count(s->docker) - 1);
}

static int add_to_docker(struct save *s, const char *id, const struct manifest *m,
                         const struct reference *ref)
{
	char familiar[REFERENCE_MAX];
	struct json *entry = docker_entry(s, id, m);

	if (!entry || !ref)
		return entry ? 0 : -1;
	if (!json_is_array(json_get(entry, "RepoTags")) &&
	    json_set(entry, "RepoTags", json_array()) < 0)
		return -1;
	return json_append(json_get(entry, "RepoTags"),
	                   json_string(reference_familiar(ref, familiar)));
}

static int save_image(struct save *s, const char *name, struct err *err)
{
	char id[DIGEST_TEXT_MAX];
	struct reference ref;
	enum catalog_how how;
	struct manifest m;

	if (catalog_find_id(s->store, name, id, &ref, &how, err) < 0)
		return -1;
	const struct reference *named =
		how == CATALOG_BY_NAME && ref.tag[0] && !ref.digest[0] ? &ref : NULL;
	auto_type(image) image = image_find(s->store, id, err);
	if (!image || manifest_of(s->store, image, &m, err) < 0)
		return -1;
	int rc = 0;
	for (size_t i = 0; rc == 0 && i < m.layer_count; i++)
		rc = put_layer(s, &m.layers[i], err);
	if (rc == 0)
		rc = put_bytes(s, id, image->config_text, image->config_len, err);
	if (rc == 0)
		rc = put_bytes(s, m.digest, m.body, m.len, err);
	if (rc == 0 && (add_to_index(s, &m, named) < 0 || add_to_docker(s, id, &m, named) < 0))
		rc = err_nomem(err);
	manifest_done(&m);
	return rc;
}

static int save_end(struct save *s, struct err *err)
{
	static const char layout[] = "{\"imageLayoutVersion\":\"1.0.0\"}";
	auto_type(json) index = json_object();

	if (json_set(index, "schemaVersion", json_int(2)) < 0 ||
	    json_set(index, "mediaType", json_string(OCI_INDEX)) < 0 ||
	    json_set(index, "manifests", json_ref(s->index)) < 0)
		return err_nomem(err);
	if (put_json(s, "index.json", index, err) < 0 ||
	    put_json(s, "manifest.json", s->docker, err) < 0 ||
	    put_text(s, "oci-layout", layout, sizeof(layout) - 1, err) < 0)
		return -1;
	return tarball_writer_finish(s->tar, err);
}

int image_save(struct image_store *store, const char *const *names, size_t count, int out_fd,
               struct err *err)
{
	struct save s = {.store = store, .out_fd = out_fd};
	auto_type(json) index = json_array();
	auto_type(json) docker = json_array();
	auto_type(map) written = map_create(err);
	auto_type(tarball_writer) tar = tarball_writer_create(write_out, &s, err);

	if (count == 0 || count > SAVE_NAMES_MAX)
		return err_set(err, ERR_INVALID, "name 1 to %d images to save", SAVE_NAMES_MAX);
	if (!written || !tar)
		return -1;
	if (!index || !docker)
		return err_nomem(err);
	s.index = index;
	s.docker = docker;
	s.written = written;
	s.tar = tar;
	for (size_t i = 0; i < count; i++)
		if (save_image(&s, names[i], err) < 0)
			return -1;
	return save_end(&s, err);
}
