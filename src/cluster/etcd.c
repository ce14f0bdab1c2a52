/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/etcd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/base64.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/json.h"
#include "base/str.h"
#include "cluster/address.h"
#include "cluster/etcd_state.h"
#include "http/parse.h"

#define TRY_MS      1200 /* one endpoint's share of a call's time, if there are several */
#define CONNECT_MS  500
#define PREFIX_MAX  128
#define TEXT_MAX    (64u << 20)
#define DEFAULT_KEY "buoy"

/* ---- the URL ---- */

static char *copy_part(const char *text, size_t len, struct err *err)
{
	char *copy = strndup(text, len);

	if (!copy)
		err_nomem(err);
	return copy;
}

/* With %XX for what has a meaning of its own in a URL. */
static char *copy_decoded(const char *text, size_t len, struct err *err)
{
	auto_arena struct arena arena = ARENA_INIT(4096);
	char *plain = http_parse_escapes(text, len, false, &arena, err);

	return plain ? copy_part(plain, strlen(plain), err) : NULL;
}

static int take_user(struct etcd *e, const char **at, struct err *err)
{
	const char *end = strchr(*at, '@');
	const char *colon = end ? memchr(*at, ':', (size_t)(end - *at)) : NULL;

	if (!end)
		return 0;
	if (!colon)
		return err_set(err, ERR_INVALID, "etcd URL: USER:PASSWORD is needed before the @");
	e->user = copy_decoded(*at, (size_t)(colon - *at), err);
	e->password = copy_decoded(colon + 1, (size_t)(end - colon - 1), err);
	*at = end + 1;
	return e->user && e->password ? 0 : -1;
}

/* "HOST" gets the port. */
static int take_endpoint(struct etcd *e, const char *host, size_t len, struct err *err)
{
	const char *colon = memrchr(host, ':', len), *bracket = memrchr(host, ']', len);
	bool has_port = colon && (!bracket || colon > bracket);
	struct etcd_endpoint *point = &e->points[e->count];

	if (len == 0 || len > ETCD_HOST_MAX)
		return err_set(err, ERR_INVALID, "etcd URL: \"%.*s\" is no endpoint", (int)len,
		               host);
	if (e->count == ETCD_POINTS_MAX)
		return err_set(err, ERR_INVALID, "etcd URL: more than %d endpoints",
		               ETCD_POINTS_MAX);
	if (has_port)
		snprintf(point->base, sizeof(point->base), "http%s://%.*s", e->tls ? "s" : "",
		         (int)len, host);
	else
		snprintf(point->base, sizeof(point->base), "http%s://%.*s:%d", e->tls ? "s" : "",
		         (int)len, host, ETCD_PORT);
	e->count++;
	return 0;
}

static int take_url(struct etcd *e, const char *url, struct err *err)
{
	if (str_empty(url) || (!str_starts(url, "etcd://") && !str_starts(url, "etcds://")))
		return err_set(err, ERR_INVALID,
		               "\"%.60s\" is no etcd URL: etcd://HOST[:PORT],...[/PREFIX]",
		               url ? url : "");
	e->tls = str_starts(url, "etcds://");
	const char *at = strchr(url, '/') + 2;
	if (take_user(e, &at, err) < 0)
		return -1;
	const char *slash = strchrnul(at, '/');
	for (const char *end; at <= slash && e->count <= ETCD_POINTS_MAX; at = end + 1) {
		end = memchr(at, ',', (size_t)(slash - at));
		end = end ? end : slash;
		if (take_endpoint(e, at, (size_t)(end - at), err) < 0)
			return -1;
	}
	const char *prefix = *slash && slash[1] ? slash + 1 : DEFAULT_KEY;
	if (strlen(prefix) > PREFIX_MAX)
		return err_set(err, ERR_INVALID, "etcd URL: the prefix is too long");
	if (asprintf(&e->prefix, "%s/", prefix) < 0) {
		e->prefix = NULL;
		return err_nomem(err);
	}
	return 0;
}

static int take_socket(struct etcd *e, const char *path, struct err *err)
{
	snprintf(e->points[0].base, sizeof(e->points[0].base), "unix://%s", path);
	e->count = 1;
	e->prefix = copy_part(DEFAULT_KEY "/", sizeof(DEFAULT_KEY), err);
	e->socket = copy_part(path, strlen(path), err);
	return e->prefix && e->socket ? 0 : -1;
}

static int copy_pem(char **out, const char *pem, struct err *err)
{
	if (str_empty(pem))
		return 0;
	*out = copy_part(pem, strlen(pem), err);
	return *out ? 0 : -1;
}

static int check_tls(const struct etcd *e, struct err *err)
{
	if (!e->tls && (e->ca || e->cert || e->key))
		return err_set(err, ERR_INVALID,
		               "etcd: certificates are for etcds://, this URL is etcd://");
	if (!e->cert != !e->key)
		return err_set(err, ERR_INVALID, "etcd: a certificate and its key belong together");
	return 0;
}

struct etcd *etcd_open(const struct etcd_options *options, struct err *err)
{
	auto_type(etcd) e = calloc(1, sizeof(*e));

