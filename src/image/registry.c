/* SPDX-License-Identifier: Apache-2.0 */
#include "image/registry.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/json.h"
#include "base/str.h"
#include "image/challenge.h"
#include "image/endpoint.h"
#include "image/retry.h"
#include "image/store.h"

#define DOCKER_DOMAIN     "docker.io"
#define DOCKER_HOST       "registry-1.docker.io"
#define STALL_TIMEOUT_MS  60000
#define HANDSHAKE_MS      5000 /* for a first answer over TLS, where it may be without */
#define TOKEN_MAX         (64u << 10)
#define AUTHORIZATION_MAX (128u << 10)
#define URL_MAX           4096

struct registry {
	const struct image_auth *auth; /* borrowed; may be NULL */
	struct http_client *client;
	struct endpoint endpoint; /* owned */
	char repository[256];
	char actions[16];
	char *authorization; /* "Authorization: ...", owned, or NULL */
};

/* ---- opening ---- */

static int open_client(struct registry *r, struct err *err)
{
	const struct endpoint *e = &r->endpoint;

	http_client_free(r->client);
	r->client = http_client_create(
		&(struct http_client_options){
			.base = e->base,
			.ca_pem = e->ca_pem,
			.cert_pem = e->cert_pem,
			.key_pem = e->key_pem,
			.insecure = !e->verify,
			.stall_timeout_ms = STALL_TIMEOUT_MS,
			.user_agent = "buoy/" BUOY_VERSION,
			.proxy = !endpoint_is_loopback(endpoint_host(e)),
			.http2 = true,
		},
		err);
	return r->client ? 0 : -1;
}

/* A token that the user has from elsewhere is shown unasked. */
static int take_registry_token(struct registry *r, struct err *err)
{
	auto_buf struct buf line = BUF_INIT(AUTHORIZATION_MAX);

	if (!r->auth || str_empty(r->auth->registry_token))
		return 0;
	if (strpbrk(r->auth->registry_token, "\r\n"))
		return err_set(err, ERR_INVALID, "line break in a registry token");
	buf_addf(&line, "Authorization: Bearer %s", r->auth->registry_token);
	r->authorization = buf_take(&line, err);
	return r->authorization ? 0 : -1;
}

static struct registry *open_at(struct image_store *store, const struct reference *ref,
                                const char *mirror, const struct image_auth *auth,
                                const char *actions, struct err *err)
{
	auto_type(registry) r = calloc(1, sizeof(*r));
	const char *host = strcmp(ref->domain, DOCKER_DOMAIN) == 0 ? DOCKER_HOST : ref->domain;

	if (!r) {
		(void)err_nomem(err);
		return NULL;
	}
	r->auth = auth;
	(void)snprintf(r->repository, sizeof(r->repository), "%s", ref->path);
	(void)snprintf(r->actions, sizeof(r->actions), "%s", actions);
	if ((mirror ? endpoint_of_url(store, mirror, &r->endpoint, err)
	            : endpoint_find(store, host, &r->endpoint, err)) < 0 ||
	    open_client(r, err) < 0 || take_registry_token(r, err) < 0)
		return NULL;
	return move_ptr(r);
}

struct registry *registry_open(struct image_store *store, const struct reference *ref,
                               const struct image_auth *auth, const char *actions, struct err *err)
{
	return open_at(store, ref, NULL, auth, actions, err);
}

struct registry *registry_open_mirror(struct image_store *store, const struct reference *ref,
                                      const char *url, struct err *err)
{
	return open_at(store, ref, url, NULL, "pull", err);
}

struct registry *registry_clone(const struct registry *from, struct err *err)
{
	auto_type(registry) r = calloc(1, sizeof(*r));

	if (!r) {
		(void)err_nomem(err);
		return NULL;
	}
	*r = *from;
	r->client = NULL;
	r->endpoint = (struct endpoint){0};
	r->authorization = from->authorization ? strdup(from->authorization) : NULL;
	if (from->authorization && !r->authorization) {
		(void)err_nomem(err);
		return NULL;
	}
	if (endpoint_copy(&from->endpoint, &r->endpoint, err) < 0 || open_client(r, err) < 0)
		return NULL;
	return move_ptr(r);
}

