/* SPDX-License-Identifier: Apache-2.0 */
#include "http/response.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "http/status.h"

#define HEADERS_MAX   256
#define TEXT_SHOW_MAX 200 /* bytes of an error page that is not JSON */

static void list_free(struct http_header_list *list)
{
	for (size_t i = 0; list && i < list->count; i++) {
		free(list->items[i].name);
		free(list->items[i].value);
	}
	free(list);
}

void http_response_done(struct http_response *response)
{
	free(response->body);
	list_free(response->headers);
	*response = (struct http_response){0};
}

const char *http_response_header(const struct http_response *response, const char *name)
{
	const struct http_header_list *list = response->headers;

	for (size_t i = list ? list->count : 0; i > 0; i--)
		if (strcasecmp(list->items[i - 1].name, name) == 0)
			return list->items[i - 1].value;
	return NULL;
}

int http_response_add_line(struct http_response *response, const char *line, size_t len,
                           struct err *err)
{
	const char *colon = memchr(line, ':', len);
	size_t count = response->headers ? response->headers->count : 0;

	if (!colon)
		return 0;
	if (count == HEADERS_MAX)
		return err_set(err, ERR_LIMIT, "more than %d header fields in the answer",
		               HEADERS_MAX);

	const char *value = colon + 1, *end = line + len;
	while (value < end && (*value == ' ' || *value == '\t'))
		value++;
	while (end > value && strchr(" \t\r\n", end[-1]))
		end--;

	struct http_header_list *list =
		realloc(response->headers, sizeof(*list) + (count + 1) * sizeof(list->items[0]));
	if (!list)
		return err_nomem(err);
	response->headers = list;
	list->count = count;

	struct http_header item = {strndup(line, (size_t)(colon - line)),
	                           strndup(value, (size_t)(end - value))};
	if (!item.name || !item.value) {
		free(item.name);
		free(item.value);
		return err_nomem(err);
	}
	list->items[list->count++] = item;
	return 0;
}

int http_response_parse_head(struct http_response *response, const char *text, size_t len,
                             struct err *err)
{
	const char *line = memmem(text, len, "\r\n", 2), *last = text + len - 2;

	http_response_done(response);
	if (!line || line - text < 12 || strncmp(text, "HTTP/1.", 7) != 0)
		return err_set(err, ERR_INVALID, "the server does not speak HTTP/1.1");
	response->status = (int)strtol(text + 9, NULL, 10);
	for (line += 2; line < last;) {
		const char *stop = memmem(line, (size_t)(text + len - line), "\r\n", 2);

		if (http_response_add_line(response, line, (size_t)(stop - line), err) < 0)
			return -1;
		line = stop + 2;
	}
	return 0;
}

/* Docker's {"message"}, the registries' {"errors": [{code, message}]}, or {"error"}. */
static const char *find_message(const struct json *doc)
{
	const struct json *first = json_at(json_get(doc, "errors"), 0);
	const char *text = json_get_string(doc, "message");

	if (!text)
		text = json_get_string(first, "message");
	if (!text || !*text)
		text = json_get_string(first, "code");
	return text ? text : json_get_string(doc, "error");
}

int http_expect(const struct http_response *response, struct err *err)
{
	const char *body = response->body ? response->body : "";
	enum err_kind kind = http_kind_of(response->status);

	if (response->status < 400)
		return 0;

	auto_type(json) doc = json_parse(body, response->len, NULL);
	const char *message = find_message(doc);
	if (message && *message)
		return err_set(err, kind, "%s", message);

	size_t line = strcspn(body, "\r\n");
	if (line > 0 && body[0] != '<') /* a page of HTML helps nobody */
		return err_set(err, kind, "%.*s",
		               (int)(line < TEXT_SHOW_MAX ? line : TEXT_SHOW_MAX), body);
	return err_set(err, kind, "the server answered %d %s", response->status,
	               http_status_text(response->status));
}

void http_encode(struct buf *out, const char *s)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				    "0123456789-._~";

	for (; *s; s++) {
		if (strchr(plain, *s))
			buf_add_mem(out, s, 1);
		else
			buf_addf(out, "%%%02X", (unsigned)(unsigned char)*s);
	}
}
