/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * demux - takes Docker's framed streams apart: eight bytes of head (1 stdout, 2 stderr; length, big
 * endian), then so many bytes.
 *
 *	struct demux d = {.raw = tty};
 *	demux_feed(&d, data, len, err);      // writes to descriptors 1 and 2
 *
 * With a terminal there are no frames: all of it is output.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;

struct demux {
	bool raw;
	unsigned char head[8];
	size_t head_len;
	uint32_t left;      /* bytes of the frame still to come */
	int out_fd, err_fd; /* 0: 1 and 2 */
};

/* ERR_INVALID for what is no frame; ERR_SYSTEM when the output does not take it. */
int demux_feed(struct demux *d, const void *data, size_t len, struct err *err);
/* As the write function of an http_call: arg is the struct demux. */
int demux_write(void *arg, const void *data, size_t len);
