/* SPDX-License-Identifier: Apache-2.0 */
#include "image/manifest.h"

#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/db.h"
#include "base/err.h"
#include "base/json.h"
#include "base/str.h"
#include "image/layer.h"
#include "image/store.h"

#define MANIFEST_ARENA_MAX (32u << 20)

static const char *oci_layer_type(enum compress_kind kind)
{
	switch (kind) {
	case COMPRESS_GZIP:
		return OCI_LAYER_GZIP;
	case COMPRESS_ZSTD:
		return OCI_LAYER_ZSTD;
	case COMPRESS_NONE:
	case COMPRESS_OTHER:
		return OCI_LAYER;
	}
	return OCI_LAYER;
}

static int load_layers(struct image_store *store, const struct image *image, struct manifest *out,
                       struct err *err)
{
	out->layers = calloc(image->layer_count + 1, sizeof(*out->layers));
	if (!out->layers)
		return err_nomem(err);
	for (size_t i = 0; i < image->layer_count; i++) {
		enum compress_kind kind;
		struct image_layer row;
		int rc = layer_find(store, image->layers[i], &row, &kind, err);
		if (rc <= 0)
			return rc < 0 ? -1
			              : err_set(err, ERR_NOT_FOUND, "layer %s is not in the store",
			                        image->layers[i]);
		struct manifest_layer *l = &out->layers[out->layer_count++];
		memcpy(l->digest, row.blob, sizeof(l->digest));
		l->size = row.blob_size;
		l->media_type = oci_layer_type(kind);
	}
	return 0;
}

static struct json *descriptor(const char *type, const char *digest, int64_t size)
{
	struct json *d = json_object();

	(void)json_set(d, "mediaType", json_string(type));
	(void)json_set(d, "digest", json_string(digest));
	(void)json_set(d, "size", json_int(size));
	return d;
}

static int make(const struct image *image, struct manifest *out, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(OCI_MANIFEST_MAX);
	auto_type(json) doc = json_object();
	struct json *layers = json_array();
	int rc = 0;

	for (size_t i = 0; i < out->layer_count; i++)
		rc |= json_append(layers, descriptor(out->layers[i].media_type,
		                                     out->layers[i].digest, out->layers[i].size));
	rc |= json_set(doc, "schemaVersion", json_int(2));
	rc |= json_set(doc, "mediaType", json_string(OCI_MANIFEST));
	rc |= json_set(doc, "config",
	               descriptor(OCI_CONFIG, image->id, (int64_t)image->config_len));
	rc |= json_set(doc, "layers", layers);
	if (rc < 0)
		return err_nomem(err);
	if (json_write(doc, &text, err) < 0)
		return -1;
	out->len = text.len;
	out->body = buf_take(&text, err);
	if (!out->body)
		return -1;
	(void)snprintf(out->type, sizeof(out->type), "%s", OCI_MANIFEST);
	digest_of(out->body, out->len, out->digest);
	return 0;
}

/* Does the manifest that the image came with name exactly the blobs that are here? */
static bool fits(const struct manifest *out, const struct oci_manifest *m)
{
	const struct oci_descriptor *layers = m->layers.items;

	if (m->layers.count != out->layer_count)
		return false;
	for (size_t i = 0; i < out->layer_count; i++)
		if (!str_eq(layers[i].digest, out->layers[i].digest))
			return false;
	return true;
}

/* 1 taken, 0 there is none that fits. */
static int take_stored(struct image_store *store, const struct image *image, struct manifest *out,
                       struct err *err)
{
	auto_arena struct arena arena = ARENA_INIT(MANIFEST_ARENA_MAX);
	struct oci_manifest parsed = {0};
	size_t len;

	auto_type(db_rows) rows =
		db_query(store->db, err,
	                 "select m.digest, m.type, m.body from image i join manifest m"
	                 " on m.digest = i.manifest where i.id = ?",
	                 "t", image->id);
	int rc = rows ? db_step(rows, err) : -1;
	if (rc <= 0)
		return rc;
	const void *body = db_blob(rows, 2, &len);
	if (oci_manifest_parse(body, len, &arena, &parsed, err) < 0)
		return -1;
	if (!fits(out, &parsed))
		return 0;
	out->body = malloc(len + 1);
	if (!out->body)
		return err_nomem(err);
	memcpy(out->body, body, len);
	out->body[len] = '\0';
	out->len = len;
	(void)snprintf(out->digest, sizeof(out->digest), "%s", db_text(rows, 0));
	(void)snprintf(out->type, sizeof(out->type), "%s", db_text(rows, 1));
	return 1;
}

int manifest_of(struct image_store *store, const struct image *image, struct manifest *out,
                struct err *err)
{
	struct manifest m = {0};
	int rc = load_layers(store, image, &m, err);

	if (rc == 0)
		rc = take_stored(store, image, &m, err);
	if (rc == 0)
		rc = make(image, &m, err);
	if (rc < 0) {
		manifest_done(&m);
		return -1;
	}
	*out = m;
	return 0;
}

void manifest_done(struct manifest *m)
{
	free(m->body);
	free(m->layers);
	*m = (struct manifest){0};
}