static void wipe(char *secret)
{
	if (secret)
		explicit_bzero(secret, strlen(secret));
	free(secret);
}

void registry_free(struct registry *r)
{
	if (!r)
		return;
	http_client_free(r->client);
	endpoint_done(&r->endpoint);
	wipe(r->authorization);
	free(r);
}

const char *registry_host(const struct registry *r)
{
	return endpoint_host(&r->endpoint);
}

/* ---- one request ---- */

static int explain_tls(const struct registry *r, enum http_trouble trouble, const char *what,
                       struct err *err)
{
	const char *host = registry_host(r);

	if (trouble == HTTP_TROUBLE_CERTIFICATE)
		return err_set(err, ERR_DENIED,
		               "%s: the certificate is not of this name or signed by unknown "
		               "authority: put the registry's CA into /etc/buoy/certs.d/%s/ca.crt",
		               what, host);
	if (strstr(what, "unexpected TLS packet"))
		return err_set(err, ERR_UNAVAILABLE,
		               "https://%s: server gave HTTP response to HTTPS client: if it is "
		               "meant to be without TLS, start buoyd with --insecure-registry %s",
		               host, host);
	if (r->endpoint.verify && trouble == HTTP_TROUBLE_SPEECH && !r->endpoint.cert_pem)
		return err_set(
			err, ERR_UNAVAILABLE,
			"%s: it closed the connection (if it wants a client certificate: put "
			"client.cert and client.key into /etc/buoy/certs.d/%s)",
			what, host);
	return -1;
}

/* Is there a proxy that may be meant by what failed? */
static bool may_be_proxied(const struct registry *r)
{
	static const char *const names[] = {"HTTPS_PROXY", "https_proxy", "HTTP_PROXY",
	                                    "http_proxy",  "ALL_PROXY",   "all_proxy"};

	if (endpoint_is_loopback(registry_host(r)))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (!str_empty(getenv(names[i])))
			return true;
	return false;
}

/* What the user can do about it belongs to what went wrong. */
static int explain(const struct registry *r, struct err *err)
{
	enum http_trouble trouble = http_client_trouble(r->client);
	const char *host = registry_host(r);
	char what[300];

	if (!err || err->kind == ERR_CANCELED)
		return -1;
	(void)snprintf(what, sizeof(what), "%.299s", err->msg);
	if (trouble == HTTP_TROUBLE_NAME)
		return err_set(err, ERR_UNAVAILABLE,
		               "%s: no such host: check the name, and DNS (/etc/resolv.conf)",
		               what);
	if (trouble == HTTP_TROUBLE_PROXY)
		return err_set(err, ERR_UNAVAILABLE,
		               "%s: check HTTP_PROXY, HTTPS_PROXY and NO_PROXY of buoyd", what);
	if (trouble == HTTP_TROUBLE_CONNECT && may_be_proxied(r))
		return err_set(
			err, ERR_UNAVAILABLE,
			"%s (a proxy is set in buoyd's environment: HTTP_PROXY, HTTPS_PROXY, "
			"NO_PROXY)",
			what);
	if (trouble == HTTP_TROUBLE_CONNECT && err->sys == ECONNREFUSED)
		return err_set(err, ERR_UNAVAILABLE,
		               "dial tcp %s: connection refused: nothing listens there", host);
	if (trouble == HTTP_TROUBLE_CERTIFICATE || trouble == HTTP_TROUBLE_HANDSHAKE ||
	    trouble == HTTP_TROUBLE_SPEECH)
		return explain_tls(r, trouble, what, err);
	return -1;
}

/* Does it look as if the other scheme were spoken here? */
static bool misunderstood(const struct registry *r, int rc, const struct http_response *response)
{
	enum http_trouble trouble = http_client_trouble(r->client);

	if (rc == 0) /* what servers say to plain HTTP on a port for TLS */
		return response->status == 400 && response->body && strstr(response->body, "HTTPS");
	if (str_starts(r->endpoint.base, "http://"))
		return trouble == HTTP_TROUBLE_SPEECH;
	return trouble == HTTP_TROUBLE_HANDSHAKE;
}

