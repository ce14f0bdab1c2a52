/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/nursery.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <stdint.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/str.h"
#include "runtime/init.h"
#include "runtime/spawn.h"
#include "runtime/spec.h"

static const char *const tops[] = {"/proc", "/sys", "/dev"};

#define TOPS ARRAY_LEN(tops)

struct parts {
	int root_fd; /* a detached tmpfs */
	int top_fds[TOPS];
};

static void parts_close(struct parts *p)
{
	cleanup_close(&p->root_fd);
	for (size_t i = 0; i < TOPS; i++)
		cleanup_close(&p->top_fds[i]);
}

/* With what lies over it: a part of /proc that we do not see, no container shall see. */
static int clone_top(const char *path, struct err *err)
{
	auto_close int dir = fs_trusted_open(path, O_PATH | O_DIRECTORY, 0, err);
	auto_close int clone = dir < 0 ? -1 : fs_mount_clone(dir, true, err);

	if (clone < 0 || fs_mount_setattr(clone, 0, 0, MS_PRIVATE, true, err) < 0)
		return -1;
	return move_fd(&clone);
}

static int collect(struct parts *p, struct err *err)
{
	const struct fs_mount_option options[] = {{"mode", "755"}, {"size", "64k"}};

	p->root_fd =
		fs_mount_detached("tmpfs", "buoy", options, ARRAY_LEN(options),
	                          MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC, err);
	for (size_t i = 0; i < TOPS && p->root_fd >= 0; i++) {
		p->top_fds[i] = clone_top(tops[i], err);
		if (p->top_fds[i] < 0)
			return -1;
	}
	return p->root_fd < 0 ? -1 : 0;
}

static int furnish(const struct parts *p, struct err *err)
{
	for (size_t i = 0; i < TOPS; i++) {
		if (fs_mkdir(p->root_fd, tops[i] + 1, 0755, err) < 0)
			return -1;
		auto_close int target =
			fs_open(p->root_fd, tops[i] + 1, O_PATH | O_DIRECTORY, 0, err);
		if (target < 0 || fs_mount_attach(p->top_fds[i], target, err) < 0)
			return -1;
	}
	return fs_mount_setattr(p->root_fd, MOUNT_ATTR_RDONLY, 0, 0, false, err);
}

/* In a mount namespace of our own: the new root over the old one, and that away. */
static int move_in(const struct parts *p, struct err *err)
{
	if (fs_mount_propagation_root(MS_PRIVATE, err) < 0)
		return -1;
	auto_close int old = fs_trusted_open("/", O_RDONLY | O_DIRECTORY, 0, err);
	if (old < 0 || fs_mount_attach(p->root_fd, old, err) < 0 || furnish(p, err) < 0)
		return -1;
	if (fchdir(p->root_fd) < 0 || syscall(SYS_pivot_root, ".", ".") < 0 || fchdir(old) < 0 ||
	    umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		return err_sys(err, "enter a new mount namespace's root");
	return 0;
}

static int open_own(struct err *err)
{
	return fs_trusted_open("/proc/self/ns/mnt", O_RDONLY, 0, err);
}

/* Which mount and directory "/" is. */
static int identify_root(struct statx *out, struct err *err)
{
	auto_close int root = fs_trusted_open("/", O_PATH | O_DIRECTORY, 0, err);

	if (root < 0)
		return -1;
	if (statx(root, "", AT_EMPTY_PATH, STATX_INO | STATX_MNT_ID, out) < 0)
		return err_sys(err, "/");
	return 0;
}

/* setns(2) leads to the root of the namespace, which need not be ours. *same: it is. */
static int come_back(int own_fd, int root_fd, const struct statx *was, bool *same, struct err *err)
{
	struct statx is = {0};

	if (setns(own_fd, CLONE_NEWNS) < 0)
		return err_sys(err, "come back to the mount namespace");
	*same = identify_root(&is, NULL) == 0 && is.stx_mnt_id == was->stx_mnt_id &&
	        is.stx_ino == was->stx_ino;
	if (!*same && (fchdir(root_fd) < 0 || chroot(".") < 0))
		return err_sys(err, "come back to the root");
	return 0;
}

int nursery_make(struct nursery *out, struct err *err)
{
	__attribute__((cleanup(parts_close))) struct parts p = {-1, {-1, -1, -1}};
	struct statx root = {0};
	bool same = false;

	*out = NURSERY_NONE;
	auto_close int own = open_own(NULL);
	auto_close int root_fd = own < 0 ? -1 : fs_trusted_open("/", O_PATH | O_DIRECTORY, 0, NULL);
	if (root_fd < 0 || identify_root(&root, NULL) < 0 || collect(&p, NULL) < 0 ||
	    unshare(CLONE_NEWNS) < 0)
		return 0;
	auto_close int fd = move_in(&p, NULL) < 0 ? -1 : open_own(NULL);
	if (come_back(own, root_fd, &root, &same, err) < 0)
		return -1;
	if (same && fd >= 0)
		*out = (struct nursery){.fd = move_fd(&fd), .own_fd = move_fd(&own)};
	return 0;
}

void nursery_close(struct nursery *n)
{
	cleanup_close(&n->fd);
	cleanup_close(&n->own_fd);
	*n = NURSERY_NONE;
}

bool nursery_suits(const struct init_plan *plan)
{
	const struct oci_device *devices = plan->spec->linux_.devices.items;

	for (size_t i = 0; i < plan->spec->linux_.devices.count; i++)
		if (!str_starts(devices[i].path, "/dev/"))
			return false;
	return (plan->flags & CLONE_NEWNS) && !plan->is_exec && !plan->run_hooks &&
	       !plan->options->no_pivot &&
	       (plan->spec->linux_.propagation & (MS_SLAVE | MS_SHARED)) == 0;
}

bool nursery_enter(const struct nursery *n)
{
	return n && n->fd >= 0 && setns(n->fd, CLONE_NEWNS) == 0;
}

int nursery_leave(const struct nursery *n, struct err *err)
{
	return setns(n->own_fd, CLONE_NEWNS) < 0 ? err_sys(err, "come back to the mount namespace")
	                                         : 0;
}
