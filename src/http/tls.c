/* SPDX-License-Identifier: Apache-2.0 */
#include "http/tls.h"

#include <gnutls/x509.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/hash.h"
#include "http/conn.h"
#include "http/server.h"

#define PRIORITY "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"

struct http_tls {
	atomic_uint refs;
	gnutls_certificate_credentials_t credentials;
	gnutls_priority_t priority;
	bool asks;     /* for a client certificate */
	bool optional; /* goes on without one */
};

static gnutls_datum_t datum_of(const char *text)
{
	return (gnutls_datum_t){(unsigned char *)text, (unsigned)strlen(text)};
}

static int fail(struct err *err, const char *what, int rc)
{
	return err_set(err, rc == GNUTLS_E_MEMORY_ERROR ? ERR_NOMEM : ERR_INVALID, "%s: %s", what,
	               gnutls_strerror(rc));
}

/* 0 when the chain of the session's peer is one that our CA let in as a client. */
static int verify(gnutls_session_t session)
{
	gnutls_typed_vdata_st data = {
		.type = GNUTLS_DT_KEY_PURPOSE_OID,
		.data = (unsigned char *)GNUTLS_KP_TLS_WWW_CLIENT,
	};
	unsigned status = 0;
	int rc = gnutls_certificate_verify_peers(session, &data, 1, &status);

	return rc < 0 || status != 0 ? GNUTLS_E_CERTIFICATE_ERROR : 0;
}

static int load(struct http_tls *tls, const struct http_server_options *options, struct err *err)
{
	gnutls_datum_t cert = datum_of(options->cert_pem);
	gnutls_datum_t key = datum_of(options->key_pem ? options->key_pem : "");
	int rc = gnutls_certificate_allocate_credentials(&tls->credentials);

	if (rc < 0)
		return fail(err, "TLS credentials", rc);
	rc = gnutls_certificate_set_x509_key_mem(tls->credentials, &cert, &key,
	                                         GNUTLS_X509_FMT_PEM);
	if (rc < 0)
		return fail(err, "TLS certificate and key", rc);
	if (tls->asks) {
		gnutls_datum_t ca = datum_of(options->client_ca_pem);

		rc = gnutls_certificate_set_x509_trust_mem(tls->credentials, &ca,
		                                           GNUTLS_X509_FMT_PEM);
		if (rc <= 0)
			return err_set(err, ERR_INVALID, "no CA certificate for clients");
		if (!tls->optional)
			gnutls_certificate_set_verify_function(tls->credentials, verify);
	}
	rc = gnutls_priority_init(&tls->priority, PRIORITY, NULL);
	return rc < 0 ? fail(err, "TLS priorities", rc) : 0;
}

struct http_tls *http_tls_create(const struct http_server_options *options, struct err *err)
{
	auto_type(http_tls) tls = calloc(1, sizeof(*tls));

	if (!tls) {
		err_nomem(err);
		return NULL;
	}
	atomic_init(&tls->refs, 1);
	tls->asks = options->client_ca_pem;
	tls->optional = options->client_optional;
	return load(tls, options, err) < 0 ? NULL : move_ptr(tls);
}

struct http_tls *http_tls_ref(struct http_tls *tls)
{
	if (tls)
		atomic_fetch_add(&tls->refs, 1);
	return tls;
}

void http_tls_free(struct http_tls *tls)
{
	if (!tls || atomic_fetch_sub(&tls->refs, 1) > 1)
		return;
	if (tls->credentials)
		gnutls_certificate_free_credentials(tls->credentials);
	if (tls->priority)
		gnutls_priority_deinit(tls->priority);
	free(tls);
}

int http_tls_accept(const struct http_tls *tls, int fd, gnutls_session_t *session, struct err *err)
{
	gnutls_session_t s = NULL;
	int rc = gnutls_init(&s, GNUTLS_SERVER | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL);

	if (rc < 0)
		return fail(err, "TLS session", rc);
	*session = s;
	rc = gnutls_priority_set(s, tls->priority);
	if (rc >= 0)
		rc = gnutls_credentials_set(s, GNUTLS_CRD_CERTIFICATE, tls->credentials);
	if (rc < 0)
		return fail(err, "TLS session", rc);
	gnutls_certificate_server_set_request(s, !tls->asks      ? GNUTLS_CERT_IGNORE
	                                         : tls->optional ? GNUTLS_CERT_REQUEST
	                                                         : GNUTLS_CERT_REQUIRE);
	gnutls_transport_set_int(s, fd);
	gnutls_handshake_set_timeout(s, GNUTLS_INDEFINITE_TIMEOUT); /* conn has the deadline */
	return 0;
}

/* A name with a NUL or longer than its room is no name. */
static void read_name(gnutls_x509_crt_t crt, const char *oid, char *out, size_t size)
{
	size_t len = size;

	if (gnutls_x509_crt_get_dn_by_oid(crt, oid, 0, 0, out, &len) < 0 || strlen(out) != len)
		out[0] = '\0';
}

int http_tls_describe_peer(const struct http_tls *tls, gnutls_session_t session,
                           struct http_conn_peer *peer, struct err *err)
{
	if (!tls->asks)
		return 0;

	unsigned count = 0;
	const gnutls_datum_t *certs = gnutls_certificate_get_peers(session, &count);
	if (!certs || count == 0 || verify(session) != 0)
		return tls->optional ? 0 : err_set(err, ERR_DENIED, "no valid client certificate");

	gnutls_x509_crt_t crt = NULL;
	int rc = gnutls_x509_crt_init(&crt);
	if (rc >= 0)
		rc = gnutls_x509_crt_import(crt, &certs[0], GNUTLS_X509_FMT_DER);
	if (rc >= 0) {
		read_name(crt, GNUTLS_OID_X520_COMMON_NAME, peer->name, sizeof(peer->name));
		read_name(crt, GNUTLS_OID_X520_ORGANIZATIONAL_UNIT_NAME, peer->role,
		          sizeof(peer->role));
		hash_bytes_hex(certs[0].data, certs[0].size, peer->fingerprint);
		peer->verified = true;
	}
	if (crt)
		gnutls_x509_crt_deinit(crt);
	return rc < 0 ? fail(err, "client certificate", rc) : 0;
}
