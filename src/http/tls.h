/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * tls - the server's certificate, and who the peer is by its own. GnuTLS.
 *
 * TLS 1.2 and 1.3 only. Verified means: the chain ends in our CA, is in its time
 * and may be used by a client.
 */

#include <gnutls/gnutls.h>
#include <stdbool.h>

#include "base/cleanup.h"

struct err;
struct http_conn_peer;
struct http_server_options;
struct http_tls;

/* From the PEM texts of the options. */
struct http_tls *http_tls_create(const struct http_server_options *options, struct err *err);
void http_tls_free(struct http_tls *tls); /* drops one reference; accepts NULL */
DEFINE_AUTO(http_tls)
/* One more holder: the sessions of a certificate need it until they end. */
struct http_tls *http_tls_ref(struct http_tls *tls);

/* A session on fd, before its handshake. The caller owns *session (gnutls_deinit). */
int http_tls_accept(const struct http_tls *tls, int fd, gnutls_session_t *session, struct err *err);

/* After the handshake. Not verified is a failure only where certificates are mandatory. */
int http_tls_describe_peer(const struct http_tls *tls, gnutls_session_t session,
                           struct http_conn_peer *peer, struct err *err);
