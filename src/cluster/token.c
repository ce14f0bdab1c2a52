/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/token.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/id.h"
#include "base/str.h"

#define PREFIX        "SWMTKN-1-"
#define DIGEST_DIGITS 50 /* 36^50 > 2^256 */
#define SECRET_DIGITS 25 /* 36^25 > 2^128 */

static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyz";

/* A big-endian number as `count` digits of base 36; the number is used up. */
static void to_base36(uint8_t *number, size_t size, char *text, size_t count)
{
	for (size_t i = count; i-- > 0;) {
		unsigned rest = 0;

		for (size_t j = 0; j < size; j++) {
			rest = rest << 8 | number[j];
			number[j] = (uint8_t)(rest / 36);
			rest %= 36;
		}
		text[i] = digits[rest];
	}
}

/* The way back. False for a foreign character or a number that does not fit. */
static bool from_base36(const char *text, size_t count, uint8_t *number, size_t size)
{
	memset(number, 0, size);
	for (size_t i = 0; i < count; i++) {
		const char *at = text[i] ? strchr(digits, text[i]) : NULL;

		if (!at)
			return false;
		unsigned carry = (unsigned)(at - digits);
		for (size_t j = size; j-- > 0;) {
			carry += number[j] * 36u;
			number[j] = (uint8_t)carry;
			carry >>= 8;
		}
		if (carry)
			return false;
	}
	return true;
}

char *token_make(const uint8_t ca_digest[HASH_SIZE], char text[TOKEN_MAX])
{
	uint8_t digest[HASH_SIZE], secret[TOKEN_SECRET_SIZE];
	char first[DIGEST_DIGITS + 1] = "", second[SECRET_DIGITS + 1] = "";

	memcpy(digest, ca_digest, sizeof(digest));
	id_random(secret, sizeof(secret));
	to_base36(digest, sizeof(digest), first, DIGEST_DIGITS);
	to_base36(secret, sizeof(secret), second, SECRET_DIGITS);
	snprintf(text, TOKEN_MAX, PREFIX "%s-%s", first, second);
	return text;
}

int token_parse(const char *text, uint8_t ca_digest[HASH_SIZE], struct err *err)
{
	uint8_t number[TOKEN_SECRET_SIZE];

	if (!text || strlen(text) != TOKEN_MAX - 1 || !str_starts(text, PREFIX))
		return err_set(err, ERR_INVALID, "invalid join token");
	const char *digest = text + strlen(PREFIX), *secret = digest + DIGEST_DIGITS + 1;
	if (secret[-1] != '-' || !from_base36(digest, DIGEST_DIGITS, ca_digest, HASH_SIZE) ||
	    !from_base36(secret, SECRET_DIGITS, number, sizeof(number)))
		return err_set(err, ERR_INVALID, "invalid join token");
	return 0;
}

bool token_equal(const char *a, const char *b)
{
	size_t len = a ? strlen(a) : 0;
	unsigned char differ = 0;

	if (!b || len == 0 || len != strlen(b))
		return false;
	for (size_t i = 0; i < len; i++)
		differ |= (unsigned char)(a[i] ^ b[i]);
	return differ == 0;
}
