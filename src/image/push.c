/* SPDX-License-Identifier: Apache-2.0 */

/*
 * push - an image to a registry: blobs that it lacks, then the config, then the manifest.
 *
 * Blobs go as they lie in the store, in one PUT each, hashed again on the way so that a damaged one is
 * noticed here and not by whoever pulls it.
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/str.h"
#include "image/blob.h"
#include "image/catalog.h"
#include "image/manifest.h"
#include "image/registry.h"

#define PUSH_URL_MAX     8192
#define PUSH_PROGRESS_MS 100

struct push {
	struct image_store *store;
	struct registry *registry;
	const struct image_progress *progress;
};

/* What is being sent. */
struct upload {
	struct push *push;
	char short_id[13];
	int fd;           /* a blob, or -1 */
	const char *text; /* or bytes in memory */
	int64_t size, sent, told_ms;
	struct hash *hash;
	struct err err;
};

static int tell(struct push *p, const char *id, const char *status, int64_t current, int64_t total,
                struct err *err)
{
	if (!p->progress || !p->progress->update)
		return 0;
	if (p->progress->update(p->progress->arg, id, status, current, total) < 0)
		return err_set(err, ERR_CANCELED, "push was canceled");
	return 0;
}

static ssize_t give_bytes(void *arg, void *data, size_t len)
{
	struct upload *u = arg;
	ssize_t n;

	if (len > (size_t)(u->size - u->sent))
		len = (size_t)(u->size - u->sent);
	if (u->fd >= 0) {
		do
			n = read(u->fd, data, len);
		while (n < 0 && errno == EINTR);
	} else {
		memcpy(data, u->text + u->sent, len);
		n = (ssize_t)len;
	}
	if (n < 0 || (n == 0 && len > 0))
		return err_set(&u->err, ERR_SYSTEM, "cannot read the blob to send");
	hash_add(u->hash, data, (size_t)n);
	u->sent += n;
	int64_t now = clock_mono_ms();
	if (now - u->told_ms >= PUSH_PROGRESS_MS) {
		u->told_ms = now;
		if (tell(u->push, u->short_id, "Pushing", u->sent, u->size, &u->err) < 0)
			return -1;
	}
	return n;
}

/* POST: where shall the blob go? The answer's Location with the digest added. */
static int begin_upload(struct push *p, const char *digest, struct buf *url, struct err *err)
{
	char path[REGISTRY_PATH_MAX];
	struct http_response response = {0};
	struct http_call call = {.method = "POST",
	                         .path = registry_path(p->registry, "blobs", "uploads/", path)};
	int rc = registry_call(p->registry, &call, NULL, &response, err);

	if (rc == 0)
		rc = http_expect(&response, err);
	const char *location = rc == 0 ? http_response_header(&response, "Location") : NULL;
	if (rc == 0 && (str_empty(location) || strlen(location) > PUSH_URL_MAX / 2))
		rc = err_set(err, ERR_INVALID, "the registry gave no place to upload to");
	if (rc == 0 && location[0] != '/' && !str_starts(location, "http://") &&
	    !str_starts(location, "https://"))
		rc = err_set(err, ERR_INVALID, "the registry's place to upload to is no URL");
	if (rc == 0) {
		buf_addf(url, "%s%cdigest=", location, strchr(location, '?') ? '&' : '?');
		http_encode(url, digest);
		rc = buf_check(url, err);
	}
	http_response_done(&response);
	return rc;
}

static int send_upload(struct upload *u, const char *digest, struct err *err)
{
	static const char *const headers[] = {"Content-Type: application/octet-stream", NULL};
	auto_buf struct buf url = BUF_INIT(PUSH_URL_MAX);
	struct http_response response = {0};
	char hex[HASH_HEX_MAX];

	if (begin_upload(u->push, digest, &url, err) < 0)
		return -1;
	struct http_call call = {
		.method = "PUT",
		.path = buf_str(&url),
		.read = give_bytes,
		.read_arg = u,
		.body_len = (size_t)u->size,
		.no_redirect = true,
	};
	int rc = registry_call(u->push->registry, &call, headers, &response, err);
	if (rc < 0 && u->err.kind != ERR_NONE && err)
		*err = u->err;
	if (rc == 0)
		rc = http_expect(&response, err);
	if (rc == 0 && response.status >= 300)
		rc = err_set(err, ERR_UNAVAILABLE, "the registry answered an upload with status %d",
		             response.status);
	if (rc == 0 && strcmp(hash_hex(u->hash, hex), digest_hex(digest)) != 0)
		rc = err_set(err, ERR_SYSTEM, "blob %s is damaged in this store: pull it again",
		             digest);
	http_response_done(&response);
	return rc;
}

