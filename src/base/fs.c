/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/fs_lookup.h"

/* fs - opening and naming. Whole files are in fs_file.c, trees in fs_tree.c, mounts in
 * fs_mount.c, sockets in fs_socket.c, and lookup itself in fs_path.c. */

static int open_how(int dir_fd, const char *path, int flags, mode_t mode, uint64_t resolve,
                    struct err *err)
{
	int fd = fs_lookup(dir_fd, path, flags, mode, resolve);

	return fd < 0 ? fs_lookup_failed(path, err) : fd;
}

int fs_open(int dir_fd, const char *path, int flags, mode_t mode, struct err *err)
{
	return open_how(dir_fd, path, flags, mode, FS_OWN, err);
}

int fs_open_in(int root_fd, const char *path, int flags, mode_t mode, struct err *err)
{
	return open_how(root_fd, path, flags, mode, FS_CONTAINER, err);
}

int fs_trusted_open(const char *path, int flags, mode_t mode, struct err *err)
{
	return open_how(AT_FDCWD, path, flags, mode, FS_TRUSTED, err);
}

int fs_open_dir(int dir_fd, const char *path, struct err *err)
{
	return fs_open(dir_fd, path, O_RDONLY | O_DIRECTORY, 0, err);
}

int fs_trusted_open_dir(const char *path, bool create, struct err *err)
{
	if (create)
		return fs_lookup_or_mkdir(AT_FDCWD, path, 0700, FS_TRUSTED, err);
	return fs_trusted_open(path, O_RDONLY | O_DIRECTORY, 0, err);
}

int fs_open_tmp(int dir_fd, struct err *err)
{
	int fd = fs_lookup(dir_fd, ".", O_TMPFILE | O_RDWR, 0600, FS_OWN);

	return fd < 0 ? err_sys(err, "temporary file") : fd;
}

int fs_link_tmp(int fd, int dir_fd, const char *name, struct err *err)
{
	auto_parent struct fs_parent parent;
	char from[FS_PROC_PATH];

	if (fs_parent_find(dir_fd, name, FS_OWN, &parent, err) < 0)
		return -1;
	snprintf(from, sizeof(from), "/proc/self/fd/%d", fd);
	if (linkat(AT_FDCWD, from, parent.fd, parent.base, AT_SYMLINK_FOLLOW) < 0)
		return err_sys(err, "%s", name);
	return 0;
}

/* ---- directories ---- */

int fs_mkdir(int dir_fd, const char *path, mode_t mode, struct err *err)
{
	auto_parent struct fs_parent parent;

	if (fs_parent_find(dir_fd, path, FS_OWN, &parent, err) < 0)
		return -1;
	if (mkdirat(parent.fd, parent.base, mode) < 0)
		return err_sys(err, "%s", path);
	return 0;
}

int fs_mkdir_all(int dir_fd, const char *path, mode_t mode, struct err *err)
{
	return fs_lookup_or_mkdir(dir_fd, path, mode, FS_OWN, err);
}

int fs_mkdir_all_in(int root_fd, const char *path, mode_t mode, struct err *err)
{
	return fs_lookup_or_mkdir(root_fd, path, mode, FS_CONTAINER, err);
}

int fs_open_parent_in(int root_fd, const char *path, const char **base, struct err *err)
{
	return fs_lookup_parent(root_fd, path, FS_CONTAINER, base, err);
}

/* ---- names ---- */

static int rename_flags(int old_dir, const char *old_name, int new_dir, const char *new_name,
                        unsigned flags, struct err *err)
{
	auto_parent struct fs_parent from, to = {.opened = -1};

	if (fs_parent_find(old_dir, old_name, FS_OWN, &from, err) < 0 ||
	    fs_parent_find(new_dir, new_name, FS_OWN, &to, err) < 0)
		return -1;
	if (renameat2(from.fd, from.base, to.fd, to.base, flags) < 0)
		return err_sys(err, "rename %s to %s", old_name, new_name);
	return 0;
}

int fs_rename(int old_dir, const char *old_name, int new_dir, const char *new_name, struct err *err)
{
	return rename_flags(old_dir, old_name, new_dir, new_name, 0, err);
}

