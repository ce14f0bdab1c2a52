/* SPDX-License-Identifier: Apache-2.0 */
/* Manifests: GET, HEAD, PUT, DELETE by tag or digest. */
#include <inttypes.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/hash.h"
#include "base/str.h"
#include "oci/reference.h"
#include "registry/answer.h"
#include "registry/manifest.h"
#include "registry/proxy.h"
#include "registry/quota.h"
#include "registry/registry.h"
#include "registry/webhook.h"

#define BLOCK_BYTES 16384
#define TAGS_MAX    64 /* "tag" parameters of one PUT */

static bool reference_ok(const char *reference)
{
	return digest_any_ok(reference) || reference_tag_ok(reference);
}

static int reply_unknown(struct http_request *req, const struct err *err, const char *name,
                         const char *reference)
{
	if (!err_is(err, ERR_NOT_FOUND))
		return answer_err(req, err);
	return answer_error(req, 404, "MANIFEST_UNKNOWN", "%s has no manifest %s", name, reference);
}

/* Is what the client has the same still? */
static bool is_known_to_client(const struct http_request *req, const char *etag)
{
	const char *known = http_header(req, "If-None-Match");

	return known && strstr(known, etag);
}

/* Of an upstream's repository: looks whether ours is what it has. False: there is nothing to serve, and it is
 * answered. */
static bool refresh(struct registry *r, struct http_request *req, const char *name,
                    const char *reference, struct err *err)
{
	if (!proxy_covers(r->proxy, name) || r->settings->read_only)
		return true;
	int rc = proxy_manifest(r->proxy, name, reference, err);
	if (rc > 0)
		(void)http_reply_header(req, "Warning", "110 - \"Response is Stale\"", NULL);
	if (rc < 0)
		(void)reply_unknown(req, err, name, reference);
	return rc >= 0;
}

int api_manifest_get(void *ctx, struct http_request *req, struct err *err)
{
	struct registry *r = ctx;
	const char *name = http_arg(req, 0), *reference = http_arg(req, 1);
	char etag[DIGEST_TEXT_MAX + 2];
	struct repo_manifest m;
	struct stat st;

	if (!registry_admit(r, req, name, REGISTRY_PULL))
		return 0;
	if (!reference_ok(reference))
		return answer_error(req, 404, "MANIFEST_UNKNOWN",
		                    "neither a tag nor a digest: \"%s\"", reference);
	if (!refresh(r, req, name, reference, err))
		return 0;
	struct repo *repo = repos_find(r->repos, name, NULL);
	if (!repo)
		return answer_error(req, 404, "NAME_UNKNOWN", "no such repository: %s", name);
	if (repo_lookup(repo, reference, &m, err) < 0)
		return reply_unknown(req, err, name, reference);
	auto_close int fd = blobs_read(&r->blobs, name, m.digest, &st, err);
	if (fd < 0)
		return reply_unknown(req, err, name, reference);

	snprintf(etag, sizeof(etag), "\"%s\"", m.digest);
	if (http_reply_header(req, "Docker-Content-Digest", m.digest, err) < 0 ||
	    http_reply_header(req, "ETag", etag, err) < 0)
		return -1;
	if (is_known_to_client(req, etag))
		return http_reply_empty(req, 304);
	return http_reply_file(req, 200, m.type, fd, 0, (uint64_t)st.st_size);
}

/* ---- PUT ---- */

struct put {
	struct registry *r;
	struct http_request *req;
	struct repo *repo;
	const char *name, *reference;
	struct buf body;
	struct manifest manifest;
	struct repo_manifest entry;
	const char *tags[TAGS_MAX + 1];
	size_t tag_count;
	char missing[DIGEST_TEXT_MAX];
};

