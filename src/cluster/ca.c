/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/ca.h"

#include <arpa/inet.h>
#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <string.h>

#include "base/base64.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/id.h"

#define DAY            86400
#define ROOT_DAYS      (20 * 365)
#define LONG_DAYS      (10 * 365)
#define CLOCK_SLACK    3600 /* clocks of machines differ */
#define SERIAL_SIZE    16
#define REQUEST_MAX    8192
#define ROOTS_MAX      8
#define ROOTS_TEXT     (64u << 10)
#define LASTS_AT_LEAST DAY
#define SECONDS(days)  ((int64_t)(days)*DAY)

static void drop_key(gnutls_x509_privkey_t *key)
{
	if (*key)
		gnutls_x509_privkey_deinit(*key);
}

static void drop_crt(gnutls_x509_crt_t *crt)
{
	if (*crt)
		gnutls_x509_crt_deinit(*crt);
}

static void drop_crq(gnutls_x509_crq_t *crq)
{
	if (*crq)
		gnutls_x509_crq_deinit(*crq);
}

#define auto_key __attribute__((cleanup(drop_key)))
#define auto_crt __attribute__((cleanup(drop_crt)))
#define auto_crq __attribute__((cleanup(drop_crq)))

/* The first failure of a row of calls: TRY(rc, call) runs the next only while all went well. */
#define TRY(rc, call)                                                                              \
	do {                                                                                       \
		if ((rc) >= 0)                                                                     \
			(rc) = (call);                                                             \
	} while (0)

static int fail(struct err *err, const char *what, int rc)
{
	return err_set(err, rc == GNUTLS_E_MEMORY_ERROR ? ERR_NOMEM : ERR_INVALID, "%s: %s", what,
	               gnutls_strerror(rc));
}

static char *copy_out(gnutls_datum_t *datum, struct err *err)
{
	char *text = strndup((const char *)datum->data, datum->size);

	gnutls_free(datum->data);
	if (!text)
		err_nomem(err);
	return text;
}

static int new_key(gnutls_x509_privkey_t *key)
{
	int rc = gnutls_x509_privkey_init(key);

	TRY(rc, gnutls_x509_privkey_generate(*key, GNUTLS_PK_ECDSA,
	                                     GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0));
	return rc;
}

static int key_text(gnutls_x509_privkey_t key, char **text, struct err *err)
{
	gnutls_datum_t out = {0};
	int rc = gnutls_x509_privkey_export2(key, GNUTLS_X509_FMT_PEM, &out);

	if (rc < 0)
		return fail(err, "private key", rc);
	*text = copy_out(&out, err);
	return *text ? 0 : -1;
}

static int crt_text(gnutls_x509_crt_t crt, char **text, struct err *err)
{
	gnutls_datum_t out = {0};
	int rc = gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &out);

	if (rc < 0)
		return fail(err, "certificate", rc);
	*text = copy_out(&out, err);
	return *text ? 0 : -1;
}

static int read_crt(gnutls_x509_crt_t *crt, const char *text, struct err *err)
{
	gnutls_datum_t in = {(unsigned char *)text, (unsigned)strlen(text)};
	int rc = gnutls_x509_crt_init(crt);

	TRY(rc, gnutls_x509_crt_import(*crt, &in, GNUTLS_X509_FMT_PEM));
	return rc < 0 ? fail(err, "certificate", rc) : 0;
}

static int read_key(gnutls_x509_privkey_t *key, const char *text, struct err *err)
{
	gnutls_datum_t in = {(unsigned char *)text, (unsigned)strlen(text)};
	int rc = gnutls_x509_privkey_init(key);

	TRY(rc, gnutls_x509_privkey_import(*key, &in, GNUTLS_X509_FMT_PEM));
	return rc < 0 ? fail(err, "private key", rc) : 0;
}

/* Certificates that are trusted together. */
struct roots {
	gnutls_x509_crt_t items[ROOTS_MAX];
	unsigned count;
};

