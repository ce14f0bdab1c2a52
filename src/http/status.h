/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* status - one HTTP status per kind of error, both ways. */

#include "base/err.h"

/* INVALID 400, DENIED 403, NOT_FOUND 404, CONFLICT 409, LIMIT 507 (413 is the server's own),
 * TIMEOUT 504, CANCELED 499, UNAVAILABLE 503, UNSUPPORTED 501, else 500. */
int http_status_of(enum err_kind kind);
enum err_kind http_kind_of(int status);
const char *http_status_text(int status); /* "Not Found" */
