/* SPDX-License-Identifier: Apache-2.0 */
#include "base/hash.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"

#define READ_SIZE (64u << 10) /* bytes per read of hash_fd_hex() */

struct hash {
	gnutls_hash_hd_t state; /* owned */
};

static char *to_hex(const uint8_t *digest, size_t size, char *hex)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < size; i++) {
		hex[2 * i] = digits[digest[i] >> 4];
		hex[2 * i + 1] = digits[digest[i] & 15];
	}
	hex[2 * size] = '\0';
	return hex;
}

static struct hash *create(gnutls_digest_algorithm_t algorithm, struct err *err)
{
	struct hash *h = calloc(1, sizeof(*h));

	if (!h || gnutls_hash_init(&h->state, algorithm) < 0) {
		free(h);
		err_nomem(err);
		return NULL;
	}
	return h;
}

struct hash *hash_create(struct err *err)
{
	return create(GNUTLS_DIG_SHA256, err);
}

struct hash *hash_create_512(struct err *err)
{
	return create(GNUTLS_DIG_SHA512, err);
}

void hash_free(struct hash *h)
{
	if (!h)
		return;
	gnutls_hash_deinit(h->state, NULL);
	free(h);
}

void hash_add(struct hash *h, const void *data, size_t len)
{
	gnutls_hash(h->state, data, len); /* fails only for a bad handle */
}

char *hash_hex(const struct hash *h, char hex[HASH_HEX_MAX])
{
	uint8_t digest[HASH_SIZE] = {0};
	gnutls_hash_hd_t copy = gnutls_hash_copy(h->state);

	if (copy)
		gnutls_hash_deinit(copy, digest);
	return to_hex(digest, sizeof(digest), hex);
}

char *hash_hex_512(const struct hash *h, char hex[HASH_512_HEX])
{
	uint8_t digest[2 * HASH_SIZE] = {0};
	gnutls_hash_hd_t copy = gnutls_hash_copy(h->state);

	if (copy)
		gnutls_hash_deinit(copy, digest);
	return to_hex(digest, sizeof(digest), hex);
}

void hash_bytes(const void *data, size_t len, uint8_t out[HASH_SIZE])
{
	gnutls_hash_fast(GNUTLS_DIG_SHA256, data, len, out);
}

char *hash_bytes_hex(const void *data, size_t len, char hex[HASH_HEX_MAX])
{
	uint8_t digest[HASH_SIZE] = {0};

	hash_bytes(data, len, digest);
	return to_hex(digest, sizeof(digest), hex);
}

int hash_fd_hex(int fd, char hex[HASH_HEX_MAX], struct err *err)
{
	auto_type(hash) h = hash_create(err);
	auto_free char *block = malloc(READ_SIZE);

	if (!h)
		return -1;
	if (!block)
		return err_nomem(err);
	for (;;) {
		ssize_t n = read(fd, block, READ_SIZE);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(err, "read for hashing");
		if (n == 0)
			break;
		hash_add(h, block, (size_t)n);
	}
	hash_hex(h, hex);
	return 0;
}
