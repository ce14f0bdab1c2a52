/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * userdev - what the parent makes for a container in a user namespace of its own, because nobody in there may.
 *
 * Runs in the parent, between the plan and the clone. Does nothing for other containers.
 */

struct err;
struct init_plan;

/* A /dev with device nodes that belong to the container's users, as mount_fds' entry for it. Without, the child
 * mounts the host's own nodes, whose owners mean nothing in there. */
int userdev_make(struct init_plan *plan, struct err *err);
/* Pipes become the process's own, so that it can open /dev/stdout again. What fails leaves them as they were. */
void userdev_give_stdio(const struct init_plan *plan);
