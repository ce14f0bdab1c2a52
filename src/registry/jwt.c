/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/jwt.h"

#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdbool.h>
#include <string.h>

#include "base/base64.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "base/str.h"

#define RSA_BITS_MIN    2048
#define COORDINATE      32 /* bytes of one number of P-256 */
#define SIGNATURE_MAX   1024
#define CERTIFICATE_MAX 8192
#define CHAIN_MAX       8 /* certificates in an x5c */
#define ES256_HEADER    "{\"typ\":\"JWT\",\"alg\":\"ES256\"}"

struct jwt_keys {
	gnutls_pubkey_t items[JWT_KEYS_MAX]; /* owned */
	bool is_rsa[JWT_KEYS_MAX];
	size_t count;
	gnutls_x509_trust_list_t roots; /* owned */
	bool has_roots;
};

struct jwt_signer {
	gnutls_x509_privkey_t key; /* owned */
};

static int fail(struct err *err, const char *what, int rc)
{
	return err_set(err, rc == GNUTLS_E_MEMORY_ERROR ? ERR_NOMEM : ERR_INVALID, "%s: %s", what,
	               gnutls_strerror(rc));
}

static gnutls_datum_t datum_of(const void *data, size_t len)
{
	return (gnutls_datum_t){(unsigned char *)data, (unsigned)len};
}

/* ---- keys ---- */

struct jwt_keys *jwt_keys_create(struct err *err)
{
	struct jwt_keys *keys = calloc(1, sizeof(*keys));

	if (keys && gnutls_x509_trust_list_init(&keys->roots, 0) == 0)
		return keys;
	free(keys);
	err_nomem(err);
	return NULL;
}

void jwt_keys_free(struct jwt_keys *keys)
{
	if (!keys)
		return;
	for (size_t i = 0; i < keys->count; i++)
		gnutls_pubkey_deinit(keys->items[i]);
	gnutls_x509_trust_list_deinit(keys->roots, 1);
	free(keys);
}

size_t jwt_keys_count(const struct jwt_keys *keys)
{
	return keys->count;
}

/* RSA (true) or P-256 (false) of a strength that we take; else ERR_INVALID. */
static int kind_of(gnutls_pubkey_t key, bool *is_rsa, struct err *err)
{
	unsigned bits = 0;
	gnutls_ecc_curve_t curve = GNUTLS_ECC_CURVE_INVALID;
	int algorithm = gnutls_pubkey_get_pk_algorithm(key, &bits);

	*is_rsa = algorithm == GNUTLS_PK_RSA;
	if (*is_rsa && bits >= RSA_BITS_MIN)
		return 0;
	if (algorithm == GNUTLS_PK_ECDSA &&
	    gnutls_pubkey_export_ecc_raw(key, &curve, NULL, NULL) == 0 &&
	    curve == GNUTLS_ECC_CURVE_SECP256R1)
		return 0;
	return err_set(err, ERR_INVALID,
	               "a key must be RSA of %d bits or more, or of the curve P-256", RSA_BITS_MIN);
}

/* Takes key, also on failure. */
static int add_key(struct jwt_keys *keys, gnutls_pubkey_t key, struct err *err)
{
	bool is_rsa = false;
	int rc = kind_of(key, &is_rsa, err);

	if (rc == 0 && keys->count == JWT_KEYS_MAX)
		rc = err_set(err, ERR_LIMIT, "more than %d keys", JWT_KEYS_MAX);
	if (rc < 0) {
		gnutls_pubkey_deinit(key);
		return -1;
	}
	keys->is_rsa[keys->count] = is_rsa;
	keys->items[keys->count++] = key;
	return 0;
}

static int add_certificate(struct jwt_keys *keys, gnutls_x509_crt_t crt, struct err *err)
{
	gnutls_pubkey_t key = NULL;
	int rc = gnutls_pubkey_init(&key);

	if (rc < 0)
		return fail(err, "certificate", rc);
	rc = gnutls_pubkey_import_x509(key, crt, 0);
	if (rc < 0) {
		gnutls_pubkey_deinit(key);
		return fail(err, "certificate", rc);
	}
	return add_key(keys, key, err);
}

