/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * rdt - cache and memory bandwidth classes of a resctrl file system (linux.intelRdt).
 *
 * root_fd is the mounted resctrl; a test points it at a directory of its own. Source: config-linux.md, "IntelRdt".
 */

#include <sys/types.h>

struct err;
struct oci_rdt;

/* The machine's. ERR_UNSUPPORTED when none is mounted. */
int rdt_open(struct err *err);

/* Makes or checks the class, writes its schemata, and puts the process in; on failure what was made is gone. */
int rdt_apply(int root_fd, const struct oci_rdt *rdt, const char *id, pid_t pid, struct err *err);

/* One more process of the container. */
int rdt_join(int root_fd, const struct oci_rdt *rdt, const char *id, pid_t pid, struct err *err);

/* Other schemata for the class of a container that is there; NULL: as it is. Whoever shares the class gets them, too. */
int rdt_update(int root_fd, const struct oci_rdt *rdt, const char *id, const char *l3_schema,
               const char *mb_schema, struct err *err);
/* What is the container's own: the monitoring group, and a class that has its id. Gone is success. */
int rdt_remove(int root_fd, const struct oci_rdt *rdt, const char *id, struct err *err);
