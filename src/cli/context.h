/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * context - a build context on its way: a directory becomes a tar stream, without what .dockerignore
 * leaves out.
 *
 *	struct context c = {.dir_fd = fd, .dockerfile = "Dockerfile"};
 *	context_start(&c, err);               // a thread writes into a pipe
 *	call.read = context_read; call.read_arg = &c;
 *	...
 *	context_finish(&c, err);              // the thread's own failure, if it had one
 *
 * Owners become root and times are kept, so that the cache depends on names, modes and content alone.
 * Sockets are left out. The Dockerfile and .dockerignore are always sent: the daemon needs them.
 */

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/pattern.h"

struct context {
	int dir_fd;             /* borrowed; -1: only `extra` */
	const char *dockerfile; /* path inside the context */
	const char *extra;      /* a Dockerfile from elsewhere, sent as `dockerfile`; NULL: none */
	size_t extra_len;
	/* For a copy instead of a build: */
	bool plain;       /* everything; there is no .dockerignore, and owners stay */
	const char *only; /* this entry of dir_fd alone; NULL: what is in dir_fd */
	const char *as;   /* how it is called in the tar */
	/* private */
	struct pattern_list ignore;
	struct arena arena;
	pthread_t thread;
	int read_fd, write_fd;
	struct err err;
};

int context_start(struct context *c, struct err *err);
ssize_t context_read(void *arg, void *data, size_t len);
int context_finish(struct context *c, struct err *err);
/* The body of a call that sends what a descriptor yields: arg is an int *. */
ssize_t context_read_fd(void *arg, void *data, size_t len);
