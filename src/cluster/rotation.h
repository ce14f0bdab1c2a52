/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * rotation - the cluster's root certificate is replaced by another, while everybody goes on.
 *
 *	trust:   all are given both roots to trust; the old one signs still
 *	sign:    when all trust both, the new one signs, and all come for another certificate
 *	finish:  when all have one of the new root, they trust that one alone
 *
 * So a certificate is never shown to somebody who does not trust its root yet, or no longer. Each step waits for every
 * node of the cluster, also for one that is switched off: whenever it comes back it knows a root that the managers'
 * certificates are of. A node that shall not be waited for any more is removed.
 *
 * What stands where is in the cluster object alone, so that whoever leads goes on with it: its TLSInfo shows the old root
 * until the end, and the new one as issuer, as Docker does; its secret part has {"Rotation": {"Certificate", "Key",
 * "Trust", "Signs", "Back"}}. One that is called off goes back the same way: the old root signs again ("Back"), and when
 * all have a certificate of it, the new one is trusted no longer. A machine that joins meanwhile checks the old root by its token, and the new one by the old one's
 * signature ("Trust" ends with it, ca_vouched()). At the end the tokens change: they name the root.
 *
 * These are the rules, without lock, clock or store: leader_root.c applies them.
 */

#include <stdbool.h>

#include "cluster/ca.h"
#include "cluster/model.h"
#include "cluster/token.h"

struct err;

/* The changed parts of a cluster object; owned. */
struct rotation_draft {
	struct json *tls, *secret;
	bool renamed; /* the tokens are others */
	char worker[TOKEN_MAX], manager[TOKEN_MAX];
};
void rotation_draft_done(struct rotation_draft *draft);
/* Puts them into an object, which borrows them. */
void rotation_apply(const struct rotation_draft *draft, struct cluster *cluster);

/* Docker's TLSInfo of a root; owned. */
struct json *rotation_tls(const char *trust, const char *issuer, struct err *err);

/* ---- what a new spec asks for ---- */

enum rotation_wish {
	ROTATION_KEEP,
	ROTATION_BEGIN,    /* to *root */
	ROTATION_CALL_OFF, /* back to the root that there is */
};
/* CAConfig of the spec compared with the cluster's. *root is owned by the caller. The present root's certificate, without
 * a key, calls a rotation off. ERR_INVALID: a certificate or key that will not do; ERR_UNSUPPORTED: an external CA. */
int rotation_read(const struct cluster *now, const struct json *spec, enum rotation_wish *wish,
                  struct ca_identity *root, struct err *err);
/* The spec as it is kept: without certificate and key. Owned. */
struct json *rotation_clean_spec(const struct json *spec, struct err *err);

/* ---- its steps ---- */

bool rotation_is_on(const struct cluster *cluster);
/* Replaces one that is under way. ERR_CONFLICT when nodes may have certificates of that one's root already. */
int rotation_begin(const struct cluster *now, const struct ca_identity *root,
                   struct rotation_draft *draft, struct err *err);
int rotation_call_off(const struct cluster *now, struct rotation_draft *draft, struct err *err);
/* The next step: to sign, and then to finish. For when no node is waited for any more. */
int rotation_advance(const struct cluster *now, struct rotation_draft *draft, struct err *err);

/* ---- what nodes are to have ---- */

/* PEM of what is trusted now, and of the root that signs, with its key; borrowed; NULL: the object has none. */
const char *rotation_trust(const struct cluster *cluster);
const char *rotation_signer(const struct cluster *cluster);
const char *rotation_signer_key(const struct cluster *cluster);
/* Does the node, by what it says of itself, trust and use what it is to? */
bool rotation_trusts(const struct cluster *cluster, const struct node *n);
bool rotation_is_settled(const struct cluster *cluster, const struct node *n);
