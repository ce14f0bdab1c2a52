/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * mountns - get out of the mount namespace that `ip netns exec` makes.
 *
 * That command gives its program a mount namespace of its own with a fresh /sys, on which no cgroup
 * hierarchy is mounted: containers would have no limits, and what is mounted there is gone with the
 * program, so that the next daemon would not find its network namespaces. The network namespace is meant to be
 * another one, the mounts are not.
 */

struct err;
struct log;

/* Where no cgroup hierarchy is mounted: joins the mount namespace of the parent or of process 1, if they
 * have some and `root` leads to the same place there; else mounts the hierarchies in a mount namespace of its
 * own. Before any thread starts. */
int mountns_settle(const char *root, const struct log *log, struct err *err);
