/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/rootfs.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/mount.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/failpoint.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/str.h"
#include "runtime/init.h"
#include "runtime/spawn.h"
#include "runtime/spec.h"

void rootfs_done(struct rootfs *fs)
{
	cleanup_close(&fs->null_fd);
	cleanup_close(&fs->empty_fd);
}

/* The one that masks are made of: the host's, and truly the null device. */
static int open_null(struct rootfs *fs, struct err *err)
{
	struct stat st;

	fs->null_fd = fs_trusted_open("/dev/null", O_PATH | O_NOFOLLOW, 0, err);
	if (fs->null_fd < 0)
		return -1;
	if (fstat(fs->null_fd, &st) < 0)
		return err_sys(err, "/dev/null");
	if (!S_ISCHR(st.st_mode) || st.st_rdev != makedev(1, 3))
		return err_set(err, ERR_INTERNAL, "/dev/null is not the null device");
	return 0;
}

/* Where the new root is attached. Hooks may look for it, with its mounts, where the bundle has it; a mapped
 * root that cannot go there, and everybody else, takes the top of the old root: an absolute path goes on leading
 * below that until rootfs_enter(). */
static int open_place(const struct rootfs *fs, struct err *err)
{
	const char *bundle = fs->plan->options->bundle_path, *root = fs->plan->spec->root.path;
	char path[PATH_MAX];

	if (fs->plan->run_hooks && bundle && !fs->plan->options->rootfs) {
		int n = snprintf(path, sizeof(path), "%s%s%s", *root == '/' ? "" : bundle,
		                 *root == '/' ? "" : "/", root);
		int fd = n < (int)sizeof(path)
		                 ? fs_trusted_open(path, O_PATH | O_DIRECTORY, 0, NULL)
		                 : -1;
		if (fd >= 0)
			return fd;
	}
	return fs_trusted_open("/", O_PATH | O_DIRECTORY, 0, err);
}

static int attach_root(struct rootfs *fs, struct err *err)
{
	unsigned long propagation = fs->plan->spec->linux_.propagation & ~(unsigned long)MS_REC;
	bool follows = propagation == MS_SLAVE || propagation == MS_SHARED;

	if (fs_mount_propagation_root(follows ? MS_SLAVE : MS_PRIVATE, err) < 0 ||
	    fs_mount_setattr(fs->root_fd, 0, 0, follows ? MS_SLAVE : MS_PRIVATE, true, err) < 0)
		return -1;
	auto_close int place = open_place(fs, err);
	return place < 0 ? -1 : fs_mount_attach(fs->root_fd, place, err);
}

static int write_sysctls(const struct rootfs *fs, struct err *err)
{
	const struct json_strmap *all = &fs->plan->spec->linux_.sysctl;

	if (all->count == 0)
		return 0;
	/* One of its own that is attached nowhere: what a bind puts below the container's /proc is not met. */
	auto_close int proc_fd = fs_mount_detached("proc", "proc", NULL, 0, 0, err);
	if (proc_fd < 0)
		return err_wrap(err, "linux.sysctl: procfs");
	for (size_t i = 0; i < all->count; i++) {
		char path[512];
		snprintf(path, sizeof(path), "sys/%s", all->items[i].key);
		/* "net.ipv4.conf.eth0/1.x": dots part the name, slashes stand for dots in it. */
		for (char *c = path + 4; *c; c++) {
			if (*c == '.')
				*c = '/';
			else if (*c == '/')
				*c = '.';
		}
		if (fs_write_existing(proc_fd, path, all->items[i].value,
		                      strlen(all->items[i].value), err) < 0)
			return err_wrap(err, "linux.sysctl.%s", all->items[i].key);
	}
	return 0;
}

/* A working directory that the image does not have is made, as other runtimes do. Where it cannot be, the
 * program's chdir() says so. */
static void make_cwd(struct rootfs *fs)
{
	const char *cwd = fs->plan->spec->process.cwd;
	int fd = cwd ? fs_open_in(fs->root_fd, cwd, O_PATH | O_DIRECTORY, 0, NULL) : -1;

	if (fd < 0 && cwd)
		fd = fs_mkdir_all_in(fs->root_fd, cwd, 0755, NULL);
	if (fd >= 0)
		close(fd);
}

int rootfs_setup(struct rootfs *fs, struct err *err)
{
	if (open_null(fs, err) < 0 || attach_root(fs, err) < 0 ||
	    FAILPOINT("rootfs.attached", err) < 0)
		return -1;
	for (size_t i = 0; i < fs->plan->spec->mounts.count; i++)
		if (rootfs_mount(fs, i, err) < 0)
			return -1;
	if (FAILPOINT("rootfs.mounts", err) < 0 || rootfs_make_devices(fs, err) < 0 ||
	    FAILPOINT("rootfs.devices", err) < 0)
		return -1;
	make_cwd(fs);
	return 0;
}

static int pivot(struct rootfs *fs, struct err *err)
{
	auto_close int old = fs_trusted_open("/", O_RDONLY | O_DIRECTORY, 0, err);

	if (old < 0)
		return -1;
	if (fchdir(fs->root_fd) < 0)
		return err_sys(err, "enter the new root");
	/* The old root lands on top of the new one and is then taken away from there. */
	if (syscall(SYS_pivot_root, ".", ".") < 0)
		return err_sys(err, "pivot_root");
	if (fchdir(old) < 0 || umount2(".", MNT_DETACH) < 0)
		return err_sys(err, "leave the old root");
	if (chdir("/") < 0)
		return err_sys(err, "chdir /");
	return 0;
}

int rootfs_enter(struct rootfs *fs, struct err *err)
{
	unsigned long propagation = fs->plan->spec->linux_.propagation;

	/* Sysctls after the hooks, which may have brought the devices that they are about. */
	if (write_sysctls(fs, err) < 0 || rootfs_mask(fs, err) < 0 ||
	    FAILPOINT("rootfs.masked", err) < 0)
		return -1;
	if (fs->plan->spec->root.readonly &&
	    fs_mount_setattr(fs->root_fd, MOUNT_ATTR_RDONLY, 0, 0, false, err) < 0)
		return err_wrap(err, "root.readonly");
	if (fs->plan->options->no_pivot) {
		if (fchdir(fs->root_fd) < 0 || chroot(".") < 0 || chdir("/") < 0)
			return err_sys(err, "chroot");
	} else if (pivot(fs, err) < 0) {
		return -1;
	}
	if (propagation && mount(NULL, "/", NULL, propagation, NULL) < 0)
		return err_sys(err, "linux.rootfsPropagation");
	return 0;
}