int fs_rename_new(int old_dir, const char *old_name, int new_dir, const char *new_name,
                  struct err *err)
{
	return rename_flags(old_dir, old_name, new_dir, new_name, RENAME_NOREPLACE, err);
}

int fs_exchange(int dir_a, const char *name_a, int dir_b, const char *name_b, struct err *err)
{
	return rename_flags(dir_a, name_a, dir_b, name_b, RENAME_EXCHANGE, err);
}

int fs_link(int old_dir, const char *old_name, int new_dir, const char *new_name, struct err *err)
{
	auto_parent struct fs_parent from, to = {.opened = -1};

	if (fs_parent_find(old_dir, old_name, FS_OWN, &from, err) < 0 ||
	    fs_parent_find(new_dir, new_name, FS_OWN, &to, err) < 0)
		return -1;
	if (linkat(from.fd, from.base, to.fd, to.base, 0) < 0)
		return err_sys(err, "link %s to %s", old_name, new_name);
	return 0;
}

int fs_symlink(const char *target, int dir_fd, const char *name, struct err *err)
{
	auto_parent struct fs_parent parent;

	if (fs_parent_find(dir_fd, name, FS_OWN, &parent, err) < 0)
		return -1;
	if (symlinkat(target, parent.fd, parent.base) < 0)
		return err_sys(err, "%s", name);
	return 0;
}

int fs_mknod(int dir_fd, const char *name, mode_t mode, dev_t dev, struct err *err)
{
	auto_parent struct fs_parent parent;

	if (fs_parent_find(dir_fd, name, FS_OWN, &parent, err) < 0)
		return -1;
	if (mknodat(parent.fd, parent.base, mode, dev) < 0)
		return err_sys(err, "%s", name);
	return 0;
}

int fs_unlink(int dir_fd, const char *name, struct err *err)
{
	struct err why = ERR_INIT;
	auto_parent struct fs_parent parent;

	if (fs_parent_find(dir_fd, name, FS_OWN, &parent, &why) < 0) {
		if (why.sys == ENOENT)
			return 0;
		if (err)
			*err = why;
		return -1;
	}
	if (unlinkat(parent.fd, parent.base, 0) < 0 && errno != ENOENT)
		return err_sys(err, "%s", name);
	return 0;
}

int fs_rmdir(int dir_fd, const char *name, struct err *err)
{
	auto_parent struct fs_parent parent;

	if (fs_parent_find(dir_fd, name, FS_OWN, &parent, err) < 0)
		return -1;
	if (unlinkat(parent.fd, parent.base, AT_REMOVEDIR) < 0)
		return err_sys(err, "%s", name);
	return 0;
}

bool fs_exists(int dir_fd, const char *path)
{
	auto_close int fd = fs_lookup(dir_fd, path, O_PATH | O_NOFOLLOW, 0, FS_OWN);

	return fd >= 0;
}

int fs_stat(int dir_fd, const char *path, struct stat *st, struct err *err)
{
	auto_close int fd = fs_open(dir_fd, path, O_PATH | O_NOFOLLOW, 0, err);

	if (fd < 0)
		return -1;
	if (fstat(fd, st) < 0)
		return err_sys(err, "%s", path);
	return 0;
}

int fs_readlink(int dir_fd, const char *path, struct buf *out, struct err *err)
{
	auto_close int fd = fs_open(dir_fd, path, O_PATH | O_NOFOLLOW, 0, err);
	char target[PATH_MAX];

	if (fd < 0)
		return -1;
	ssize_t len = readlinkat(fd, "", target, sizeof(target));
	if (len < 0 && errno == ENOENT) /* what readlinkat says of "" that is no link */
		return err_set(err, ERR_INVALID, "%s: not a symbolic link", path);
	if (len < 0)
		return err_sys(err, "%s", path);
	buf_add_mem(out, target, (size_t)len);
	return buf_check(out, err);
}

int fs_sync_all(int fd, struct err *err)
{
	return syncfs(fd) < 0 ? err_sys(err, "sync of a file system") : 0;
}

int fs_sync(int fd, struct err *err)
{
	return fsync(fd) < 0 ? err_sys(err, "sync of a file") : 0;
}