static int add_public_key(struct jwt_keys *keys, const gnutls_datum_t *text, struct err *err)
{
	gnutls_pubkey_t key = NULL;
	int rc = gnutls_pubkey_init(&key);

	if (rc < 0)
		return fail(err, "public key", rc);
	rc = gnutls_pubkey_import(key, text, GNUTLS_X509_FMT_PEM);
	if (rc < 0) {
		gnutls_pubkey_deinit(key);
		return fail(err, "public key", rc);
	}
	return add_key(keys, key, err);
}

int jwt_keys_add_pem(struct jwt_keys *keys, const char *text, size_t len, struct err *err)
{
	gnutls_datum_t in = datum_of(text, len);
	gnutls_x509_crt_t *list = NULL;
	unsigned count = 0;

	if (memmem(text, len, "BEGIN PUBLIC KEY", strlen("BEGIN PUBLIC KEY")))
		return add_public_key(keys, &in, err);
	int rc = gnutls_x509_crt_list_import2(&list, &count, &in, GNUTLS_X509_FMT_PEM, 0);
	if (rc < 0)
		return fail(err, "certificates", rc);
	rc = 0;
	for (unsigned i = 0; i < count; i++) {
		if (rc == 0)
			rc = add_certificate(keys, list[i], err);
		/* The list takes what it takes; the rest is ours to free. */
		if (rc == 0 && gnutls_x509_trust_list_add_cas(keys->roots, &list[i], 1, 0) == 1)
			keys->has_roots = true;
		else
			gnutls_x509_crt_deinit(list[i]);
	}
	gnutls_free(list);
	return rc;
}

/* One number of a JSON web key. */
static int get_number(const struct json *jwk, const char *name, struct buf *out, struct err *err)
{
	const char *text = json_get_string(jwk, name);

	if (!text || base64_decode(text, strlen(text), out, err) < 0 || out->len == 0)
		return err_set(err, ERR_INVALID, "%s: it must be a number in base64url", name);
	return 0;
}

static int import_numbers(gnutls_pubkey_t key, bool rsa, const struct buf *a, const struct buf *b)
{
	gnutls_datum_t first = datum_of(a->data, a->len), second = datum_of(b->data, b->len);

	return rsa ? gnutls_pubkey_import_rsa_raw(key, &first, &second)
	           : gnutls_pubkey_import_ecc_raw(key, GNUTLS_ECC_CURVE_SECP256R1, &first, &second);
}

static int add_web_key(struct jwt_keys *keys, const struct json *jwk, struct err *err)
{
	bool rsa = str_eq(json_get_string(jwk, "kty"), "RSA");
	bool ec = str_eq(json_get_string(jwk, "kty"), "EC") &&
	          str_eq(json_get_string(jwk, "crv"), "P-256");
	auto_buf struct buf a = BUF_INIT(SIGNATURE_MAX), b = BUF_INIT(SIGNATURE_MAX);
	gnutls_pubkey_t key = NULL;

	if ((!rsa && !ec) || str_eq(json_get_string(jwk, "use"), "enc"))
		return 0;
	if (get_number(jwk, rsa ? "n" : "x", &a, err) < 0 ||
	    get_number(jwk, rsa ? "e" : "y", &b, err) < 0)
		return -1;
	int rc = gnutls_pubkey_init(&key);
	if (rc < 0)
		return fail(err, "key", rc);
	rc = import_numbers(key, rsa, &a, &b);
	if (rc < 0) {
		gnutls_pubkey_deinit(key);
		return fail(err, "key", rc);
	}
	return add_key(keys, key, err);
}

