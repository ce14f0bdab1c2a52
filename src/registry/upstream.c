/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/upstream.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/base64.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/str.h"
#include "image/challenge.h"
#include "registry/name.h"
#include "registry/settings.h"

#define PASSWORD_MAX  4096
#define TOKEN_MAX     (64u << 10)
#define URL_MAX       4096
#define PATH_MAX_LEN  (NAME_MAX_BYTES + 512)
#define HEADERS_MAX   8
#define SESSIONS_KEPT 8
#define CONNECT_MS    5000 /* whoever asks waits so long for an upstream that is away */
#define STALL_MS      30000
#define CA_MAX        (1u << 20)

/* A connection, and what it may do. */
struct session {
	struct session *next;
	struct http_client *client; /* owned */
	char *authorization;        /* owned; a header line, or NULL */
	char name[NAME_FILE_MAX];   /* the repository that a token is for */
};

struct upstream {
	char prefix[NAME_FILE_MAX]; /* with its slash; "" for a mirror */
	char base[512];
	char user[128];
	char *password; /* owned; NULL: none */
	char *ca_pem;   /* owned; NULL: the system's */
	pthread_mutex_t lock;
	struct session *idle; /* owned; guarded by lock */
	size_t idle_count;    /* guarded by lock */
};

struct upstreams {
	size_t count;
	struct upstream items[];
};

/* ---- lines ---- */

static void wipe(char *secret)
{
	if (secret)
		explicit_bzero(secret, strlen(secret));
	free(secret);
}

static char *read_text(const char *path, size_t max, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(max);

	if (fs_trusted_read(path, max, &text, err) < 0)
		return NULL;
	return strdup(buf_str(&text));
}

static int read_password(struct upstream *up, const char *path, struct err *err)
{
	up->password = read_text(path, PASSWORD_MAX, err);
	if (!up->password)
		return -1;
	up->password[strcspn(up->password, "\r\n")] = '\0';
	return 0;
}

static int check_prefix(struct upstream *up, struct err *err)
{
	char name[NAME_FILE_MAX];
	size_t n = strlen(up->prefix);

	if (str_eq(up->prefix, "/")) {
		up->prefix[0] = '\0';
		return 0;
	}
	snprintf(name, sizeof(name), "%.*s", (int)(n - 1), up->prefix);
	if (up->prefix[n - 1] != '/' || !name_ok(name))
		return err_set(err, ERR_INVALID,
		               "the prefix must be a name with \"/\" behind it, or \"/\" for every "
		               "name");
	return 0;
}

static int parse_line(const char *text, const char *ca_path, struct upstream *up, struct err *err)
{
	char file[512], rest = 0;
	int n = sscanf(text, "%255s %511s %127s %511s %c", up->prefix, up->base, up->user, file,
	               &rest);

	if (n != 2 && n != 4)
		return err_set(err, ERR_INVALID, "it must be PREFIX URL [USER PASSWORD-FILE]");
	for (size_t len = strlen(up->base); len > 0 && up->base[len - 1] == '/'; len--)
		up->base[len - 1] = '\0';
	const char *host = strstr(up->base, "://");
	if ((!str_starts(up->base, "https://") && !str_starts(up->base, "http://")) ||
	    host[3] == '\0' || strpbrk(host + 3, "/?#@"))
		return err_set(err, ERR_INVALID,
		               "the URL must be http(s)://HOST[:PORT]: not \"%s\"", up->base);
	if (ca_path) {
		up->ca_pem = read_text(ca_path, CA_MAX, err);
		if (!up->ca_pem)
			return -1;
	}
	return check_prefix(up, err) < 0 || (n == 4 && read_password(up, file, err) < 0) ? -1 : 0;
}

struct upstreams *upstreams_open(const struct settings *settings, struct err *err)
{
	const struct settings_list *lines = &settings->upstreams;

