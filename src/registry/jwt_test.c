/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/jwt.h"

#include <gnutls/crypto.h>

#include "base/base64.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "base/testing.h"

#define CLAIMS "{\"iss\":\"service\",\"sub\":\"ann\"}"

/* A key of 2048 bits and a token that it has signed, made with another library. */
#define RSA_N                                                                                      \
	"shaayrLX9RnLp-QppXHJN23CriR712riASSCxiyfKQj2Q252CUlnv8k8E2F2u-iWDZ_MH9KaD3Cgcp4t_HwdjO4U" \
	"HfQCUZAraIOxzoJHVeko8uMxqg1ldfCILYs9XsaX5q_l4jD-vfn3NpshoFG6WFMQq48yy8mb8YLWo5_eN75oeisw" \
	"uLW3a_jSUa8F6BrhPZ-gvao10c4s2wSnw3b1I5KkZSzrE5wt_ZFyhMo0fP53eeV8DFv5LYYOR8zZBTDcmcj-cQTE" \
	"RzmH3s9c1zx0dloBFD-1kvc4hjW7LruCVitwL0y6Lemm48K1UIvcWEIAePzC_xPLBkcPNVrIuGmUkQ"
#define RSA_TOKEN                                                                                  \
	"eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJzZXJ2aWNlIiwic3ViIjoiYW5uIn0.UtYxwEyfNZW" \
	"v6AYm3N5HfKVGkmJY0wk930TjWi4S9OpLWgJJwGnftKLk1BmnECG2jEJOBVH9YlR_TqZWdExVpSIYB9B9pzSzfJr" \
	"xDK4FkZYndoqMuzLtDtDCRjVKFGFzPMhk64n3JM-R9rmYd_DCoL6jbfIrutv0a92p2IFrQ5SfH-qeEKPCDrpAf0z" \
	"ayTk1BX8F_19_TFY00cmoxpSeGN9x57mYohHf7K9g3PbjZNNHvmXGx708Oww_23pCKvt8Srcbe8encMdJ9xSnSHZ" \
	"sLgfTZBUj6GddpX90EiI888j0_nU0b_HKTzySxu0XqSejXwLloexWaHVa9vY6JagTVw"
#define RSA_SET(n)                                                                                 \
	"{\"keys\":[{\"kty\":\"oct\",\"k\":\"AAAA\"},{\"kty\":\"RSA\",\"n\":\"" n                  \
	"\",\"e\":\"AQAB\"}]}"

struct fixture {
	struct jwt_signer *signer;
	struct jwt_keys *keys;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->signer = jwt_signer_create(NULL, NULL);
	f->keys = jwt_keys_create(NULL);
	*state = f;
	return jwt_keys_add_signer(f->keys, f->signer, NULL);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	jwt_signer_free(f->signer);
	jwt_keys_free(f->keys);
	free(f);
	return 0;
}

static void sign(const struct jwt_signer *signer, struct buf *out)
{
	auto_type(json) claims = json_parse(CLAIMS, strlen(CLAIMS), NULL);

	assert_int_equal(jwt_sign(signer, claims, out, NULL), 0);
}

static bool passes(const struct jwt_keys *keys, const char *token, struct err *err)
{
	auto_type(json) claims = jwt_verify(keys, token, err);

	if (claims)
		assert_string_equal(json_get_string(claims, "sub"), "ann");
	return claims;
}

static void what_one_signs_passes_also_with_its_key_read_back(void **state)
{
	struct fixture *f = *state;
	auto_buf struct buf pem = BUF_INIT(4096);

	assert_int_equal(jwt_signer_pem(f->signer, &pem, NULL), 0);
	auto_type(jwt_signer) again = jwt_signer_create(buf_str(&pem), NULL);
	assert_non_null(again);
	/* Numbers with leading zeros come about once in 128 signatures. */
	for (int i = 0; i < 600; i++) {
		auto_buf struct buf token = BUF_INIT(JWT_MAX);

		sign(i % 2 ? again : f->signer, &token);
		assert_true(passes(f->keys, buf_str(&token), NULL));
	}
}

static void rs256_of_a_key_set_passes(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;

	assert_false(passes(f->keys, RSA_TOKEN, &err)); /* control: that key is not trusted yet */
	assert_int_equal(err.kind, ERR_DENIED);
	assert_int_equal(jwt_keys_add_set(f->keys, RSA_SET(RSA_N), strlen(RSA_SET(RSA_N)), &err),
	                 0);
	assert_int_equal(jwt_keys_count(f->keys), 2); /* the shared secret is passed over */
	assert_true(passes(f->keys, RSA_TOKEN, &err));
}

static void weak_and_malformed_keys_are_refused(void **state)
{
	static const char *const sets[] = {
		RSA_SET("wVw0cMHKyhp5mFSP4MQdTzPxk5b8WbXEcVZzkvCb"), /* short */
		"{\"keys\":[{\"kty\":\"RSA\",\"n\":\"!\",\"e\":\"AQAB\"}]}",
		"{\"keys\":[{\"kty\":\"RSA\",\"e\":\"AQAB\"}]}",
		"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AQ\"}]}",
		"{\"keys\":3}",
		"[]",
		"",
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++) {
		struct err err = ERR_INIT;

		assert_int_equal(jwt_keys_add_set(f->keys, sets[i], strlen(sets[i]), &err), -1);
		assert_int_equal(err.kind, ERR_INVALID);
	}
	assert_int_equal(jwt_keys_add_pem(f->keys, "no", 2, NULL), -1);
	assert_int_equal(jwt_keys_count(f->keys), 1);
}