int jwt_keys_add_set(struct jwt_keys *keys, const char *text, size_t len, struct err *err)
{
	auto_type(json) doc = json_parse(text, len, err);
	const struct json *list = json_get(doc, "keys");

	if (!doc)
		return -1;
	if (!json_is_array(list))
		return err_set(err, ERR_INVALID, "keys: it must be an array of JSON web keys");
	for (size_t i = 0; i < json_count(list); i++)
		if (add_web_key(keys, json_at(list, i), err) < 0)
			return err_wrap(err, "keys[%zu]", i);
	return 0;
}

int jwt_keys_add_signer(struct jwt_keys *keys, const struct jwt_signer *signer, struct err *err)
{
	gnutls_datum_t x = {0}, y = {0};
	gnutls_pubkey_t key = NULL;
	int rc = gnutls_x509_privkey_export_ecc_raw(signer->key, NULL, &x, &y, NULL);

	if (rc == 0)
		rc = gnutls_pubkey_init(&key);
	if (rc == 0)
		rc = gnutls_pubkey_import_ecc_raw(key, GNUTLS_ECC_CURVE_SECP256R1, &x, &y);
	gnutls_free(x.data);
	gnutls_free(y.data);
	if (rc == 0)
		return add_key(keys, key, err);
	if (key)
		gnutls_pubkey_deinit(key);
	return fail(err, "key", rc);
}

/* ---- a token ---- */

/* "header.claims.signature", its parts. */
struct parts {
	const char *header, *claims, *signature;
	size_t header_len, claims_len, signature_len;
};

static int split(const char *token, struct parts *p, struct err *err)
{
	size_t len = strnlen(token, JWT_MAX + 1);
	const char *first = memchr(token, '.', len);
	const char *second =
		first ? memchr(first + 1, '.', len - (size_t)(first + 1 - token)) : NULL;

	if (len > JWT_MAX)
		return err_set(err, ERR_INVALID, "the token is longer than %d bytes", JWT_MAX);
	if (!second || memchr(second + 1, '.', len - (size_t)(second + 1 - token)))
		return err_set(err, ERR_INVALID, "a token is header.claims.signature");
	*p = (struct parts){
		.header = token,
		.header_len = (size_t)(first - token),
		.claims = first + 1,
		.claims_len = (size_t)(second - first - 1),
		.signature = second + 1,
		.signature_len = len - (size_t)(second + 1 - token),
	};
	return 0;
}

static struct json *decode_part(const char *text, size_t len, struct err *err)
{
	auto_buf struct buf plain = BUF_INIT(JWT_MAX);

	if (base64_decode(text, len, &plain, err) < 0)
		return NULL;
	auto_type(json) doc = json_parse(buf_str(&plain), plain.len, err);
	if (doc && !json_is_object(doc)) {
		err_set(err, ERR_INVALID, "the parts of a token must be JSON objects");
		return NULL;
	}
	return move_ptr(doc);
}

/* RFC 7518 has the two numbers side by side, everybody else as DER. */
static int ecdsa_der(const struct buf *raw, gnutls_datum_t *der)
{
	gnutls_datum_t r = datum_of(raw->data, COORDINATE);
	gnutls_datum_t s = datum_of(raw->data + COORDINATE, COORDINATE);

	for (; r.size > 1 && r.data[0] == 0; r.size--)
		r.data++;
	for (; s.size > 1 && s.data[0] == 0; s.size--)
		s.data++;
	return gnutls_encode_rs_value(der, &r, &s);
}

static bool key_fits(gnutls_pubkey_t key, bool is_rsa, const gnutls_datum_t *signed_text,
                     const gnutls_datum_t *signature)
{
	return gnutls_pubkey_verify_data2(
		       key, is_rsa ? GNUTLS_SIGN_RSA_SHA256 : GNUTLS_SIGN_ECDSA_SHA256, 0,
		       signed_text, signature) >= 0;
}

