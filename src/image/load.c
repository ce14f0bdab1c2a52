/* SPDX-License-Identifier: Apache-2.0 */

/*
 * load - images from a tar: a docker-archive (manifest.json) or an OCI image layout (index.json).
 *
 * The worker unpacks the outer tar into staging as plain files; here only the documents are read, each
 * name in them looked up inside that directory and nowhere else. Every layer then goes through its own
 * worker, and must unpack to the diff id that the image's config promises.
 */

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/str.h"
#include "image/catalog.h"
#include "image/image.h"
#include "image/layer.h"
#include "image/registry.h"

#define LOAD_JSON_MAX   (16u << 20)
#define LOAD_IMAGES_MAX 1000
#define LOAD_NAMES_MAX  1000
#define LOAD_ARENA_MAX  (32u << 20)
#define LOAD_DEPTH_MAX  3 /* indexes inside indexes */

struct load {
	struct image_store *store;
	int dir_fd; /* the unpacked archive */
	const struct image_progress *progress;
	int (*loaded)(void *arg, const char *name_or_id, bool is_name);
	void *arg;
};

/* A layer's file by its place in the image. Returns the path in the archive. */
typedef const char *layer_path_fn(void *arg, size_t index);

static int tell(struct load *l, const char *diff_id, const char *status, struct err *err)
{
	char id[13];

	if (!l->progress || !l->progress->update)
		return 0;
	(void)snprintf(id, sizeof(id), "%.12s", digest_hex(diff_id));
	if (l->progress->update(l->progress->arg, id, status, 0, 0) < 0)
		return err_set(err, ERR_CANCELED, "load was canceled");
	return 0;
}

static int say_loaded(struct load *l, const char *text, bool is_name, struct err *err)
{
	if (l->loaded && l->loaded(l->arg, text, is_name) < 0)
		return err_set(err, ERR_CANCELED, "load was canceled");
	return 0;
}

/* A regular file of the archive; a link may lead to another one. */
static int open_file(struct load *l, const char *path, struct err *err)
{
	struct stat st;

	auto_close int fd = fs_open_in(l->dir_fd, path, O_RDONLY | O_NONBLOCK, 0, err);
	if (fd < 0)
		return err_wrap(err, "archive");
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return err_set(err, ERR_INVALID, "%.200s in the archive is no regular file", path);
	return move_fd(&fd);
}

static int read_file(struct load *l, const char *path, size_t max, struct buf *out, struct err *err)
{
	auto_close int fd = open_file(l, path, err);

	return fd < 0 ? -1 : fs_read_fd(fd, max, out, err);
}

/* ---- one image ---- */

static int load_layer(struct load *l, const char *path, const char *parent, const char *diff_id,
                      const char *chain, struct err *err)
{
	struct image_layer layer;
	int known = layer_find(l->store, chain, &layer, NULL, err);

	if (known != 0)
		return known < 0 ? -1 : tell(l, diff_id, "Already exists", err);
	if (tell(l, diff_id, "Loading layer", err) < 0)
		return -1;
	auto_close int fd = open_file(l, path, err);
	if (fd < 0 || image_layer_from_tar(l->store, parent, fd, &layer, err) < 0)
		return err_wrap(err, "layer %.100s", path);
	if (strcmp(layer.diff_id, diff_id) != 0)
		return err_set(err, ERR_INVALID, "layer %.100s is %s, but the config says %s", path,
		               layer.diff_id, diff_id);
	return tell(l, diff_id, "Loaded", err);
}

static int load_layers(struct load *l, const struct catalog_image *image, size_t count,
                       layer_path_fn *path_of, void *arg, struct err *err)
{
	auto_arena struct arena arena = ARENA_INIT(LOAD_ARENA_MAX);
	struct oci_config config = {0};

	if (count != image->chain_count)
		return err_set(err, ERR_INVALID, "archive has %zu layers for an image of %zu",
		               count, image->chain_count);
	if (oci_config_parse(image->config_text, image->config_len, &arena, &config, err) < 0)
		return -1;
	for (size_t i = 0; i < count; i++) {
		const char *path = path_of(arg, i);
		if (!path)
			return err_set(err, ERR_INVALID, "layer %zu has no path", i);
		if (load_layer(l, path, i ? image->chains[i - 1] : "",
		               config.rootfs.diff_ids.items[i], image->chains[i], err) < 0)
			return -1;
	}
	return 0;
}