	if (!e) {
		err_nomem(err);
		return NULL;
	}
	e->call_ms = options->call_ms ? options->call_ms : ETCD_CALL_MS;
	if (options->socket)
		return take_socket(e, options->socket, err) < 0 ? NULL : move_ptr(e);
	if (take_url(e, options->url, err) < 0 || copy_pem(&e->url, options->url, err) < 0 ||
	    copy_pem(&e->ca, options->ca_pem, err) < 0 ||
	    copy_pem(&e->cert, options->cert_pem, err) < 0 ||
	    copy_pem(&e->key, options->key_pem, err) < 0 || check_tls(e, err) < 0)
		return NULL;
	return move_ptr(e);
}

struct etcd *etcd_copy(const struct etcd *e, struct err *err)
{
	return etcd_open(&(struct etcd_options){.url = e->url,
	                                        .socket = e->socket,
	                                        .ca_pem = e->ca,
	                                        .cert_pem = e->cert,
	                                        .key_pem = e->key,
	                                        .call_ms = e->call_ms},
	                 err);
}

void etcd_free(struct etcd *e)
{
	if (!e)
		return;
	for (size_t i = 0; i < e->count; i++)
		http_client_free(e->points[i].client);
	free(e->url);
	free(e->socket);
	free(e->prefix);
	free(e->user);
	if (e->password)
		explicit_bzero(e->password, strlen(e->password));
	free(e->password);
	free(e->token);
	free(e->ca);
	free(e->cert);
	free(e->key);
	free(e);
}

/* ---- calling ---- */

struct http_client *etcd_client(const struct etcd *e, size_t at, int64_t stall_ms, struct err *err)
{
	return http_client_create(&(struct http_client_options){.base = e->points[at].base,
	                                                        .ca_pem = e->ca,
	                                                        .cert_pem = e->cert,
	                                                        .key_pem = e->key,
	                                                        .connect_timeout_ms = CONNECT_MS,
	                                                        .stall_timeout_ms = stall_ms},
	                          err);
}

static void response_auto_done(struct http_response *response)
{
	http_response_done(response);
}

/* One endpoint, one attempt. */
static struct json *ask(struct etcd *e, size_t at, const char *what, const struct buf *text,
                        int64_t ms, struct err *err)
{
	__attribute__((cleanup(response_auto_done))) struct http_response response = {0};
	auto_free char *authorization = NULL;
	char path[64];
	struct etcd_endpoint *point = &e->points[at];
	const char *headers[] = {"Content-Type: application/json", NULL, NULL};

	if (!point->client)
		point->client = etcd_client(e, at, 0, err);
	if (!point->client)
		return NULL;
	if (e->token && asprintf(&authorization, "Authorization: %s", e->token) < 0) {
		authorization = NULL;
		err_nomem(err);
		return NULL;
	}
	headers[1] = authorization;
	snprintf(path, sizeof(path), "/v3/%s", what);
	if (http_call_run(point->client,
	                  &(struct http_call){.method = "POST",
	                                      .path = path,
	                                      .headers = headers,
	                                      .body = text->data,
	                                      .body_len = text->len,
	                                      .timeout_ms = ms},
	                  &response, err) < 0) {
		/* A connection in an unknown state is not used again. */
		http_client_free(point->client);
		point->client = NULL;
		return NULL;
	}
	if (http_expect(&response, err) < 0) {
		if (err && strstr(err->msg, "database space exceeded"))
			err_set(err, ERR_LIMIT, ETCD_FULL);
		return NULL;
	}
	return json_parse(response.body, response.len, err);
}

/* Is it worth asking somebody else? */
static bool is_passing(const struct err *err)
{
	return err_is(err, ERR_UNAVAILABLE) || err_is(err, ERR_TIMEOUT) || err_is(err, ERR_SYSTEM);
}

/* Each of several gets a part of what is left. */
static int64_t share_of(const struct etcd *e, int64_t left)
{
	int64_t share = e->count > 1 && left > TRY_MS ? TRY_MS : left;

	return share > 1 ? share : 1;
}

static struct json *ask_around(struct etcd *e, const char *what, const struct buf *text,
                               struct err *err)
{
	int64_t until = clock_mono_ms() + e->call_ms;

	for (size_t attempt = 0;; attempt++) {
		struct err why = ERR_INIT;
		int64_t left = until - clock_mono_ms();
		struct json *reply = ask(e, e->current, what, text, share_of(e, left), &why);

		if (reply)
			return reply;
		if (is_passing(&why))
			e->current = (e->current + 1) % e->count;
		left = until - clock_mono_ms();
		if (!is_passing(&why) || left <= 0) {
			/* ERR_DENIED is kept for those who are not the leader any more. */
			if (err_is(&why, ERR_DENIED))
				why.kind = ERR_INVALID;
			if (err)
				*err = why;
			(void)err_wrap(err, "etcd");
			return NULL;
		}
		if (attempt % e->count == e->count - 1) /* all were asked: let an election pass */
			clock_sleep_ms(50);
	}
}

