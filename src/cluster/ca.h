/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * ca - the cluster's certificate authority, and the certificates of its nodes. All PEM text.
 *
 *	struct ca_identity root = {0}, node = {0};
 *	ca_make(cluster_id, &root, err);
 *	ca_request(&node.key, &request, err);                        // on the node
 *	ca_sign(&root, request, &subject, &node.cert, err);          // on the manager
 *
 * A node's certificate says CN = node id, OU = its role, O = the cluster's id. Managers also carry
 * the DNS name CA_MANAGER_NAME and the right to serve: a worker's certificate cannot be used to
 * pose as a manager, because clients ask for that name. Keys are EC P-256 and never leave the
 * machine that made them. Whoever was removed from the cluster is refused by the missing node
 * object, not by a revocation list.
 *
 * No call blocks or keeps state.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/hash.h"
#include "base/id.h"

struct err;

#define CA_MANAGER_NAME "swarm-manager"
#define CA_ROLE_MANAGER "swarm-manager"
#define CA_ROLE_WORKER  "swarm-worker"
#define CA_KEY_FIELD    "CAKey"      /* in the cluster object's secret */
#define CA_ETCD_NAME    "swarm-etcd" /* CN and OU of an etcd member's certificate (etcd_run.h) */

struct ca_identity {
	char *cert; /* owned */
	char *key;  /* owned */
};
void ca_identity_done(struct ca_identity *identity);

/* Self-signed, for twenty years. */
int ca_make(const char *cluster_id, struct ca_identity *root, struct err *err);

/* A node's new key, and the request for its certificate; both owned by the caller. */
int ca_request(char **key, char **request, struct err *err);

struct ca_subject {
	const char *node_id, *cluster_id;
	bool manager;
	int64_t seconds; /* of validity; 0: ten years */
	const char
		*etcd_ip; /* not the node's certificate, but its etcd member's, at this address */
};
/* What the request says of its subject is ignored; only its key counts, and its signature must prove it.
 * ERR_INVALID for a request that is not one. */
int ca_sign(const struct ca_identity *root, const char *request, const struct ca_subject *subject,
            char **cert, struct err *err);

/* When it was signed and when it ends; seconds since 1970. */
int ca_dates(const char *cert, int64_t *signed_at, int64_t *until, struct err *err);

/* A signature by a node's key, base64, of a text. Owned. */
char *ca_prove(const char *key, const char *text, struct err *err);
/* Whoever wrote the proof has the key of a node's certificate that one of the roots has signed, be it expired. The
 * text is the request for a new one: so a machine that was off for long can come back. node_id: its CN. ERR_DENIED. */
int ca_check_proof(const char *roots, const char *cert, const char *text, const char *proof,
                   char node_id[ID_SWARM_MAX], struct err *err);

/* SHA-256 of the certificate's DER. ERR_INVALID when the text is not one certificate. */
int ca_digest(const char *cert, uint8_t digest[HASH_SIZE], struct err *err);

/* ---- another root (rotation.h) ---- */

/* The next root's name and key, signed by the present one: whoever trusts this can see that it leads to the next. Owned. */
char *ca_cross_sign(const struct ca_identity *root, const char *next, struct err *err);

/* A root of the user's, in our own spelling: one certificate that signed itself, may sign others, lasts for a day at
 * least, and has this key. ERR_INVALID says what of that it is not. */
int ca_take(const char *cert, const char *key, struct ca_identity *root, struct err *err);

/* Of certificates that nobody vouches for yet: the one with the digest, which a token tells, and those that it has
 * signed. Owned; ERR_DENIED when there is none. */
char *ca_vouched(const char *certs, const uint8_t digest[HASH_SIZE], struct err *err);

/* ca_describe() of the one among these certificates that has signed the node's. */
int ca_issuer(const char *certs, const char *cert, char **subject, char **public_key,
              struct err *err);

/* What Docker's TLSInfo shows of the root: base64 of the subject's and the public key's DER. Owned. */
int ca_describe(const char *cert, char **subject, char **public_key, struct err *err);
