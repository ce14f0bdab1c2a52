/* SPDX-License-Identifier: Apache-2.0 */
/* Blobs on their way in: POST, PATCH, PUT, GET, DELETE of a session, and mounting. */
#include <inttypes.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "base/id.h"
#include "base/str.h"
#include "registry/answer.h"
#include "registry/quota.h"
#include "registry/registry.h"

#define BLOCK_BYTES  (128u << 10)
#define LOCATION_MAX (NAME_MAX_BYTES + DIGEST_TEXT_MAX + 64)

static int set_location(struct http_request *req, const char *name, const char *kind,
                        const char *what, struct err *err)
{
	char text[LOCATION_MAX];

	snprintf(text, sizeof(text), "/v2/%s/blobs/%s%s", name, kind, what);
	return http_reply_header(req, "Location", text, err);
}

static int reply_created(struct http_request *req, const char *name, const char *digest,
                         struct err *err)
{
	if (set_location(req, name, "", digest, err) < 0 ||
	    http_reply_header(req, "Docker-Content-Digest", digest, err) < 0)
		return -1;
	return http_reply_empty(req, 201);
}

/* Where the session is and how far it came. It is returned before the answer leaves: the client's next request
 * may be faster than what follows here. */
static int reply_session(struct registry *r, struct http_request *req, int status,
                         struct upload *up, struct err *err)
{
	char range[48];
	uint64_t size = upload_size(up);

	snprintf(range, sizeof(range), "0-%" PRIu64, size ? size - 1 : 0);
	int rc = set_location(req, http_arg(req, 0), "uploads/", upload_id(up), err);
	if (rc == 0)
		rc = http_reply_header(req, "Range", range, err);
	if (rc == 0)
		rc = http_reply_header(req, "Docker-Upload-UUID", upload_id(up), err);
	uploads_return(r->uploads, up);
	return rc < 0 ? -1 : http_reply_empty(req, status);
}

static int reply_no_session(struct http_request *req, const struct err *err)
{
	if (err_is(err, ERR_NOT_FOUND))
		return answer_error(req, 404, "BLOB_UPLOAD_UNKNOWN", "%s", err->msg);
	if (err_is(err, ERR_CONFLICT))
		return answer_error(req, 409, "BLOB_UPLOAD_INVALID", "%s", err->msg);
	if (err_is(err, ERR_LIMIT)) {
		(void)http_reply_header(req, "Retry-After", "10", NULL);
		return answer_error(req, 429, "TOOMANYREQUESTS", "%s", err->msg);
	}
	return answer_err(req, err);
}

/* The request's body goes behind what the session has. 0, or -1 with ERR_LIMIT when the blob is too large. */
static int receive(struct registry *r, struct http_request *req, struct upload *up, struct err *err)
{
	auto_free char *block = malloc(BLOCK_BYTES);
	const char *name = http_arg(req, 0), *length = http_header(req, "Content-Length");
	uint64_t announced = 0;

	if (!block)
		return err_nomem(err);
	/* Said before the bytes travel, if the client tells how many they are. */
	if (length && id_scan_u64(&length, &announced) &&
	    quotas_check(r->quotas, name, upload_size(up) + announced, err) < 0)
		return -1;
	for (;;) {
		ssize_t n = http_body_read(req, block, BLOCK_BYTES, err);

		if (n <= 0)
			return (int)n;
		if (upload_size(up) + (uint64_t)n > (uint64_t)r->settings->blob_max)
			return err_set(err, ERR_LIMIT,
			               "a blob may have %" PRId64 " bytes here (blob-max)",
			               r->settings->blob_max);
		if (quotas_check(r->quotas, name, upload_size(up) + (uint64_t)n, err) < 0)
			return -1;
		if (upload_add(up, block, (size_t)n, err) < 0)
			return -1;
	}
}

static int reply_not_received(struct http_request *req, const struct err *err)
{
	if (err_is(err, ERR_LIMIT) && !answer_is_full(err))
		return answer_error(req, 413, "SIZE_INVALID", "%s", err->msg);
	if (err_is(err, ERR_CANCELED) || err_is(err, ERR_INVALID))
		return answer_error(req, 400, "BLOB_UPLOAD_INVALID", "%s", err->msg);
	return answer_err(req, err);
}

/* Does a chunk with this Content-Range follow what is there? False: the session is returned, and it is answered. */
static bool chunk_fits(struct registry *r, struct http_request *req, struct upload *up,
                       struct err *err)
{
	const char *header = http_header(req, "Content-Range");
	const char *length = http_header(req, "Content-Length");
	uint64_t first = 0, last = 0;
	char sent[24];

	if (!header)
		return true;
	if (!name_chunk_range(header, &first, &last)) {
		uploads_return(r->uploads, up);
		answer_error(req, 416, "BLOB_UPLOAD_INVALID",
		             "Content-Range: it must be <first>-<last>");
		return false;
	}
	if (first != upload_size(up)) {
		(void)reply_session(r, req, 416, up, err);
		return false;
	}
	snprintf(sent, sizeof(sent), "%" PRIu64, last - first + 1);
	if (!length || str_eq(length, sent))
		return true;
	uploads_return(r->uploads, up);
	answer_error(req, 400, "SIZE_INVALID", "Content-Length is %s, but the range has %s bytes",
	             length, sent);
	return false;
}

/* The file becomes content of the repository, within its quota; what it holds already costs nothing. */
static int publish(struct registry *r, struct upload *up, const char *digest, const char *name,
                   struct err *err)
{
	uint64_t size = blobs_has(&r->blobs, name, digest) ? 0 : upload_size(up);

