/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <linux/mount.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/str.h"
#include "runtime/init.h"
#include "runtime/rootfs.h"
#include "runtime/spec.h"

/* A path that this kernel or image does not have needs no mask. */
static int open_if_there(const struct rootfs *fs, const char *path, struct err *err)
{
	struct err why = ERR_INIT;
	int fd = rootfs_open(fs, path, &why);

	if (fd >= 0 || why.sys == ENOENT || why.sys == ENOTDIR)
		return fd < 0 ? -2 : fd;
	if (err)
		*err = why;
	return -1;
}

/* All masked directories show one and the same empty file system. */
static int mask_directory(struct rootfs *fs, int target, struct err *err)
{
	const struct fs_mount_option options[] = {
		{"mode", "755"}, {"size", "0k"}, {"nr_inodes", "2"}};
	const unsigned attr =
		MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;

	if (fs->empty_fd < 0) {
		fs->empty_fd = fs_mount_detached("tmpfs", "tmpfs", options, 1, attr, err);
		return fs->empty_fd < 0 ? -1 : fs_mount_attach(fs->empty_fd, target, err);
	}
	auto_close int clone = fs_mount_clone(fs->empty_fd, false, err);
	return clone < 0 ? -1 : fs_mount_attach(clone, target, err);
}

static int mask_file(struct rootfs *fs, int target, struct err *err)
{
	auto_close int clone = fs_mount_clone(fs->null_fd, false, err);

	return clone < 0 ? -1 : fs_mount_attach(clone, target, err);
}

static int mask_one(struct rootfs *fs, const char *path, struct err *err)
{
	struct stat st;
	auto_close int target = open_if_there(fs, path, err);

	if (target < 0)
		return target == -2 ? 0 : -1;
	if (fstat(target, &st) < 0)
		return err_sys(err, "stat");
	return S_ISDIR(st.st_mode) ? mask_directory(fs, target, err) : mask_file(fs, target, err);
}

static int make_readonly(struct rootfs *fs, const char *path, struct err *err)
{
	auto_close int target = open_if_there(fs, path, err);

	if (target < 0)
		return target == -2 ? 0 : -1;
	auto_close int clone = fs_mount_clone(target, true, err);
	if (clone < 0 || fs_mount_setattr(clone, MOUNT_ATTR_RDONLY, 0, 0, true, err) < 0)
		return -1;
	return fs_mount_attach(clone, target, err);
}

int rootfs_mask(struct rootfs *fs, struct err *err)
{
	const struct json_strings *readonly = &fs->plan->spec->linux_.readonly_paths;
	const struct json_strings *masked = &fs->plan->spec->linux_.masked_paths;

	for (size_t i = 0; i < readonly->count; i++)
		if (make_readonly(fs, readonly->items[i], err) < 0)
			return err_wrap(err, "linux.readonlyPaths[%zu]", i);
	for (size_t i = 0; i < masked->count; i++)
		if (mask_one(fs, masked->items[i], err) < 0)
			return err_wrap(err, "linux.maskedPaths[%zu]", i);
	return 0;
}
