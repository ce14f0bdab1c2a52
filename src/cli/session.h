/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * session - sitting in a container: our terminal (or pipe) on one side, the hijacked stream of an attach
 * or exec on the other.
 *
 *	struct session s = {.fd = fd, .tty = true, .in = true, .resize = path, .wait = &waiter};
 *	session_run(cli, &s, err);
 *
 * The terminal is raw while it runs and is put back on every way out. A window that changes its size is
 * told; with `kill` set, signals (INT, TERM, HUP, QUIT, USR1, USR2) go to the container instead of
 * to us. The end of our input is passed on, and what the container still says is shown.
 *
 * session_block_signals() comes before any thread is made: signals are read from a descriptor.
 */

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "cli/cli.h"

struct session {
	int fd; /* borrowed; -1: nothing is attached, only wait */
	bool tty, in;
	const char *resize; /* path to POST h and w to; NULL: none */
	const char *kill;   /* path to POST signal to; NULL: signals end us */
	int wait_fd;        /* readable when the wait is over; -1: none */
	bool detached;      /* out: the stream ended before the container did */
	int signal_fd;      /* owned while session_run() runs */
};

int session_block_signals(struct err *err);
int session_run(struct cli *cli, struct session *s, struct err *err);
/* Tells the daemon how big our window is, if we have one. */
void session_resize(struct cli *cli, const char *path);

/* POST /containers/{id}/wait on a thread of its own: ready is readable when the answer is in. */
struct waiter {
	const struct cli *cli;
	const char *id, *condition; /* borrowed */
	pthread_t thread;
	int armed_fd[2]; /* a byte when the daemon has armed the wait, or it failed */
	int done_fd[2];
	int64_t code;
	struct err err;       /* kind ERR_NONE: code is good */
	struct err container; /* what the container says failed */
};

/* Returns when the daemon waits: what exits from now on is seen. */
int waiter_start(struct waiter *w, const struct cli *cli, const char *id, const char *condition,
                 struct err *err);
/* Waits for it. The exit code, or -1. */
int waiter_join(struct waiter *w, struct err *err);