/* The first request to a registry that need not have TLS finds out whether it has. */
static int find_scheme(struct registry *r, const struct http_call *call,
                       struct http_response *response, struct err *err)
{
	bool https = str_starts(r->endpoint.base, "https://");
	struct http_call copy = *call;
	struct err why = ERR_INIT;

	/* A server that knows no TLS may take the greeting for half a request, and wait for the rest. */
	if (https && call->timeout_ms == 0)
		copy.timeout_ms = HANDSHAKE_MS;
	int rc = http_call_run(r->client, &copy, response, &why);
	bool other = misunderstood(r, rc, response) || (https && why.kind == ERR_TIMEOUT);
	if (!other || call->read) {
		if (rc < 0 && err)
			*err = why;
		return rc < 0 ? explain(r, err) : 0;
	}
	endpoint_switch(&r->endpoint);
	if (open_client(r, err) < 0)
		return -1;
	if (http_call_run(r->client, call, response, NULL) == 0)
		return 0;
	/* Neither: what the first said is nearer to the truth. */
	if (err)
		*err = why;
	return explain(r, err);
}

static int talk(struct registry *r, const struct http_call *call, struct http_response *response,
                struct err *err)
{
	if (r->endpoint.lenient && call->path[0] == '/') {
		int rc = find_scheme(r, call, response, err);
		if (rc == 0)
			r->endpoint.lenient = false;
		return rc;
	}
	if (http_call_run(r->client, call, response, err) == 0)
		return 0;
	return explain(r, err);
}

/* ---- asking again ---- */

/* Is the answer one that another try may better? Then waits for it and says 1; -1: there was none better. */
static int ask_again(const struct registry *r, int rc, const struct http_response *response,
                     int tries, struct err *err)
{
	int64_t ms = -1;

	if (rc == 0 && !retry_status(response->status))
		return 0;
	if (rc == 0)
		ms = retry_pause_ms(response, registry_host(r), tries, err);
	else if (err && err->kind == ERR_UNAVAILABLE && tries == 1 &&
	         http_client_trouble(r->client) != HTTP_TROUBLE_NAME)
		ms = retry_backoff_ms(tries); /* a connection that was kept may have died of age */
	if (ms < 0)
		return -1;
	clock_sleep_ms(ms);
	return 1;
}

/* ---- credentials ---- */

static bool has_password(const struct registry *r)
{
	return r->auth && !str_empty(r->auth->username) && r->auth->password;
}

/* "Authorization: Basic ..." for the password. */
static char *basic(const struct registry *r, struct err *err)
{
	auto_buf struct buf pair = BUF_INIT(AUTHORIZATION_MAX / 2);
	auto_buf struct buf line = BUF_INIT(AUTHORIZATION_MAX);

	buf_addf(&pair, "%s:%s", r->auth->username, r->auth->password);
	buf_add(&line, "Authorization: Basic ");
	base64_encode(pair.data, pair.len, &line);
	if (buf_check(&pair, err) < 0)
		return NULL;
	return buf_take(&line, err);
}

/* For calls that can be repeated as they are. */
static int run_patiently(struct registry *r, const struct http_call *call,
                         struct http_response *response, struct err *err)
{
	struct err why = ERR_INIT;
	int rc, again, tries = 0;

	do {
		why = (struct err)ERR_INIT;
		rc = talk(r, call, response, &why);
		again = ask_again(r, rc, response, ++tries, &why);
	} while (again > 0);
	if (again < 0 && err)
		*err = why;
	return again;
}

static void token_query(const struct registry *r, const struct challenge *c, struct buf *out)
{
	if (c->service[0]) {
		buf_add(out, "service=");
		http_encode(out, c->service);
	}
	if (r->actions[0]) {
		buf_add(out, "&scope=");
		char scope[400];
		(void)snprintf(scope, sizeof(scope), "repository:%s:%s", r->repository, r->actions);
		http_encode(out, scope);
	}
}

