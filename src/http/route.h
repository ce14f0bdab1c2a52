/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * route - from a method and a path to the function that answers.
 *
 * The table is searched from the top: of two patterns that fit, the earlier
 * wins. Nothing here allocates but the decoded arguments.
 */

#include "http/server.h"

struct arena;

/* A piece of the escaped path that a placeholder stands for; borrowed. */
struct http_route_arg {
	const char *text;
	size_t len;
};

struct http_route_match {
	const struct http_route *route; /* NULL: none */
	bool other_method;              /* a pattern fits, but not with this method */
	struct http_route_arg args[HTTP_ARGS_MAX];
	size_t count;
};

void http_route_find(const struct http_route *routes, const char *method, const char *path,
                     struct http_route_match *match);

/* Takes "/v1.41" off the front: *path moves behind it, *version becomes 141 (0 if there is none). The
 * bounds are those of http_server_options. ERR_INVALID in Docker's words. */
int http_route_version(const char **path, unsigned min, unsigned max, unsigned *version,
                       struct err *err);
