/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * manifest - what a registry must know of a manifest: its type, what it
 * refers to, its subject. The bytes stay the truth and are stored as they came.
 */

#include "base/json.h"
#include "registry/name.h"

struct err;

enum manifest_part {
	MANIFEST_BLOB,     /* config and layers */
	MANIFEST_MANIFEST, /* an entry of an index */
};

struct manifest {
	struct json *doc; /* owned */
	char type[NAME_TYPE_MAX];
	const char *subject;       /* a digest, or NULL; borrowed from doc */
	const char *artifact_type; /* as a referrers list shows it, or NULL; borrowed */
	bool is_index;
};

/* `type` is the request's Content-Type (may be NULL: the document must say it itself). ERR_INVALID: not an
 * object, a mediaType that is not the Content-Type, both kinds at once, a bad descriptor. */
int manifest_parse(const char *text, size_t len, const char *type, struct manifest *out,
                   struct err *err);
void manifest_done(struct manifest *m);

/* Calls fn for each blob and manifest that m refers to; what a client fetches elsewhere (a layer with
 * "urls" of a non-distributable type) is left out. Stops at the first non-zero and returns it. */
int manifest_each(const struct manifest *m,
                  int (*fn)(void *arg, enum manifest_part part, const char *digest), void *arg);