	if (lines->count == 0)
		return NULL;
	auto_type(upstreams) us = calloc(1, sizeof(*us) + lines->count * sizeof(us->items[0]));
	if (!us) {
		err_nomem(err);
		return NULL;
	}
	for (size_t i = 0; i < lines->count; i++) {
		struct upstream *up = &us->items[us->count++];

		pthread_mutex_init(&up->lock, NULL);
		if (parse_line(lines->items[i], settings->upstream_ca, up, err) < 0) {
			err_wrap(err, "upstream \"%s\"", lines->items[i]);
			return NULL;
		}
	}
	return move_ptr(us);
}

static void session_free(struct session *s)
{
	if (!s)
		return;
	http_client_free(s->client);
	wipe(s->authorization);
	free(s);
}
DEFINE_AUTO(session)

void upstreams_free(struct upstreams *us)
{
	for (size_t i = 0; us && i < us->count; i++) {
		struct upstream *up = &us->items[i];

		while (up->idle) {
			struct session *s = up->idle;

			up->idle = s->next;
			session_free(s);
		}
		wipe(up->password);
		free(up->ca_pem);
		pthread_mutex_destroy(&up->lock);
	}
	free(us);
}

struct upstream *upstreams_find(struct upstreams *us, const char *name)
{
	struct upstream *found = NULL;

	for (size_t i = 0; us && i < us->count; i++) {
		struct upstream *up = &us->items[i];

		if (str_starts(name, up->prefix) &&
		    (!found || strlen(up->prefix) > strlen(found->prefix)))
			found = up;
	}
	return found;
}

const char *upstream_url(const struct upstream *up)
{
	return up->base;
}

const char *upstream_name(const struct upstream *up, const char *name)
{
	return name + strlen(up->prefix);
}

/* ---- sessions ---- */

/* An idle one, of this repository if there is one; else a new one. */
static struct session *take_session(struct upstream *up, const char *name, struct err *err)
{
	pthread_mutex_lock(&up->lock);
	struct session **at = &up->idle;
	for (struct session **p = &up->idle; *p; p = &(*p)->next)
		if (str_eq((*p)->name, name)) {
			at = p;
			break;
		}
	struct session *s = *at;
	if (s) {
		*at = s->next;
		up->idle_count--;
	}
	pthread_mutex_unlock(&up->lock);

	auto_type(session) fresh = s ? s : calloc(1, sizeof(*fresh));
	if (!fresh) {
		err_nomem(err);
		return NULL;
	}
	if (!str_eq(fresh->name, name)) { /* a token is for one repository */
		wipe(move_ptr(fresh->authorization));
		snprintf(fresh->name, sizeof(fresh->name), "%s", name);
	}
	if (!fresh->client)
		fresh->client = http_client_create(
			&(struct http_client_options){
				.base = up->base,
				.ca_pem = up->ca_pem,
				.connect_timeout_ms = CONNECT_MS,
				.stall_timeout_ms = STALL_MS,
				.user_agent = "buoy-registry/" BUOY_VERSION,
				.proxy = true,
			},
			err);
	return fresh->client ? move_ptr(fresh) : NULL;
}

static void give_session(struct upstream *up, struct session *s)
{
	pthread_mutex_lock(&up->lock);
	bool keep = up->idle_count < SESSIONS_KEPT;
	if (keep) {
		s->next = up->idle;
		up->idle = s;
		up->idle_count++;
	}
	pthread_mutex_unlock(&up->lock);
	if (!keep)
		session_free(s);
}

/* ---- signing in ---- */

/* "Authorization: Basic ..."; the caller wipes it. */
static char *basic(const struct upstream *up, struct err *err)
{
	auto_buf struct buf pair = BUF_INIT(2 * PASSWORD_MAX), line = BUF_INIT(4 * PASSWORD_MAX);

	buf_addf(&pair, "%s:%s", up->user, up->password);
	buf_add(&line, "Authorization: Basic ");
	base64_encode(buf_str(&pair), pair.len, &line);
	explicit_bzero(pair.data, pair.len);
	return buf_take(&line, err);
}