/* The certificates of "x5c", the signer's first. How many; 0: none that can be used. */
static unsigned read_chain(const struct json *x5c, gnutls_x509_crt_t chain[CHAIN_MAX])
{
	unsigned count = 0;

	if (json_count(x5c) > CHAIN_MAX)
		return 0;
	for (size_t i = 0; i < json_count(x5c); i++) {
		const char *text = json_str(json_at(x5c, i));
		auto_buf struct buf der = BUF_INIT(CERTIFICATE_MAX);
		bool ok = text && base64_decode(text, strlen(text), &der, NULL) == 0 &&
		          gnutls_x509_crt_init(&chain[count]) == 0;
		gnutls_datum_t in = datum_of(der.data, der.len);

		if (ok && gnutls_x509_crt_import(chain[count], &in, GNUTLS_X509_FMT_DER) < 0) {
			gnutls_x509_crt_deinit(chain[count]);
			ok = false;
		}
		if (!ok)
			break;
		count++;
	}
	return count;
}

/* The key of the certificate that the token brings, when ours vouch for it. */
static bool chain_fits(const struct jwt_keys *keys, const struct json *x5c, bool wants_rsa,
                       const gnutls_datum_t *signed_text, const gnutls_datum_t *signature)
{
	gnutls_x509_crt_t chain[CHAIN_MAX];
	unsigned count = keys->has_roots ? read_chain(x5c, chain) : 0, status = 0;
	gnutls_pubkey_t key = NULL;
	bool is_rsa = false;
	bool fits = count > 0 &&
	            gnutls_x509_trust_list_verify_crt(keys->roots, chain, count, 0, &status,
	                                              NULL) == 0 &&
	            status == 0 && gnutls_pubkey_init(&key) == 0 &&
	            gnutls_pubkey_import_x509(key, chain[0], 0) == 0 &&
	            kind_of(key, &is_rsa, NULL) == 0 && is_rsa == wants_rsa &&
	            key_fits(key, is_rsa, signed_text, signature);

	if (key)
		gnutls_pubkey_deinit(key);
	for (unsigned i = 0; i < count; i++)
		gnutls_x509_crt_deinit(chain[i]);
	return fits;
}

static bool any_fits(const struct jwt_keys *keys, const struct json *header, bool wants_rsa,
                     const gnutls_datum_t *signed_text, const gnutls_datum_t *signature)
{
	for (size_t i = 0; i < keys->count; i++)
		if (keys->is_rsa[i] == wants_rsa &&
		    key_fits(keys->items[i], wants_rsa, signed_text, signature))
			return true;
	return chain_fits(keys, json_get(header, "x5c"), wants_rsa, signed_text, signature);
}

static int check_signature(const struct jwt_keys *keys, const struct json *header,
                           const struct parts *p, struct err *err)
{
	const char *algorithm = json_get_string(header, "alg");
	bool rsa = str_eq(algorithm, "RS256"), ec = str_eq(algorithm, "ES256");
	gnutls_datum_t text = datum_of(p->header, p->header_len + 1 + p->claims_len), der = {0};
	auto_buf struct buf raw = BUF_INIT(SIGNATURE_MAX);

	if (!rsa && !ec)
		return err_set(err, ERR_INVALID, "the token's algorithm must be RS256 or ES256");
	if (json_get(header, "crit"))
		return err_set(err, ERR_INVALID, "the token has critical extensions");
	if (base64_decode(p->signature, p->signature_len, &raw, err) < 0)
		return -1;
	if (ec && (raw.len != 2 * COORDINATE || ecdsa_der(&raw, &der) < 0))
		return err_set(err, ERR_INVALID, "the token's signature is malformed");
	gnutls_datum_t plain = datum_of(raw.data, raw.len);
	bool fits = raw.len > 0 && any_fits(keys, header, rsa, &text, ec ? &der : &plain);
	gnutls_free(der.data);
	return fits ? 0 : err_set(err, ERR_DENIED, "no trusted key has signed the token");
}

struct json *jwt_verify(const struct jwt_keys *keys, const char *token, struct err *err)
{
	struct parts p;