static void drop_roots(struct roots *roots)
{
	for (unsigned i = 0; i < roots->count; i++)
		gnutls_x509_crt_deinit(roots->items[i]);
	roots->count = 0;
}

#define auto_roots __attribute__((cleanup(drop_roots)))

static int read_roots(struct roots *roots, const char *text, struct err *err)
{
	gnutls_datum_t in = {(unsigned char *)text, (unsigned)strlen(text)};
	unsigned count = ROOTS_MAX;
	int rc = gnutls_x509_crt_list_import(roots->items, &count, &in, GNUTLS_X509_FMT_PEM,
	                                     GNUTLS_X509_CRT_LIST_IMPORT_FAIL_IF_EXCEED);

	roots->count = rc < 0 ? 0 : count;
	return rc < 0 ? fail(err, "root certificates", rc) : 0;
}

static int set_name(gnutls_x509_crt_t crt, const char *oid, const char *value)
{
	return gnutls_x509_crt_set_dn_by_oid(crt, oid, 0, value, (unsigned)strlen(value));
}

/* What all our certificates have in common. */
static int set_frame(gnutls_x509_crt_t crt, int64_t seconds)
{
	uint8_t serial[SERIAL_SIZE];
	time_t now = (time_t)(clock_wall_ns() / 1000000000);

	id_random(serial, sizeof(serial));
	serial[0] &= 0x7f; /* positive */
	int rc = gnutls_x509_crt_set_version(crt, 3);
	TRY(rc, gnutls_x509_crt_set_serial(crt, serial, sizeof(serial)));
	TRY(rc, gnutls_x509_crt_set_activation_time(crt, now - CLOCK_SLACK));
	TRY(rc, gnutls_x509_crt_set_expiration_time(crt, now + (time_t)seconds));
	return rc;
}

/* ---- the root ---- */

static int set_authority(gnutls_x509_crt_t crt, gnutls_x509_privkey_t key)
{
	int rc = gnutls_x509_crt_set_key(crt, key);

	TRY(rc, gnutls_x509_crt_set_basic_constraints(crt, 1, 0));

	TRY(rc, gnutls_x509_crt_set_key_usage(crt, GNUTLS_KEY_KEY_CERT_SIGN | GNUTLS_KEY_CRL_SIGN));
	return rc;
}

/* Two roots of one cluster differ in their names, too: whoever looks for the issuer of a certificate finds the right one. */
static int set_root_name(gnutls_x509_crt_t crt, const char *cluster_id)
{
	char unit[ID_SWARM_MAX];
	int rc = set_name(crt, GNUTLS_OID_X520_COMMON_NAME, "swarm-ca");

	TRY(rc, set_name(crt, GNUTLS_OID_X520_ORGANIZATIONAL_UNIT_NAME, id_make_swarm(unit)));
	TRY(rc, set_name(crt, GNUTLS_OID_X520_ORGANIZATION_NAME, cluster_id));
	return rc;
}

int ca_make(const char *cluster_id, struct ca_identity *root, struct err *err)
{
	auto_key gnutls_x509_privkey_t key = NULL;
	auto_crt gnutls_x509_crt_t crt = NULL;
	int rc = new_key(&key);

	TRY(rc, gnutls_x509_crt_init(&crt));
	TRY(rc, set_frame(crt, SECONDS(ROOT_DAYS)));
	TRY(rc, set_root_name(crt, cluster_id));
	TRY(rc, set_authority(crt, key));
	TRY(rc, gnutls_x509_crt_sign2(crt, crt, key, GNUTLS_DIG_SHA256, 0));
	if (rc < 0)
		return fail(err, "cluster CA", rc);
	if (key_text(key, &root->key, err) < 0 || crt_text(crt, &root->cert, err) < 0) {
		ca_identity_done(root);
		return -1;
	}
	return 0;
}

/* ---- another root ---- */

