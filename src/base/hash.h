/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * hash - SHA-256 (and, in pieces only, SHA-512). GnuTLS stands behind it.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

struct buf;
struct err;
struct hash;

#define HASH_SIZE    32
#define HASH_HEX_MAX 65  /* with NUL */
#define HASH_512_HEX 129 /* the same of SHA-512 */

struct hash *hash_create(struct err *err); /* SHA-256 */
void hash_free(struct hash *h);
DEFINE_AUTO(hash)
void hash_add(struct hash *h, const void *data, size_t len);
/* Gives the digest of what was added so far, as lower-case hex; h may go on. */
char *hash_hex(const struct hash *h, char hex[HASH_HEX_MAX]);

/* The same with SHA-512; hash_hex_512() is for this one only. */
struct hash *hash_create_512(struct err *err);
char *hash_hex_512(const struct hash *h, char hex[HASH_512_HEX]);

/* In one call. */
void hash_bytes(const void *data, size_t len, uint8_t out[HASH_SIZE]);
char *hash_bytes_hex(const void *data, size_t len, char hex[HASH_HEX_MAX]);
/* Everything that fd yields from its current position. */
int hash_fd_hex(int fd, char hex[HASH_HEX_MAX], struct err *err);
