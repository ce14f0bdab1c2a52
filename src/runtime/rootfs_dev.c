/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/str.h"
#include "runtime/init.h"
#include "runtime/mount_options.h"
#include "runtime/rootfs.h"
#include "runtime/spec.h"

const struct rootfs_device rootfs_devices[ROOTFS_DEVICES] = {
	{"null", 3, 1},   {"zero", 5, 1},    {"full", 7, 1},
	{"random", 8, 1}, {"urandom", 9, 1}, {"tty", 0, 5},
};

static const struct {
	const char *name, *target;
} links[] = {
	{"fd", "/proc/self/fd"},       {"stdin", "/proc/self/fd/0"}, {"stdout", "/proc/self/fd/1"},
	{"stderr", "/proc/self/fd/2"}, {"core", "/proc/kcore"},
};

/* A device that the image, or a bind of the host's /dev, has already. */
static int check_same(int dir_fd, const char *name, mode_t type, dev_t dev, struct err *err)
{
	struct stat st;

	if (fs_stat(dir_fd, name, &st, err) < 0)
		return -1;
	if ((st.st_mode & S_IFMT) == type && (type == S_IFIFO || st.st_rdev == dev))
		return 0;
	return err_set(err, ERR_CONFLICT, "%s exists and is something else", name);
}

/* A user namespace may not make nodes: there the host's own is mounted over an empty file. */
static int bind_host_device(const struct rootfs *fs, int dir_fd, const char *name,
                            const char *host_path, struct err *err)
{
	(void)fs;
	auto_close int source = fs_trusted_open(host_path, O_PATH, 0, err);
	if (source < 0)
		return -1;
	auto_close int clone = fs_mount_clone(source, false, err);
	if (clone < 0)
		return -1;
	auto_close int file = fs_open(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL, 0666, err);
	if (file < 0)
		return -1;
	auto_close int target = fs_open(dir_fd, name, O_PATH | O_NOFOLLOW, 0, err);
	return target < 0 ? -1 : fs_mount_attach(clone, target, err);
}

static int make_node(int dir_fd, const char *name, mode_t mode, dev_t dev, struct err *err)
{
	struct err why = ERR_INIT;

	if (fs_mknod(dir_fd, name, mode, dev, &why) == 0)
		return 0;
	if (why.kind == ERR_CONFLICT)
		return check_same(dir_fd, name, mode & S_IFMT, dev, err);
	if (err)
		*err = why;
	return -1;
}

static bool in_user_namespace(const struct rootfs *fs)
{
	return fs->plan->flags & CLONE_NEWUSER;
}

/* Made by the parent, with owners: nodes, which a user namespace cannot make. */
static bool is_made(const struct rootfs *fs, const char *path)
{
	return fs->plan->dev_made && str_starts(path, "/dev/");
}

/* A whole runtime may be in a user namespace, as an ordinary user's is, or podman's: no node can be made there
 * either, and the kernel says so. */
static int make_default(const struct rootfs *fs, int dev_fd, const struct rootfs_device *d,
                        struct err *err)
{
	dev_t dev = makedev(d->major, d->minor);
	struct err why = ERR_INIT;
	char host[32];

	snprintf(host, sizeof(host), "/dev/%s", d->name);
	if (!in_user_namespace(fs) && make_node(dev_fd, d->name, S_IFCHR | 0666, dev, &why) == 0)
		return 0;
	if (in_user_namespace(fs) || why.sys == EPERM)
		return bind_host_device(fs, dev_fd, d->name, host, err);
	if (err)
		*err = why;
	return -1;
}

static int make_defaults(const struct rootfs *fs, int dev_fd, struct err *err)
{
	for (size_t i = 0; i < ROOTFS_DEVICES; i++)
		if (make_default(fs, dev_fd, &rootfs_devices[i], err) < 0)
			return err_wrap(err, "/dev/%s", rootfs_devices[i].name);
	return 0;
}