static int copy_public_key(gnutls_x509_crt_t to, gnutls_x509_crt_t from)
{
	gnutls_pubkey_t key = NULL;
	int rc = gnutls_pubkey_init(&key);

	if (rc < 0)
		return rc;
	TRY(rc, gnutls_pubkey_import_x509(key, from, 0));
	TRY(rc, gnutls_x509_crt_set_pubkey(to, key));
	gnutls_pubkey_deinit(key);
	return rc;
}

static int copy_subject(gnutls_x509_crt_t to, gnutls_x509_crt_t from)
{
	gnutls_datum_t name = {0};
	int rc = gnutls_x509_crt_get_dn3(from, &name, 0);

	TRY(rc, gnutls_x509_crt_set_dn(to, (const char *)name.data, NULL));
	gnutls_free(name.data);
	return rc;
}

char *ca_cross_sign(const struct ca_identity *root, const char *next, struct err *err)
{
	auto_crt gnutls_x509_crt_t ca = NULL, from = NULL, crt = NULL;
	auto_key gnutls_x509_privkey_t key = NULL;
	char *text = NULL;

	if (read_crt(&ca, root->cert, err) < 0 || read_key(&key, root->key, err) < 0 ||
	    read_crt(&from, next, err) < 0)
		return NULL;
	int rc = gnutls_x509_crt_init(&crt);
	TRY(rc, set_frame(crt, SECONDS(LONG_DAYS)));
	TRY(rc, copy_subject(crt, from));
	TRY(rc, copy_public_key(crt, from));
	TRY(rc, gnutls_x509_crt_set_basic_constraints(crt, 1, 0));
	TRY(rc, gnutls_x509_crt_set_key_usage(crt, GNUTLS_KEY_KEY_CERT_SIGN));
	TRY(rc, gnutls_x509_crt_sign2(crt, ca, key, GNUTLS_DIG_SHA256, 0));
	if (rc < 0)
		fail(err, "the next root, signed by the present one", rc);
	return rc < 0 || crt_text(crt, &text, err) < 0 ? NULL : text;
}

static bool is_key_of(gnutls_x509_privkey_t key, gnutls_x509_crt_t crt)
{
	unsigned char left[HASH_SIZE], right[HASH_SIZE];
	size_t a = sizeof(left), b = sizeof(right);

	return gnutls_x509_privkey_get_key_id(key, GNUTLS_KEYID_USE_SHA256, left, &a) >= 0 &&
	       gnutls_x509_crt_get_key_id(crt, GNUTLS_KEYID_USE_SHA256, right, &b) >= 0 && a == b &&
	       memcmp(left, right, a) == 0;
}

static bool has_signed(gnutls_x509_crt_t root, gnutls_x509_crt_t crt)
{
	unsigned status = 0;
	int rc = gnutls_x509_crt_verify(crt, &root, 1, GNUTLS_VERIFY_DISABLE_TIME_CHECKS, &status);

	return rc >= 0 && status == 0;
}

static int check_root(gnutls_x509_crt_t crt, struct err *err)
{
	time_t now = (time_t)(clock_wall_ns() / 1000000000);
	unsigned usage = 0;

	if (gnutls_x509_crt_get_ca_status(crt, NULL) <= 0 ||
	    (gnutls_x509_crt_get_key_usage(crt, &usage, NULL) >= 0 &&
	     !(usage & GNUTLS_KEY_KEY_CERT_SIGN)))
		return err_set(err, ERR_INVALID, "root certificate: it may not sign others");
	if (!gnutls_x509_crt_check_issuer(crt, crt) || !has_signed(crt, crt))
		return err_set(
			err, ERR_INVALID,
			"root certificate: another one has signed it; the root itself is needed");
	if (gnutls_x509_crt_get_activation_time(crt) > now + CLOCK_SLACK)
		return err_set(err, ERR_INVALID, "root certificate: it is not valid yet");
	if (gnutls_x509_crt_get_expiration_time(crt) < now + LASTS_AT_LEAST)
		return err_set(err, ERR_INVALID,
		               "root certificate: it has expired, or does within a day");
	return 0;
}

