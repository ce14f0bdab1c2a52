/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/registry.h"

#include "base/err.h"
#include "base/fs.h"
#include "base/str.h"
#include "registry/answer.h"

/* Names may hold slashes: of two patterns that fit, the earlier wins. */
const struct http_route registry_routes[] = {
	{"GET", "/v2/", api_version},
	{"GET", "/v2", api_version},
	{"GET", "/v2/_catalog", api_catalog},
	{"GET", "/v2/{*}/tags/list", api_tags},
	{"GET", "/v2/{*}/referrers/{}", api_referrers},
	{"POST", "/v2/{*}/blobs/uploads/", api_upload_begin, true},
	{"POST", "/v2/{*}/blobs/uploads", api_upload_begin, true},
	{"GET", "/v2/{*}/blobs/uploads/{}", api_upload_status},
	{"PATCH", "/v2/{*}/blobs/uploads/{}", api_upload_chunk, true},
	{"PUT", "/v2/{*}/blobs/uploads/{}", api_upload_end, true},
	{"DELETE", "/v2/{*}/blobs/uploads/{}", api_upload_cancel},
	{"GET", "/v2/{*}/blobs/{}", api_blob_get},
	{"DELETE", "/v2/{*}/blobs/{}", api_blob_delete},
	{"GET", "/v2/{*}/manifests/{}", api_manifest_get},
	{"PUT", "/v2/{*}/manifests/{}", api_manifest_put, true},
	{"DELETE", "/v2/{*}/manifests/{}", api_manifest_delete},
	{"GET", "/metrics", api_metrics},
	{NULL},
};

int registry_open(struct registry *r, const struct settings *settings, struct log *log,
                  struct err *err)
{
	int root_fd = fs_trusted_open_dir(settings->root, true, err);

	*r = (struct registry){.settings = settings, .log = log};
	if (root_fd < 0 || blobs_open(&r->blobs, root_fd, err) < 0)
		return -1;
	r->blobs.touch_s = settings->gc_grace_s / 2;
	r->repos = repos_open(&r->blobs, (size_t)settings->repositories_max,
	                      (size_t)settings->tags_max, err);
	r->uploads = r->repos ? uploads_open(&r->blobs, (size_t)settings->uploads_max, err) : NULL;
	r->access = r->uploads ? access_open(settings->htpasswd, &settings->rules, err) : NULL;
	if (r->access)
		return 0;
	registry_close(r);
	return -1;
}

void registry_close(struct registry *r)
{
	access_free(r->access);
	uploads_close(r->uploads);
	repos_close(r->repos);
	blobs_close(&r->blobs);
}

static enum access_verdict check(struct registry *r, const struct http_request *req,
                                 const char *name, enum registry_action action)
{
	static const enum access_action actions[] = {
		[REGISTRY_PULL] = ACCESS_PULL,
		[REGISTRY_PUSH] = ACCESS_PUSH,
		[REGISTRY_DELETE] = ACCESS_DELETE,
	};

	return access_check(r->access, http_header(req, "Authorization"), name, actions[action]);
}

bool registry_may(struct registry *r, struct http_request *req, const char *name,
                  enum registry_action action)
{
	return name_ok(name) && (action == REGISTRY_PULL || !r->settings->read_only) &&
	       check(r, req, name, action) == ACCESS_YES;
}

bool registry_admit(struct registry *r, struct http_request *req, const char *name,
                    enum registry_action action)
{
	enum access_verdict verdict = check(r, req, name, action);

	if (verdict == ACCESS_SIGN_IN) {
		(void)http_reply_header(req, "WWW-Authenticate",
		                        "Basic realm=\"buoy-registry\", charset=\"UTF-8\"", NULL);
		answer_error(req, 401, "UNAUTHORIZED", "sign in first");
		return false;
	}
	if (verdict == ACCESS_NO) {
		answer_error(req, 403, "DENIED", "no rule lets you do that with %s", name);
		return false;
	}
	if (name && !name_ok(name) && !str_eq(name, REGISTRY_CATALOG) &&
	    !str_eq(name, REGISTRY_METRICS)) {
		answer_error(req, 400, "NAME_INVALID", "bad repository name \"%s\"", name);
		return false;
	}
	if (action != REGISTRY_PULL && r->settings->read_only) {
		answer_error(req, 405, "UNSUPPORTED", "this registry is read-only");
		return false;
	}
	return true;
}
