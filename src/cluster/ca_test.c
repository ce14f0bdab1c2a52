/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/ca.h"

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/testing.h"
#include "cluster/token.h"

struct bench {
	struct ca_identity root;
	char *key, *request, *cert;
};

static void bench_make(struct bench *b, bool manager)
{
	struct ca_subject subject = {.node_id = "n1", .cluster_id = "c1", .manager = manager};

	*b = (struct bench){0};
	assert_int_equal(ca_make("c1", &b->root, NULL), 0);
	assert_int_equal(ca_request(&b->key, &b->request, NULL), 0);
	assert_int_equal(ca_sign(&b->root, b->request, &subject, &b->cert, NULL), 0);
}

static void bench_done(struct bench *b)
{
	ca_identity_done(&b->root);
	free(b->key);
	free(b->request);
	free(b->cert);
}

static gnutls_x509_crt_t parse(const char *text)
{
	gnutls_datum_t in = {(unsigned char *)text, (unsigned)strlen(text)};
	gnutls_x509_crt_t crt;

	assert_int_equal(gnutls_x509_crt_init(&crt), 0);
	assert_int_equal(gnutls_x509_crt_import(crt, &in, GNUTLS_X509_FMT_PEM), 0);
	return crt;
}

static unsigned verdict(const char *ca_text, const char *cert_text)
{
	gnutls_x509_crt_t ca = parse(ca_text), crt = parse(cert_text);
	unsigned status = 0;

	assert_int_equal(gnutls_x509_crt_verify(crt, &ca, 1, 0, &status), 0);
	gnutls_x509_crt_deinit(ca);
	gnutls_x509_crt_deinit(crt);
	return status;
}

static bool has_manager_name(const char *text)
{
	gnutls_x509_crt_t crt = parse(text);
	bool yes = gnutls_x509_crt_check_hostname(crt, CA_MANAGER_NAME);

	gnutls_x509_crt_deinit(crt);
	return yes;
}

static void assert_name(const char *text, const char *oid, const char *expected)
{
	gnutls_x509_crt_t crt = parse(text);
	char value[64];
	size_t len = sizeof(value);

	assert_int_equal(gnutls_x509_crt_get_dn_by_oid(crt, oid, 0, 0, value, &len), 0);
	assert_string_equal(value, expected);
	len = sizeof(value);
	assert_int_equal(gnutls_x509_crt_get_dn_by_oid(crt, oid, 1, 0, value, &len),
	                 GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE);
	gnutls_x509_crt_deinit(crt);
}

static void node_certificate_names_node_role_and_cluster(void **state)
{
	(void)state;
	struct bench b;

	bench_make(&b, false);
	assert_int_equal(verdict(b.root.cert, b.cert), 0);
	assert_name(b.cert, GNUTLS_OID_X520_COMMON_NAME, "n1");
	assert_name(b.cert, GNUTLS_OID_X520_ORGANIZATIONAL_UNIT_NAME, CA_ROLE_WORKER);
	assert_name(b.cert, GNUTLS_OID_X520_ORGANIZATION_NAME, "c1");
	bench_done(&b);
}

static void only_managers_carry_the_managers_name(void **state)
{
	(void)state;
	struct bench worker, manager;

	bench_make(&worker, false);
	bench_make(&manager, true);
	assert_false(has_manager_name(worker.cert));
	assert_true(has_manager_name(manager.cert));
	bench_done(&worker);
	bench_done(&manager);
}

static void certificate_of_another_cluster_is_not_valid(void **state)
{
	(void)state;
	struct bench a, b;

	bench_make(&a, false);
	bench_make(&b, false);
	assert_int_not_equal(verdict(a.root.cert, b.cert), 0);
	bench_done(&a);
	bench_done(&b);
}

static void a_node_cannot_sign_others(void **state)
{
	(void)state;
	struct bench b;
	struct ca_subject subject = {.node_id = "n2", .cluster_id = "c1", .manager = true};
	char *cert = NULL;

	bench_make(&b, true);
	struct ca_identity fake = {.cert = b.cert, .key = b.key};
	assert_int_equal(ca_sign(&fake, b.request, &subject, &cert, NULL), 0);
	assert_int_not_equal(verdict(b.root.cert, cert), 0);
	free(cert);
	bench_done(&b);
}

static void a_proof_is_of_one_key_and_one_text(void **state)
{
	(void)state;
	struct bench b, other;
	char node_id[ID_SWARM_MAX];

	bench_make(&b, false);
	bench_make(&other, false);
	auto_free char *proof = ca_prove(b.key, "request", NULL);
	auto_free char *foreign = ca_prove(other.key, "request", NULL);
	assert_int_equal(ca_check_proof(b.root.cert, b.cert, "request", proof, node_id, NULL), 0);
	assert_string_equal(node_id, "n1");
	assert_int_equal(ca_check_proof(b.root.cert, b.cert, "other", proof, node_id, NULL), -1);
	assert_int_equal(ca_check_proof(b.root.cert, b.cert, "request", foreign, node_id, NULL),
	                 -1);
	assert_int_equal(ca_check_proof(b.root.cert, other.cert, "request", foreign, node_id, NULL),
	                 -1); /* of another cluster */
	assert_int_equal(ca_check_proof(b.root.cert, b.cert, "request", "", node_id, NULL), -1);
	assert_int_equal(ca_check_proof(b.root.cert, NULL, "request", proof, node_id, NULL), -1);
	bench_done(&b);
	bench_done(&other);
}