/* PKCS #8: the older form that key_text() writes is not read back from every key that was read. */
static int given_key_text(gnutls_x509_privkey_t key, char **text, struct err *err)
{
	gnutls_datum_t out = {0};
	int rc = gnutls_x509_privkey_export2_pkcs8(key, GNUTLS_X509_FMT_PEM, NULL,
	                                           GNUTLS_PKCS_PLAIN, &out);

	if (rc < 0)
		return fail(err, "private key", rc);
	*text = copy_out(&out, err);
	return *text ? 0 : -1;
}

/* It signs: better to know now than when all nodes wait for it. */
static int try_root(const struct ca_identity *root, struct err *err)
{
	char *cross = ca_cross_sign(root, root->cert, err);

	free(cross);
	return cross ? 0 : -1;
}

int ca_take(const char *cert, const char *key, struct ca_identity *root, struct err *err)
{
	auto_roots struct roots given = {0};
	auto_key gnutls_x509_privkey_t k = NULL;

	if (read_roots(&given, cert, err) < 0)
		return -1;
	if (given.count != 1)
		return err_set(err, ERR_INVALID, "root certificate: one is needed, not %u",
		               given.count);
	if (check_root(given.items[0], err) < 0 || read_key(&k, key, err) < 0)
		return -1;
	if (!is_key_of(k, given.items[0]))
		return err_set(err, ERR_INVALID, "the key is not the root certificate's");
	if (crt_text(given.items[0], &root->cert, err) < 0 ||
	    given_key_text(k, &root->key, err) < 0 || try_root(root, err) < 0) {
		ca_identity_done(root);
		return -1;
	}
	return 0;
}

void ca_identity_done(struct ca_identity *identity)
{
	if (identity->key)
		explicit_bzero(identity->key, strlen(identity->key));
	free(identity->key);
	free(identity->cert);
	*identity = (struct ca_identity){0};
}

/* ---- nodes ---- */

int ca_request(char **key, char **request, struct err *err)
{
	auto_key gnutls_x509_privkey_t k = NULL;
	auto_crq gnutls_x509_crq_t crq = NULL;
	gnutls_datum_t out = {0};
	auto_free char *text = NULL;
	int rc = new_key(&k);

	TRY(rc, gnutls_x509_crq_init(&crq));
	TRY(rc, gnutls_x509_crq_set_version(crq, 1));
	TRY(rc, gnutls_x509_crq_set_key(crq, k));
	TRY(rc, gnutls_x509_crq_sign2(crq, k, GNUTLS_DIG_SHA256, 0));
	TRY(rc, gnutls_x509_crq_export2(crq, GNUTLS_X509_FMT_PEM, &out));
	if (rc < 0)
		return fail(err, "certificate request", rc);
	*request = copy_out(&out, err);
	if (!*request)
		return -1;
	if (key_text(k, &text, err) < 0) {
		free(move_ptr(*request));
		return -1;
	}
	*key = move_ptr(text);
	return 0;
}

static int read_request(gnutls_x509_crq_t *crq, const char *text, struct err *err)
{
	gnutls_datum_t in = {(unsigned char *)text, (unsigned)strlen(text)};

	if (in.size > REQUEST_MAX)
		return err_set(err, ERR_INVALID, "certificate request: more than %d bytes",
		               REQUEST_MAX);
	int rc = gnutls_x509_crq_init(crq);
	TRY(rc, gnutls_x509_crq_import(*crq, &in, GNUTLS_X509_FMT_PEM));
	TRY(rc, gnutls_x509_crq_verify(*crq, 0));
	return rc < 0 ? fail(err, "certificate request", rc) : 0;
}

/* The key and nothing else of the request. */
static int set_key_of(gnutls_x509_crt_t crt, gnutls_x509_crq_t crq)
{
	gnutls_pubkey_t key = NULL;
	int rc = gnutls_pubkey_init(&key);

	if (rc < 0)
		return rc;
	TRY(rc, gnutls_pubkey_import_x509_crq(key, crq, 0));
	TRY(rc, gnutls_x509_crt_set_pubkey(crt, key));
	gnutls_pubkey_deinit(key);
	return rc;
}

