/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* tasklogs - the output of one task or of all tasks of a service, wherever they are. */

struct daemon;
struct err;
struct http_request;

int tasklogs_service(struct daemon *d, struct http_request *req, struct err *err);
int tasklogs_task(struct daemon *d, struct http_request *req, struct err *err);
