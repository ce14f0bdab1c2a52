/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/mounts_copy.h"

#include <fcntl.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/fs.h"

#define DEPTH_MAX 64

struct copy {
	int to_fd;
	int depth;
	struct err *err;
};

static int copy_entry(void *arg, int dir_fd, const char *name, unsigned char type);

static int give(int fd, const struct stat *st, struct err *err)
{
	if (fchown(fd, st->st_uid, st->st_gid) < 0 || fchmod(fd, st->st_mode & 07777) < 0)
		return err_sys(err, "owner and mode");
	return 0;
}

static int copy_file(const struct copy *c, int dir_fd, const char *name, const struct stat *st)
{
	auto_close int in = fs_open(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0, c->err);
	auto_close int out =
		in < 0 ? -1 : fs_open(c->to_fd, name, O_WRONLY | O_CREAT | O_EXCL, 0600, c->err);

	if (out < 0 || fs_copy_fd(in, out, UINT64_MAX, NULL, c->err) < 0)
		return -1;
	return give(out, st, c->err);
}

static int copy_link(const struct copy *c, int dir_fd, const char *name, const struct stat *st)
{
	auto_buf struct buf target = BUF_INIT(4096);

	if (fs_readlink(dir_fd, name, &target, c->err) < 0 ||
	    fs_symlink(buf_str(&target), c->to_fd, name, c->err) < 0)
		return -1;
	if (fchownat(c->to_fd, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(c->err, "owner");
	return 0;
}

static int copy_dir(const struct copy *c, int dir_fd, const char *name, const struct stat *st)
{
	if (c->depth >= DEPTH_MAX)
		return err_set(c->err, ERR_LIMIT, "deeper than %d levels", DEPTH_MAX);
	auto_close int in = fs_open_dir(dir_fd, name, c->err);
	auto_close int out = in < 0 ? -1 : fs_mkdir_all(c->to_fd, name, 0700, c->err);
	struct copy below = {.to_fd = out, .depth = c->depth + 1, .err = c->err};

	if (out < 0 || fs_list(in, copy_entry, &below, c->err) != 0)
		return -1;
	return give(out, st, c->err);
}

static int copy_entry(void *arg, int dir_fd, const char *name, unsigned char type)
{
	const struct copy *c = arg;
	struct stat st;
	int rc = 0;

	(void)type;
	if (fs_stat(dir_fd, name, &st, c->err) < 0)
		return -1;
	if (S_ISDIR(st.st_mode))
		rc = copy_dir(c, dir_fd, name, &st);
	else if (S_ISREG(st.st_mode))
		rc = copy_file(c, dir_fd, name, &st);
	else if (S_ISLNK(st.st_mode))
		rc = copy_link(c, dir_fd, name, &st);
	return rc < 0 ? err_wrap(c->err, "copy %s", name) : 0;
}

int mounts_copy(int from_fd, int to_fd, struct err *err)
{
	struct copy c = {.to_fd = to_fd, .err = err};
	struct stat st;

	if (fs_list(from_fd, copy_entry, &c, err) != 0)
		return -1;
	if (fstat(from_fd, &st) < 0)
		return err_sys(err, "stat");
	return give(to_fd, &st, err);
}