static int set_subject(gnutls_x509_crt_t crt, const struct ca_subject *subject)
{
	int rc = set_frame(crt, subject->seconds > 0 ? subject->seconds : SECONDS(LONG_DAYS));

	TRY(rc, set_name(crt, GNUTLS_OID_X520_COMMON_NAME,
	                 subject->etcd_ip ? CA_ETCD_NAME : subject->node_id));
	TRY(rc, set_name(crt, GNUTLS_OID_X520_ORGANIZATIONAL_UNIT_NAME,
	                 subject->etcd_ip   ? CA_ETCD_NAME
	                 : subject->manager ? CA_ROLE_MANAGER
	                                    : CA_ROLE_WORKER));
	TRY(rc, set_name(crt, GNUTLS_OID_X520_ORGANIZATION_NAME, subject->cluster_id));
	return rc;
}

static int set_ip(gnutls_x509_crt_t crt, const char *ip)
{
	unsigned char bytes[16];
	bool v6 = strchr(ip, ':') != NULL;

	if (inet_pton(v6 ? AF_INET6 : AF_INET, ip, bytes) != 1)
		return GNUTLS_E_INVALID_REQUEST;
	return gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_IPADDRESS, bytes, v6 ? 16 : 4,
	                                            GNUTLS_FSAN_SET);
}

static int set_role(gnutls_x509_crt_t crt, const struct ca_subject *subject)
{
	int rc = gnutls_x509_crt_set_key_purpose_oid(crt, GNUTLS_KP_TLS_WWW_CLIENT, 0);

	if (subject->etcd_ip) {
		TRY(rc, gnutls_x509_crt_set_key_purpose_oid(crt, GNUTLS_KP_TLS_WWW_SERVER, 0));
		TRY(rc, set_ip(crt, subject->etcd_ip));
		return rc;
	}
	if (!subject->manager)
		return rc;
	TRY(rc, gnutls_x509_crt_set_key_purpose_oid(crt, GNUTLS_KP_TLS_WWW_SERVER, 0));
	TRY(rc, gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_DNSNAME, CA_MANAGER_NAME,
	                                             strlen(CA_MANAGER_NAME), GNUTLS_FSAN_SET));
	return rc;
}

int ca_sign(const struct ca_identity *root, const char *request, const struct ca_subject *subject,
            char **cert, struct err *err)
{
	auto_crq gnutls_x509_crq_t crq = NULL;
	auto_crt gnutls_x509_crt_t ca = NULL, crt = NULL;
	auto_key gnutls_x509_privkey_t key = NULL;

	if (read_request(&crq, request, err) < 0 || read_crt(&ca, root->cert, err) < 0 ||
	    read_key(&key, root->key, err) < 0)
		return -1;
	int rc = gnutls_x509_crt_init(&crt);
	TRY(rc, set_key_of(crt, crq));
	TRY(rc, set_subject(crt, subject));
	TRY(rc, gnutls_x509_crt_set_basic_constraints(crt, 0, -1));
	TRY(rc, gnutls_x509_crt_set_key_usage(crt, GNUTLS_KEY_DIGITAL_SIGNATURE));
	TRY(rc, set_role(crt, subject));
	TRY(rc, gnutls_x509_crt_sign2(crt, ca, key, GNUTLS_DIG_SHA256, 0));
	if (rc < 0)
		return fail(err, "node certificate", rc);
	return crt_text(crt, cert, err);
}

/* ---- looking ---- */

int ca_digest(const char *cert, uint8_t digest[HASH_SIZE], struct err *err)
{
	auto_crt gnutls_x509_crt_t crt = NULL;
	gnutls_datum_t der = {0};

	if (read_crt(&crt, cert, err) < 0)
		return -1;
	int rc = gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_DER, &der);
	if (rc < 0)
		return fail(err, "certificate", rc);
	hash_bytes(der.data, der.size, digest);
	gnutls_free(der.data);
	return 0;
}

