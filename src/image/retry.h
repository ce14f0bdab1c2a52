/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * retry - when to ask a registry again, and how long to wait before.
 *
 * What a server may mean differently a moment later is asked again: 408, 429, 500, 502, 503, 504, and connections that
 * break. The pause doubles and varies a little, so that many clients do not come back at once; a Retry-After is
 * honoured instead, up to RETRY_AFTER_MAX_MS: nobody watches a pull that sleeps longer, an error says more.
 */

#include <stdbool.h>
#include <stdint.h>

struct err;
struct http_response;

#define RETRY_TRIES        5
#define RETRY_AFTER_MAX_MS 60000

bool retry_status(int status);
/* After which pause try number `attempt` (1 is the second one) comes, in ms. */
int64_t retry_backoff_ms(int attempt);
/* The server's wish in ms; -1: it has none. Seconds or an HTTP date (RFC 9110, 10.2.3). */
int64_t retry_after_ms(const char *value, int64_t wall_ns);
/* The pause before try `attempt` given this answer; -1 with err set: do not try again, say this. */
int64_t retry_pause_ms(const struct http_response *response, const char *host, int attempt,
                       struct err *err);
