/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* cgroup_impl - what cgroup.c and cgroup_limits.c share; nobody else includes it. */

#include "runtime/cgroup.h"

struct cgroup_place {
	struct cgroup_hierarchy hierarchy;
	int fd;      /* owned directory; -1: not there (any more) */
	int join_fd; /* owned: tasks or cgroup.procs, or -1 */
	bool made;   /* by us */
};

struct cgroup {
	char path[CGROUP_PATH_MAX]; /* "/a/b" below each mount */
	struct cgroup_place places[CGROUP_HIERARCHIES_MAX];
	size_t count;
};

/* The hierarchy that has this controller, version 1 first; NULL. */
struct cgroup_place *cgroup_find(struct cgroup *cg, const char *controller);
int cgroup_write(struct cgroup_place *place, const char *file, const char *value, struct err *err);
int cgroup_read_place(struct cgroup_place *place, const char *file, struct buf *out,
                      struct err *err);
