/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/rotation.h"

#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "base/str.h"

#define ROTATION  "Rotation"
#define ONE_USE   "OneUse" /* leader_token.c */
#define TRUST_MAX (64u << 10)

void rotation_draft_done(struct rotation_draft *draft)
{
	json_free(draft->tls);
	json_free(draft->secret);
	*draft = (struct rotation_draft){0};
}

void rotation_apply(const struct rotation_draft *draft, struct cluster *cluster)
{
	cluster->tls = draft->tls;
	cluster->secret = draft->secret;
	if (draft->renamed) {
		cluster->tokens.worker = (char *)draft->worker;
		cluster->tokens.manager = (char *)draft->manager;
	}
}

struct json *rotation_tls(const char *trust, const char *issuer, struct err *err)
{
	auto_free char *subject = NULL, *key = NULL;

	if (ca_describe(issuer, &subject, &key, err) < 0)
		return NULL;
	struct json *tls = json_object();
	json_set(tls, "TrustRoot", json_string(trust));
	json_set(tls, "CertIssuerSubject", json_string(subject));
	if (json_set(tls, "CertIssuerPublicKey", json_string(key)) == 0)
		return tls;
	json_free(tls);
	err_nomem(err);
	return NULL;
}

/* ---- reading the object ---- */

static const struct json *rotation_of(const struct cluster *cluster)
{
	return json_get(cluster->secret, ROTATION);
}

static bool new_one_signs(const struct cluster *cluster)
{
	return json_get_bool(rotation_of(cluster), "Signs", false);
}

static bool goes_back(const struct cluster *cluster)
{
	return json_get_bool(rotation_of(cluster), "Back", false);
}

static const char *old_root(const struct cluster *cluster)
{
	return json_get_string(cluster->tls, "TrustRoot");
}

bool rotation_is_on(const struct cluster *cluster)
{
	return rotation_of(cluster) != NULL;
}

const char *rotation_trust(const struct cluster *cluster)
{
	return rotation_is_on(cluster) ? json_get_string(rotation_of(cluster), "Trust")
	                               : old_root(cluster);
}

const char *rotation_signer(const struct cluster *cluster)
{
	return new_one_signs(cluster) ? json_get_string(rotation_of(cluster), "Certificate")
	                              : old_root(cluster);
}

const char *rotation_signer_key(const struct cluster *cluster)
{
	return new_one_signs(cluster) ? json_get_string(rotation_of(cluster), "Key")
	                              : json_get_string(cluster->secret, CA_KEY_FIELD);
}

bool rotation_trusts(const struct cluster *cluster, const struct node *n)
{
	const char *trust = json_get_string(n->description.tls, "TrustRoot");

	return trust && str_eq(trust, rotation_trust(cluster));
}

/* Until the new root signs there are no certificates but the old one's. */
bool rotation_is_settled(const struct cluster *cluster, const struct node *n)
{
	const char *key = json_get_string(n->description.tls, "CertIssuerPublicKey");

	if (!rotation_trusts(cluster, n))
		return false;
	return (!new_one_signs(cluster) && !goes_back(cluster)) ||
	       str_eq(key, json_get_string(cluster->tls, "CertIssuerPublicKey"));
}

/* ---- what a new spec asks for ---- */

static int64_t force_of(const struct json *spec)
{
	return json_get_int(json_get(spec, "CAConfig"), "ForceRotate", 0);
}

/* 1: yes, both are the same certificate. */
static int is_same(const char *cert, const char *other, struct err *err)
{
	uint8_t left[HASH_SIZE], right[HASH_SIZE];

	if (ca_digest(cert, left, err) < 0)
		return -1;
	return other && ca_digest(other, right, NULL) == 0 && memcmp(left, right, HASH_SIZE) == 0;
}

static int read_given(const struct cluster *now, const char *cert, const char *key,
                      enum rotation_wish *wish, struct ca_identity *root, struct err *err)
{
	const char *next = json_get_string(rotation_of(now), "Certificate");
	int old = is_same(cert, old_root(now), err), same = old == 0 ? is_same(cert, next, err) : 0;

	if (old < 0 || same < 0)
		return err_wrap(err, "SigningCACert");
	if (old > 0)
		*wish = rotation_is_on(now) ? ROTATION_CALL_OFF : ROTATION_KEEP;
	if (old > 0 || (same > 0 && !goes_back(now)))
		return 0;
	if (str_empty(key))
		return err_set(err, ERR_INVALID, "the root certificate's key is needed, too");
	*wish = ROTATION_BEGIN;
	return ca_take(cert, key, root, err);
}

int rotation_read(const struct cluster *now, const struct json *spec, enum rotation_wish *wish,
                  struct ca_identity *root, struct err *err)
{
	const struct json *config = json_get(spec, "CAConfig");
	const char *cert = json_get_string(config, "SigningCACert");
	const char *key = json_get_string(config, "SigningCAKey");

