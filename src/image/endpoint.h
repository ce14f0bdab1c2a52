/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * endpoint - how a registry is spoken to: TLS or not, verified or not, with which certificates.
 *
 *	struct endpoint e = {0};
 *	if (endpoint_find(store, "registry.example.org:5000", &e, err) < 0) ...
 *	endpoint_done(&e);
 *
 * Rules, first match: a host that `--insecure-registry` names (as host:port, or a subnet) is asked by TLS without
 * verification, then without TLS. A host with a CA in certs.d is verified, wherever it is. The loopback is
 * asked without TLS, then by TLS without verification. All others: verified TLS.
 *
 * certs.d/HOST[:PORT]/ holds *.crt (CAs, trusted beside the system's) and NAME.cert with NAME.key (the client's
 * certificate). The store's directories are looked at in turn; the first that has the host's is taken.
 */

#include <stdbool.h>
#include <stddef.h>

struct err;
struct image_store;

#define ENDPOINT_HOST_MAX 280

struct endpoint {
	char base[ENDPOINT_HOST_MAX + 16]; /* "https://host:port" */
	bool verify;                       /* TLS only with a certificate that holds */
	bool lenient;                      /* the other scheme may do as well */
	char *ca_pem;                      /* owned; NULL: the system's */
	char *cert_pem, *key_pem;          /* owned; NULL: none */
};

/* ERR_INVALID: a bad host, or certificates that do not belong together. */
int endpoint_find(const struct image_store *store, const char *host, struct endpoint *out,
                  struct err *err);
/* From "https://host[:port]" or "http://...": a mirror's scheme is what its URL says. */
int endpoint_of_url(const struct image_store *store, const char *url, struct endpoint *out,
                    struct err *err);
/* Mirror number i of a registry ("docker.io"): its URL, or NULL behind the last. Borrowed from the store. */
const char *endpoint_mirror(const struct image_store *store, const char *domain, size_t i);
/* The URL of an entry "[REGISTRY=]URL". */
const char *endpoint_mirror_url(const char *entry);
int endpoint_copy(const struct endpoint *from, struct endpoint *out, struct err *err);
void endpoint_done(struct endpoint *e);

/* The other scheme, without verification. Only where `lenient`. */
void endpoint_switch(struct endpoint *e);
const char *endpoint_host(const struct endpoint *e); /* "host:port" */

/* An address of the loopback or "localhost", with or without a port; not a name that begins like one. */
bool endpoint_is_loopback(const char *host);
/* Does an entry of --insecure-registry ("host:port", "host", "10.0.0.0/8") name this host? */
bool endpoint_names(const char *entry, const char *host);

/* Reads a directory of certs.d into out's PEMs: for tests. */
int endpoint_read_certs(const char *dir, struct endpoint *out, struct err *err);
