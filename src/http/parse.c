/* SPDX-License-Identifier: Apache-2.0 */
#include "http/parse.h"

#include <string.h>
#include <strings.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

#define LENGTH_DIGITS_MAX 18 /* fits in 63 bits */
#define CHUNK_DIGITS_MAX  15 /* hex; fits in 63 bits */

/* RFC 9110 "token". */
static bool is_token_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c && strchr("!#$%&'*+-.^_`|~", c));
}

static bool is_value_char(char c)
{
	unsigned char u = (unsigned char)c;

	return u == '\t' || (u >= 0x20 && u != 0x7f);
}

bool http_parse_token_ok(const char *name)
{
	const char *p = name;

	while (is_token_char(*p))
		p++;
	return p > name && *p == '\0';
}

bool http_parse_value_ok(const char *value)
{
	while (*value && is_value_char(*value))
		value++;
	return *value == '\0';
}

size_t http_parse_head_end(const char *data, size_t len)
{
	const char *end = memmem(data, len, "\r\n\r\n", 4);

	return end ? (size_t)(end - data) + 4 : 0;
}

/* The next line, NUL-terminated in place, without its CRLF. NULL at a stray CR, LF or NUL. */
static char *next_line(char **rest, const char *end)
{
	char *line = *rest;
	char *stop = memchr(line, '\r', (size_t)(end - line));

	if (!stop || stop + 1 >= end || stop[1] != '\n')
		return NULL;
	if (memchr(line, '\n', (size_t)(stop - line)) || memchr(line, '\0', (size_t)(stop - line)))
		return NULL;
	*stop = '\0';
	*rest = stop + 2;
	return line;
}

/* "http://host/path" becomes "/path": proxies and curl may send the whole. */
static char *skip_origin(char *target)
{
	static const char *const schemes[] = {"http://", "https://"};

	for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
		size_t n = strlen(schemes[i]);

		if (strncasecmp(target, schemes[i], n) == 0)
			return strchr(target + n, '/');
	}
	return target;
}

static int parse_target(char *target, struct http_head *head, struct err *err)
{
	for (const char *p = target; *p; p++)
		if (*p <= 0x20 || *p >= 0x7f || *p == '#')
			return err_set(err, ERR_INVALID, "bad character in the request target");

	target = skip_origin(target);
	if (!target || *target != '/')
		return err_set(err, ERR_INVALID, "the request target must be a path");

	char *query = strchr(target, '?');
	if (query) {
		*query = '\0';
		head->query = query + 1;
	}
	head->path = target;
	return 0;
}

static int parse_request_line(char *line, struct http_head *head, int *status, struct err *err)
{
	char *target = strchr(line, ' ');
	char *version = target ? strchr(target + 1, ' ') : NULL;

	if (!version)
		return err_set(err, ERR_INVALID, "bad request line");
	*target++ = '\0';
	*version++ = '\0';
	if (!http_parse_token_ok(line))
		return err_set(err, ERR_INVALID, "bad request method");

	if (!str_eq(version, "HTTP/1.1") && !str_eq(version, "HTTP/1.0")) {
		if (str_starts(version, "HTTP/"))
			*status = 505;
		return err_set(err, ERR_INVALID, "only HTTP/1.1 and HTTP/1.0 are spoken here");
	}
	head->method = line;
	head->minor = version[strlen("HTTP/1.")] == '1';
	return parse_target(target, head, err);
}

static int parse_field_line(char *line, struct http_field *field, struct err *err)
{
	char *colon = strchr(line, ':');

	if (!colon)
		return err_set(err, ERR_INVALID, "a header field without a colon");
	*colon = '\0';
	if (!http_parse_token_ok(line)) /* also refuses folded lines and "name :" */
		return err_set(err, ERR_INVALID, "bad header field name");

	char *value = colon + 1 + strspn(colon + 1, " \t");
	size_t len = strlen(value);
	while (len > 0 && (value[len - 1] == ' ' || value[len - 1] == '\t'))
		value[--len] = '\0';
	if (!http_parse_value_ok(value))
		return err_set(err, ERR_INVALID, "control character in header field %s", line);
	*field = (struct http_field){line, value};
	return 0;
}

const char *http_parse_field(const struct http_head *head, const char *name)
{
	for (size_t i = 0; i < head->count; i++)
		if (strcasecmp(head->fields[i].name, name) == 0)
			return head->fields[i].value;
	return NULL;
}

static size_t count_field(const struct http_head *head, const char *name)
{
	size_t n = 0;

	for (size_t i = 0; i < head->count; i++)
		n += strcasecmp(head->fields[i].name, name) == 0;
	return n;
}

static bool list_has_token(const char *list, const char *token)
{
	size_t want = strlen(token);

	for (const char *p = list + strspn(list, ", \t"); *p; p += strspn(p, ", \t")) {
		size_t n = strcspn(p, ", \t");

		if (n == want && strncasecmp(p, token, n) == 0)
			return true;
		p += n;
	}
	return false;
}

