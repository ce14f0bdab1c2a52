/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/token.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/json.h"
#include "base/log.h"
#include "base/str.h"
#include "registry/jwt.h"
#include "registry/registry.h"

#define FILE_MAX  (1u << 20)
#define KEY_FILE  "token.key"
#define KEY_MAX   4096
#define SLACK_S   60 /* by which the clocks of two machines may differ */
#define SECOND_NS 1000000000
#define BEARER    "Bearer "
#define OWN_NAME  "buoy-registry" /* service and issuer, if nobody names them */

struct tokens {
	const struct settings *settings; /* borrowed */
	const char *service, *issuer;
	struct jwt_signer *signer; /* owned; NULL: we hand none out */
	pthread_rwlock_t lock;
	struct jwt_keys *keys; /* owned; guarded by lock */
};

bool tokens_wanted(const struct settings *s)
{
	return s->token_serve || s->token_realm;
}

/* ---- keys ---- */

static int check_settings(const struct settings *s, struct err *err)
{
	if (s->token_serve) {
		if (!s->htpasswd)
			return err_set(err, ERR_INVALID, "token-serve needs users: set htpasswd");
		if (s->token_certs || s->token_jwks)
			return err_set(err, ERR_INVALID,
			               "token-serve signs with a key of its own: token-certs and "
			               "token-jwks are for another service's tokens");
		return 0;
	}
	if (!s->token_service || !s->token_issuer || (!s->token_certs && !s->token_jwks))
		return err_set(err, ERR_INVALID,
		               "token-realm needs token-service, token-issuer, and token-certs or "
		               "token-jwks");
	return 0;
}

/* The key lives as long as the root does: tokens stay good over a restart. */
static struct jwt_signer *open_signer(int root_fd, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(KEY_MAX);

	if (fs_exists(root_fd, KEY_FILE)) {
		if (fs_read(root_fd, KEY_FILE, KEY_MAX, &text, err) < 0)
			return NULL;
		return jwt_signer_create(buf_str(&text), err);
	}
	auto_type(jwt_signer) fresh = jwt_signer_create(NULL, err);
	if (!fresh || jwt_signer_pem(fresh, &text, err) < 0 ||
	    fs_write_durable(root_fd, KEY_FILE, text.data, text.len, 0600, err) < 0)
		return NULL;
	return move_ptr(fresh);
}

static int read_file(const char *path, struct jwt_keys *keys,
                     int (*add)(struct jwt_keys *keys, const char *text, size_t len,
                                struct err *err),
                     struct err *err)
{
	auto_buf struct buf text = BUF_INIT(FILE_MAX);

	if (!path)
		return 0;
	if (fs_trusted_read(path, FILE_MAX, &text, err) < 0)
		return -1;
	return add(keys, buf_str(&text), text.len, err) < 0 ? err_wrap(err, "%s", path) : 0;
}

static struct jwt_keys *read_keys(const struct tokens *t, struct err *err)
{
	auto_type(jwt_keys) keys = jwt_keys_create(err);

	if (!keys)
		return NULL;
	if (t->signer)
		return jwt_keys_add_signer(keys, t->signer, err) < 0 ? NULL : move_ptr(keys);
	if (read_file(t->settings->token_certs, keys, jwt_keys_add_pem, err) < 0 ||
	    read_file(t->settings->token_jwks, keys, jwt_keys_add_set, err) < 0)
		return NULL;
	if (jwt_keys_count(keys) == 0) {
		err_set(err, ERR_INVALID, "token-jwks: it holds no RSA key and none of P-256");
		return NULL;
	}
	return move_ptr(keys);
}

int tokens_reload(struct tokens *t, struct err *err)
{
	struct jwt_keys *fresh = read_keys(t, err);

	if (!fresh)
		return -1;
	pthread_rwlock_wrlock(&t->lock);
	struct jwt_keys *old = t->keys;
	t->keys = fresh;
	pthread_rwlock_unlock(&t->lock);
	jwt_keys_free(old);
	return 0;
}

