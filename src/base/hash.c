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

static char *to_hex(const uint8_t digest[HASH_SIZE], char hex[HASH_HEX_MAX])
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < HASH_SIZE; i++) {
		hex[2 * i] = digits[digest[i] >> 4];
		hex[2 * i + 1] = digits[digest[i] & 15];
	}
	hex[HASH_HEX_MAX - 1] = '\0';
	return hex;
}

struct hash *hash_create(struct err *err)
{
	struct hash *h = calloc(1, sizeof(*h));

	if (!h || gnutls_hash_init(&h->state, GNUTLS_DIG_SHA256) < 0) {
		free(h);
		err_nomem(err);
		return NULL;
	}
	return h;
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
	return to_hex(digest, hex);
}

void hash_bytes(const void *data, size_t len, uint8_t out[HASH_SIZE])
{
	gnutls_hash_fast(GNUTLS_DIG_SHA256, data, len, out);
}

char *hash_bytes_hex(const void *data, size_t len, char hex[HASH_HEX_MAX])
{
	uint8_t digest[HASH_SIZE] = {0};

	hash_bytes(data, len, digest);
	return to_hex(digest, hex);
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

static void encode(const void *data, size_t len, const char *alphabet, bool pad, struct buf *out)
{
	const uint8_t *p = data;

	for (size_t i = 0; i < len; i += 3) {
		size_t n = len - i < 3 ? len - i : 3;
		uint32_t bits = (uint32_t)p[i] << 16;
		char four[4];

		bits |= n > 1 ? (uint32_t)p[i + 1] << 8 : 0;
		bits |= n > 2 ? (uint32_t)p[i + 2] : 0;
		for (int k = 0; k < 4; k++)
			four[k] = alphabet[bits >> (18 - 6 * k) & 63];
		for (size_t k = n + 1; k < 4; k++)
			four[k] = '=';
		buf_add_mem(out, four, pad ? 4 : n + 1);
	}
	buf_add_mem(out, "", 0);
}

#define ALPHABET_COMMON "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

void hash_base64(const void *data, size_t len, struct buf *out)
{
	encode(data, len, ALPHABET_COMMON "+/", true, out);
}

void hash_base64url(const void *data, size_t len, struct buf *out)
{
	encode(data, len, ALPHABET_COMMON "-_", false, out);
}

static int value_of(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+' || c == '-')
		return 62;
	return c == '/' || c == '_' ? 63 : -1;
}

int hash_base64_decode(const char *text, size_t len, struct buf *out, struct err *err)
{
	uint32_t bits = 0;
	int have = 0;

	while (len > 0 && (text[len - 1] == '=' || text[len - 1] == '\n' || text[len - 1] == '\r'))
		len--;
	if (len % 4 == 1)
		return err_set(err, ERR_INVALID, "base64: cut short");
	for (size_t i = 0; i < len; i++) {
		int value = value_of(text[i]);
		if (value < 0)
			return err_set(err, ERR_INVALID, "base64: bad character at %zu", i);
		bits = bits << 6 | (uint32_t)value;
		have += 6;
		if (have >= 8) {
			char byte = (char)(bits >> (have - 8));
			buf_add_mem(out, &byte, 1);
			have -= 8;
		}
	}
	return buf_check(out, err);
}
