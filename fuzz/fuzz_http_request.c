/* SPDX-License-Identifier: Apache-2.0 */

/* Request heads and chunk sizes: what is taken has one meaning only. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/arena.h"
#include "base/cleanup.h"
#include "http/parse.h"
#include "http/route.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int answer(void *ctx, struct http_request *req, struct err *err)
{
	(void)ctx, (void)req, (void)err;
	return 0;
}

static const struct http_route routes[] = {
	{"GET", "/a/{}/b", answer},
	{"POST", "/images/{*}/tag/{*}/x", answer},
	{"GET", "/images/{*}/{}", answer},
	{NULL},
};

static void check_framing(const struct http_head *head)
{
	size_t framing = 0;

	for (size_t i = 0; i < head->count; i++) {
		framing += strcasecmp(head->fields[i].name, "Content-Length") == 0;
		framing += strcasecmp(head->fields[i].name, "Transfer-Encoding") == 0;
		if (!http_parse_token_ok(head->fields[i].name) ||
		    !http_parse_value_ok(head->fields[i].value))
			__builtin_trap();
	}
	if (framing > 1 || (head->chunked && head->length) || head->path[0] != '/')
		__builtin_trap();
}

static void find(const struct http_head *head)
{
	auto_arena struct arena arena = ARENA_INIT(1 << 20);
	struct http_route_match match;
	const char *path = head->path;
	unsigned version = 0;

	if (http_route_version(&path, 124, 144, &version, NULL) < 0)
		return;
	http_route_find(routes, head->method, path, &match);
	for (size_t i = 0; match.route && i < match.count; i++) {
		const struct http_route_arg *arg = &match.args[i];

		if (arg->len == 0 || arg->text < path || arg->text + arg->len > path + strlen(path))
			__builtin_trap();
		(void)http_parse_escapes(arg->text, arg->len, false, &arena, NULL);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_free char *text = malloc(size + 1);
	auto_free struct http_head *head = calloc(1, sizeof(*head));
	uint64_t chunk = 0;
	int status = 0;

	if (!text || !head)
		return 0;
	(void)http_parse_chunk_size((const char *)data, size, &chunk, NULL);
	size_t end = http_parse_head_end((const char *)data, size);
	if (end == 0)
		return 0;
	memcpy(text, data, end);
	if (http_parse_head(text, end, head, &status, NULL) < 0)
		return status < 400 ? (__builtin_trap(), 0) : 0;
	check_framing(head);
	find(head);
	return 0;
}
