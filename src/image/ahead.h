/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * ahead - decompresses an archive on a thread of its own, a few blocks ahead of who reads it.
 *
 *	auto_type(ahead) a = ahead_create(fd, err);     // the thread is there, and waits
 *	while ((n = ahead_next(a, &data, &taken, err)) > 0)
 *		...                                     // blocks of AHEAD_BLOCK bytes, but the last
 *
 * Inflating costs about as much as everything that is done with the result, so two processors do it in half the
 * time. The thread touches no byte of the archive before the first ahead_next(): the unpacker starts it just before its system
 * call filter shuts (sandbox.h), and begins when that is in force.
 *
 * One thread calls ahead_next(). Memory: AHEAD_BLOCKS blocks, and the decompressor's.
 */

#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"

struct ahead;
struct err;

#define AHEAD_BLOCK  (64u << 10) /* bytes; whole pages of the file that is written */
#define AHEAD_BLOCKS 4

/* fd is borrowed. Returns when the thread has made the system calls that threads begin with. */
struct ahead *ahead_create(int fd, struct err *err);
/* Waits for the thread, and so for a read(2) of fd that is under way. */
void ahead_free(struct ahead *a);
DEFINE_AUTO(ahead)
/* The next block, borrowed until the next call; *taken: how many packed bytes it took until its end. 0 at the end, -1: as
 * compress_reader_read(). */
ssize_t ahead_next(struct ahead *a, const void **data, uint64_t *taken, struct err *err);
