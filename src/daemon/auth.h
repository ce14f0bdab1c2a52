/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* auth - registry credentials that a client sends along: X-Registry-Auth and X-Registry-Config. */

#include "image/image.h"

struct arena;
struct err;
struct http_request;
struct json;

/* base64url JSON of X-Registry-Auth; *out is all NULL when there is none. Lives in the arena. */
int auth_read(struct http_request *req, struct arena *arena, struct image_auth *out,
              struct err *err);

/* X-Registry-Config: the credentials for whichever registries the work will need. */
struct auth_registries {
	struct arena *arena; /* the caller's; what is found lives there */
	struct json *
		doc; /* {"host": {"username": ..., "password": ...}}; NULL: none. The caller frees it */
};
int auth_registries_read(struct http_request *req, struct auth_registries *out, struct err *err);
/* arg: the struct. NULL: none for this registry. */
const struct image_auth *auth_registries_find(void *arg, const char *domain);