	*wish = ROTATION_KEEP;
	if (json_count(json_get(config, "ExternalCAs")) > 0)
		return err_set(err, ERR_UNSUPPORTED,
		               "an external CA is not supported: hand a root over, with its key "
		               "(swarm ca --rotate --ca-cert FILE --ca-key FILE), or let the "
		               "cluster make its own");
	if (str_empty(cert) && !str_empty(key))
		return err_set(err, ERR_INVALID, "a key without its root certificate");
	if (!str_empty(cert))
		return read_given(now, cert, key, wish, root, err);
	if (force_of(spec) == force_of(now->spec_raw))
		return 0;
	*wish = ROTATION_BEGIN;
	return ca_make(now->id, root, err);
}

static struct json *copy_without(const struct json *object, const char *one, const char *other,
                                 struct err *err)
{
	struct json *copy = json_object(), *value;
	const char *key;

	for (void *iter = NULL; json_next(object, &iter, &key, &value);)
		if (!str_eq(key, one) && !str_eq(key, other))
			json_set(copy, key, json_ref(value));
	if (!copy)
		err_nomem(err);
	return copy;
}

struct json *rotation_clean_spec(const struct json *spec, struct err *err)
{
	const struct json *config = json_get(spec, "CAConfig");
	struct json *copy = copy_without(spec, NULL, NULL, err);

	if (copy && config)
		json_set(copy, "CAConfig",
		         copy_without(config, "SigningCACert", "SigningCAKey", err));
	return copy;
}

/* ---- steps ---- */

/* Both roots, and the new one as the old one knows it. Owned. */
static char *both(const struct cluster *now, const struct ca_identity *root, struct err *err)
{
	struct buf text = BUF_INIT(TRUST_MAX);
	const struct ca_identity old = {
		.cert = (char *)old_root(now),
		.key = (char *)json_get_string(now->secret, CA_KEY_FIELD),
	};

	if (!old.cert || !old.key) {
		err_set(err, ERR_INTERNAL, "the cluster has no CA");
		return NULL;
	}
	auto_free char *cross = ca_cross_sign(&old, root->cert, err);
	if (!cross)
		return NULL;
	buf_add(&text, old.cert);
	buf_add(&text, root->cert);
	buf_add(&text, cross);
	return buf_take(&text, err);
}

int rotation_begin(const struct cluster *now, const struct ca_identity *root,
                   struct rotation_draft *draft, struct err *err)
{
	if (new_one_signs(now) || goes_back(now))
		return err_set(err, ERR_CONFLICT,
		               "a rotation is under way, and nodes have certificates of its root: "
		               "wait until it is through (docker node ls shows who is away), or "
		               "call it off first (--ca-cert with the present root)");
	auto_free char *trust = both(now, root, err);
	if (!trust)
		return -1;
	draft->tls = rotation_tls(old_root(now), root->cert, err);
	draft->secret = copy_without(now->secret, ROTATION, NULL, err);
	if (!draft->tls || !draft->secret)
		return -1;
	struct json *part = json_object();
	json_set(part, "Certificate", json_string(root->cert));
	json_set(part, "Key", json_string(root->key));
	json_set(part, "Trust", json_string(trust));
	json_set(part, "Signs", json_bool(false));
	return json_set(draft->secret, ROTATION, part) < 0 ? err_nomem(err) : 0;
}

/* The object with a rotation that stands elsewhere. */
static int turn(const struct cluster *now, bool signs, bool back, struct rotation_draft *draft,
                struct err *err)
{
	draft->secret = copy_without(now->secret, ROTATION, NULL, err);
	struct json *part = copy_without(rotation_of(now), "Signs", "Back", err);
	if (!draft->tls || !draft->secret || !part) {
		json_free(part);
		return -1;
	}
	json_set(part, "Signs", json_bool(signs));
	json_set(part, "Back", json_bool(back));
	return json_set(draft->secret, ROTATION, part) < 0 ? err_nomem(err) : 0;
}

int rotation_call_off(const struct cluster *now, struct rotation_draft *draft, struct err *err)
{
	draft->tls = rotation_tls(old_root(now), old_root(now), err);
	return turn(now, false, true, draft, err);
}

/* Tokens for one machine name the old root, as the others do: they are gone with it. */
static int finish(const struct cluster *now, struct rotation_draft *draft, struct err *err)
{
	const char *cert = json_get_string(rotation_of(now), "Certificate");
	const char *key = json_get_string(rotation_of(now), "Key");
	uint8_t digest[HASH_SIZE];

	if (!cert || !key)
		return err_set(err, ERR_INTERNAL, "the next root is incomplete");
	draft->tls = rotation_tls(cert, cert, err);
	draft->secret = copy_without(now->secret, ROTATION, ONE_USE, err);
	if (!draft->tls || !draft->secret || ca_digest(cert, digest, err) < 0)
		return -1;
	draft->renamed = true;
	token_make(digest, draft->worker);
	token_make(digest, draft->manager);
	return json_set(draft->secret, CA_KEY_FIELD, json_string(key)) < 0 ? err_nomem(err) : 0;
}

int rotation_advance(const struct cluster *now, struct rotation_draft *draft, struct err *err)
{
	if (new_one_signs(now))
		return finish(now, draft, err);
	draft->tls = json_ref(now->tls);
	if (!goes_back(now))
		return turn(now, true, false, draft, err);
	draft->secret = copy_without(now->secret, ROTATION, NULL, err);
	return draft->secret ? 0 : -1;
}
