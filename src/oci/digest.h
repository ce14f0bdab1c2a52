/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * digest - "sha256:<64 hex>" checked at the edge, so that nothing else becomes
 * a file name. OCI image spec, descriptor.md "Digests".
 */

#include <stdbool.h>
#include <stddef.h>

struct err;

#define DIGEST_TEXT_MAX 136 /* sha512 fits */
#define DIGEST_SHA256   71  /* strlen("sha256:") + 64 */

/* Exact sha256 form, lower case. ERR_INVALID. */
int digest_check(const char *text, struct err *err);
bool digest_ok(const char *text);
/* The same with SHA-512 allowed as well: what a registry keeps. */
bool digest_any_ok(const char *text);
/* The hex part (borrowed from text, which must be valid). */
const char *digest_hex(const char *text);
/* Of bytes in memory. Returns out. */
char *digest_of(const void *data, size_t len, char out[DIGEST_TEXT_MAX]);
