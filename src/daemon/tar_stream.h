/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* tar_stream - a tar as an answer: a thread makes it, the connection's thread sends it. */

#include <stddef.h>

#include "base/err.h"

struct daemon;
struct http_request;

struct tar_stream {
	/* Called on the thread. Writing fails once the client is gone. */
	int (*make)(struct tar_stream *p, int out_fd, struct err *err);
	struct daemon *d;
	/* what make() needs; each uses its own */
	const char **names;
	size_t count;
	int dir_fd;
	const struct archive_path *path;
	/* the stream's own */
	int out_fd; /* owned by the thread */
	int rc;
	struct err err;
};

/* What fails before the first byte is still answered with a status; later, the tar ends early. */
int tar_stream_run(struct http_request *req, struct tar_stream *p, const char *type,
                   struct err *err);
