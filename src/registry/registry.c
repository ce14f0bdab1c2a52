/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/registry.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/str.h"
#include "registry/answer.h"
#include "registry/proxy.h"
#include "registry/quota.h"
#include "registry/token.h"
#include "registry/webhook.h"

#define ORIGIN_MAX      300
#define CHALLENGE_MAX   4096
#define HOST_CHARACTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:[]"

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
	{"GET", "/token", api_token},
	{"GET", "/", api_page},
	{"GET", "/ui/page.css", api_page_css},
	{"GET", "/ui/page.js", api_page_js},
	{"GET", "/metrics", api_metrics},
	{NULL},
};

/* What a registry may have or not. */
static int open_options(struct registry *r, int root_fd, struct err *err)
{
	struct err why = ERR_INIT;

	if (tokens_wanted(r->settings)) {
		r->tokens = tokens_open(r->settings, root_fd, err);
		if (!r->tokens)
			return -1;
	}
	r->quotas = quotas_open(&r->settings->quotas, &r->blobs, &why);
	if (why.kind == ERR_NONE)
		r->proxy = proxy_open(r, &why);
	if (why.kind == ERR_NONE)
		r->webhooks = webhooks_open(r, &why);
	if (why.kind == ERR_NONE)
		return 0;
	if (err)
		*err = why;
	return -1;
}

int registry_open(struct registry *r, const struct settings *settings, struct log *log,
                  struct err *err)
{
	int root_fd = fs_trusted_open_dir(settings->root, true, err);

	*r = (struct registry){.settings = settings, .log = log};
	if (root_fd < 0 || blobs_open(&r->blobs, root_fd, err) < 0)
		return -1;
	r->blobs.touch_s = settings->gc_grace_s / 2;
	if (settings->upstreams.count > 0 && settings->upstream_keep_s < settings->gc_grace_s)
		r->blobs.touch_s = settings->upstream_keep_s / 2;
	r->repos = repos_open(&r->blobs, (size_t)settings->repositories_max,
	                      (size_t)settings->tags_max, err);
	r->uploads = r->repos ? uploads_open(&r->blobs, (size_t)settings->uploads_max, err) : NULL;
	r->access = r->uploads ? access_open(settings->htpasswd, &settings->rules, err) : NULL;
	if (r->access && open_options(r, root_fd, err) == 0)
		return 0;
	registry_close(r);
	return -1;
}

void registry_close(struct registry *r)
{
	webhooks_free(r->webhooks);
	proxy_free(r->proxy);
	quotas_free(r->quotas);
	tokens_free(r->tokens);
	access_free(r->access);
	uploads_close(r->uploads);
	repos_close(r->repos);
	blobs_close(&r->blobs);
}

static const enum access_action actions[] = {
	[REGISTRY_PULL] = ACCESS_PULL,
	[REGISTRY_PUSH] = ACCESS_PUSH,
	[REGISTRY_DELETE] = ACCESS_DELETE,
};

/* Tokens speak for themselves; everything else is for users and rules. Without users a registry with tokens wants one. */
static enum access_verdict check(struct registry *r, const struct http_request *req,
                                 const char *name, enum registry_action action, struct err *why)
{
	const char *authorization = http_header(req, "Authorization");

	if (r->tokens && tokens_is_bearer(authorization))
		return tokens_check(r->tokens, authorization, name, actions[action], why);
	if (r->tokens && !r->settings->htpasswd)
		return ACCESS_SIGN_IN;
	return access_check(r->access, authorization, name, actions[action]);
}

bool registry_actor(struct registry *r, const struct http_request *req, char user[ACCESS_USER_MAX])
{
	const char *authorization = http_header(req, "Authorization");

	if (!authorization)
		return false;
	if (r->tokens && tokens_is_bearer(authorization))
		return tokens_subject(r->tokens, authorization, user);
	return r->settings->htpasswd && access_sign_in(r->access, authorization, user);
}

bool registry_may(struct registry *r, struct http_request *req, const char *name,
                  enum registry_action action)
{
	return name_ok(name) && (action == REGISTRY_PULL || !r->settings->read_only) &&
	       check(r, req, name, action, NULL) == ACCESS_YES;
}

void registry_origin(const struct registry *r, const struct http_request *req, struct buf *out)
{
	const char *host = http_header(req, "Host");

	/* What is no host is not sent back; the client sees that something is wrong with it. */
	if (!host || host[strspn(host, HOST_CHARACTERS)] != '\0')
		host = "localhost";
	buf_addf(out, "http%s://%s", r->settings->tls_cert ? "s" : "", host);
}

/* What the client must show, and where it gets it. */
static int ask(struct registry *r, struct http_request *req, const char *name,
               enum access_action action, const char *problem)
{
	auto_buf struct buf origin = BUF_INIT(ORIGIN_MAX), text = BUF_INIT(CHALLENGE_MAX);

	if (!r->tokens)
		return http_reply_header(req, "WWW-Authenticate",
		                         "Basic realm=\"buoy-registry\", charset=\"UTF-8\"", NULL);
	registry_origin(r, req, &origin);
	if (tokens_challenge(r->tokens,
	                     &(struct tokens_challenge){.origin = buf_str(&origin),
	                                                .name = name,
	                                                .problem = problem,
	                                                .action = action},
	                     &text, NULL) < 0)
		return -1;
	return http_reply_header(req, "WWW-Authenticate", buf_str(&text), NULL);
}

/* The answer to who may not. */
static void refuse(struct registry *r, struct http_request *req, const char *name,
                   enum registry_action action, bool lacks_scope, const struct err *why)
{
	bool bearer = r->tokens && tokens_is_bearer(http_header(req, "Authorization"));

	/* A token for something else is not the end: the client gets one for this, and comes again. */
	if (lacks_scope && !bearer) {
		answer_error(req, 403, "DENIED", "no rule lets you do that with %s", name);
		return;
	}
	(void)ask(r, req, name, actions[action],
	          !bearer       ? NULL
	          : lacks_scope ? "insufficient_scope"
	                        : "invalid_token");
	if (lacks_scope)
		answer_error(req, 401, "DENIED", "the token does not allow that with %s", name);
	else
		answer_error(req, 401, "UNAUTHORIZED", "%s",
		             why->kind == ERR_NONE ? "sign in first" : why->msg);
}

bool registry_admit(struct registry *r, struct http_request *req, const char *name,
                    enum registry_action action)
{
	struct err why = ERR_INIT;
	enum access_verdict verdict = check(r, req, name, action, &why);

	if (verdict != ACCESS_YES) {
		refuse(r, req, name, action, verdict == ACCESS_NO, &why);
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
	if (action == REGISTRY_PUSH && proxy_covers(r->proxy, name)) {
		answer_error(req, 405, "UNSUPPORTED", "%s is a copy of what %s has: push there",
		             name, proxy_covers(r->proxy, name));
		return false;
	}
	return true;
}