static int log_in(struct etcd *e, struct err *err)
{
	auto_type(json) body = json_object();
	auto_buf struct buf text = BUF_INIT(TEXT_MAX);

	free(e->token);
	e->token = NULL;
	json_set(body, "name", json_string(e->user));
	json_set(body, "password", json_string(e->password));
	if (json_write(body, &text, err) < 0)
		return -1;
	auto_type(json) reply = ask_around(e, "auth/authenticate", &text, err);
	explicit_bzero(text.data, text.len);
	const char *token = json_get_string(reply, "token");
	if (reply && !token)
		return err_set(err, ERR_UNAVAILABLE, "etcd: no token was given");
	return reply && (e->token = copy_part(token, strlen(token), err)) ? 0 : -1;
}

/* A token that is too old, or that another member made before a restart. */
static bool wants_login(const struct etcd *e, const struct err *err)
{
	return e->user &&
	       (strstr(err->msg, "invalid auth token") || strstr(err->msg, "user name is empty"));
}

struct json *etcd_call(struct etcd *e, const char *what, struct json *body, struct err *err)
{
	auto_type(json) owned = body;
	auto_buf struct buf text = BUF_INIT(TEXT_MAX);
	struct err why = ERR_INIT;

	if (!body || json_write(body, &text, err) < 0) {
		err_nomem(err);
		return NULL;
	}
	if (e->user && !e->token && log_in(e, err) < 0)
		return NULL;
	struct json *reply = ask_around(e, what, &text, &why);
	if (!reply && wants_login(e, &why)) {
		if (log_in(e, err) < 0)
			return NULL;
		reply = ask_around(e, what, &text, &why);
	}
	if (!reply && err)
		*err = why;
	return reply;
}

struct json *etcd_call_at(struct etcd *e, size_t at, const char *what, struct json *body,
                          int64_t ms, struct err *err)
{
	auto_type(json) owned = body;
	auto_buf struct buf text = BUF_INIT(TEXT_MAX);
	struct err why = ERR_INIT;

	if (json_write(body, &text, err) < 0 || (e->user && !e->token && log_in(e, err) < 0))
		return NULL;
	struct json *reply = ask(e, at, what, &text, ms, &why);
	if (!reply && wants_login(e, &why)) {
		if (log_in(e, err) < 0)
			return NULL;
		reply = ask(e, at, what, &text, ms, &why);
	}
	if (!reply) {
		if (err)
			*err = why;
		(void)err_wrap(err, "etcd %s", e->points[at].base);
	}
	return reply;
}

/* ---- pieces ---- */

void etcd_key(const struct etcd *e, struct buf *out, const char *name)
{
	buf_add(out, e->prefix);
	buf_add(out, name);
}

void etcd_set_bytes(struct json *object, const char *field, const void *bytes, size_t len)
{
	auto_buf struct buf text = BUF_INIT(TEXT_MAX);

	base64_encode(bytes, len, &text);
	(void)json_set(object, field,
	               buf_check(&text, NULL) == 0 ? json_string(buf_str(&text)) : NULL);
}

void etcd_set_number(struct json *object, const char *field, int64_t number)
{
	char text[24];

	snprintf(text, sizeof(text), "%lld", (long long)number);
	(void)json_set(object, field, json_string(text));
}

int64_t etcd_number(const struct json *object, const char *field)
{
	const char *text = json_get_string(object, field);

	return text ? strtoll(text, NULL, 10) : json_get_int(object, field, 0);
}

int etcd_bytes(const struct json *object, const char *field, struct buf *out, struct err *err)
{
	const char *text = json_get_string(object, field);

	if (!text)
		return 0;
	return base64_decode(text, strlen(text), out, err) < 0 ? -1 : buf_check(out, err);
}

void etcd_set_key(const struct etcd *e, struct json *object, const char *field, const char *name)
{
	auto_buf struct buf key = BUF_INIT(ETCD_KEY_MAX);

	etcd_key(e, &key, name);
	etcd_set_bytes(object, field, buf_str(&key), key.len);
}

struct json *etcd_compare(const struct etcd *e, const char *name, bool create, int64_t revision)
{
	struct json *doc = json_object();

	json_set(doc, "result", json_string("EQUAL"));
	json_set(doc, "target", json_string(create ? "CREATE" : "MOD"));
	etcd_set_key(e, doc, "key", name);
	etcd_set_number(doc, create ? "create_revision" : "mod_revision", revision);
	return doc;
}

struct json *etcd_read(const struct etcd *e, const char *name)
{
	struct json *doc = json_object(), *range = json_object();

	etcd_set_key(e, range, "key", name);
	json_set(doc, "request_range", range);
	return doc;
}

int64_t etcd_revision_of(const struct json *reply)
{
	return etcd_number(json_get(reply, "header"), "revision");
}

/* The end of the range of all keys that begin alike. */
void etcd_set_end(const struct etcd *e, struct json *object, const char *name)
{
	auto_buf struct buf key = BUF_INIT(ETCD_KEY_MAX);

	etcd_key(e, &key, name);
	if (key.len > 0)
		key.data[key.len - 1]++;
	etcd_set_bytes(object, "range_end", buf_str(&key), key.len);
}