static void a_proof_outlives_the_certificate_but_not_its_kind(void **state)
{
	(void)state;
	struct bench b;
	char node_id[ID_SWARM_MAX];
	int64_t from, until;
	auto_free char *old = NULL, *etcd = NULL;

	bench_make(&b, true);
	struct ca_subject subject = {.node_id = "n1", .cluster_id = "c1", .seconds = 1};
	assert_int_equal(ca_sign(&b.root, b.request, &subject, &old, NULL), 0);
	assert_int_equal(ca_dates(old, &from, &until, NULL), 0);
	assert_int_equal(until - from, 1);
	while (verdict(b.root.cert, old) == 0)
		clock_sleep_ms(100);
	auto_free char *proof = ca_prove(b.key, "request", NULL);
	assert_int_equal(ca_check_proof(b.root.cert, old, "request", proof, node_id, NULL), 0);
	subject.etcd_ip = "10.0.0.1"; /* which is no node's */
	assert_int_equal(ca_sign(&b.root, b.request, &subject, &etcd, NULL), 0);
	assert_int_equal(ca_check_proof(b.root.cert, etcd, "request", proof, node_id, NULL), -1);
	bench_done(&b);
}

static void the_present_root_vouches_for_the_next(void **state)
{
	(void)state;
	struct bench b, next, foreign;
	uint8_t digest[HASH_SIZE];
	char all[16 << 10];
	struct err err = ERR_INIT;

	bench_make(&b, false);
	bench_make(&next, true);
	bench_make(&foreign, true);
	auto_free char *cross = ca_cross_sign(&b.root, next.root.cert, NULL);
	assert_non_null(cross);
	snprintf(all, sizeof(all), "%s%s%s%s", b.root.cert, next.root.cert, cross,
	         foreign.root.cert);
	assert_int_equal(ca_digest(b.root.cert, digest, NULL), 0);
	auto_free char *vouched = ca_vouched(all, digest, NULL);
	snprintf(all, sizeof(all), "%s%s", b.root.cert, cross);
	assert_string_equal(vouched, all);
	/* What the next root has signed is good then, and nobody else's. */
	assert_int_equal(verdict(cross, next.cert), 0);
	assert_int_not_equal(verdict(cross, foreign.cert), 0);
	digest[0] ^= 1;
	assert_null(ca_vouched(all, digest, &err));
	assert_int_equal(err.kind, ERR_DENIED);
	bench_done(&b);
	bench_done(&next);
	bench_done(&foreign);
}

static void the_issuer_is_found_among_several(void **state)
{
	(void)state;
	struct bench b, next;
	char both[8 << 10], node_id[ID_SWARM_MAX];
	auto_free char *subject = NULL, *key = NULL, *own_subject = NULL, *own_key = NULL;

	bench_make(&b, false);
	bench_make(&next, false);
	snprintf(both, sizeof(both), "%s%s", b.root.cert, next.root.cert);
	assert_int_equal(ca_issuer(both, next.cert, &subject, &key, NULL), 0);
	assert_int_equal(ca_describe(next.root.cert, &own_subject, &own_key, NULL), 0);
	assert_string_equal(subject, own_subject);
	assert_string_equal(key, own_key);
	assert_int_equal(ca_issuer(b.root.cert, next.cert, &subject, &key, NULL), -1);
	auto_free char *proof = ca_prove(next.key, "request", NULL);
	assert_int_equal(ca_check_proof(both, next.cert, "request", proof, node_id, NULL), 0);
	assert_int_equal(ca_check_proof(b.root.cert, next.cert, "request", proof, node_id, NULL),
	                 -1);
	bench_done(&b);
	bench_done(&next);
}

/* PKCS #8, as `openssl req -x509 -newkey ec` writes it. */
static char *as_pkcs8(const char *text)
{
	gnutls_datum_t in = {(unsigned char *)text, (unsigned)strlen(text)}, out = {0};
	gnutls_x509_privkey_t key;

	assert_int_equal(gnutls_x509_privkey_init(&key), 0);
	assert_int_equal(gnutls_x509_privkey_import(key, &in, GNUTLS_X509_FMT_PEM), 0);
	assert_int_equal(gnutls_x509_privkey_export2_pkcs8(key, GNUTLS_X509_FMT_PEM, NULL,
	                                                   GNUTLS_PKCS_PLAIN, &out),
	                 0);
	gnutls_x509_privkey_deinit(key);
	char *copy = strndup((const char *)out.data, out.size);
	gnutls_free(out.data);
	return copy;
}