/* The whole body, or an answer. */
static bool read_manifest(struct put *p, struct err *err)
{
	char block[BLOCK_BYTES];

	p->body = BUF_INIT((size_t)p->r->settings->manifest_max);
	for (;;) {
		ssize_t n = http_body_read(p->req, block, sizeof(block), err);

		if (n == 0)
			return true;
		if (n < 0) {
			answer_error(p->req, 400, "MANIFEST_INVALID", "%s", err->msg);
			return false;
		}
		buf_add_mem(&p->body, block, (size_t)n);
		if (buf_check(&p->body, err) < 0) {
			answer_error(p->req, 413, "SIZE_INVALID",
			             "a manifest may have %" PRId64 " bytes here (manifest-max)",
			             p->r->settings->manifest_max);
			return false;
		}
	}
}

static bool collect_tags(struct put *p)
{
	size_t extra = http_query_count(p->req, "tag");

	if (!digest_any_ok(p->reference))
		p->tags[p->tag_count++] = p->reference;
	if (extra > TAGS_MAX) {
		answer_error(p->req, 414, "MANIFEST_INVALID", "at most %d tags at a time",
		             TAGS_MAX);
		return false;
	}
	for (size_t i = 0; i < extra; i++) {
		const char *tag = http_query_at(p->req, "tag", i);

		if (!reference_tag_ok(tag)) {
			answer_error(p->req, 400, "MANIFEST_INVALID", "bad tag \"%s\"", tag);
			return false;
		}
		p->tags[p->tag_count++] = tag;
	}
	return true;
}

static bool settle_digest(struct put *p, struct err *err)
{
	bool by_digest = digest_any_ok(p->reference);
	bool wide = by_digest && str_starts(p->reference, "sha512:");
	auto_type(hash) h = wide ? hash_create_512(err) : hash_create(err);
	char hex[HASH_512_HEX];

	if (!h) {
		answer_err(p->req, err);
		return false;
	}
	hash_add(h, p->body.data, p->body.len);
	snprintf(p->entry.digest, sizeof(p->entry.digest), "%s:%s", wide ? "sha512" : "sha256",
	         wide ? hash_hex_512(h, hex) : hash_hex(h, hex));
	if (!by_digest || str_eq(p->reference, p->entry.digest))
		return true;
	answer_error(p->req, 400, "DIGEST_INVALID", "the bytes have the digest %s, not %s",
	             p->entry.digest, p->reference);
	return false;
}

static int is_missing(void *arg, enum manifest_part part, const char *digest)
{
	struct put *p = arg;

	(void)part; /* a manifest is a file of the layout like any other */
	if (blobs_has(&p->r->blobs, p->name, digest))
		return 0;
	snprintf(p->missing, sizeof(p->missing), "%s", digest);
	return 1;
}

static bool check_manifest(struct put *p, struct err *err)
{
	const char *type = http_header(p->req, "Content-Type");

	if (manifest_parse(buf_str(&p->body), p->body.len, type, &p->manifest, err) < 0) {
		answer_error(p->req, 400, "MANIFEST_INVALID", "%s", err->msg);
		return false;
	}
	memcpy(p->entry.type, p->manifest.type, sizeof(p->entry.type));
	p->entry.size = (int64_t)p->body.len;
	if (p->manifest.subject)
		snprintf(p->entry.subject, sizeof(p->entry.subject), "%s", p->manifest.subject);
	return true;
}

/* The bytes become content of the repository, within its quota. */
static int publish(struct put *p, struct err *err)
{
	if (quotas_take(p->r->quotas, p->name, p->body.len, err) < 0)
		return -1;
	int rc = blobs_publish_bytes(&p->r->blobs, p->body.data, p->body.len, p->entry.digest,
	                             p->name, err);
	if (rc <= 0)
		quotas_give(p->r->quotas, p->name, p->body.len);
	return rc;
}

/* With the repository held: what is there now stays until the manifest refers to it. */
static int store(struct put *p, struct err *err)
{
	if (p->r->settings->check_references && manifest_each(&p->manifest, is_missing, p) != 0)
		return answer_error(p->req, 404, "MANIFEST_BLOB_UNKNOWN",
		                    "%s lacks %s: push it first", p->name, p->missing);
	if (publish(p, err) < 0 || repo_put(p->repo, &p->entry, p->tags, p->tag_count, err) < 0)
		return err_is(err, ERR_LIMIT) && !answer_is_full(err)
		               ? answer_error(p->req, 403, "DENIED", "%s", err->msg)
		               : answer_err(p->req, err);
	return 1;
}

