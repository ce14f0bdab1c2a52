/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * rootfs - a container's file system, seen from inside its new mount namespace.
 *
 * Every target is looked up in the root once, to a descriptor, and mounts are moved onto
 * descriptors; what the runtime itself relies on (/dev, /proc, /sys) may not be a symlink.
 *
 * Runs in the child only. Source: config.md (mounts, root), config-linux.md (default
 * file systems, devices, masked and read-only paths).
 */

#include <stdbool.h>
#include <sys/types.h>

struct err;
struct init_plan;
struct oci_mount;

/* What the steps share. */
struct rootfs {
	const struct init_plan *plan;
	int root_fd;  /* borrowed from the plan */
	int null_fd;  /* owned: the host's verified /dev/null, O_PATH */
	int empty_fd; /* owned: the read-only empty directory, once it is attached; -1 */
};

/* Everything but leaving the old root. */
int rootfs_setup(struct rootfs *fs, struct err *err);
/* pivot_root, or chroot with no_pivot; the old root is gone then. */
int rootfs_enter(struct rootfs *fs, struct err *err);
void rootfs_done(struct rootfs *fs);

/* mounts.c: entry `index` of the spec. */
int rootfs_mount(struct rootfs *fs, size_t index, struct err *err);
/* An O_PATH descriptor of `path` in the root; below /dev, /proc and /sys no symlink is followed. */
int rootfs_open(const struct rootfs *fs, const char *path, struct err *err);
/* A mount point, made if it is missing. */
int rootfs_open_target(const struct rootfs *fs, const char *destination, bool directory,
                       struct err *err);

/* The nodes that every /dev has. */
struct rootfs_device {
	const char *name;
	unsigned minor, major;
};
#define ROOTFS_DEVICES 6
extern const struct rootfs_device rootfs_devices[ROOTFS_DEVICES];

/* rootfs_dev.c: device nodes and links; /dev/console from the terminal's slave. */
int rootfs_make_devices(struct rootfs *fs, struct err *err);
int rootfs_bind_console(struct rootfs *fs, int slave_fd, struct err *err);

/* rootfs_mask.c */
int rootfs_mask(struct rootfs *fs, struct err *err);
