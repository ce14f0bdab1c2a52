/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * store_move - a cluster's whole state goes to another place: from a file to etcd, or from a backup.
 *
 * Nobody may lead the cluster meanwhile. The place must hold no cluster yet. The epochs of whoever leads from it
 * will be above those of the place before: nodes refuse a leader of a lower one than they have seen. A file that was
 * moved is left as it is, but for its own epoch: whoever still has it open cannot write to it any more.
 */

#include <stdint.h>

struct err;
struct etcd_options;
struct store_tx;

struct store_filler {
	int (*put)(void *arg, struct store_tx *tx, struct err *err); /* all there shall be */
	void *arg;
	int64_t epoch; /* that shall be exceeded */
};

/* ERR_CONFLICT: there is a cluster already. On failure nothing was written that counts. */
int store_fill_etcd(const struct etcd_options *options, const struct store_filler *filler,
                    struct err *err);
int store_fill_file(int dir_fd, const char *name, const struct store_filler *filler,
                    struct err *err);

int store_move_to_etcd(int dir_fd, const char *name, const struct etcd_options *options,
                       struct err *err);