/* Asks the token server. Credentials go along only where challenge_trusts() allows. */
static int request_token(struct registry *r, const struct challenge *c,
                         struct http_response *response, struct err *err)
{
	auto_buf struct buf url = BUF_INIT(URL_MAX), form = BUF_INIT(TOKEN_MAX);
	bool trusted = challenge_trusts(c, r->endpoint.base);
	bool refresh = trusted && r->auth && !str_empty(r->auth->identity_token);
	auto_free char *login = trusted && !refresh && has_password(r) ? basic(r, err) : NULL;
	struct http_call call = {.method = "GET"};
	const char *headers[3] = {login, NULL, NULL};

	if (trusted && !refresh && has_password(r) && !login)
		return -1;
	if (!trusted && (has_password(r) || (r->auth && !str_empty(r->auth->identity_token))))
		return err_set(err, ERR_DENIED,
		               "registry %s asks to send the password to %s; refusing",
		               r->endpoint.base, c->realm);
	buf_add(&url, c->realm);
	if (refresh) {
		token_query(r, c, &form);
		buf_add(&form, "&grant_type=refresh_token&client_id=buoy&refresh_token=");
		http_encode(&form, r->auth->identity_token);
		call.method = "POST";
		call.body = buf_str(&form);
		call.body_len = form.len;
		headers[0] = "Content-Type: application/x-www-form-urlencoded";
	} else {
		buf_add(&url, strchr(c->realm, '?') ? "&" : "?");
		token_query(r, c, &url);
	}
	if (buf_check(&url, err) < 0 || buf_check(&form, err) < 0)
		return -1;
	call.path = buf_str(&url);
	call.headers = headers;
	int rc = run_patiently(r, &call, response, err);
	if (login)
		explicit_bzero(login, strlen(login));
	return rc;
}

static int take_token(struct registry *r, const struct http_response *response, struct err *err)
{
	auto_buf struct buf line = BUF_INIT(AUTHORIZATION_MAX);

	if (response->status >= 500 || response->status == 429)
		return err_set(err, ERR_UNAVAILABLE, "the registry's token server: status %d",
		               response->status);
	if (response->status >= 400)
		return err_set(err, ERR_DENIED, "the registry's token server refused: status %d%s",
		               response->status,
		               has_password(r) ? " (wrong user name or password?)" : "");
	auto_type(json) doc = json_parse(response->body ? response->body : "", response->len, err);
	if (!doc)
		return err_wrap(err, "answer of the registry's token server");
	const char *token = json_get_string(doc, "token");
	if (str_empty(token))
		token = json_get_string(doc, "access_token");
	if (str_empty(token) || strlen(token) > TOKEN_MAX || strpbrk(token, "\r\n"))
		return err_set(err, ERR_DENIED, "the registry's token server gave no token");
	buf_addf(&line, "Authorization: Bearer %s", token);
	wipe(r->authorization);
	r->authorization = buf_take(&line, err);
	return r->authorization ? 0 : -1;
}

/* Makes r->authorization from what a 401 asks for. */
static int authenticate(struct registry *r, const struct http_response *refusal, struct err *err)
{
	const char *header = http_response_header(refusal, "WWW-Authenticate");
	struct challenge c;

	if (!header || challenge_parse(header, &c, err) < 0)
		return header ? -1
		              : err_set(err, ERR_DENIED,
		                        "%s wants authentication without saying how",
		                        r->endpoint.base);
	if (c.scheme == CHALLENGE_BASIC) {
		if (!has_password(r))
			return err_set(err, ERR_DENIED,
			               "no basic auth credentials: log in by `buoy login %s`",
			               registry_host(r));
		wipe(r->authorization);
		r->authorization = basic(r, err);
		return r->authorization ? 0 : -1;
	}
	struct http_response response = {0};
	int rc = request_token(r, &c, &response, err);
	if (rc == 0)
		rc = take_token(r, &response, err);
	http_response_done(&response);
	return rc;
}

/* ---- calling ---- */

char *registry_path(const struct registry *r, const char *kind, const char *name,
                    char path[REGISTRY_PATH_MAX])
{
	(void)snprintf(path, REGISTRY_PATH_MAX, "/v2/%s/%s/%s", r->repository, kind, name);
	return path;
}

