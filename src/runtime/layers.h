/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * layers - an image's layers as one detached mount, a container's root before it is attached anywhere.
 */

struct err;
struct oci_process;
struct spawn_rootfs;

/* attr: MOUNT_ATTR_*, beside read-only, which follows from rootfs. userns_fd (borrowed; 0 or less: none): the layers are
 * mapped into it, so that their files have the same ids inside as on disk; the upper directory has the host's ids of
 * that namespace, for overlayfs takes no mapped one. The caller's descriptor. */
int layers_mount(const struct spawn_rootfs *rootfs, int userns_fd, unsigned attr, struct err *err);
/* The attributes of such a root for this process. */
unsigned layers_attr(const struct oci_process *process);
