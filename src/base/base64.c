/* SPDX-License-Identifier: Apache-2.0 */
#include "base/base64.h"

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

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

void base64_encode(const void *data, size_t len, struct buf *out)
{
	encode(data, len, ALPHABET_COMMON "+/", true, out);
}

void base64url_encode(const void *data, size_t len, struct buf *out)
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

int base64_decode(const char *text, size_t len, struct buf *out, struct err *err)
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
