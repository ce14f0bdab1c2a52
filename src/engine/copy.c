/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/copy.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/fs.h"

#define DEPTH_MAX  128
#define XATTRS_MAX 65536

struct copy {
	int from, to;
	int depth;
	struct err *err;
};

/* What a file system cannot store (no xattrs there) is left behind: the content matters. */
static void copy_xattrs(int from, int to)
{
	auto_free char *names = malloc(XATTRS_MAX);
	auto_free char *value = malloc(XATTRS_MAX);
	ssize_t n = names && value ? flistxattr(from, names, XATTRS_MAX) : 0;

	for (ssize_t i = 0; i < n; i += (ssize_t)strlen(names + i) + 1) {
		ssize_t len = fgetxattr(from, names + i, value, XATTRS_MAX);
		if (len >= 0 && strncmp(names + i, "trusted.overlay.", 16) != 0)
			(void)fsetxattr(to, names + i, value, (size_t)len, 0);
	}
}

/* Owner first: chown clears the set-id bits that chmod then gives. */
static int copy_attributes(int from, int to, const struct stat *st, struct err *err)
{
	struct timespec times[2] = {st->st_atim, st->st_mtim};

	if (fchown(to, st->st_uid, st->st_gid) < 0)
		return err_sys(err, "chown");
	if (fchmod(to, st->st_mode & 07777) < 0)
		return err_sys(err, "chmod");
	copy_xattrs(from, to);
	(void)futimens(to, times);
	return 0;
}

static int copy_file(struct copy *copy, const char *name, const struct stat *st)
{
	auto_close int from = fs_open(copy->from, name, O_RDONLY | O_NONBLOCK, 0, copy->err);
	auto_close int to =
		from < 0 ? -1
			 : fs_open(copy->to, name, O_WRONLY | O_CREAT | O_EXCL, 0600, copy->err);

	if (to < 0 || fs_copy_fd(from, to, UINT64_MAX, NULL, copy->err) < 0)
		return -1;
	return copy_attributes(from, to, st, copy->err);
}

static int copy_link(struct copy *copy, const char *name, const struct stat *st)
{
	auto_buf struct buf target = BUF_INIT(4096);

	if (fs_readlink(copy->from, name, &target, copy->err) < 0 ||
	    fs_symlink(buf_str(&target), copy->to, name, copy->err) < 0)
		return -1;
	if (fchownat(copy->to, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(copy->err, "chown %s", name);
	return 0;
}

static int copy_node(struct copy *copy, const char *name, const struct stat *st)
{
	if (fs_mknod(copy->to, name, st->st_mode, st->st_rdev, copy->err) < 0)
		return -1;
	if (fchownat(copy->to, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(copy->err, "chown %s", name);
	return 0;
}

static int copy_dir(int from, int to, int depth, struct err *err);

static int copy_subdir(struct copy *copy, const char *name)
{
	auto_close int from = fs_open_dir(copy->from, name, copy->err);

	if (from < 0 || fs_mkdir(copy->to, name, 0700, copy->err) < 0)
		return -1;
	auto_close int to = fs_open_dir(copy->to, name, copy->err);
	return to < 0 ? -1 : copy_dir(from, to, copy->depth + 1, copy->err);
}

static int copy_entry(void *arg, int dir_fd, const char *name, unsigned char d_type)
{
	struct copy *copy = arg;
	struct stat st;

	(void)d_type;
	if (fs_stat(dir_fd, name, &st, copy->err) < 0)
		return -1;
	if (S_ISDIR(st.st_mode))
		return copy_subdir(copy, name);
	if (S_ISREG(st.st_mode))
		return copy_file(copy, name, &st);
	if (S_ISLNK(st.st_mode))
		return copy_link(copy, name, &st);
	if (S_ISSOCK(st.st_mode))
		return 0;
	return copy_node(copy, name, &st);
}

static int copy_dir(int from, int to, int depth, struct err *err)
{
	struct copy copy = {from, to, depth, err};
	struct stat st;

	if (depth > DEPTH_MAX)
		return err_set(err, ERR_LIMIT, "directories deeper than %d", DEPTH_MAX);
	if (fs_list(from, copy_entry, &copy, err) != 0)
		return -1;
	if (fstat(from, &st) < 0)
		return err_sys(err, "stat");
	return copy_attributes(from, to, &st, err);
}

int copy_tree(int from_fd, int to_fd, struct err *err)
{
	return copy_dir(from_fd, to_fd, 0, err);
}
