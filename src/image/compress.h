/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * compress - streams in and out of gzip and zstd.
 *
 *	auto_type(compress_reader) r = compress_reader_open(fd, err);
 *	while ((n = compress_reader_read(r, data, sizeof(data), err)) > 0) ...
 *
 * The reader looks at the first bytes to see what it has: gzip (ISA-L), zstd, xz
 * and bzip2 (through libarchive), or anything else, which passes unchanged. It holds a
 * few hundred kilobytes whatever the stream claims. The writer makes gzip at ISA-L's
 * level 3 without name and time, so that equal input gives equal bytes.
 *
 * Reading blocks on the descriptor. One thread at a time.
 */

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"

struct err;
struct compress_reader;
struct compress_writer;

enum compress_kind {
	COMPRESS_NONE,
	COMPRESS_GZIP,
	COMPRESS_ZSTD,
	COMPRESS_OTHER, /* xz, bzip2: known, but not what a registry takes */
};

#define COMPRESS_MAGIC 6 /* bytes that compress_detect() wants to see */

enum compress_kind compress_detect(const void *data, size_t len);

/* fd is borrowed. */
struct compress_reader *compress_reader_open(int fd, struct err *err);
void compress_reader_free(struct compress_reader *r);
DEFINE_AUTO(compress_reader)
/* Bytes, 0 at the end of the stream, -1: ERR_INVALID (damaged or cut short), ERR_SYSTEM. */
ssize_t compress_reader_read(struct compress_reader *r, void *data, size_t len, struct err *err);
/* Compressed bytes taken from fd so far. */
uint64_t compress_reader_taken(const struct compress_reader *r);

/* What is made goes to write(), which returns -1 with err set to give up. */
struct compress_writer *compress_writer_create(int (*write)(void *arg, const void *data, size_t len,
                                                            struct err *err),
                                               void *arg, struct err *err);
void compress_writer_free(struct compress_writer *w);
DEFINE_AUTO(compress_writer)
int compress_writer_add(struct compress_writer *w, const void *data, size_t len, struct err *err);
int compress_writer_finish(struct compress_writer *w, struct err *err);