static bool is_own(const struct registry *r, const char *path)
{
	size_t n = strlen(r->endpoint.base);

	return path[0] == '/' ||
	       (str_starts(path, r->endpoint.base) && (path[n] == '/' || path[n] == '\0'));
}

static int run_once(struct registry *r, const struct http_call *call, const char *const *headers,
                    struct http_response *response, struct err *err)
{
	const char *all[REGISTRY_HEADERS_MAX + 2] = {NULL};
	struct http_call copy = *call;
	size_t n = 0;

	for (; headers && headers[n] && n < REGISTRY_HEADERS_MAX; n++)
		all[n] = headers[n];
	if (r->authorization && is_own(r, call->path))
		all[n++] = r->authorization;
	copy.headers = all;
	http_response_done(response);
	*response = (struct http_response){0};
	return talk(r, &copy, response, err);
}

/* A 401 or 403 that stays one: what the server says, and what can be done. */
static int refused(const struct registry *r, const struct http_response *response, struct err *err)
{
	bool known = has_password(r) || (r->auth && !str_empty(r->auth->identity_token));
	struct err words = ERR_INIT;

	(void)http_expect(response, &words);
	const char *text = words.msg[0] ? words.msg : "requested access to the resource is denied";
	/* A token that was given for a right password and is not enough: the user may not. */
	bool may_not = known && r->authorization && strstr(r->authorization, ": Bearer ");
	if (response->status == 401 && !may_not)
		return err_set(err, ERR_DENIED, "unauthorized: %s (%s: `buoy login %s`)", text,
		               known ? "wrong user name or password, or expired" : "not logged in",
		               registry_host(r));
	return err_set(err, ERR_DENIED, "denied: %s (%s)", text,
	               known ? "this user may not" : "perhaps `buoy login` helps");
}

int registry_call(struct registry *r, const struct http_call *call, const char *const *headers,
                  struct http_response *response, struct err *err)
{
	if (run_once(r, call, headers, response, err) < 0)
		return -1;
	/* A body that was streamed away cannot be sent twice: those calls come after others. */
	if (response->status == 401 && !call->read && is_own(r, call->path)) {
		if (authenticate(r, response, err) < 0 ||
		    run_once(r, call, headers, response, err) < 0)
			return -1;
	}
	if (response->status == 401 || response->status == 403)
		return refused(r, response, err);
	return 0;
}

/* registry_call() without a body in either direction that would go by twice. */
static int call_patiently(struct registry *r, const struct http_call *call,
                          const char *const *headers, struct http_response *response,
                          struct err *err)
{
	struct err why = ERR_INIT;
	int rc, again, tries = 0;

	do {
		why = (struct err)ERR_INIT;
		rc = registry_call(r, call, headers, response, &why);
		again = ask_again(r, rc, response, ++tries, &why);
	} while (again > 0);
	if (again < 0 && err)
		*err = why;
	return again;
}

void registry_manifest_done(struct registry_manifest *m)
{
	free(m->body);
	*m = (struct registry_manifest){0};
}

static void take_type(const struct http_response *response, char type[128])
{
	static const char *const known[] = {OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST};
	const char *header = http_response_header(response, "Content-Type");
	size_t n = header ? strcspn(header, "; ") : 0;

	type[0] = '\0';
	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (strlen(known[i]) == n && strncmp(header, known[i], n) == 0)
			(void)snprintf(type, 128, "%s", known[i]);
}

int registry_get_manifest(struct registry *r, const char *tag_or_digest,
                          struct registry_manifest *out, struct err *err)
{
	static const char *const headers[] = {
		"Accept: " OCI_INDEX,
		"Accept: " OCI_MANIFEST,
		"Accept: " DOCKER_LIST,
		"Accept: " DOCKER_MANIFEST,
		NULL,
	};
	char path[REGISTRY_PATH_MAX];
	struct http_response response = {0};
	struct http_call call = {.method = "GET",
	                         .path = registry_path(r, "manifests", tag_or_digest, path)};
	int rc = call_patiently(r, &call, headers, &response, err);