static void a_root_of_the_users_signs(void **state)
{
	(void)state;
	struct ca_subject subject = {.node_id = "n1", .cluster_id = "c1"};
	struct ca_identity taken = {0};
	struct bench b;
	auto_free char *cert = NULL;

	bench_make(&b, false);
	auto_free char *key = as_pkcs8(b.root.key);
	assert_non_null(strstr(key, "BEGIN PRIVATE KEY"));
	assert_int_equal(ca_take(b.root.cert, key, &taken, NULL), 0);
	assert_int_equal(ca_sign(&taken, b.request, &subject, &cert, NULL), 0);
	assert_int_equal(verdict(taken.cert, cert), 0);
	ca_identity_done(&taken);
	bench_done(&b);
}

static void a_root_that_is_none_is_not_taken(void **state)
{
	(void)state;
	struct bench b, other;
	struct ca_identity taken = {0};
	char two[8 << 10];

	bench_make(&b, true);
	bench_make(&other, true);
	assert_int_equal(ca_take(b.root.cert, b.root.key, &taken, NULL), 0);
	assert_string_equal(taken.cert, b.root.cert);
	ca_identity_done(&taken);
	assert_int_equal(ca_take(b.cert, b.key, &taken, NULL), -1); /* may not sign */
	auto_free char *cross = ca_cross_sign(&b.root, other.root.cert, NULL);
	assert_int_equal(ca_take(cross, other.root.key, &taken, NULL), -1);
	assert_int_equal(ca_take(b.root.cert, other.root.key, &taken, NULL), -1);
	snprintf(two, sizeof(two), "%s%s", b.root.cert, other.root.cert);
	assert_int_equal(ca_take(two, b.root.key, &taken, NULL), -1);
	assert_int_equal(ca_take(b.root.cert, "no key", &taken, NULL), -1);
	assert_null(taken.cert);
	bench_done(&b);
	bench_done(&other);
}

static void request_that_is_none_is_refused(void **state)
{
	(void)state;
	struct bench b;
	struct err err = ERR_INIT;
	struct ca_subject subject = {.node_id = "n2", .cluster_id = "c1"};
	char *cert = NULL;

	bench_make(&b, false);
	assert_int_equal(ca_sign(&b.root, "nonsense", &subject, &cert, &err), -1);
	assert_int_equal(err.kind, ERR_INVALID);
	assert_null(cert);
	bench_done(&b);
}

static void token_carries_the_digest_of_the_ca(void **state)
{
	(void)state;
	struct bench b;
	uint8_t digest[HASH_SIZE], again[HASH_SIZE];
	char token[TOKEN_MAX], other[TOKEN_MAX];

	bench_make(&b, false);
	assert_int_equal(ca_digest(b.root.cert, digest, NULL), 0);
	token_make(digest, token);
	token_make(digest, other);
	assert_int_equal(strlen(token), TOKEN_MAX - 1);
	assert_int_equal(token_parse(token, again, NULL), 0);
	assert_memory_equal(digest, again, HASH_SIZE);
	assert_true(token_equal(token, token));
	assert_false(token_equal(token, other));
	bench_done(&b);
}

static void token_with_a_wrong_letter_or_length_is_refused(void **state)
{
	(void)state;
	uint8_t digest[HASH_SIZE] = {0};
	char token[TOKEN_MAX];
	const size_t places[] = {0, 12, 59, 84};

	for (size_t i = 0; i < 4; i++) {
		token_make(digest, token);
		token[places[i]] = '_';
		assert_int_equal(token_parse(token, digest, NULL), -1);
	}
	token_make(digest, token);
	token[TOKEN_MAX - 2] = '\0';
	assert_int_equal(token_parse(token, digest, NULL), -1);
	assert_int_equal(token_parse(NULL, digest, NULL), -1);
	assert_int_equal(token_parse("", digest, NULL), -1);
}

static void token_whose_number_is_too_big_is_refused(void **state)
{
	(void)state;
	uint8_t digest[HASH_SIZE];

	assert_int_equal(token_parse("SWMTKN-1-zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz-"
	                             "0000000000000000000000000",
	                             digest, NULL),
	                 -1);
}

TESTING_MAIN(TEST(node_certificate_names_node_role_and_cluster),
             TEST(only_managers_carry_the_managers_name),
             TEST(certificate_of_another_cluster_is_not_valid), TEST(a_node_cannot_sign_others),
             TEST(a_proof_is_of_one_key_and_one_text),
             TEST(a_proof_outlives_the_certificate_but_not_its_kind),
             TEST(the_present_root_vouches_for_the_next), TEST(the_issuer_is_found_among_several),
             TEST(a_root_of_the_users_signs), TEST(a_root_that_is_none_is_not_taken),
             TEST(request_that_is_none_is_refused), TEST(token_carries_the_digest_of_the_ca),
             TEST(token_with_a_wrong_letter_or_length_is_refused),
             TEST(token_whose_number_is_too_big_is_refused))
