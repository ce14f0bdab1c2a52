/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* cgroup_impl - what the files of cgroup*.c share; nobody else includes it. */

#include "runtime/cgroup.h"

struct cgroup_place {
	struct cgroup_hierarchy hierarchy;
	int fd;          /* owned directory; -1: not there (any more) */
	int join_fd;     /* owned: tasks or cgroup.procs, or -1 */
	bool made;       /* by us */
	char below[256]; /* "/a": where cgroup_descend() has gone to from the cgroup */
};

struct oci_resources;

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

/* The same, or ERR_UNSUPPORTED: "linux.resources.<field>: no <controller> cgroup is mounted". */
int cgroup_need(struct cgroup *cg, const char *controller, const char *field,
                struct cgroup_place **place, struct err *err);
int cgroup_write_number(struct cgroup_place *place, const char *file, int64_t value,
                        struct err *err);
/* cgroup_v2.c: makes sure that this controller is handed down to here, for those that creation does not hand
 * down by itself. ERR_UNSUPPORTED. */
int cgroup_require(struct cgroup *cg, struct cgroup_place *place, const char *controller,
                   struct err *err);
int cgroup_apply_unified(struct cgroup *cg, const struct oci_resources *resources, struct err *err);
/* cgroup_io.c: block I/O, huge pages, network, RDMA. */
int cgroup_apply_io(struct cgroup *cg, const struct oci_resources *resources, struct err *err);