	if (rc == 0 && response.status == 404)
		rc = err_set(err, ERR_NOT_FOUND, "manifest unknown");
	else if (rc == 0)
		rc = http_expect(&response, err);
	if (rc == 0 && response.len > OCI_MANIFEST_MAX)
		rc = err_set(err, ERR_LIMIT, "manifest is longer than %u bytes", OCI_MANIFEST_MAX);
	if (rc == 0) {
		take_type(&response, out->type);
		out->body = move_ptr(response.body);
		out->len = response.len;
		digest_of(out->body ? out->body : "", out->len, out->digest);
	}
	http_response_done(&response);
	if (rc == 0 && strchr(tag_or_digest, ':') && strcmp(tag_or_digest, out->digest) != 0) {
		registry_manifest_done(out);
		return err_set(err, ERR_INVALID, "the registry's manifest is not %s",
		               tag_or_digest);
	}
	return rc;
}

/* Not for more than a registry may make us hold. */
static int add_to_buf(void *arg, const void *data, size_t len)
{
	struct buf *b = arg;

	buf_add_mem(b, data, len);
	return buf_check(b, NULL);
}

/* A new try begins with nothing. */
static int clear_buf(void *arg, const struct http_response *response)
{
	(void)response;
	buf_clear(arg);
	return 0;
}

int registry_get_blob(struct registry *r, const char *digest, int64_t size, struct buf *out,
                      struct err *err)
{
	char path[REGISTRY_PATH_MAX], got[DIGEST_TEXT_MAX];
	struct http_response response = {0};
	struct http_call call = {
		.method = "GET",
		.path = registry_path(r, "blobs", digest, path),
		.begin = clear_buf,
		.begin_arg = out,
		.write = add_to_buf,
		.write_arg = out,
	};

	if (digest_check(digest, err) < 0)
		return -1;
	int rc = call_patiently(r, &call, NULL, &response, err);
	if (rc == 0)
		rc = http_expect(&response, err);
	http_response_done(&response);
	if (rc < 0)
		return err_wrap(err, "blob %s", digest);
	if ((int64_t)out->len != size ||
	    strcmp(digest_of(buf_str(out), out->len, got), digest) != 0)
		return err_set(err, ERR_INVALID, "the registry's blob is not %s of %lld bytes",
		               digest, (long long)size);
	return 0;
}

int registry_has_blob(struct registry *r, const char *digest, struct err *err)
{
	char path[REGISTRY_PATH_MAX];
	struct http_response response = {0};
	struct http_call call = {.method = "HEAD", .path = registry_path(r, "blobs", digest, path)};
	int rc = call_patiently(r, &call, NULL, &response, err);

	if (rc == 0 && response.status == 404)
		rc = 0;
	else if (rc == 0)
		rc = http_expect(&response, err) < 0 ? -1 : 1;
	http_response_done(&response);
	return rc;
}

int image_login(struct image_store *store, const char *server, const struct image_auth *auth,
                struct err *err)
{
	struct reference ref = {0};
	struct http_response response = {0};
	const char *host = server;

	if (str_starts(host, "https://"))
		host += strlen("https://");
	else if (str_starts(host, "http://"))
		host += strlen("http://");
	size_t n = strcspn(host, "/");
	if (n == 0 || n >= sizeof(ref.domain))
		return err_set(err, ERR_INVALID, "bad registry address \"%.100s\"", server);
	memcpy(ref.domain, host, n);
	if (strcmp(ref.domain, "index.docker.io") == 0)
		(void)snprintf(ref.domain, sizeof(ref.domain), "%s", DOCKER_DOMAIN);
	auto_type(registry) r = registry_open(store, &ref, auth, "", err);
	if (!r)
		return err_wrap(err, "login to %s", ref.domain);
	struct http_call call = {.method = "GET", .path = "/v2/"};
	int rc = call_patiently(r, &call, NULL, &response, err);
	if (rc == 0)
		rc = http_expect(&response, err);
	http_response_done(&response);
	return rc < 0 ? err_wrap(err, "login to %s", ref.domain) : 0;
}
