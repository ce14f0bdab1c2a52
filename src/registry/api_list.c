/* SPDX-License-Identifier: Apache-2.0 */
/* What there is: /v2/, tags, repositories, referrers. */
#include <stdio.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/str.h"
#include "http/client.h"
#include "oci/image.h"
#include "registry/answer.h"
#include "registry/manifest.h"
#include "registry/registry.h"

#define LIST_MAX       10000      /* names in one answer; the rest is behind a Link */
#define LINK_MAX       2048       /* bytes of a Link */
#define REFERRERS_MAX  (4u << 20) /* bytes of one referrers list */
#define REFERRERS_EACH 1000       /* descriptors in one answer */

int api_version(void *ctx, struct http_request *req, struct err *err)
{
	if (!registry_admit(ctx, req, NULL, REGISTRY_PULL))
		return 0;
	if (http_reply_header(req, "Docker-Distribution-API-Version", "registry/2.0", err) < 0)
		return -1;
	return http_reply(req, 200, "application/json", "{}\n", 3);
}

/* Link: <path?n=..&last=..>; rel="next" */
static int set_link(struct http_request *req, int64_t n, const char *last, const char *filter,
                    struct err *err)
{
	auto_buf struct buf link = BUF_INIT(LINK_MAX);

	buf_addf(&link, "<%s?n=%lld&last=", http_path(req), (long long)n);
	http_encode(&link, last);
	if (filter) {
		buf_add(&link, "&artifactType=");
		http_encode(&link, filter);
	}
	buf_add(&link, ">; rel=\"next\"");
	if (buf_check(&link, err) < 0)
		return -1;
	return http_reply_header(req, "Link", buf_str(&link), err);
}

/* "n" of the query, within 0..LIST_MAX. False: it is answered. */
static bool read_page(struct http_request *req, int64_t *n)
{
	struct err err = ERR_INIT;

	if (http_query_int(req, "n", LIST_MAX, n, &err) < 0 || *n < 0) {
		answer_error(req, 400, "UNSUPPORTED",
		             "n: it must be a number that is not negative");
		return false;
	}
	if (*n > LIST_MAX)
		*n = LIST_MAX;
	return true;
}

/* Takes `names`, a page of a list. */
static int reply_page(struct http_request *req, struct json *doc, const char *key,
                      struct json *names, bool more)
{
	auto_type(json) owned = doc;
	size_t count = json_count(names);
	const char *last = count > 0 ? json_str(json_at(names, count - 1)) : NULL;
	struct err err = ERR_INIT;

	if (more && last && set_link(req, (int64_t)count, last, NULL, &err) < 0) {
		json_free(names);
		return answer_err(req, &err);
	}
	(void)json_set(doc, key, names);
	return http_reply_json(req, 200, move_ptr(owned));
}

int api_tags(void *ctx, struct http_request *req, struct err *err)
{
	struct registry *r = ctx;
	const char *name = http_arg(req, 0);
	int64_t n = 0;
	bool more = false;

	if (!registry_admit(r, req, name, REGISTRY_PULL) || !read_page(req, &n))
		return 0;
	struct repo *repo = repos_find(r->repos, name, NULL);
	if (!repo)
		return answer_error(req, 404, "NAME_UNKNOWN", "no such repository: %s", name);
	struct json *names = repo_tags(repo, http_query(req, "last"), (size_t)n, &more, err);
	if (!names)
		return answer_err(req, err);
	struct json *doc = json_object();
	(void)json_set(doc, "name", json_string(name));
	return reply_page(req, doc, "tags", names, more);
}

int api_catalog(void *ctx, struct http_request *req, struct err *err)
{
	struct registry *r = ctx;
	int64_t n = 0;
	bool more = false;

	if (!registry_admit(r, req, REGISTRY_CATALOG, REGISTRY_PULL) || !read_page(req, &n))
		return 0;
	struct json *names = repos_list(r->repos, http_query(req, "last"), (size_t)n, &more, err);
	if (!names)
		return answer_err(req, err);
	return reply_page(req, json_object(), "repositories", names, more);
}

