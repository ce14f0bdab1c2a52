/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * cgroup_sweep - ends and removes what a dead supervisor left behind, by path alone.
 *
 *	cgroup_sweep(root_fd, "/buoy/4f53...", 3000, err);
 *
 * Works on every hierarchy mounted below root_fd (/sys/fs/cgroup: v1, v2 and both), which it finds
 * by looking; so it needs neither a handle nor the config the cgroups were made from.
 * Blocks until all is gone, at most timeout_ms.
 */

#include <stdint.h>

struct err;

/* Kills every process in `path` and below, thaws what is frozen, removes the directories. A path
 * that does not exist is success. ERR_INVALID for a path that is empty, the root, or has
 * ".." in it; ERR_TIMEOUT when processes do not die. */
int cgroup_sweep(int root_fd, const char *path, int64_t timeout_ms, struct err *err);
/* Removes the directory `path` ("buoy", one name) from every hierarchy in which nothing is left below it. */
void cgroup_prune(int root_fd, const char *path);
