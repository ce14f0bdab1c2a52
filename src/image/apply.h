/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * apply - a tar archive onto a directory: the one extractor of this code base.
 *
 * The daemon runs it in a worker process (worker.h); `buoy cp` as the user that it is for. The archive is
 * hostile. Every name is split here, its parents are opened beneath the root without following
 * symbolic links, the last component is made exclusively, and owner, mode, times and attributes go
 * to descriptors, never to names. Nothing outside dir_fd can change (T-tar in the tests).
 *
 * As a layer (APPLY_LAYER), whiteouts become overlayfs' own marks: a character device 0:0 for
 * ".wh.name", the attribute trusted.overlay.opaque for ".wh..wh..opq". Attributes that
 * overlayfs or the kernel's security modules interpret are never taken from an archive.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"
#include "oci/digest.h"

struct ahead;
struct err;

enum apply_flags {
	APPLY_LAYER = 1 << 0,        /* whiteouts are marks; else they are plain names */
	APPLY_OWNERS = 1 << 1,       /* keep owners (needs CAP_CHOWN); else they are the caller's */
	APPLY_SPECIAL = 1 << 2,      /* make devices; else they are an error */
	APPLY_FOLLOW = 1 << 3,       /* parents may be symbolic links, resolved inside dir_fd */
	APPLY_KEEP_TYPE = 1 << 4,    /* a directory never replaces another thing, nor the reverse */
	APPLY_UNPRIVILEGED = 1 << 5, /* marks use user.overlay.*: for tests without root */
	APPLY_INDEX =
		1
		<< 6, /* apply_tar() only: no tree but its index (tarindex.h), as APPLY_INDEX_NAME */
};
#define APPLY_FLAGS_ALL  0x7f
#define APPLY_INDEX_NAME "index"

#define APPLY_WHITEOUT        ".wh."
#define APPLY_WHITEOUT_OPAQUE ".wh..wh..opq"
#define APPLY_WHITEOUT_AUFS   ".wh..wh." /* bookkeeping of an old file system */

struct apply_limits {
	int64_t entries;
	int64_t bytes; /* of content, holes counted */
	int64_t ratio; /* unpacked over packed, once RATIO_FREE bytes are out */
};
#define APPLY_RATIO_FREE (1ll << 30)
#define APPLY_LIMITS     ((struct apply_limits){.entries = 1000000, .bytes = 1ll << 40, .ratio = 200})
#define APPLY_PATH_MAX   4095 /* bytes of a path inside the archive */
#define APPLY_DEPTH_MAX  200  /* components of a path */

struct apply_result {
	char diff_id[DIGEST_TEXT_MAX]; /* of the uncompressed archive, to its very last byte */
	int64_t size;                  /* bytes of content */
	int64_t entries;
	int64_t stream; /* bytes of the uncompressed archive */
};

/* Where the archive comes from, uncompressed. read(): up to len bytes, 0 at the end, -1 with err set. */
struct apply_source {
	ssize_t (*read)(void *arg, void *data, size_t len, struct err *err);
	void *arg;
};

/* Reads the source to its end. On failure the directory holds what came so far. result->diff_id is left
 * empty. ERR_INVALID, ERR_LIMIT, ERR_SYSTEM. */
int apply_stream(const struct apply_source *source, int dir_fd, unsigned flags,
                 const struct apply_limits *limits, struct apply_result *result, struct err *err);
/* The same of what a thread unpacks (ahead.h), in any compression. copy_fd gets the uncompressed archive unless it is -1. */
int apply_tar(struct ahead *from, int dir_fd, int copy_fd, unsigned flags,
              const struct apply_limits *limits, struct apply_result *result, struct err *err);

/* Writes path without "/", "." and doubled slashes to out; the root gives "". ERR_INVALID (".."), ERR_LIMIT. */
int apply_normalise(const char *path, char out[APPLY_PATH_MAX + 1], struct err *err);
/* Is this extended attribute one that an archive may bring? */
bool apply_xattr_wanted(const char *name);