struct tokens *tokens_open(const struct settings *settings, int root_fd, struct err *err)
{
	if (check_settings(settings, err) < 0)
		return NULL;
	auto_type(tokens) t = calloc(1, sizeof(*t));
	if (!t) {
		err_nomem(err);
		return NULL;
	}
	t->settings = settings;
	t->service = settings->token_service ? settings->token_service : OWN_NAME;
	t->issuer = settings->token_issuer ? settings->token_issuer : OWN_NAME;
	pthread_rwlock_init(&t->lock, NULL);
	if (settings->token_serve) {
		t->signer = open_signer(root_fd, err);
		if (!t->signer) {
			err_wrap(err, "%s", KEY_FILE);
			return NULL;
		}
	}
	return tokens_reload(t, err) < 0 ? NULL : move_ptr(t);
}

void tokens_free(struct tokens *t)
{
	if (!t)
		return;
	jwt_signer_free(t->signer);
	jwt_keys_free(t->keys);
	pthread_rwlock_destroy(&t->lock);
	free(t);
}

/* ---- checking ---- */

bool tokens_is_bearer(const char *authorization)
{
	return authorization && strncasecmp(authorization, BEARER, strlen(BEARER)) == 0;
}

/* "aud" is one text or a list of them. */
static bool is_for_us(const struct json *audience, const char *service)
{
	if (json_is_string(audience))
		return str_eq(json_str(audience), service);
	for (size_t i = 0; i < json_count(audience); i++)
		if (str_eq(json_str(json_at(audience, i)), service))
			return true;
	return false;
}

static int check_claims(const struct tokens *t, const struct json *claims, int64_t now,
                        struct err *err)
{
	const struct json *from = json_get(claims, "nbf");

	if (!str_eq(json_get_string(claims, "iss"), t->issuer))
		return err_set(err, ERR_DENIED, "the token is of another issuer than %s",
		               t->issuer);
	if (!is_for_us(json_get(claims, "aud"), t->service))
		return err_set(err, ERR_DENIED, "the token is for another service than %s",
		               t->service);
	/* Without an end it would be good for ever: "exp" must be there. */
	if (json_get_int(claims, "exp", INT64_MIN) <= now - SLACK_S)
		return err_set(err, ERR_DENIED, "the token has expired");
	if (from && json_num(from, INT64_MAX) > now + SLACK_S)
		return err_set(err, ERR_DENIED, "the token is not good yet");
	return 0;
}

static bool holds_action(const struct json *actions, const char *wanted)
{
	for (size_t i = 0; i < json_count(actions); i++) {
		const char *action = json_str(json_at(actions, i));

		if (str_eq(action, wanted) || str_eq(action, "*"))
			return true;
	}
	return false;
}

/* How the scheme spells what a request is about. */
static void scope_of(const char *name, enum access_action action, const char **type,
                     const char **what, const char **verb)
{
	bool catalog = str_eq(name, REGISTRY_CATALOG);

	*type = catalog ? "registry" : "repository";
	*what = catalog ? "catalog" : name;
	*verb = catalog                 ? "*"
	        : action == ACCESS_PULL ? "pull"
	        : action == ACCESS_PUSH ? "push"
	                                : "delete";
}

static bool holds(const struct json *access, const char *name, enum access_action action)
{
	const char *type, *what, *verb;

	scope_of(name, action, &type, &what, &verb);
	for (size_t i = 0; i < json_count(access); i++) {
		const struct json *one = json_at(access, i);

		if (str_eq(json_get_string(one, "type"), type) &&
		    str_eq(json_get_string(one, "name"), what) &&
		    holds_action(json_get(one, "actions"), verb))
			return true;
	}
	return false;
}

/* What the header's token says, if one of our keys has signed it. */
static struct json *read_claims(struct tokens *t, const char *authorization, struct err *why)
{
	const char *token = authorization + strlen(BEARER);

