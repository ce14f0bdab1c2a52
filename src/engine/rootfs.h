/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * rootfs - the file system of an image or a container as one directory descriptor, by a
 * detached overlay mount that nobody else sees.
 */

#include <stddef.h>

struct container;
struct engine;
struct err;

/* Read-only. The caller closes it. */
int rootfs_image_open(struct engine *engine, const char *image_id, struct err *err);
/* A stopped container's, read-only: its upper directory counts as the top layer. */
int rootfs_container_open(struct container *c, struct err *err);
/* The same to write to: changes go where the container's own would, and ids are the host's, as in a
 * running one. Only while it does not run, and op is held. */
int rootfs_container_open_rw(struct container *c, struct err *err);
/* The overlay of directories, top first; one alone is opened as it is. */
int rootfs_overlay(const int *lower_fds, size_t count, struct err *err);