/* A token with this header and the good claims; `signature` as bytes. */
static void forge(const char *header, const void *signature, size_t len, struct buf *out)
{
	base64url_encode(header, strlen(header), out);
	buf_add(out, ".");
	base64url_encode(CLAIMS, strlen(CLAIMS), out);
	buf_add(out, ".");
	base64url_encode(signature, len, out);
}

static void refused(const struct fixture *f, const char *token, enum err_kind kind)
{
	struct err err = ERR_INIT;

	assert_false(passes(f->keys, token, &err));
	assert_int_equal(err.kind, kind);
}

static void a_header_cannot_choose_how_it_is_checked(void **state)
{
	static const char zeros[64];
	static const struct {
		const char *header;
		size_t len;
		enum err_kind kind;
	} rows[] = {
		{"{\"alg\":\"none\"}", 0, ERR_INVALID},
		{"{\"alg\":\"None\"}", 0, ERR_INVALID},
		{"{\"typ\":\"JWT\"}", 64, ERR_INVALID},
		{"{\"alg\":[\"ES256\"]}", 64, ERR_INVALID},
		{"{\"alg\":\"ES256\",\"alg\":\"none\"}", 64, ERR_INVALID},
		{"{\"alg\":\"ES256\",\"crit\":[\"x\"]}", 64, ERR_INVALID},
		{"{\"alg\":\"ES256\"}", 0, ERR_INVALID},
		{"{\"alg\":\"ES256\"}", 63, ERR_INVALID},
		{"{\"alg\":\"ES256\"}", 64,
	         ERR_DENIED}, /* r = s = 0 fits every message where nobody looks */
		{"{\"alg\":\"RS256\"}", 64, ERR_DENIED},
	};
	struct fixture *f = *state;
	auto_buf struct buf good = BUF_INIT(JWT_MAX);

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		auto_buf struct buf token = BUF_INIT(JWT_MAX);

		forge(rows[i].header, zeros, rows[i].len, &token);
		refused(f, buf_str(&token), rows[i].kind);
	}
	sign(f->signer, &good); /* control */
	assert_true(passes(f->keys, buf_str(&good), NULL));
}

static void a_public_key_is_no_shared_secret(void **state)
{
	static const char header[] = "{\"alg\":\"HS256\"}";
	static const char key[] = RSA_SET(RSA_N);
	struct fixture *f = *state;
	auto_buf struct buf token = BUF_INIT(JWT_MAX), text = BUF_INIT(JWT_MAX);
	uint8_t mac[32];

	assert_int_equal(jwt_keys_add_set(f->keys, key, strlen(key), NULL), 0);
	base64url_encode(header, strlen(header), &text);
	buf_add(&text, ".");
	base64url_encode(CLAIMS, strlen(CLAIMS), &text);
	gnutls_hmac_fast(GNUTLS_MAC_SHA256, key, strlen(key), text.data, text.len, mac);
	forge(header, mac, sizeof(mac), &token);
	refused(f, buf_str(&token), ERR_INVALID);
	assert_true(passes(f->keys, RSA_TOKEN, NULL)); /* control: the key itself is trusted */
}

static void a_key_that_the_token_brings_does_not_count(void **state)
{
	struct fixture *f = *state;
	auto_type(jwt_signer) stranger = jwt_signer_create(NULL, NULL);
	auto_buf struct buf token = BUF_INIT(JWT_MAX);

	sign(stranger, &token);
	refused(f, buf_str(&token), ERR_DENIED);
	assert_int_equal(jwt_keys_add_signer(f->keys, stranger, NULL), 0); /* control */
	assert_true(passes(f->keys, buf_str(&token), NULL));
}

static void what_was_changed_cut_or_blown_up_is_refused(void **state)
{
	struct fixture *f = *state;
	auto_buf struct buf token = BUF_INIT(JWT_MAX);
	auto_free char *huge = malloc(4 * JWT_MAX);

	sign(f->signer, &token);
	for (size_t i = 0; i < token.len; i++) { /* no byte may change (the last holds idle bits) */
		char was = token.data[i];

		if (was == '.' || i + 1 == token.len)
			continue;
		token.data[i] = was == 'A' ? 'B' : 'A';
		assert_false(passes(f->keys, token.data, NULL));
		token.data[i] = was;
	}
	assert_true(passes(f->keys, token.data, NULL)); /* control */
	for (size_t i = 0; i < token.len; i++) {
		auto_free char *cut = strndup(token.data, i);

		assert_false(passes(f->keys, cut, NULL));
	}
	memset(huge, 'e', 4 * JWT_MAX - 1);
	huge[4 * JWT_MAX - 1] = '\0';
	refused(f, huge, ERR_INVALID);
	huge[10] = huge[20] = '.';
	refused(f, huge, ERR_INVALID);
	for (const char *bad = "."; strlen(bad) < 2; bad = "..")
		refused(f, bad, ERR_INVALID);
}

#define WITH(fn) TEST_WITH(fn, setup, teardown)

TESTING_MAIN(WITH(what_one_signs_passes_also_with_its_key_read_back),
             WITH(rs256_of_a_key_set_passes), WITH(weak_and_malformed_keys_are_refused),
             WITH(a_header_cannot_choose_how_it_is_checked), WITH(a_public_key_is_no_shared_secret),
             WITH(a_key_that_the_token_brings_does_not_count),
             WITH(what_was_changed_cut_or_blown_up_is_refused))
