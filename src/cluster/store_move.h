/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * store_move - a cluster's state goes from a file to etcd, whole.
 *
 * Nobody may lead the cluster meanwhile. The etcd must hold no cluster under its prefix. Its epochs, which are
 * its revisions, are brought above the file's first: nodes refuse a leader of a lower one than they
 * have seen. The file is left as it is, but for its own epoch: whoever still has it open
 * cannot write to it any more.
 */

struct err;
struct etcd_options;

/* ERR_CONFLICT: there is a cluster already. On failure nothing was written that counts. */
int store_move_to_etcd(int dir_fd, const char *name, const struct etcd_options *options,
                       struct err *err);