	token += strspn(token, " ");
	pthread_rwlock_rdlock(&t->lock);
	struct json *claims = jwt_verify(t->keys, token, why);
	pthread_rwlock_unlock(&t->lock);
	return claims;
}

bool tokens_subject(struct tokens *t, const char *authorization, char user[ACCESS_USER_MAX])
{
	auto_type(json) claims = read_claims(t, authorization, NULL);
	const char *subject = json_get_string(claims, "sub");

	if (str_empty(subject) || strlen(subject) >= ACCESS_USER_MAX)
		return false;
	memcpy(user, subject, strlen(subject) + 1);
	return true;
}

enum access_verdict tokens_check(struct tokens *t, const char *authorization, const char *name,
                                 enum access_action action, struct err *why)
{
	auto_type(json) claims = read_claims(t, authorization, why);

	if (!claims || check_claims(t, claims, clock_wall_ns() / SECOND_NS, why) < 0)
		return ACCESS_SIGN_IN;
	if (!name || holds(json_get(claims, "access"), name, action))
		return ACCESS_YES;
	return ACCESS_NO;
}

/* A quoted string of RFC 9110. */
static void add_quoted(struct buf *out, const char *text)
{
	buf_add(out, "\"");
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			buf_add(out, "\\");
		buf_add_mem(out, text, 1);
	}
	buf_add(out, "\"");
}

int tokens_challenge(const struct tokens *t, const struct tokens_challenge *c, struct buf *out,
                     struct err *err)
{
	const char *realm = t->settings->token_realm;
	const char *type, *what, *verb;

	buf_add(out, "Bearer realm=");
	if (realm)
		add_quoted(out, realm);
	else
		buf_addf(out, "\"%s/token\"", c->origin);
	buf_add(out, ",service=");
	add_quoted(out, t->service);
	if (c->name && (name_ok(c->name) || c->name[0] == '_')) {
		scope_of(c->name, c->action, &type, &what, &verb);
		/* Who pushes looks first whether it is there. */
		buf_addf(out, ",scope=\"%s:%s:%s%s\"", type, what,
		         c->action == ACCESS_PUSH ? "pull," : "", verb);
	}
	if (c->problem)
		buf_addf(out, ",error=\"%s\"", c->problem);
	return buf_check(out, err);
}

/* ---- handing out ---- */

bool tokens_serves(const struct tokens *t)
{
	return t && t->signer;
}

int tokens_issue(struct tokens *t, const char *subject, struct json *access, long long now,
                 struct buf *out, struct err *err)
{
	auto_type(json) claims = json_object();
	char id[ID_HEX_MAX];

	(void)json_set(claims, "access", access);
	(void)json_set(claims, "iss", json_string(t->issuer));
	(void)json_set(claims, "sub", json_string(subject));
	(void)json_set(claims, "aud", json_string(t->service));
	(void)json_set(claims, "iat", json_int(now));
	(void)json_set(claims, "nbf", json_int(now));
	(void)json_set(claims, "exp", json_int(now + TOKEN_SECONDS));
	if (!claims || json_set(claims, "jti", json_string(id_make_hex(id))) < 0)
		return err_nomem(err);
	return jwt_sign(t->signer, claims, out, err);
}

bool tokens_parse_scope(const char *text, struct tokens_scope *s)
{
	const char *first = strchr(text, ':'), *last = strrchr(text, ':');
	size_t type = first ? (size_t)(first - text) : 0;
	size_t name = first && last > first ? (size_t)(last - first - 1) : 0;

	if (type == 0 || name == 0 || type >= sizeof(s->type) || name >= sizeof(s->name) ||
	    strlen(last + 1) >= sizeof(s->actions))
		return false;
	snprintf(s->type, sizeof(s->type), "%.*s", (int)type, text);
	snprintf(s->name, sizeof(s->name), "%.*s", (int)name, first + 1);
	snprintf(s->actions, sizeof(s->actions), "%s", last + 1);
	return true;
}