/* ---- referrers ---- */

struct referrers {
	struct registry *r;
	const char *name, *subject, *filter, *last;
	struct repo_manifest *found; /* owned */
	size_t count;
	bool more;
};

static int note_referrer(void *arg, const struct repo_manifest *m, size_t tags)
{
	struct referrers *f = arg;

	(void)tags;
	if (strcmp(m->subject, f->subject) != 0 || (f->last && strcmp(m->digest, f->last) <= 0))
		return 0;
	if (f->count == REFERRERS_EACH) {
		f->more = true;
		return 1;
	}
	struct repo_manifest *found = reallocarray(f->found, f->count + 1, sizeof(*found));
	if (!found)
		return -1;
	f->found = found;
	found[f->count++] = *m;
	return 0;
}

/* One referrer as a descriptor; NULL when it is filtered out, or its file is gone. */
static struct json *describe(const struct referrers *f, const struct repo_manifest *m)
{
	auto_buf struct buf text = BUF_INIT((size_t)f->r->settings->manifest_max);
	struct manifest parsed;
	struct stat st;
	struct json *d = NULL;
	auto_close int fd = blobs_read(&f->r->blobs, f->name, m->digest, &st, NULL);

	if (fd < 0 || fs_read_fd(fd, (size_t)f->r->settings->manifest_max, &text, NULL) < 0 ||
	    manifest_parse(buf_str(&text), text.len, m->type, &parsed, NULL) < 0)
		return NULL;
	if (!f->filter || str_eq(parsed.artifact_type, f->filter)) {
		struct json *notes = json_get(parsed.doc, "annotations");

		d = json_object();
		(void)json_set(d, "mediaType", json_string(m->type));
		(void)json_set(d, "digest", json_string(m->digest));
		(void)json_set(d, "size", json_int(m->size));
		if (!str_empty(parsed.artifact_type))
			(void)json_set(d, "artifactType", json_string(parsed.artifact_type));
		if (notes)
			(void)json_set(d, "annotations", json_ref(notes));
	}
	manifest_done(&parsed);
	return d;
}

static int reply_referrers(struct http_request *req, struct referrers *f, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(4 * REFERRERS_MAX);
	size_t first = 0;

	buf_add(&text, "{\"schemaVersion\":2,\"mediaType\":\"" OCI_INDEX "\",\"manifests\":[");
	for (size_t i = 0; i < f->count; i++) {
		auto_type(json) d = describe(f, &f->found[i]);

		if (!d)
			continue;
		if (first++ > 0)
			buf_add(&text, ",");
		if (json_write(d, &text, err) < 0)
			return -1;
		if (text.len > REFERRERS_MAX && i + 1 < f->count) {
			f->count = i + 1;
			f->more = true;
		}
	}
	buf_add(&text, "]}");
	if (f->filter && http_reply_header(req, "OCI-Filters-Applied", "artifactType", err) < 0)
		return -1;
	if (f->more &&
	    set_link(req, REFERRERS_EACH, f->found[f->count - 1].digest, f->filter, err) < 0)
		return -1;
	if (buf_check(&text, err) < 0)
		return -1;
	return http_reply(req, 200, OCI_INDEX, text.data, text.len);
}

int api_referrers(void *ctx, struct http_request *req, struct err *err)
{
	struct referrers f = {
		.r = ctx,
		.name = http_arg(req, 0),
		.subject = http_arg(req, 1),
		.filter = http_query(req, "artifactType"),
		.last = http_query(req, "last"),
	};

	if (!registry_admit(ctx, req, f.name, REGISTRY_PULL))
		return 0;
	if (!digest_any_ok(f.subject))
		return answer_error(req, 400, "DIGEST_INVALID",
		                    "a digest is sha256: or sha512: and hex digits");
	/* The specification knows no 404 here: what is not there has no referrers. */
	struct repo *repo = repos_find(f.r->repos, f.name, NULL);
	int rc = repo ? repo_each(repo, note_referrer, &f, err) : 0;
	rc = rc < 0 ? -1 : reply_referrers(req, &f, err);
	free(f.found);
	return rc;
}