/* Is `token` in the comma-separated list of every field of this name? */
static bool field_has_token(const struct http_head *head, const char *name, const char *token)
{
	for (size_t i = 0; i < head->count; i++) {
		const char *value = head->fields[i].value;

		if (value && strcasecmp(head->fields[i].name, name) == 0 &&
		    list_has_token(value, token))
			return true;
	}
	return false;
}

static int parse_length(const char *text, uint64_t *length, struct err *err)
{
	size_t n = strspn(text, "0123456789");

	if (n == 0 || n > LENGTH_DIGITS_MAX || text[n] != '\0')
		return err_set(err, ERR_INVALID, "bad Content-Length");
	*length = 0;
	for (size_t i = 0; i < n; i++)
		*length = *length * 10 + (uint64_t)(text[i] - '0');
	return 0;
}

/* Where the body ends: the fields over which requests get smuggled (RFC 9112, 6). */
static int parse_framing(struct http_head *head, int *status, struct err *err)
{
	size_t lengths = count_field(head, "Content-Length");
	size_t codings = count_field(head, "Transfer-Encoding");

	if (lengths > 1 || codings > 1 || (lengths && codings))
		return err_set(err, ERR_INVALID,
		               "more than one of Content-Length and Transfer-Encoding");
	if (codings && head->minor == 0)
		return err_set(err, ERR_INVALID, "Transfer-Encoding in HTTP/1.0");
	if (codings && strcasecmp(http_parse_field(head, "Transfer-Encoding"), "chunked") != 0) {
		*status = 501;
		return err_set(err, ERR_UNSUPPORTED, "only Transfer-Encoding: chunked is known");
	}
	head->chunked = codings > 0;
	return lengths ? parse_length(http_parse_field(head, "Content-Length"), &head->length, err)
	               : 0;
}

static int parse_meaning(struct http_head *head, int *status, struct err *err)
{
	size_t hosts = count_field(head, "Host");

	if (hosts > 1 || (hosts == 0 && head->minor == 1))
		return err_set(err, ERR_INVALID, "exactly one Host field is needed");

	head->keep_alive = head->minor == 1 ? !field_has_token(head, "Connection", "close")
	                                    : field_has_token(head, "Connection", "keep-alive");
	head->upgrade =
		http_parse_field(head, "Upgrade") && field_has_token(head, "Connection", "upgrade");
	head->expects_continue =
		head->minor == 1 && field_has_token(head, "Expect", "100-continue");
	return parse_framing(head, status, err);
}

int http_parse_head(char *text, size_t len, struct http_head *head, int *status, struct err *err)
{
	const char *end = text + len;
	char *rest = text;

	*head = (struct http_head){0};
	*status = 400;
	for (char *line = NULL; (line = next_line(&rest, end));) {
		if (!head->method) {
			if (parse_request_line(line, head, status, err) < 0)
				return -1;
			continue;
		}
		if (*line == '\0')
			return rest == end ? parse_meaning(head, status, err)
			                   : err_set(err, ERR_INVALID, "bytes after the head");
		if (head->count == HTTP_FIELDS_MAX) {
			*status = 431;
			return err_set(err, ERR_LIMIT, "more than %d header fields",
			               HTTP_FIELDS_MAX);
		}
		if (parse_field_line(line, &head->fields[head->count], err) < 0)
			return -1;
		head->count++;
	}
	return err_set(err, ERR_INVALID, "bad line ending in the request head");
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int http_parse_chunk_size(const char *line, size_t len, uint64_t *size, struct err *err)
{
	uint64_t n = 0;
	size_t i = 0;

	for (; i < len && hex_digit(line[i]) >= 0; i++) {
		if (i == CHUNK_DIGITS_MAX)
			return err_set(err, ERR_INVALID, "chunk size is too large");
		n = n << 4 | (uint64_t)hex_digit(line[i]);
	}
	if (i == 0 || (i < len && line[i] != ';' && line[i] != ' ' && line[i] != '\t'))
		return err_set(err, ERR_INVALID, "bad chunk size");
	for (; i < len; i++)
		if (!is_value_char(line[i]))
			return err_set(err, ERR_INVALID, "control character in a chunk extension");
	*size = n;
	return 0;
}

/* The byte that the two digits after a '%' stand for; -1: none, or the byte 0. */
static int escaped_byte(const char *text, size_t left)
{
	int high = left > 2 ? hex_digit(text[1]) : -1;
	int low = high >= 0 ? hex_digit(text[2]) : -1;

	return low < 0 || (high == 0 && low == 0) ? -1 : high << 4 | low;
}

char *http_parse_escapes(const char *text, size_t len, bool plus, struct arena *arena,
                         struct err *err)
{
	char *out = arena_alloc(arena, len + 1, err);
	size_t n = 0;

	if (!out)
		return NULL;
	for (size_t i = 0; i < len; i++) {
		bool escape = text[i] == '%', space = text[i] == '+' && plus;
		int c = escape ? escaped_byte(text + i, len - i) : text[i];

		if (escape && c < 0) {
			err_set(err, ERR_INVALID, "bad %%-escape in \"%.*s\"",
			        (int)(len < 80 ? len : 80), text);
			return NULL;
		}
		i += escape ? 2 : 0;
		out[n++] = (char)(space ? ' ' : c);
	}
	out[n] = '\0';
	return out;
}
