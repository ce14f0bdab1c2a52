/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/tar_stream.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "daemon/daemon.h"
#include "http/server.h"

#define COPY_SIZE (64u << 10)

static void *producer_main(void *arg)
{
	struct tar_stream *p = arg;

	p->rc = p->make(p, p->out_fd, &p->err);
	close(p->out_fd);
	return NULL;
}

static int relay(int fd, struct http_stream *stream)
{
	auto_free char *block = malloc(COPY_SIZE);

	for (;;) {
		ssize_t n = block ? read(fd, block, COPY_SIZE) : -1;
		if (n < 0 && block && errno == EINTR)
			continue;
		if (n <= 0)
			return (int)n;
		if (http_stream_write(stream, block, (size_t)n, NULL) < 0)
			return -1; /* closing the pipe ends the producer */
	}
}

int tar_stream_run(struct http_request *req, struct tar_stream *p, const char *type,
                   struct err *err)
{
	pthread_t thread;
	char first[512];
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_sys(err, "pipe");
	p->out_fd = ends[1];
	int rc = pthread_create(&thread, NULL, producer_main, p);
	if (rc != 0) {
		close(ends[0]);
		close(ends[1]);
		errno = rc;
		return err_sys(err, "start a thread");
	}
	ssize_t n = read(ends[0], first, sizeof(first));
	struct http_stream *stream = n > 0 ? http_stream_begin(req, 200, type, err) : NULL;
	if (stream && http_stream_write(stream, first, (size_t)n, NULL) == 0)
		(void)relay(ends[0], stream);
	close(ends[0]);
	pthread_join(thread, NULL);
	if (stream && p->rc < 0)
		log_warn(p->d->log, "a tar ends early", "path=%s error=%s", http_path(req),
		         p->err.msg);
	if (stream) {
		/* Left open: the client sees that the tar is cut. */
		if (p->rc == 0)
			http_stream_end(stream);
		return 0;
	}
	if (p->rc < 0)
		*err = p->err;
	return n > 0 || p->rc < 0 ? -1 : http_reply(req, 200, type, "", 0);
}
