/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * tarball - the tar format, read and written entry by entry. libarchive stands behind it; its
 * code that writes to disk is never used (apply.h is our own).
 *
 * Reading takes ustar, pax, GNU and sparse variants; writing makes ustar, with pax records where
 * a value does not fit, and nothing that varies from run to run. Names are bytes; the reader refuses
 * names that the pax format could not carry as UTF-8.
 *
 * One thread at a time per object; its calls switch that thread's locale to UTF-8 and back.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"

struct err;
struct tarball_reader;
struct tarball_writer;

struct tarball_xattr {
	const char *name;
	const void *value;
	size_t len;
};

struct tarball_entry {
	const char *path;     /* as it stands in the archive */
	const char *hardlink; /* path of the other name, or NULL */
	const char *symlink;  /* target, or NULL */
	mode_t mode;          /* type and permissions; a hard link has type 0 */
	uint32_t uid, gid;
	int64_t size; /* regular files */
	int64_t mtime;
	long mtime_ns;
	dev_t rdev;
	const struct tarball_xattr *xattrs;
	size_t xattr_count;
};

/* ---- reading ---- */

/* read(): up to len bytes, 0 at the end, -1 with err set. */
typedef ssize_t tarball_read_fn(void *arg, void *data, size_t len, struct err *err);

struct tarball_reader *tarball_reader_open(tarball_read_fn *read, void *arg, struct err *err);
void tarball_reader_free(struct tarball_reader *r);
DEFINE_AUTO(tarball_reader)
/* The next entry, borrowed until the next call. 1, 0 at the end, -1: ERR_INVALID. */
int tarball_reader_next(struct tarball_reader *r, struct tarball_entry *entry, struct err *err);
/* Where the content of the entry just read begins, in bytes of the stream; -1: it does not lie there in one piece (sparse
 * files). Before tarball_reader_data(). */
int64_t tarball_reader_position(const struct tarball_reader *r);
/* The next piece of the entry's content and where in the file it goes (files may have
 * holes). Borrowed. 1, 0 at the end of the entry, -1. */
int tarball_reader_data(struct tarball_reader *r, const void **data, size_t *len, int64_t *offset,
                        struct err *err);

/* ---- writing ---- */

typedef int tarball_write_fn(void *arg, const void *data, size_t len, struct err *err);

struct tarball_writer *tarball_writer_create(tarball_write_fn *write, void *arg, struct err *err);
void tarball_writer_free(struct tarball_writer *w);
DEFINE_AUTO(tarball_writer)
int tarball_writer_entry(struct tarball_writer *w, const struct tarball_entry *entry,
                         struct err *err);
/* Content of the entry just begun, `size` bytes in all; what is missing becomes zeros. */
int tarball_writer_data(struct tarball_writer *w, const void *data, size_t len, struct err *err);
int tarball_writer_finish(struct tarball_writer *w, struct err *err);