/* Layers, then the image without a name. */
static int load_image(struct load *l, const struct buf *config, size_t count,
                      layer_path_fn *path_of, void *arg, char id[DIGEST_TEXT_MAX], struct err *err)
{
	struct catalog_image image = {.config_text = buf_str(config), .config_len = config->len};
	int rc = catalog_check(&image, err);

	if (rc == 0)
		rc = load_layers(l, &image, count, path_of, arg, err);
	if (rc == 0)
		rc = image_create(l->store, buf_str(config), config->len, "", NULL, id, err);
	catalog_image_done(&image);
	return rc;
}

static int give_name(struct load *l, const char *id, const char *name, struct err *err)
{
	struct reference ref;
	char familiar[REFERENCE_MAX];

	if (reference_parse(name, &ref, err) < 0 || image_tag(l->store, id, &ref, err) < 0)
		return -1;
	return say_loaded(l, reference_familiar(&ref, familiar), true, err);
}

/* ---- docker-archive ---- */

static const char *docker_layer(void *arg, size_t index)
{
	return json_str(json_at(arg, index));
}

static int load_docker_entry(struct load *l, const struct json *entry, struct err *err)
{
	auto_buf struct buf config = BUF_INIT(REGISTRY_CONFIG_MAX);
	const char *path = json_get_string(entry, "Config");
	struct json *layers = json_get(entry, "Layers"), *tags = json_get(entry, "RepoTags");
	char id[DIGEST_TEXT_MAX];

	if (!path)
		return err_set(err, ERR_INVALID, "manifest.json: an image without Config");
	if (json_count(layers) > OCI_LAYERS_MAX || json_count(tags) > LOAD_NAMES_MAX)
		return err_set(err, ERR_LIMIT, "manifest.json: over %d layers or %d names",
		               OCI_LAYERS_MAX, LOAD_NAMES_MAX);
	if (read_file(l, path, REGISTRY_CONFIG_MAX, &config, err) < 0 ||
	    load_image(l, &config, json_count(layers), docker_layer, layers, id, err) < 0)
		return -1;
	for (size_t i = 0; i < json_count(tags); i++) {
		const char *tag = json_str(json_at(tags, i));
		if (!tag)
			return err_set(err, ERR_INVALID, "manifest.json: a name is no text");
		if (give_name(l, id, tag, err) < 0)
			return -1;
	}
	return json_count(tags) ? 0 : say_loaded(l, id, false, err);
}

static int load_docker(struct load *l, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(LOAD_JSON_MAX);

	if (read_file(l, "manifest.json", LOAD_JSON_MAX, &text, err) < 0)
		return -1;
	auto_type(json) doc = json_parse(buf_str(&text), text.len, err);
	if (!doc)
		return err_wrap(err, "manifest.json");
	if (!json_is_array(doc) || json_count(doc) == 0 || json_count(doc) > LOAD_IMAGES_MAX)
		return err_set(err, ERR_INVALID, "manifest.json: not a list of 1 to %d images",
		               LOAD_IMAGES_MAX);
	for (size_t i = 0; i < json_count(doc); i++)
		if (load_docker_entry(l, json_at(doc, i), err) < 0)
			return -1;
	return 0;
}

/* ---- OCI layout ---- */

static int read_blob(struct load *l, const struct oci_descriptor *d, size_t max, struct buf *out,
                     struct err *err)
{
	char path[96], got[DIGEST_TEXT_MAX];

	if (digest_check(d->digest, err) < 0)
		return -1;
	(void)snprintf(path, sizeof(path), "blobs/sha256/%s", digest_hex(d->digest));
	if (read_file(l, path, max, out, err) < 0)
		return -1;
	if (strcmp(digest_of(buf_str(out), out->len, got), d->digest) != 0)
		return err_set(err, ERR_INVALID, "blob %s in the archive is damaged", d->digest);
	return 0;
}

struct oci_paths {
	const struct oci_manifest *manifest;
	char path[96];
};

static const char *oci_layer(void *arg, size_t index)
{
	struct oci_paths *p = arg;
	const struct oci_descriptor *layers = p->manifest->layers.items;

	if (!digest_ok(layers[index].digest))
		return NULL;
	(void)snprintf(p->path, sizeof(p->path), "blobs/sha256/%s",
	               digest_hex(layers[index].digest));
	return p->path;
}

static const char *annotation(const struct oci_descriptor *d, const char *key)
{
	for (size_t i = 0; i < d->annotations.count; i++)
		if (str_eq(d->annotations.items[i].key, key))
			return d->annotations.items[i].value;
	return NULL;
}

