/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * copy - a directory tree into another directory, as `cp -a` would: owners, modes, times,
 * links, devices, extended attributes. By descriptors; symlinks are copied, never followed.
 */

struct err;

/* to_fd is an empty directory and takes on from_fd's owner and mode. */
int copy_tree(int from_fd, int to_fd, struct err *err);
