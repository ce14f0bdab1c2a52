/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * worker - the process that unpacks what came from outside.
 *
 *	struct worker worker;
 *	worker_start(program, &(struct worker_job){.dir_fd = dir, .in_fd = -1, ...}, &worker, err);
 *	worker_write(&worker, data, len, err);
 *	worker_finish(&worker, &result, err);
 *
 * It is this very program, executed as `PROGRAM worker unpack ...` with four descriptors: 0 the
 * archive, 1 where its result goes, 3 the directory, 4 a copy of the uncompressed archive. It enters
 * the directory as its root, drops the capabilities it does not need, forbids itself new
 * privileges and all system calls but those of apply.c (sandbox.h), and then reads the archive. A crash or
 * a kill of it is a clean error here, and the directory is the caller's to throw away.
 *
 * worker_start() may be called from any thread and any number at once; one worker belongs to one thread.
 */

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "image/apply.h"

struct err;

struct worker_job {
	int dir_fd;     /* borrowed */
	int in_fd;      /* borrowed; -1: the archive comes by worker_write() */
	int copy_fd;    /* borrowed; -1: none */
	int userns_fd;  /* borrowed: whose root it becomes; 0 or less: it stays who it is */
	unsigned flags; /* enum apply_flags */
	struct apply_limits limits;
};

struct worker {
	pid_t pid;
	int in_fd;     /* our end of the socket, or -1 */
	int result_fd; /* read end */
};

int worker_start(const char *program, const struct worker_job *job, struct worker *worker,
                 struct err *err);
/* -1: the worker takes no more; worker_finish() knows why. */
int worker_write(struct worker *worker, const void *data, size_t len, struct err *err);
/* Says that the archive is complete, waits for the result and for the process to end. */
int worker_finish(struct worker *worker, struct apply_result *result, struct err *err);
/* Kills it and waits. */
void worker_cancel(struct worker *worker);
