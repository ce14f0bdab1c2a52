/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * jwt - JSON web tokens (RFC 7519) under a signature (RFC 7515) that a public key proves: RS256 with RSA of 2048
 * bits or more, ES256 with P-256. There is no other algorithm, "none" and shared secrets included.
 *
 *	auto_type(jwt_keys) keys = jwt_keys_create(err);
 *	jwt_keys_add_pem(keys, pem, len, err);
 *	auto_type(json) claims = jwt_verify(keys, token, err);
 *
 * The key is chosen by us, never by the token: each of the (few) keys of the algorithm's kind is tried, whatever
 * "kid", "jwk" or "jku" say. "x5c" alone is looked at: its chain must end in one of our certificates.
 *
 * What the claims mean (who issued it, for whom, until when) is for the caller to check. Calls block on nothing; a set
 * of keys that no longer changes may be used from any thread.
 */

#include <stddef.h>

#include "base/cleanup.h"

struct buf;
struct err;
struct json;
struct jwt_keys;
struct jwt_signer;

#define JWT_MAX      16384 /* bytes of a token */
#define JWT_KEYS_MAX 16

struct jwt_keys *jwt_keys_create(struct err *err);
void jwt_keys_free(struct jwt_keys *keys);
DEFINE_AUTO(jwt_keys)
size_t jwt_keys_count(const struct jwt_keys *keys);

/* Certificates, or one PUBLIC KEY. Certificates also vouch for those that a token's x5c brings. ERR_INVALID: not PEM,
 * or a key of another kind or too small. */
int jwt_keys_add_pem(struct jwt_keys *keys, const char *text, size_t len, struct err *err);
/* A JSON web key set (RFC 7517): its RSA and P-256 keys; others are passed over. */
int jwt_keys_add_set(struct jwt_keys *keys, const char *text, size_t len, struct err *err);
/* The public half of a signer. */
int jwt_keys_add_signer(struct jwt_keys *keys, const struct jwt_signer *signer, struct err *err);

/* The claims of a token that one of the keys has signed; the caller owns them. ERR_INVALID: not a token, or not one
 * that we take; ERR_DENIED: no key fits. */
struct json *jwt_verify(const struct jwt_keys *keys, const char *token, struct err *err);

/* A P-256 key that signs with ES256. `pem`: as jwt_signer_pem() gave it; NULL: a new one. */
struct jwt_signer *jwt_signer_create(const char *pem, struct err *err);
void jwt_signer_free(struct jwt_signer *signer);
DEFINE_AUTO(jwt_signer)
int jwt_signer_pem(const struct jwt_signer *signer, struct buf *out, struct err *err);
/* Appends the token. */
int jwt_sign(const struct jwt_signer *signer, const struct json *claims, struct buf *out,
             struct err *err);