	if (split(token, &p, err) < 0)
		return NULL;
	auto_type(json) header = decode_part(p.header, p.header_len, err);
	if (!header || check_signature(keys, header, &p, err) < 0)
		return NULL;
	return decode_part(p.claims, p.claims_len, err);
}

/* ---- signing ---- */

struct jwt_signer *jwt_signer_create(const char *pem, struct err *err)
{
	auto_type(jwt_signer) signer = calloc(1, sizeof(*signer));
	gnutls_datum_t in = datum_of(pem, pem ? strlen(pem) : 0);

	if (!signer || gnutls_x509_privkey_init(&signer->key) < 0) {
		err_nomem(err);
		return NULL;
	}
	int rc = pem ? gnutls_x509_privkey_import(signer->key, &in, GNUTLS_X509_FMT_PEM)
	             : gnutls_x509_privkey_generate(
			       signer->key, GNUTLS_PK_ECDSA,
			       GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0);
	if (rc < 0) {
		fail(err, "private key", rc);
		return NULL;
	}
	return move_ptr(signer);
}

void jwt_signer_free(struct jwt_signer *signer)
{
	if (signer && signer->key)
		gnutls_x509_privkey_deinit(signer->key);
	free(signer);
}

int jwt_signer_pem(const struct jwt_signer *signer, struct buf *out, struct err *err)
{
	gnutls_datum_t text = {0};
	int rc = gnutls_x509_privkey_export2(signer->key, GNUTLS_X509_FMT_PEM, &text);

	if (rc < 0)
		return fail(err, "private key", rc);
	buf_add_mem(out, text.data, text.size);
	explicit_bzero(text.data, text.size);
	gnutls_free(text.data);
	return buf_check(out, err);
}

/* A number with its leading zeros, as many bytes as the curve has. */
static void put_number(const gnutls_datum_t *number, uint8_t out[COORDINATE])
{
	const uint8_t *data = number->data;
	size_t size = number->size;

	for (; size > COORDINATE; size--)
		data++;
	memset(out, 0, COORDINATE - size);
	memcpy(out + COORDINATE - size, data, size);
}

/* "Data" of GnuTLS is the bytes themselves: it hashes them. */
static int sign_text(gnutls_x509_privkey_t own, const struct buf *text, size_t from,
                     uint8_t raw[2 * COORDINATE])
{
	gnutls_datum_t in = datum_of(text->data + from, text->len - from), der = {0}, r = {0},
		       s = {0};
	gnutls_privkey_t key = NULL;
	int rc = gnutls_privkey_init(&key);

	if (rc == 0)
		rc = gnutls_privkey_import_x509(key, own, 0);
	if (rc == 0)
		rc = gnutls_privkey_sign_data2(key, GNUTLS_SIGN_ECDSA_SHA256, 0, &in, &der);
	if (rc == 0)
		rc = gnutls_decode_rs_value(&der, &r, &s);
	if (rc == 0) {
		put_number(&r, raw);
		put_number(&s, raw + COORDINATE);
	}
	gnutls_free(der.data);
	gnutls_free(r.data);
	gnutls_free(s.data);
	if (key)
		gnutls_privkey_deinit(key);
	return rc;
}

int jwt_sign(const struct jwt_signer *signer, const struct json *claims, struct buf *out,
             struct err *err)
{
	auto_buf struct buf text = BUF_INIT(JWT_MAX);
	uint8_t raw[2 * COORDINATE];
	size_t from = out->len;

	if (json_write(claims, &text, err) < 0 || buf_check(&text, err) < 0)
		return -1;
	base64url_encode(ES256_HEADER, strlen(ES256_HEADER), out);
	buf_add(out, ".");
	base64url_encode(text.data, text.len, out);
	if (buf_check(out, err) < 0)
		return -1;
	int rc = sign_text(signer->key, out, from, raw);
	if (rc < 0)
		return fail(err, "signing a token", rc);
	buf_add(out, ".");
	base64url_encode(raw, sizeof(raw), out);
	return buf_check(out, err);
}
