/* SPDX-License-Identifier: Apache-2.0 */
/* /secrets and /configs: what services are told beside their image. */

#include <string.h>

#include "base/arena.h"
#include "base/base64.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "cluster/leader.h"
#include "cluster/member.h"
#include "cluster/secret.h"
#include "cluster/vault.h"
#include "daemon/daemon.h"
#include "daemon/swarm.h"

#define SPEC_ARENA (1u << 20)

/* A request's spec and its bytes. */
struct given {
	struct arena arena;
	struct secret_spec spec;
	struct buf data;
	bool has_data;
};

static void given_done(struct given *given)
{
	vault_wipe_buf(&given->data);
	arena_done(&given->arena);
}

#define auto_given __attribute__((cleanup(given_done)))

static int read_given(struct http_request *req, struct given *given, struct err *err)
{
	*given = (struct given){.arena = ARENA_INIT(SPEC_ARENA),
	                        .data = BUF_INIT(CONFIG_BYTES_MAX + 4)};
	auto_type(json) body = http_body_json(req, err);
	if (!body)
		return -1;
	const char *text = json_get_string(body, "Data");
	given->has_data = text != NULL;
	if (text && base64_decode(text, strlen(text), &given->data, err) < 0)
		return err_wrap(err, "Data");
	json_set(body, "Data", json_null());
	return json_decode(body, &secret_spec_table, &given->arena, &given->spec, err);
}

/* ---- showing ---- */

struct showing {
	enum store_kind kind;
	const struct vault *vault;
	struct json *list;
};

/* A config's bytes are for everybody who may ask; a secret's for nobody. */
static int add_data(const struct showing *showing, const struct secret *s, struct json *doc,
                    struct err *err)
{
	auto_buf struct buf data = BUF_INIT(CONFIG_BYTES_MAX), text = BUF_INIT(VAULT_TEXT_MAX);
	char label[SECRET_LABEL_MAX];

	if (vault_open_text(showing->vault, secret_label(showing->kind, s->spec.name, label),
	                    s->sealed, &data, err) < 0)
		return -1;
	base64_encode(data.data, data.len, &text);
	return json_set(json_get(doc, "Spec"), "Data", json_string(buf_str(&text))) < 0
	               ? err_nomem(err)
	               : 0;
}

static struct json *show(const struct showing *showing, const struct secret *s, struct err *err)
{
	struct secret shown = *s;

	shown.sealed = NULL;
	auto_type(json) doc = json_encode(&secret_table, &shown, err);
	if (!doc || (showing->kind == STORE_CONFIG && add_data(showing, s, doc, err) < 0))
		return NULL;
	return move_ptr(doc);
}

static int append(void *arg, const struct secret *s, struct err *err)
{
	struct showing *showing = arg;
	struct json *doc = show(showing, s, err);

	if (!doc)
		return -1;
	return json_append(showing->list, doc) < 0 ? err_nomem(err) : 0;
}

static int list(struct daemon *d, struct http_request *req, enum store_kind kind, struct err *err)
{
	auto_type(json) filters = swarm_read_filters(req, err);
	struct control *c = filters ? member_enter(d->member, err) : NULL;

	if (!c)
		return -1;
	struct showing showing = {
		.kind = kind, .vault = member_vault(d->member), .list = json_array()};
	int rc = secret_list(c, kind, filters, append, &showing, err);
	member_exit(d->member);
	if (rc == 0)
		return http_reply_json(req, 200, showing.list);
	json_free(showing.list);
	return -1;
}

static int inspect(struct daemon *d, struct http_request *req, enum store_kind kind,
                   struct err *err)
{
	struct control *c = member_enter(d->member, err);

	if (!c)
		return -1;
	struct showing showing = {.kind = kind, .vault = member_vault(d->member)};
	const struct secret *s = secret_find(c, kind, http_arg(req, 0), err);
	struct json *doc = s ? show(&showing, s, err) : NULL;
	member_exit(d->member);
	return doc ? http_reply_json(req, 200, doc) : -1;
}

/* ---- changing ---- */

static int seal(const struct vault *vault, enum store_kind kind, const struct given *given,
                char **sealed, struct err *err)
{
	char label[SECRET_LABEL_MAX];

	if (secret_spec_check(kind, &given->spec, err) < 0 ||
	    secret_size_check(kind, given->data.len, err) < 0)
		return -1;
	return vault_seal(vault, secret_label(kind, given->spec.name, label), given->data.data,
	                  given->data.len, sealed, err);
}