static int take_token(struct session *s, const struct http_response *response, struct err *err)
{
	auto_buf struct buf line = BUF_INIT(TOKEN_MAX);

	if (response->status >= 500 || response->status == 429)
		return err_set(err, ERR_UNAVAILABLE, "its token server: status %d",
		               response->status);
	auto_type(json) doc =
		response->status < 400 ? json_parse(response->body, response->len, NULL) : NULL;
	const char *token = json_get_string(doc, "token");
	if (str_empty(token))
		token = json_get_string(doc, "access_token");
	if (str_empty(token) || strpbrk(token, "\r\n"))
		return err_set(err, ERR_DENIED, "its token server gives no token (status %d)",
		               response->status);
	buf_addf(&line, "Authorization: Bearer %s", token);
	s->authorization = buf_take(&line, err);
	return s->authorization ? 0 : -1;
}

static int request_token(struct upstream *up, struct session *s, const struct challenge *c,
                         struct err *err)
{
	auto_buf struct buf url = BUF_INIT(URL_MAX), scope = BUF_INIT(URL_MAX);
	bool trusted = challenge_trusts(c, up->base);
	const char *headers[2] = {NULL};
	struct http_response response = {0};

	if (up->password && !trusted)
		return err_set(err, ERR_DENIED, "%s asks to send the password to %s: it stays here",
		               up->base, c->realm);
	char *login = up->password ? basic(up, err) : NULL;
	if (up->password && !login)
		return -1;
	headers[0] = login;
	buf_addf(&scope, "repository:%s:pull", s->name);
	buf_addf(&url, "%s%cservice=", c->realm, strchr(c->realm, '?') ? '&' : '?');
	http_encode(&url, c->service);
	buf_add(&url, "&scope=");
	http_encode(&url, buf_str(&scope));
	struct http_call call = {.method = "GET", .path = buf_str(&url), .headers = headers};
	int rc = buf_check(&url, err);
	if (rc == 0)
		rc = http_call_run(s->client, &call, &response, err);
	wipe(login);
	if (rc == 0)
		rc = take_token(s, &response, err);
	http_response_done(&response);
	return rc;
}

static int sign_in(struct upstream *up, struct session *s, const struct http_response *refusal,
                   struct err *err)
{
	const char *header = http_response_header(refusal, "WWW-Authenticate");
	struct challenge c;

	wipe(move_ptr(s->authorization));
	if (!header)
		return err_set(err, ERR_DENIED, "it does not say how to sign in");
	if (challenge_parse(header, &c, err) < 0)
		return -1;
	if (c.scheme == CHALLENGE_BEARER)
		return request_token(up, s, &c, err);
	if (!up->password)
		return err_set(err, ERR_DENIED, "it wants a user and a password");
	s->authorization = basic(up, err);
	return s->authorization ? 0 : -1;
}

/* ---- calling ---- */

static int run_once(struct session *s, const struct http_call *call, struct http_response *response,
                    struct err *err)
{
	const char *headers[HEADERS_MAX + 2] = {NULL};
	struct http_call copy = *call;
	size_t n = 0;

	for (; call->headers && call->headers[n] && n < HEADERS_MAX; n++)
		headers[n] = call->headers[n];
	headers[n] = s->authorization;
	copy.headers = headers;
	http_response_done(response);
	return http_call_run(s->client, &copy, response, err);
}

static int run_signed_in(struct upstream *up, struct session *s, const struct http_call *call,
                         struct http_response *response, struct err *err)
{
	if (run_once(s, call, response, err) < 0)
		return -1;
	if (response->status != 401)
		return 0;
	if (sign_in(up, s, response, err) < 0 || run_once(s, call, response, err) < 0)
		return -1;
	if (response->status == 401)
		return err_set(err, ERR_DENIED, "it refuses us");
	return 0;
}

int upstream_run(struct upstream *up, const struct upstream_call *call,
                 struct http_response *response, struct err *err)
{
	struct session *s = take_session(up, call->name, err);
	char path[PATH_MAX_LEN];
	struct http_call http = call->http;

	if (!s)
		return -1;
	snprintf(path, sizeof(path), "/v2/%s/%s", call->name, call->rest);
	http.method = call->method;
	http.path = path;
	int rc = run_signed_in(up, s, &http, response, err);
	if (rc < 0)
		session_free(s); /* whatever state its connection is in */
	else
		give_session(up, s);
	return rc < 0 ? err_wrap(err, "upstream %s", up->base) : 0;
}
