/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * streams - stdin, stdout and stderr of a supervised process, or its terminal.
 *
 * What the process writes goes to the log file, into a ring of the last 64 KiB and to every
 * attached client; what clients with `in` write goes to the process.
 *
 *	struct streams s = STREAMS_INIT;
 *	s.stdin_fd = ..., s.sources[0].fd = ..., s.log = &log;
 *	for (;;) {
 *		struct pollset set = {0};
 *		int64_t wait_ms = streams_prepare(&s, &set, now_ms);
 *		poll(set.fds, set.count, wait_ms);
 *		streams_run(&s, &set, now_ms);
 *	}
 *
 * Clients get Docker's frames, or bare bytes when the process has a terminal. One that does not
 * keep up is given a queue of STREAMS_QUEUE_MAX; while any queue is full the process's output
 * is not read, so that nothing is lost and memory stays bounded; a client whose queue was
 * full and that has read nothing for STREAMS_STALL_MS is cut off, so that a forgotten
 * client cannot hold the process for ever.
 *
 * stdin waits for streams_started(): what a client types before that would be echoed by the
 * terminal, and is not for the runtime. So does output: whoever attaches before the start misses none. All descriptors are non-blocking. Nothing here fails: a
 * stream that breaks is closed.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/launcher.h"
#include "runtime/logfile.h"
#include "runtime/pollset.h"
#include "runtime/ring.h"

struct err;
struct streams_client;

#define STREAMS_QUEUE_MAX   (1024 * 1024)
#define STREAMS_STALL_MS    30000
#define STREAMS_CLIENTS_MAX 64
#define STREAMS_CHUNK       (32 * 1024)
#define STREAMS_DRAIN_MAX   (2 * 1024 * 1024) /* two pipes of the kernel's largest size */

struct streams_source {
	int fd;         /* owned; -1: at its end */
	uint8_t number; /* 1 stdout or terminal, 2 stderr */
	int slot;
};

struct streams {
	int stdin_fd; /* owned; -1: closed. The terminal has its own descriptor here. */
	int stdin_slot;
	bool terminal, stdin_once;
	bool started, stdin_ended;
	struct streams_source sources[2];
	struct logfile *log; /* borrowed; NULL: none */
	struct ring ring;
	struct streams_client *clients; /* owned */
	size_t client_count;
	char *pending; /* owned; read from a client, not yet taken by the process */
	size_t pending_at, pending_len;
	char *chunk;   /* owned, mapped; NULL while idle */
	bool ending;   /* the process has ended: read on whatever clients do ... */
	size_t budget; /* ... but not more than this: what a pipe can hold */
};
#define STREAMS_INIT                                                                               \
	((struct streams){.stdin_fd = -1,                                                          \
	                  .stdin_slot = -1,                                                        \
	                  .sources = {{.fd = -1, .number = 1}, {.fd = -1, .number = 2}}})

/* A new client: the other end of its stream socket, which the caller hands on. ERR_LIMIT. */
int streams_attach(struct streams *s, const struct supervisor_attach *what, struct err *err);

void streams_started(struct streams *s);

/* Adds what to wait for; returns for how long at most, in ms (-1: for ever). */
int64_t streams_prepare(struct streams *s, struct pollset *set, int64_t now_ms);
void streams_run(struct streams *s, const struct pollset *set, int64_t now_ms);
/* Gives work memory back; call when nothing has happened for a while. true: there was some. */
bool streams_idle(struct streams *s);

/* The process has ended: what is in its pipes is read even if a client's queue is full. */
void streams_drain(struct streams *s);
/* Output is still to be read. */
bool streams_open(const struct streams *s);
/* The process is gone and its output read: finishes the log, lets clients have the rest. */
void streams_end(struct streams *s);
/* Clients that have not got everything yet, after streams_end(). */
bool streams_busy(const struct streams *s);
void streams_done(struct streams *s);
