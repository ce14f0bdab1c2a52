/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * base64 - RFC 4648: bytes as text and back.
 */

#include <stddef.h>

struct buf;
struct err;

/* Append to out: the standard alphabet with padding, the URL-safe one without. */
void base64_encode(const void *data, size_t len, struct buf *out);
void base64url_encode(const void *data, size_t len, struct buf *out);
/* Takes either alphabet, with or without padding. ERR_INVALID says where. */
int base64_decode(const char *text, size_t len, struct buf *out, struct err *err);
