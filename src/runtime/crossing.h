/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * crossing - into a user namespace that is there already: a child that is born in it, and mounts with its ids.
 *
 * Every other namespace belongs to the user namespace of whoever makes it, and only that one's root may
 * mount, change interfaces and so on in it. So the clone3(2) that makes them has to be called from inside; but a
 * process that has gone in never comes back, and the supervisor must stay outside. The call is therefore made by a
 * go-between that shares our memory and descriptors, goes in, clones and ends: we stand still meanwhile
 * (CLONE_VFORK), and the child is our own all the same (CLONE_PARENT).
 *
 * For a namespace that is to be made and mapped on the spot see init_plan.map_ids. Parent's side, single-threaded.
 */

#include <stdbool.h>
#include <sys/types.h>

struct birth;
struct clone_args;
struct err;

/* birth_clone() in the plan's user namespace (options->userns_fd), and in the pid namespace pid_ns_fd if that is not -1.
 * -1 with errno. The child may run already: as birth.h says, only what is trivial may follow here. */
pid_t crossing_clone(struct birth *birth, int pid_ns_fd, struct clone_args *args);

/* A detached mount of the directory with its ids mapped: on disk 0, 1, ... stay 0, 1, ... inside. The caller's. */
int crossing_mount(int dir_fd, int userns_fd, struct err *err);
/* The same for a bind's detached mount, which stays as it is where its file system (procfs, a network file
 * system) cannot map: its files are nobody's inside, with the rights of "others". */
void crossing_map_bind(int mount_fd, bool recursive, int userns_fd);
