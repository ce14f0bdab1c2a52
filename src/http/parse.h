/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * parse - the text side of HTTP/1.1: request heads, chunk sizes, escapes.
 *
 * Pure functions over memory, so that tests and the fuzzer reach all of them.
 * Strict on purpose (RFC 9112 with its "MAY reject" taken up): CRLF only, no
 * folded lines, no space before a colon, one Content-Length at most and never
 * beside Transfer-Encoding. Two readers that disagree about where a request
 * ends are a hole; whatever could be read in two ways is refused.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;
struct err;

#define HTTP_HEAD_MAX       (64u << 10) /* bytes of request line and fields */
#define HTTP_FIELDS_MAX     128
#define HTTP_CHUNK_LINE_MAX 1024 /* bytes of a chunk's size line or of one trailer */

struct http_field {
	char *name, *value;
};

/* All strings point into the text that was parsed. */
struct http_head {
	char *method;
	char *path;     /* begins with "/"; still escaped */
	char *query;    /* after "?", still escaped; NULL if there is none */
	unsigned minor; /* 1 or 0: HTTP/1.x */
	struct http_field fields[HTTP_FIELDS_MAX];
	size_t count;
	uint64_t length; /* of the body; 0 when there is none or it is chunked */
	bool chunked, keep_alive, expects_continue;
	bool upgrade; /* Connection: upgrade and an Upgrade field */
};

/* Bytes of the head at the start of data, its blank line included; 0: not complete yet. */
size_t http_parse_head_end(const char *data, size_t len);

/* Takes text[0..len) apart in place; len is what http_parse_head_end() gave, and text[len] is
 * writable. On failure *status is what to answer: 400, 431, 501 or 505. */
int http_parse_head(char *text, size_t len, struct http_head *head, int *status, struct err *err);

/* Case-insensitive; the first one; NULL if absent. */
const char *http_parse_field(const struct http_head *head, const char *name);

/* A chunk's size line without its CRLF; extensions are skipped. */
int http_parse_chunk_size(const char *line, size_t len, uint64_t *size, struct err *err);

/* Undoes percent-encoding into the arena; `plus` also turns "+" into a space. ERR_INVALID for a bad
 * escape and for %00. */
char *http_parse_escapes(const char *text, size_t len, bool plus, struct arena *arena,
                         struct err *err);

/* May this stand in a header field that we write? (No control characters.) */
bool http_parse_token_ok(const char *name);
bool http_parse_value_ok(const char *value);
