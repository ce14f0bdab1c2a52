/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* mounts_copy - "tmpcopyup": a new tmpfs begins with what it is about to hide. Directories, files and
 * symlinks with mode and owner; the rest (devices, sockets) is left out. */

struct err;

/* Both are directories; nothing is followed. ERR_LIMIT for a tree deeper than 64 levels. */
int mounts_copy(int from_fd, int to_fd, struct err *err);