static char *base64_of(gnutls_datum_t *der, struct err *err)
{
	struct buf text = BUF_INIT(64 << 10);

	base64_encode(der->data, der->size, &text);
	gnutls_free(der->data);
	return buf_take(&text, err);
}

static int public_key_of(gnutls_x509_crt_t crt, gnutls_datum_t *der)
{
	gnutls_pubkey_t key = NULL;
	int rc = gnutls_pubkey_init(&key);

	if (rc < 0)
		return rc;
	TRY(rc, gnutls_pubkey_import_x509(key, crt, 0));
	TRY(rc, gnutls_pubkey_export2(key, GNUTLS_X509_FMT_DER, der));
	gnutls_pubkey_deinit(key);
	return rc;
}

static int describe(gnutls_x509_crt_t crt, char **subject, char **public_key, struct err *err)
{
	gnutls_datum_t name = {0}, key = {0};
	int rc = gnutls_x509_crt_get_raw_dn(crt, &name);

	if (rc < 0)
		return fail(err, "certificate", rc);
	auto_free char *first = base64_of(&name, err);
	if (!first)
		return -1;
	rc = public_key_of(crt, &key);
	if (rc < 0)
		return fail(err, "certificate", rc);
	*public_key = base64_of(&key, err);
	if (!*public_key)
		return -1;
	*subject = move_ptr(first);
	return 0;
}

int ca_describe(const char *cert, char **subject, char **public_key, struct err *err)
{
	auto_crt gnutls_x509_crt_t crt = NULL;

	return read_crt(&crt, cert, err) < 0 ? -1 : describe(crt, subject, public_key, err);
}

int ca_issuer(const char *certs, const char *cert, char **subject, char **public_key,
              struct err *err)
{
	auto_crt gnutls_x509_crt_t crt = NULL;
	auto_roots struct roots roots = {0};

	if (read_roots(&roots, certs, err) < 0 || read_crt(&crt, cert, err) < 0)
		return -1;
	for (unsigned i = 0; i < roots.count; i++)
		if (has_signed(roots.items[i], crt))
			return describe(roots.items[i], subject, public_key, err);
	return err_set(err, ERR_NOT_FOUND, "certificate: none of these has signed it");
}

static int add_text(gnutls_x509_crt_t crt, struct buf *out, struct err *err)
{
	char *text = NULL;

	if (crt_text(crt, &text, err) < 0)
		return -1;
	buf_add(out, text);
	free(text);
	return buf_check(out, err);
}

static bool has_digest(gnutls_x509_crt_t crt, const uint8_t digest[HASH_SIZE])
{
	gnutls_datum_t der = {0};
	uint8_t own[HASH_SIZE];

	if (gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_DER, &der) < 0)
		return false;
	hash_bytes(der.data, der.size, own);
	gnutls_free(der.data);
	return memcmp(own, digest, HASH_SIZE) == 0;
}

char *ca_vouched(const char *certs, const uint8_t digest[HASH_SIZE], struct err *err)
{
	auto_buf struct buf text = BUF_INIT(ROOTS_TEXT);
	auto_roots struct roots roots = {0};
	gnutls_x509_crt_t root = NULL;

	if (read_roots(&roots, certs, err) < 0)
		return NULL;
	for (unsigned i = 0; i < roots.count && !root; i++)
		if (has_digest(roots.items[i], digest))
			root = roots.items[i];
	if (!root) {
		err_set(err, ERR_DENIED, "none of the certificates has the digest");
		return NULL;
	}
	for (unsigned i = 0; i < roots.count; i++)
		if ((roots.items[i] == root || has_signed(root, roots.items[i])) &&
		    add_text(roots.items[i], &text, err) < 0)
			return NULL;
	return buf_take(&text, err);
}