/* One blob from a file (fd) or from memory (text), unless the registry has it. */
static int push_blob(struct push *p, const char *digest, int64_t size, int fd, const char *text,
                     struct err *err)
{
	struct upload u = {.push = p, .fd = fd, .text = text, .size = size, .err = ERR_INIT};

	(void)snprintf(u.short_id, sizeof(u.short_id), "%.12s", digest_hex(digest));
	int there = registry_has_blob(p->registry, digest, err);
	if (there < 0)
		return -1;
	if (there > 0)
		return text ? 0 : tell(p, u.short_id, "Layer already exists", 0, 0, err);
	auto_type(hash) hash = hash_create(err);
	if (!hash)
		return -1;
	u.hash = hash;
	if (send_upload(&u, digest, err) < 0)
		return -1;
	return text ? 0 : tell(p, u.short_id, "Pushed", 0, 0, err);
}

static int push_layers(struct push *p, const struct manifest *m, struct err *err)
{
	for (size_t i = 0; i < m->layer_count; i++) {
		char id[13];
		(void)snprintf(id, sizeof(id), "%.12s", digest_hex(m->layers[i].digest));
		if (tell(p, id, "Preparing", 0, 0, err) < 0)
			return -1;
	}
	for (size_t i = 0; i < m->layer_count; i++) {
		auto_close int fd = blob_open(p->store, m->layers[i].digest, err);
		if (fd < 0 ||
		    push_blob(p, m->layers[i].digest, m->layers[i].size, fd, NULL, err) < 0)
			return err_wrap(err, "layer %s", m->layers[i].digest);
	}
	return 0;
}

static int put_manifest(struct push *p, const struct manifest *m, const char *tag, struct err *err)
{
	char path[REGISTRY_PATH_MAX], type[160];
	const char *headers[] = {type, NULL};
	struct http_response response = {0};
	struct http_call call = {
		.method = "PUT",
		.path = registry_path(p->registry, "manifests", tag, path),
		.body = m->body,
		.body_len = m->len,
		.no_redirect = true,
	};

	(void)snprintf(type, sizeof(type), "Content-Type: %s", m->type);
	int rc = registry_call(p->registry, &call, headers, &response, err);
	if (rc == 0)
		rc = http_expect(&response, err);
	const char *said =
		rc == 0 ? http_response_header(&response, "Docker-Content-Digest") : NULL;
	if (said && strcmp(said, m->digest) != 0)
		rc = err_set(err, ERR_INVALID, "the registry stored manifest %.80s instead of %s",
		             said, m->digest);
	http_response_done(&response);
	return rc;
}

/* The image is known by this digest from now on, as after a pull. */
static int remember(struct push *p, const struct image *image, const struct reference *ref,
                    const struct manifest *m, struct err *err)
{
	struct reference digested = *ref;

	digested.tag[0] = '\0';
	(void)snprintf(digested.digest, sizeof(digested.digest), "%s", m->digest);
	return catalog_name(p->store, image->id, &digested, err);
}

static int push_run(struct push *p, const struct image *image, const struct reference *ref,
                    struct manifest *m, struct err *err)
{
	if (manifest_of(p->store, image, m, err) < 0 || push_layers(p, m, err) < 0 ||
	    push_blob(p, image->id, (int64_t)image->config_len, -1, image->config_text, err) < 0 ||
	    put_manifest(p, m, ref->tag, err) < 0)
		return -1;
	return remember(p, image, ref, m, err);
}

int image_push(struct image_store *store, const struct reference *ref,
               const struct image_auth *auth, const struct image_progress *progress,
               char digest[DIGEST_TEXT_MAX], int64_t *manifest_size, struct err *err)
{
	struct push p = {.store = store, .progress = progress};
	char name[REFERENCE_MAX];
	struct manifest m = {0};

	if (ref->tag[0] == '\0')
		return err_set(err, ERR_INVALID, "cannot push a digest reference");
	auto_type(image) image = image_find(store, reference_familiar(ref, name), err);
	if (!image)
		return -1;
	auto_type(registry) registry = registry_open(store, ref, auth, "pull,push", err);
	if (!registry)
		return -1;
	p.registry = registry;
	int rc = push_run(&p, image, ref, &m, err);
	if (rc == 0) {
		memcpy(digest, m.digest, sizeof(m.digest));
		*manifest_size = (int64_t)m.len;
	}
	manifest_done(&m);
	return rc;
}
