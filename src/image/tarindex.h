/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * tarindex - a layer's tar as an erofs file system: the tree that apply.c would make of it, written as an index into
 * the tar (erofs.h).
 *
 * What apply.h says of layers holds here as well: the same names are refused, later entries win over earlier ones,
 * whiteouts become overlayfs' own marks. Nothing is made in any directory, so links lead nowhere while this runs.
 */

#include "image/apply.h"

struct err;

/* Reads the source, a plain tar, to its end, and writes the index to index_fd, which is empty. Offsets count from the
 * first byte of the source. ERR_INVALID, ERR_LIMIT, ERR_SYSTEM. */
int tarindex_stream(const struct apply_source *source, int index_fd,
                    const struct apply_limits *limits, struct apply_result *result,
                    struct err *err);