/* ref.name may be a whole reference or only a tag, which names nothing by itself. */
static const char *name_of(const struct oci_descriptor *d)
{
	const char *name = annotation(d, "io.containerd.image.name");

	if (!str_empty(name))
		return name;
	name = annotation(d, "org.opencontainers.image.ref.name");
	return name && strpbrk(name, ":/") ? name : NULL;
}

static int load_oci_manifest(struct load *l, const struct oci_descriptor *d, const char *name,
                             struct err *err)
{
	auto_arena struct arena arena = ARENA_INIT(LOAD_ARENA_MAX);
	auto_buf struct buf text = BUF_INIT(OCI_MANIFEST_MAX);
	auto_buf struct buf config = BUF_INIT(REGISTRY_CONFIG_MAX);
	struct oci_manifest manifest = {0};
	struct oci_paths paths = {.manifest = &manifest};
	char id[DIGEST_TEXT_MAX];

	if (read_blob(l, d, OCI_MANIFEST_MAX, &text, err) < 0 ||
	    oci_manifest_parse(buf_str(&text), text.len, &arena, &manifest, err) < 0 ||
	    read_blob(l, &manifest.config, REGISTRY_CONFIG_MAX, &config, err) < 0 ||
	    load_image(l, &config, manifest.layers.count, oci_layer, &paths, id, err) < 0)
		return -1;
	return name ? give_name(l, id, name, err) : say_loaded(l, id, false, err);
}

/* The manifest behind a descriptor: itself, or what an index has for this machine. */
static int load_oci_entry(struct load *l, const struct oci_descriptor *d, struct err *err)
{
	auto_arena struct arena arena = ARENA_INIT(LOAD_ARENA_MAX);
	const char *name = name_of(d);

	for (int depth = 0; depth < LOAD_DEPTH_MAX; depth++) {
		if (!str_eq(d->media_type, OCI_INDEX) && !str_eq(d->media_type, DOCKER_LIST))
			return load_oci_manifest(l, d, name, err);
		auto_buf struct buf text = BUF_INIT(OCI_MANIFEST_MAX);
		struct oci_index *index = arena_alloc(&arena, sizeof(*index), err);
		if (!index || read_blob(l, d, OCI_MANIFEST_MAX, &text, err) < 0 ||
		    oci_index_parse(buf_str(&text), text.len, &arena, index, err) < 0)
			return -1;
		d = oci_index_select(index, NULL, err);
		if (!d)
			return -1;
	}
	return err_set(err, ERR_INVALID, "indexes nested deeper than %d", LOAD_DEPTH_MAX);
}

static int load_oci(struct load *l, struct err *err)
{
	auto_arena struct arena arena = ARENA_INIT(LOAD_ARENA_MAX);
	auto_buf struct buf text = BUF_INIT(LOAD_JSON_MAX);
	struct oci_index index = {0};

	if (read_file(l, "index.json", LOAD_JSON_MAX, &text, err) < 0)
		return -1;
	if (oci_index_parse(buf_str(&text), text.len, &arena, &index, err) < 0)
		return err_wrap(err, "index.json");
	const struct oci_descriptor *list = index.manifests.items;
	if (index.manifests.count == 0 || index.manifests.count > LOAD_IMAGES_MAX)
		return err_set(err, ERR_INVALID, "index.json: not 1 to %d images", LOAD_IMAGES_MAX);
	for (size_t i = 0; i < index.manifests.count; i++)
		if (load_oci_entry(l, &list[i], err) < 0)
			return -1;
	return 0;
}

/* ---- the archive ---- */

static int load_dir(struct load *l, struct err *err)
{
	if (fs_exists(l->dir_fd, "manifest.json"))
		return load_docker(l, err);
	if (fs_exists(l->dir_fd, "index.json"))
		return load_oci(l, err);
	return err_set(
		err, ERR_INVALID,
		"no image archive: it has neither manifest.json (docker save) nor index.json "
		"(OCI layout)");
}

int image_load(struct image_store *store, int tar_fd, const struct image_progress *progress,
               int (*loaded)(void *arg, const char *name_or_id, bool is_name), void *arg,
               struct err *err)
{
	struct load l = {.store = store, .progress = progress, .loaded = loaded, .arg = arg};
	char staging[STORE_NAME_MAX];

	auto_close int dir_fd = store_staging_dir(store, staging, err);
	if (dir_fd < 0)
		return -1;
	l.dir_fd = dir_fd;
	int rc = image_unpack(store, tar_fd, dir_fd, 0, err);
	if (rc == 0)
		rc = load_dir(&l, err);
	store_staging_remove(store, staging);
	return rc;
}
