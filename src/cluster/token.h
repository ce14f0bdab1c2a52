/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * token - what a machine must know to join: SWMTKN-1-<digest of the cluster's CA>-<secret>.
 *
 * The digest lets the joiner check the CA that it fetches over a connection it cannot trust yet;
 * the secret lets the cluster check the joiner, and says by its value which role it may have.
 * Both are base 36: 50 and 25 characters. Same spelling as Docker's, so that its CLI prints and
 * takes ours.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/hash.h"

struct err;

#define TOKEN_MAX         86 /* bytes of a token, NUL included */
#define TOKEN_SECRET_SIZE 16

/* A new one with a secret of its own. */
char *token_make(const uint8_t ca_digest[HASH_SIZE], char text[TOKEN_MAX]);

/* Takes the digest out. ERR_INVALID "invalid join token" for anything that token_make() would not write. */
int token_parse(const char *text, uint8_t ca_digest[HASH_SIZE], struct err *err);

/* Takes as long whether they differ early or late. */
bool token_equal(const char *a, const char *b);