static int make_links(const struct rootfs *fs, int dev_fd, struct err *err)
{
	struct err why = ERR_INIT;

	for (size_t i = 0; i < ARRAY_LEN(links); i++)
		if (fs_symlink(links[i].target, dev_fd, links[i].name, &why) < 0 &&
		    why.kind != ERR_CONFLICT) {
			if (err)
				*err = why;
			return err_wrap(err, "/dev/%s", links[i].name);
		}
	if (spec_mount(fs->plan->spec, "/dev/pts") &&
	    fs_symlink("pts/ptmx", dev_fd, "ptmx", &why) < 0 && why.kind != ERR_CONFLICT) {
		if (err)
			*err = why;
		return err_wrap(err, "/dev/ptmx");
	}
	return 0;
}

static int open_device_dir(const struct rootfs *fs, const char *path, const char **base,
                           struct err *err)
{
	char dir[4096];
	const char *slash = strrchr(path, '/');

	*base = slash + 1;
	snprintf(dir, sizeof(dir), "%.*s", (int)(slash - path - 1 > 0 ? slash - path - 1 : 1),
	         slash == path ? "." : path + 1);
	if (str_eq(dir, "dev") || str_starts(dir, "dev/"))
		return fs_mkdir_all(fs->root_fd, dir, 0755, err);
	return fs_mkdir_all_in(fs->root_fd, dir, 0755, err);
}

static int make_device(const struct rootfs *fs, const struct oci_device *d, struct err *err)
{
	mode_t type = *d->type == 'b' ? S_IFBLK : *d->type == 'p' ? S_IFIFO : S_IFCHR;
	mode_t mode = d->mode == SPEC_UNSET ? 0666 : (mode_t)d->mode;
	dev_t dev = makedev((unsigned)d->major, (unsigned)d->minor);
	const char *base;
	auto_close int dir = open_device_dir(fs, d->path, &base, err);

	if (dir < 0)
		return -1;
	if (in_user_namespace(fs))
		return bind_host_device(fs, dir, base, d->path, err);
	if (make_node(dir, base, type | mode, dev, err) < 0)
		return -1;
	if ((d->uid || d->gid) &&
	    fchownat(dir, base, (uid_t)d->uid, (gid_t)d->gid, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(err, "chown");
	return 0;
}

int rootfs_make_devices(struct rootfs *fs, struct err *err)
{
	const struct oci_mount *dev = spec_mount(fs->plan->spec, "/dev");
	const struct oci_device *all = fs->plan->spec->linux_.devices.items;

	if (!dev || !dev->plan->bind) { /* a bound /dev brings its own */
		auto_close int dev_fd = fs_mkdir_all(fs->root_fd, "dev", 0755, err);
		if (dev_fd < 0 || (!fs->plan->dev_made && make_defaults(fs, dev_fd, err) < 0) ||
		    make_links(fs, dev_fd, err) < 0)
			return -1;
	}
	for (size_t i = 0; i < fs->plan->spec->linux_.devices.count; i++) {
		/* "All devices of the host" includes this one; the container has its own. */
		if (str_eq(all[i].path, "/dev/ptmx") && spec_mount(fs->plan->spec, "/dev/pts"))
			continue;
		if (is_made(fs, all[i].path))
			continue;
		if (make_device(fs, &all[i], err) < 0)
			return err_wrap(err, "linux.devices[%zu] (%s)", i, all[i].path);
	}
	return 0;
}

int rootfs_bind_console(struct rootfs *fs, int slave_fd, struct err *err)
{
	auto_close int dev_fd = fs_open_dir(fs->root_fd, "dev", err);
	if (dev_fd < 0)
		return -1;
	auto_close int clone = fs_mount_clone(slave_fd, false, err);
	if (clone < 0)
		return err_wrap(err, "/dev/console");
	int file = fs_open(dev_fd, "console", O_WRONLY | O_CREAT | O_EXCL, 0600, NULL);
	cleanup_close(&file); /* one that is there already will do */
	auto_close int target = fs_open(dev_fd, "console", O_PATH | O_NOFOLLOW, 0, err);
	if (target < 0 || fs_mount_attach(clone, target, err) < 0)
		return err_wrap(err, "/dev/console");
	return 0;
}