	if (quotas_take(r->quotas, name, size, err) < 0)
		return -1;
	int rc = blobs_publish(&r->blobs, upload_fd(up), digest, name, err);
	if (rc <= 0)
		quotas_give(r->quotas, name, size);
	return rc;
}

/* All bytes are here: compares them with the digest, and makes them content. Ends the session. */
static int finish(struct registry *r, struct http_request *req, struct upload *up,
                  const char *digest, struct err *err)
{
	const char *name = http_arg(req, 0);
	char actual[DIGEST_TEXT_MAX];

	if (upload_digest(up, digest, actual, err) < 0) {
		uploads_end(r->uploads, up);
		return answer_err(req, err);
	}
	if (!str_eq(actual, digest)) {
		uploads_end(r->uploads, up);
		return answer_error(req, 400, "DIGEST_INVALID",
		                    "the bytes have the digest %s, not %s", actual, digest);
	}
	int rc = repos_make(r->repos, name, err) ? publish(r, up, digest, name, err) : -1;
	/* For lack of room nothing is lost: the client may come again with the PUT. */
	if (rc < 0 && answer_is_full(err) && upload_is_private(up))
		uploads_return(r->uploads, up);
	else
		uploads_end(r->uploads, up);
	return rc < 0 ? answer_err(req, err) : reply_created(req, name, digest, err);
}

/* True: mounted and answered. Whatever prevents it, an upload is what the client does next. */
static bool mount_blob(struct registry *r, struct http_request *req, const char *name,
                       const char *digest, const char *from)
{
	struct err err = ERR_INIT;
	struct stat st;

	if (!digest_any_ok(digest) || !name_ok(from) || !registry_may(r, req, from, REGISTRY_PULL))
		return false;
	auto_close int fd = blobs_read(&r->blobs, from, digest, &st, NULL);
	if (fd < 0 || !repos_make(r->repos, name, &err))
		return false;
	uint64_t size = blobs_has(&r->blobs, name, digest) ? 0 : (uint64_t)st.st_size;
	if (quotas_take(r->quotas, name, size, &err) < 0)
		return false;
	int rc = blobs_mount(&r->blobs, digest, from, name, &err);
	if (rc <= 0)
		quotas_give(r->quotas, name, size);
	return rc >= 0 && reply_created(req, name, digest, &err) == 0;
}

int api_upload_begin(void *ctx, struct http_request *req, struct err *err)
{
	struct registry *r = ctx;
	const char *name = http_arg(req, 0), *digest = http_query(req, "digest");
	const char *algorithm = http_query(req, "digest-algorithm");
	const char *from = http_query(req, "from"), *wanted = http_query(req, "mount");

	if (!registry_admit(r, req, name, REGISTRY_PUSH))
		return 0;
	if (digest && !digest_any_ok(digest))
		return answer_error(req, 400, "DIGEST_INVALID",
		                    "a digest is sha256: or sha512: and hex digits");
	if (algorithm && !str_eq(algorithm, "sha256") && !str_eq(algorithm, "sha512"))
		return answer_error(req, 400, "DIGEST_INVALID",
		                    "digest-algorithm: it must be sha256 or sha512");
	if (wanted && from && mount_blob(r, req, name, wanted, from))
		return 0;

	bool wide = str_eq(algorithm, "sha512") || (digest && str_starts(digest, "sha512:"));
	struct upload_plan plan = {.repo = name, .wide = wide, .once = digest};
	struct upload *up = uploads_begin(r->uploads, &plan, err);
	if (!up)
		return reply_no_session(req, err);
	if (digest) {
		if (receive(r, req, up, err) == 0)
			return finish(r, req, up, digest, err);
		uploads_end(r->uploads, up);
		return reply_not_received(req, err);
	}
	return reply_session(r, req, 202, up, err);
}

static struct upload *take(struct registry *r, struct http_request *req, struct err *err)
{
	struct upload *up = NULL;

	if (!registry_admit(r, req, http_arg(req, 0), REGISTRY_PUSH))
		return NULL;
	up = uploads_take(r->uploads, http_arg(req, 1), http_arg(req, 0), err);
	if (!up)
		reply_no_session(req, err);
	return up;
}

int api_upload_status(void *ctx, struct http_request *req, struct err *err)
{
	struct registry *r = ctx;
	struct upload *up = take(r, req, err);

	return up ? reply_session(r, req, 204, up, err) : 0;
}

int api_upload_chunk(void *ctx, struct http_request *req, struct err *err)
{
	struct registry *r = ctx;
	struct upload *up = take(r, req, err);

	if (!up || !chunk_fits(r, req, up, err))
		return 0;
	if (receive(r, req, up, err) == 0)
		return reply_session(r, req, 202, up, err);
	uploads_return(r->uploads, up);
	return reply_not_received(req, err);
}

int api_upload_end(void *ctx, struct http_request *req, struct err *err)
{
	struct registry *r = ctx;
	const char *digest = http_query(req, "digest");
	struct upload *up = take(r, req, err);

	if (!up)
		return 0;
	if (!digest_any_ok(digest)) {
		uploads_return(r->uploads, up);
		return answer_error(req, 400, "DIGEST_INVALID",
		                    "the digest of the whole blob must be in the query: sha256: or "
		                    "sha512: and hex digits");
	}
	if (!chunk_fits(r, req, up, err))
		return 0;
	if (receive(r, req, up, err) == 0)
		return finish(r, req, up, digest, err);
	uploads_return(r->uploads, up);
	return reply_not_received(req, err);
}

int api_upload_cancel(void *ctx, struct http_request *req, struct err *err)
{
	struct registry *r = ctx;
	struct upload *up = take(r, req, err);

	if (!up)
		return 0;
	uploads_end(r->uploads, up);
	return http_reply_empty(req, 204);
}
