/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* bytes - a fuzzer's input as what an archive is read from (struct apply_source). */

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

struct err;

struct bytes {
	const uint8_t *data;
	size_t left;
};

static inline ssize_t bytes_give(void *arg, void *data, size_t len, struct err *err)
{
	struct bytes *b = arg;
	size_t n = b->left < len ? b->left : len;

	(void)err;
	memcpy(data, b->data, n);
	b->data += n;
	b->left -= n;
	return (ssize_t)n;
}
