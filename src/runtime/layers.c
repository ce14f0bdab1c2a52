/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/layers.h"

#include <linux/mount.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/fs.h"
#include "runtime/crossing.h"
#include "runtime/spawn.h"
#include "runtime/spec.h"

#define LOWERS_MAX 500 /* overlayfs has this limit */

/* Mounts (owned) of the layers, with their ids mapped. How many there are: fewer than layers where one failed. */
static size_t map_layers(const struct spawn_rootfs *rootfs, int userns_fd, int *mapped,
                         struct err *err)
{
	for (size_t i = 0; i < rootfs->lower_count; i++) {
		mapped[i] = crossing_mount(rootfs->lower_fds[i], userns_fd, err);
		if (mapped[i] < 0) {
			err_wrap(err, "an image layer");
			return i;
		}
	}
	return rootfs->lower_count;
}

/* Only fs_mount_option strings reach the kernel, so descriptors are named by their /proc path. */
static int mount_overlay(const struct spawn_rootfs *rootfs, const int *lower_fds, unsigned attr,
                         struct err *err)
{
	size_t count = 0, max = rootfs->lower_count + 4;
	auto_free struct fs_mount_option *options = calloc(max, sizeof(*options));
	auto_free char(*paths)[48] = calloc(max, sizeof(*paths));

	if (!options || !paths)
		return err_nomem(err);
	for (size_t i = 0; i < rootfs->lower_count; i++, count++) {
		snprintf(paths[count], sizeof(*paths), "/proc/self/fd/%d", lower_fds[i]);
		options[count] = (struct fs_mount_option){"lowerdir+", paths[count]};
	}
	bool writable = rootfs->upper_fd >= 0 && rootfs->work_fd >= 0;
	if (writable) {
		snprintf(paths[count], sizeof(*paths), "/proc/self/fd/%d", rootfs->upper_fd);
		options[count] = (struct fs_mount_option){"upperdir", paths[count]};
		count++;
		snprintf(paths[count], sizeof(*paths), "/proc/self/fd/%d", rootfs->work_fd);
		options[count] = (struct fs_mount_option){"workdir", paths[count]};
		count++;
		if (rootfs->is_volatile)
			options[count++] = (struct fs_mount_option){"volatile", NULL};
	}
	return fs_mount_detached("overlay", "overlay", options, count,
	                         attr | (writable ? 0 : MOUNT_ATTR_RDONLY), err);
}

static int make_overlay(const struct spawn_rootfs *rootfs, int userns_fd, unsigned attr,
                        struct err *err)
{
	if (rootfs->lower_count == 0 || rootfs->lower_count > LOWERS_MAX)
		return err_set(err, ERR_INVALID, "an overlay takes 1 to %d layers", LOWERS_MAX);
	if (userns_fd <= 0)
		return mount_overlay(rootfs, rootfs->lower_fds, attr, err);
	auto_free int *mapped = calloc(rootfs->lower_count, sizeof(*mapped));
	if (!mapped)
		return err_nomem(err);
	size_t count = map_layers(rootfs, userns_fd, mapped, err);
	int rc = count < rootfs->lower_count ? -1 : mount_overlay(rootfs, mapped, attr, err);
	while (count > 0)
		close(mapped[--count]);
	return rc;
}

/* overlayfs does without an upper directory only from two lower ones on. */
int layers_mount(const struct spawn_rootfs *rootfs, int userns_fd, unsigned attr, struct err *err)
{
	bool writable = rootfs->upper_fd >= 0 && rootfs->work_fd >= 0;

	if (writable || rootfs->lower_count != 1)
		return make_overlay(rootfs, userns_fd, attr, err);
	auto_close int clone = userns_fd > 0 ? crossing_mount(rootfs->lower_fds[0], userns_fd, err)
	                                     : fs_mount_clone(rootfs->lower_fds[0], false, err);
	if (clone < 0 || fs_mount_setattr(clone, MOUNT_ATTR_RDONLY | attr, 0, 0, false, err) < 0)
		return -1;
	return move_fd(&clone);
}

/* Without new privileges there is nothing that set-user-ID bits and file capabilities could give; but execve(2) still
 * refuses a program whose capabilities the bounding set lacks (a ping with cap_net_raw, say), unless they are
 * not looked at. */
unsigned layers_attr(const struct oci_process *process)
{
	return process->no_new_privileges ? MOUNT_ATTR_NOSUID : 0;
}