static int reply_stored(struct put *p, struct err *err)
{
	char location[NAME_MAX_BYTES + DIGEST_TEXT_MAX + 32];

	snprintf(location, sizeof(location), "/v2/%s/manifests/%s", p->name, p->entry.digest);
	if (http_reply_header(p->req, "Location", location, err) < 0 ||
	    http_reply_header(p->req, "Docker-Content-Digest", p->entry.digest, err) < 0)
		return -1;
	if (p->entry.subject[0] &&
	    http_reply_header(p->req, "OCI-Subject", p->entry.subject, err) < 0)
		return -1;
	if (digest_any_ok(p->reference))
		for (size_t i = 0; i < p->tag_count; i++)
			if (http_reply_header(p->req, "OCI-Tag", p->tags[i], err) < 0)
				return -1;
	return http_reply_empty(p->req, 201);
}

/* One event for each tag; one for a manifest that has none. */
static void tell_pushed(const struct put *p)
{
	struct webhook_event event = {
		.action = "push",
		.repository = p->name,
		.digest = p->entry.digest,
		.type = p->entry.type,
		.size = p->entry.size,
	};

	if (p->tag_count == 0)
		webhooks_tell(p->r->webhooks, p->req, &event);
	for (size_t i = 0; i < p->tag_count; i++) {
		event.tag = p->tags[i];
		webhooks_tell(p->r->webhooks, p->req, &event);
	}
}

static int put(struct put *p, struct err *err)
{
	if (!reference_ok(p->reference))
		return answer_error(p->req, 400, "MANIFEST_INVALID",
		                    "neither a tag nor a digest: \"%s\"", p->reference);
	if (!read_manifest(p, err) || !collect_tags(p) || !settle_digest(p, err) ||
	    !check_manifest(p, err))
		return 0;
	p->repo = repos_make(p->r->repos, p->name, err);
	if (!p->repo)
		return answer_err(p->req, err);
	repo_hold(p->repo);
	int rc = store(p, err);
	repo_release(p->repo);
	if (rc <= 0)
		return rc;
	tell_pushed(p);
	return reply_stored(p, err);
}

int api_manifest_put(void *ctx, struct http_request *req, struct err *err)
{
	struct put p = {
		.r = ctx,
		.req = req,
		.name = http_arg(req, 0),
		.reference = http_arg(req, 1),
	};

	if (!registry_admit(p.r, req, p.name, REGISTRY_PUSH))
		return 0;
	int rc = put(&p, err);
	manifest_done(&p.manifest);
	buf_free(&p.body);
	return rc;
}

/* ---- DELETE ---- */

int api_manifest_delete(void *ctx, struct http_request *req, struct err *err)
{
	struct registry *r = ctx;
	const char *name = http_arg(req, 0), *reference = http_arg(req, 1);
	struct repo_manifest m;

	if (!registry_admit(r, req, name, REGISTRY_DELETE))
		return 0;
	if (!reference_ok(reference))
		return answer_error(req, 400, "MANIFEST_INVALID",
		                    "neither a tag nor a digest: \"%s\"", reference);
	struct repo *repo = repos_find(r->repos, name, NULL);
	if (!repo)
		return answer_error(req, 404, "NAME_UNKNOWN", "no such repository: %s", name);
	repo_hold(repo);
	int rc = repo_lookup(repo, reference, &m, err);
	if (rc == 0)
		rc = repo_remove(repo, reference, err);
	repo_release(repo);
	if (rc < 0)
		return reply_unknown(req, err, name, reference);
	webhooks_tell(r->webhooks, req,
	              &(struct webhook_event){.action = "delete",
	                                      .repository = name,
	                                      .digest = m.digest,
	                                      .type = m.type,
	                                      .tag = digest_any_ok(reference) ? NULL : reference,
	                                      .size = m.size});
	return http_reply_empty(req, 202);
}