static int create(struct daemon *d, struct http_request *req, enum store_kind kind, struct err *err)
{
	auto_given struct given given;
	auto_free char *sealed = NULL;
	char id[ID_SWARM_MAX];

	if (read_given(req, &given, err) < 0)
		return -1;
	struct control *c = member_enter(d->member, err);
	if (!c)
		return -1;
	int rc = seal(member_vault(d->member), kind, &given, &sealed, err);
	if (rc == 0)
		rc = secret_create(c, leader_now(), kind, &given.spec, sealed, id, err);
	member_exit(d->member);
	if (rc < 0)
		return -1;
	struct json *doc = json_object();
	json_set(doc, "ID", json_string(id));
	return http_reply_json(req, 201, doc);
}

/* Clients send everything back; what is not the same, but for labels, is refused. */
static int check_same(const struct vault *vault, enum store_kind kind, const struct secret *s,
                      const struct given *given, struct err *err)
{
	struct buf data = BUF_INIT(CONFIG_BYTES_MAX);
	char label[SECRET_LABEL_MAX];
	bool same = str_eq(s->spec.name, given->spec.name);

	if (same && given->has_data) {
		if (vault_open_text(vault, secret_label(kind, s->spec.name, label), s->sealed,
		                    &data, err) < 0)
			return -1;
		same = data.len == given->data.len &&
		       (data.len == 0 || memcmp(data.data, given->data.data, data.len) == 0);
		vault_wipe_buf(&data);
	}
	return same ? 0 : err_set(err, ERR_INVALID, "only updates to Labels are allowed");
}

static int change(struct daemon *d, struct control *c, struct http_request *req,
                  enum store_kind kind, struct err *err)
{
	auto_given struct given given;
	uint64_t version;

	if (read_given(req, &given, err) < 0 ||
	    swarm_read_version(req, store_kind_name(kind), &version, err) < 0)
		return -1;
	const struct secret *s = secret_find(c, kind, http_arg(req, 0), err);
	if (!s || check_same(member_vault(d->member), kind, s, &given, err) < 0)
		return -1;
	return secret_set_labels(c, leader_now(), kind, http_arg(req, 0), version,
	                         &given.spec.labels, err);
}

static int update(struct daemon *d, struct http_request *req, enum store_kind kind, struct err *err)
{
	struct control *c = member_enter(d->member, err);

	if (!c)
		return -1;
	int rc = change(d, c, req, kind, err);
	member_exit(d->member);
	return rc < 0 ? swarm_fail(req, err) : http_reply_empty(req, 200);
}

static int drop(struct daemon *d, struct http_request *req, enum store_kind kind, struct err *err)
{
	struct control *c = member_enter(d->member, err);

	if (!c)
		return -1;
	int rc = secret_remove(c, leader_now(), kind, http_arg(req, 0), err);
	member_exit(d->member);
	return rc < 0 ? -1 : http_reply_empty(req, 204);
}

/* ---- the routes: each verb for both kinds ---- */

#define BOTH(verb)                                                                                 \
	static int verb##_secret(void *ctx, struct http_request *req, struct err *err)             \
	{                                                                                          \
		return verb(ctx, req, STORE_SECRET, err);                                          \
	}                                                                                          \
	static int verb##_config(void *ctx, struct http_request *req, struct err *err)             \
	{                                                                                          \
		return verb(ctx, req, STORE_CONFIG, err);                                          \
	}

BOTH(list)
BOTH(create)
BOTH(inspect)
BOTH(update)
BOTH(drop)

const struct http_route secrets_routes[] = {
	{"GET", "/secrets", list_secret, false},
	{"POST", "/secrets/create", create_secret, false},
	{"GET", "/secrets/{}", inspect_secret, false},
	{"POST", "/secrets/{}/update", update_secret, false},
	{"DELETE", "/secrets/{}", drop_secret, false},
	{"GET", "/configs", list_config, false},
	{"POST", "/configs/create", create_config, false},
	{"GET", "/configs/{}", inspect_config, false},
	{"POST", "/configs/{}/update", update_config, false},
	{"DELETE", "/configs/{}", drop_config, false},
	{NULL, NULL, NULL, false},
};
