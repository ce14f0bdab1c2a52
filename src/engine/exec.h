/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * exec - one more process in a running container, in three calls as Docker has them.
 *
 *	exec_create(engine, "web", &create, id, err);
 *	int fd = exec_start(engine, id, &start, err);   // stdio, or -1 with detach
 *	exec_inspect(engine, id, arena, &view, err);
 *
 * Execs are kept in memory only: they end with their container, and a few minutes after their own end.
 * A running one outlives the daemon, but is not found again by it.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "api/container.h"
#include "base/id.h"

struct arena;
struct engine;
struct err;

/* ERR_CONFLICT when the container does not run or is paused. */
int exec_create(struct engine *engine, const char *ref, const struct api_exec_create *create,
                char id[ID_HEX_MAX], struct err *err);

struct exec_start {
	bool detach, tty;
	uint16_t rows, cols; /* 0: unset */
};
/* A stream socket as of supervisor_attach(), which the caller closes. It is connected before the program
 * runs. A program that cannot be executed is no failure: its message comes through the socket,
 * and its exit code is 127 or 126. detach: returns 0, no socket. */
int exec_start(struct engine *engine, const char *id, const struct exec_start *start,
               struct err *err);
int exec_resize(struct engine *engine, const char *id, uint16_t rows, uint16_t cols,
                struct err *err);

/* After the stream's end: until the exit code is known. 0 also when it did not come in time. */
int exec_wait(struct engine *engine, const char *id, int64_t timeout_ms, struct err *err);

struct exec_view {
	char id[ID_HEX_MAX], container_id[ID_HEX_MAX];
	bool running, has_exit;
	int exit_code;
	pid_t pid;
	struct api_exec_create *create; /* a copy in the arena */
};
int exec_inspect(struct engine *engine, const char *id, struct arena *arena, struct exec_view *out,
                 struct err *err);

struct buf;
struct exec_answer {
	struct buf *output; /* borrowed, filled up to its max; may be NULL */
	int code;           /* of the exit */
};
/* Runs to its end: health checks, and whoever wants an answer. A missed deadline kills it and is
 * ERR_TIMEOUT. */
int exec_run(struct engine *engine, const char *ref, const struct api_exec_create *create,
             int64_t timeout_ms, struct exec_answer *answer, struct err *err);
