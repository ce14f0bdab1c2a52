/* SPDX-License-Identifier: Apache-2.0 */
/* Blobs that are there: GET, HEAD, DELETE. */
#include <inttypes.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "registry/answer.h"
#include "registry/proxy.h"
#include "registry/quota.h"
#include "registry/registry.h"
#include "registry/webhook.h"

#define RANGE_TEXT 80

static int send_bytes(struct http_request *req, int status, const struct api_blob *blob,
                      uint64_t first, uint64_t len)
{
	return http_reply_growing(req, status, "application/octet-stream",
	                          &(struct http_growing){.fd = blob->fd,
	                                                 .offset = first,
	                                                 .len = len,
	                                                 .grown = blob->grown,
	                                                 .arg = blob->grown_arg});
}

int api_blob_send(struct http_request *req, const struct api_blob *blob, struct err *err)
{
	char text[RANGE_TEXT + DIGEST_TEXT_MAX];
	uint64_t first = 0, last = 0, size = blob->size;
	bool head = str_eq(http_method(req), "HEAD");
	enum name_range range =
		head ? NAME_RANGE_NONE : name_range(http_header(req, "Range"), size, &first, &last);

	if (range == NAME_RANGE_UNMET) {
		snprintf(text, sizeof(text), "bytes */%" PRIu64, size);
		if (http_reply_header(req, "Content-Range", text, err) < 0)
			return -1;
		return answer_error(req, 416, "SIZE_INVALID",
		                    "the range lies outside of the %" PRIu64 " bytes", size);
	}
	snprintf(text, sizeof(text), "\"%s\"", blob->digest);
	if (http_reply_header(req, "Docker-Content-Digest", blob->digest, err) < 0 ||
	    http_reply_header(req, "ETag", text, err) < 0 ||
	    http_reply_header(req, "Accept-Ranges", "bytes", err) < 0)
		return -1;
	if (range == NAME_RANGE_NONE)
		return send_bytes(req, 200, blob, 0, size);
	snprintf(text, sizeof(text), "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, first, last, size);
	if (http_reply_header(req, "Content-Range", text, err) < 0)
		return -1;
	return send_bytes(req, 206, blob, first, last - first + 1);
}

int api_blob_get(void *ctx, struct http_request *req, struct err *err)
{
	struct registry *r = ctx;
	const char *name = http_arg(req, 0), *digest = http_arg(req, 1);
	struct stat st;

	if (!registry_admit(r, req, name, REGISTRY_PULL))
		return 0;
	if (!digest_any_ok(digest))
		return answer_error(req, 400, "DIGEST_INVALID",
		                    "a digest is sha256: or sha512: and hex digits");
	auto_close int fd = blobs_read(&r->blobs, name, digest, &st, err);
	if (fd < 0 && err_is(err, ERR_NOT_FOUND) && proxy_covers(r->proxy, name) &&
	    !r->settings->read_only)
		return proxy_blob(r->proxy, req, name, digest, err);
	if (fd < 0 && err_is(err, ERR_NOT_FOUND))
		return answer_error(req, 404, "BLOB_UNKNOWN", "%s has no blob %s", name, digest);
	if (fd < 0)
		return answer_err(req, err);
	/* Who asks whether a blob is there is about to refer to it. */
	if (!r->settings->read_only)
		blobs_touch(&r->blobs, fd, &st);
	return api_blob_send(
		req, &(struct api_blob){.fd = fd, .size = (uint64_t)st.st_size, .digest = digest},
		err);
}

int api_blob_delete(void *ctx, struct http_request *req, struct err *err)
{
	struct registry *r = ctx;
	const char *name = http_arg(req, 0), *digest = http_arg(req, 1);
	struct stat st;

	if (!registry_admit(r, req, name, REGISTRY_DELETE))
		return 0;
	if (!digest_any_ok(digest))
		return answer_error(req, 400, "DIGEST_INVALID",
		                    "a digest is sha256: or sha512: and hex digits");
	struct repo *repo = repos_find(r->repos, name, NULL);
	if (!repo)
		return answer_error(req, 404, "NAME_UNKNOWN", "no such repository: %s", name);
	repo_hold(repo);
	auto_close int fd = blobs_read(&r->blobs, name, digest, &st, err);
	int rc = fd < 0 ? -1 : blobs_drop(&r->blobs, name, digest, err);
	if (rc == 0)
		quotas_give(r->quotas, name, (uint64_t)st.st_size);
	repo_release(repo);
	if (rc < 0 && err_is(err, ERR_NOT_FOUND))
		return answer_error(req, 404, "BLOB_UNKNOWN", "%s has no blob %s", name, digest);
	if (rc < 0)
		return answer_err(req, err);
	webhooks_tell(r->webhooks, req,
	              &(struct webhook_event){.action = "delete",
	                                      .repository = name,
	                                      .digest = digest,
	                                      .size = st.st_size});
	return http_reply_empty(req, 202);
}