int ca_dates(const char *cert, int64_t *signed_at, int64_t *until, struct err *err)
{
	auto_crt gnutls_x509_crt_t crt = NULL;

	if (read_crt(&crt, cert, err) < 0)
		return -1;
	time_t from = gnutls_x509_crt_get_activation_time(crt);
	time_t end = gnutls_x509_crt_get_expiration_time(crt);
	if (from == (time_t)-1 || end == (time_t)-1)
		return err_set(err, ERR_INVALID, "certificate: no dates");
	*signed_at = (int64_t)from + CLOCK_SLACK;
	*until = (int64_t)end;
	return 0;
}

/* ---- proofs ---- */

static int sign_text(gnutls_x509_privkey_t key, const char *text, gnutls_datum_t *signature)
{
	gnutls_datum_t data = {(unsigned char *)text, (unsigned)strlen(text)};
	gnutls_privkey_t signer = NULL;
	int rc = gnutls_privkey_init(&signer);

	if (rc < 0)
		return rc;
	TRY(rc, gnutls_privkey_import_x509(signer, key, 0));
	TRY(rc, gnutls_privkey_sign_data2(signer, GNUTLS_SIGN_ECDSA_SHA256, 0, &data, signature));
	gnutls_privkey_deinit(signer);
	return rc;
}

char *ca_prove(const char *key, const char *text, struct err *err)
{
	auto_key gnutls_x509_privkey_t k = NULL;
	gnutls_datum_t signature = {0};

	if (read_key(&k, key, err) < 0)
		return NULL;
	int rc = sign_text(k, text, &signature);
	if (rc >= 0)
		return base64_of(&signature, err);
	fail(err, "signature", rc);
	return NULL;
}

static int verify_text(gnutls_x509_crt_t crt, const char *text, const struct buf *signature)
{
	gnutls_datum_t data = {(unsigned char *)text, (unsigned)strlen(text)};
	gnutls_datum_t sig = {(unsigned char *)signature->data, (unsigned)signature->len};
	gnutls_pubkey_t key = NULL;
	int rc = gnutls_pubkey_init(&key);

	if (rc < 0)
		return rc;
	TRY(rc, gnutls_pubkey_import_x509(key, crt, 0));
	TRY(rc, gnutls_pubkey_verify_data2(key, GNUTLS_SIGN_ECDSA_SHA256, 0, &data, &sig));
	gnutls_pubkey_deinit(key);
	return rc;
}

static bool is_signed_by_one(gnutls_x509_crt_t crt, const struct roots *roots)
{
	for (unsigned i = 0; i < roots->count; i++)
		if (has_signed(roots->items[i], crt))
			return true;
	return false;
}

static int name_in(gnutls_x509_crt_t crt, const char *oid, char *out, size_t size)
{
	int rc = gnutls_x509_crt_get_dn_by_oid(crt, oid, 0, 0, out, &size);

	return rc >= 0 && strlen(out) == size ? 0 : -1;
}

int ca_check_proof(const char *roots, const char *cert, const char *text, const char *proof,
                   char node_id[ID_SWARM_MAX], struct err *err)
{
	auto_buf struct buf signature = BUF_INIT(REQUEST_MAX);
	auto_crt gnutls_x509_crt_t crt = NULL;
	auto_roots struct roots cas = {0};
	char role[sizeof(CA_ROLE_MANAGER)];

	if (read_roots(&cas, roots, err) < 0)
		return -1;
	if (!cert || !proof || read_crt(&crt, cert, NULL) < 0 ||
	    base64_decode(proof, strlen(proof), &signature, NULL) < 0 ||
	    !is_signed_by_one(crt, &cas) || verify_text(crt, text, &signature) < 0 ||
	    name_in(crt, GNUTLS_OID_X520_ORGANIZATIONAL_UNIT_NAME, role, sizeof(role)) < 0 ||
	    (strcmp(role, CA_ROLE_MANAGER) != 0 && strcmp(role, CA_ROLE_WORKER) != 0) ||
	    name_in(crt, GNUTLS_OID_X520_COMMON_NAME, node_id, ID_SWARM_MAX) < 0)
		return err_set(err, ERR_DENIED, "a certificate of this cluster is needed");
	return 0;
}
