/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * diff - a directory as a tar archive, the same bytes for the same content.
 *
 * Entries go in the order of their names, a directory before what it holds. With DIFF_LAYER the
 * directory is the upper of an overlay: device 0:0 becomes ".wh.name", an opaque directory
 * gets ".wh..wh..opq" as its first entry; the root itself has no entry, so that an empty
 * upper gives the well-known empty layer. Sockets are left out. Reads only; symbolic links are never
 * followed and everything goes by descriptor, so a container may go on changing the tree: a file that
 * shrinks meanwhile is filled up with zeros.
 */

#include <stdbool.h>
#include <stdint.h>

#include "image/tarball.h"

struct err;

/* Writes the archive piece by piece to write(). *size (may be NULL): bytes of the files' content.
 * ERR_UNSUPPORTED for an upper that only overlayfs itself understands (redirects, metacopies). */
int diff_write(int dir_fd, bool layer, tarball_write_fn *write, void *arg, int64_t *size,
               struct err *err);
/* The same of one thing in dir_fd, `base` (or "." for dir_fd itself), whose entries begin with `name`.
 * The 65,536 owners from first_id
 * on are 0, 1, ... in the archive (0: as they are). ERR_NOT_FOUND when it is not there any more. */
int diff_write_path(int dir_fd, const char *base, const char *name, uint32_t first_id,
                    tarball_write_fn *write, void *arg, struct err *err);
