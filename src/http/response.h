/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* response - what client, plain and upgrade share about an answer being read. */

#include "http/client.h"

/* One line "Name: value" with or without its CRLF; a line without a colon is passed over. */
int http_response_add_line(struct http_response *response, const char *line, size_t len,
                           struct err *err);
/* A whole head, its blank line included (http_parse_head_end()): status and fields. ERR_INVALID: not HTTP/1. */
int http_response_parse_head(struct http_response *response, const char *text, size_t len,
                             struct err *err);
