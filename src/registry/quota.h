/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * quota - how many bytes repositories may hold.
 *
 *	quota = PATTERN SIZE [each]          quota = ops-* 20g
 *
 * Without "each" all repositories that fit share the bytes, with it each has them for itself; every line that fits
 * counts. A blob counts once in each repository that holds it, manifests count too; what was deleted counts until it is
 * collected.
 *
 * Bytes are taken before content gets its name in a repository and given back when that fails, so that pushes beside
 * each other cannot get over the limit. The sizes on the disk are added up once, at the start. From any thread.
 */

#include <stdint.h>

#include "base/cleanup.h"

struct blobs;
struct buf;
struct err;
struct quotas;
struct settings_list;

/* NULL without an error in *err when there are none; `err` must be given. ERR_INVALID: a line is not understood. */
struct quotas *quotas_open(const struct settings_list *lines, const struct blobs *blobs,
                           struct err *err);
void quotas_free(struct quotas *q);
DEFINE_AUTO(quotas)

/* All accept NULL: then there is room for everything. */

/* Is there room for so many bytes more? ERR_DENIED says how much is used, of how much. */
int quotas_check(struct quotas *q, const char *repo, uint64_t bytes, struct err *err);
/* The same, and takes them. */
int quotas_take(struct quotas *q, const char *repo, uint64_t bytes, struct err *err);
void quotas_give(struct quotas *q, const char *repo, uint64_t bytes);
/* For Prometheus: used and limit of each line that is shared. */
void quotas_write_metrics(struct quotas *q, struct buf *out);
