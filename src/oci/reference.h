/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * reference - image names: "debian", "host:5000/team/app:1.2", "x@sha256:...".
 *
 * Follows the distribution reference grammar (domain, path, tag, digest; 255
 * bytes for domain + path). A first component with "." or ":" or "localhost" is
 * a registry; without one the registry is docker.io, and a single path component
 * gets "library/" in front of it. Familiar form undoes both, for people.
 */

#include <stdbool.h>

#include "oci/digest.h"

struct err;

#define REFERENCE_MAX 512 /* bytes of a whole reference, with NUL */

struct reference {
	char domain[256];             /* "docker.io", "127.0.0.1:5000" */
	char path[256];               /* "library/debian" */
	char tag[129];                /* "" if there is only a digest */
	char digest[DIGEST_TEXT_MAX]; /* "" if none */
};

/* Parses and normalises. Without tag and digest, tag becomes "latest" unless bare. ERR_INVALID says
 * which part is wrong and what is allowed. An ID (64 hex digits) is refused as a name. */
int reference_parse(const char *text, struct reference *ref, struct err *err);
int reference_parse_bare(const char *text, struct reference *ref, struct err *err);

/* "docker.io/library/debian:12" / "debian:12". Return text. */
char *reference_format(const struct reference *ref, char text[REFERENCE_MAX]);
char *reference_familiar(const struct reference *ref, char text[REFERENCE_MAX]);
/* Without tag and digest: "docker.io/library/debian" / "debian". */
char *reference_name(const struct reference *ref, char text[REFERENCE_MAX]);
char *reference_familiar_name(const struct reference *ref, char text[REFERENCE_MAX]);

bool reference_tag_ok(const char *tag);
