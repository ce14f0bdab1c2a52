/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* auth - registry credentials that a client sends along: X-Registry-Auth and X-Registry-Config. */

#include "image/image.h"

struct arena;
struct err;
struct http_request;

/* base64url JSON of X-Registry-Auth; *out is all NULL when there is none. Lives in the arena. */
int auth_read(struct http_request *req, struct arena *arena, struct image_auth *out,
              struct err *err);
