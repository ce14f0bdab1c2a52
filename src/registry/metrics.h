/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* metrics - what the registry counts, as Prometheus reads it (text format 0.0.4). From any thread. */

#include <stdatomic.h>
#include <stdint.h>

#include "http/server.h"

#define METRICS_METHODS 7 /* GET HEAD POST PUT PATCH DELETE and all others */
#define METRICS_CLASSES 5 /* 1xx to 5xx */

struct metrics {
	atomic_ullong requests[METRICS_METHODS][METRICS_CLASSES];
	atomic_ullong took_ns[METRICS_METHODS];
};

/* For http_server_options.observe: ctx is a struct registry. */
void metrics_observe(void *ctx, const struct http_request *req, int status, int64_t took_ns);

/* GET /metrics; where there are rules, one must let the client pull "_metrics". */
http_fn api_metrics;
