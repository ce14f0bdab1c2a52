/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/failpoint.h"
#include "base/fs.h"
#include "base/fs_lookup.h"
#include "base/id.h"

/* fs_file - whole files; see fs.h. */

#define TEXT_PIECE                                                                                 \
	8192 /* bytes per read of a text: most are shorter, and each page of a stack costs */
#define PIECE      65536       /* bytes per read of a copy */
#define COPY_PIECE (1UL << 30) /* bytes per copy_file_range */

static ssize_t read_some(int fd, void *data, size_t len)
{
	ssize_t n;

	do
		n = read(fd, data, len);
	while (n < 0 && errno == EINTR);
	return n;
}

int fs_read_fd(int fd, size_t max, struct buf *out, struct err *err)
{
	char piece[TEXT_PIECE];
	size_t total = 0;

	for (;;) {
		ssize_t n = read_some(fd, piece, sizeof(piece));

		if (n < 0)
			return err_sys(err, "read");
		if (n == 0)
			return buf_check(out, err);
		if ((size_t)n > max - total)
			return err_set(err, ERR_LIMIT, "longer than %zu bytes", max);
		total += (size_t)n;
		buf_add_mem(out, piece, (size_t)n);
		if (buf_check(out, err) < 0)
			return -1;
	}
}

/* Takes fd, which may be that of a failed open. */
static int read_and_close(int fd, const char *path, size_t max, struct buf *out, struct err *err)
{
	auto_close int file = fd;
	struct stat st;

	if (file < 0)
		return fs_lookup_failed(path, err);
	if (fstat(file, &st) < 0)
		return err_sys(err, "%s", path);
	if (!S_ISREG(st.st_mode))
		return err_set(err, ERR_INVALID, "%s: not a regular file", path);
	return fs_read_fd(file, max, out, err) < 0 ? err_wrap(err, "%s", path) : 0;
}

/* O_NONBLOCK: a FIFO would make open() wait for a writer. */
#define READ_FLAGS (O_RDONLY | O_NONBLOCK | O_NOCTTY)

int fs_read(int dir_fd, const char *path, size_t max, struct buf *out, struct err *err)
{
	int fd = fs_lookup(dir_fd, path, READ_FLAGS, 0, FS_OWN);

	return read_and_close(fd, path, max, out, err);
}

int fs_read_in(int root_fd, const char *path, size_t max, struct buf *out, struct err *err)
{
	int fd = fs_lookup(root_fd, path, READ_FLAGS, 0, FS_CONTAINER);

	return read_and_close(fd, path, max, out, err);
}

int fs_trusted_read(const char *path, size_t max, struct buf *out, struct err *err)
{
	int fd = fs_lookup(AT_FDCWD, path, READ_FLAGS, 0, FS_TRUSTED);

	return read_and_close(fd, path, max, out, err);
}

int fs_write_existing(int dir_fd, const char *path, const void *data, size_t len, struct err *err)
{
	auto_close int fd = fs_open(dir_fd, path, O_WRONLY | O_NOCTTY, 0, err);
	ssize_t n;

	if (fd < 0)
		return -1;
	do
		n = write(fd, data, len);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return err_sys(err, "write %s", path);
	if ((size_t)n != len)
		return err_set(err, ERR_SYSTEM, "write %s: only %zd of %zu bytes taken", path, n,
		               len);
	return 0;
}

int fs_write_all(int fd, const void *data, size_t len, struct err *err)
{
	const char *at = data;

	while (len > 0) {
		ssize_t n = write(fd, at, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(err, "write");
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

/* ---- replacing ---- */

struct replacement {
	int parent; /* borrowed; O_RDONLY where it is to be synced */
	const char *name;
	char tmp[32];
	mode_t mode;
	bool durable;
};

static int fill(const struct replacement *r, int fd, const void *data, size_t len, struct err *err)
{
	if (fs_write_all(fd, data, len, err) < 0)
		return -1;
	if (FAILPOINT("fs.replace.written", err) < 0)
		return -1;
	if (fchmod(fd, r->mode) < 0) /* the umask may have taken bits away */
		return err_sys(err, "chmod");
	if (r->durable && fdatasync(fd) < 0)
		return err_sys(err, "fdatasync");
	if (FAILPOINT("fs.replace.synced", err) < 0)
		return -1;
	if (renameat(r->parent, r->tmp, r->parent, r->name) < 0)
		return err_sys(err, "rename");
	return 0;
}

static int replace(struct replacement *r, const void *data, size_t len, struct err *err)
{
	uint64_t chance;

	id_random(&chance, sizeof(chance));
	snprintf(r->tmp, sizeof(r->tmp), ".tmp-%016" PRIx64, chance);

	auto_close int fd = fs_lookup(r->parent, r->tmp, O_WRONLY | O_CREAT | O_EXCL, 0600, FS_OWN);
	if (fd < 0)
		return err_sys(err, "temporary file");
	if (FAILPOINT("fs.replace.made", err) < 0 || fill(r, fd, data, len, err) < 0) {
		unlinkat(r->parent, r->tmp, 0);
		return -1;
	}
	if (FAILPOINT("fs.replace.renamed", err) < 0)
		return -1;
	if (r->durable && fsync(r->parent) < 0)
		return err_sys(err, "fsync of the directory");
	return 0;
}

int fs_write_durable(int dir_fd, const char *path, const void *data, size_t len, mode_t mode,
                     struct err *err)
{
	auto_parent struct fs_parent parent;

	if (fs_parent_find(dir_fd, path, FS_OWN, &parent, err) < 0)
		return -1;
	/* A descriptor that fsync(2) accepts. */
	auto_close int dir = fs_lookup(parent.fd, ".", O_RDONLY | O_DIRECTORY, 0, FS_OWN);
	if (dir < 0)
		return fs_lookup_failed(path, err);
	struct replacement r = {.parent = dir, .name = parent.base, .mode = mode, .durable = true};
	return replace(&r, data, len, err) < 0 ? err_wrap(err, "write %s", path) : 0;
}

int fs_write_atomic(int dir_fd, const char *path, const void *data, size_t len, mode_t mode,
                    struct err *err)
{
	auto_parent struct fs_parent parent;

	if (fs_parent_find(dir_fd, path, FS_OWN, &parent, err) < 0)
		return -1;
	struct replacement r = {.parent = parent.fd, .name = parent.base, .mode = mode};
	return replace(&r, data, len, err) < 0 ? err_wrap(err, "write %s", path) : 0;
}

/* ---- copying ---- */

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* As much as the kernel copies by itself; it stops early for pipes, /proc and the like,
 * which is no failure: the loop of reads comes next and sees whatever is really wrong. */
static uint64_t copy_in_kernel(int in_fd, int out_fd, uint64_t len)
{
	uint64_t done = 0;

	while (done < len) {
		ssize_t n = copy_file_range(in_fd, NULL, out_fd, NULL,
		                            min_u64(len - done, COPY_PIECE), 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		done += (uint64_t)n;
	}
	return done;
}

static int copy_by_hand(int in_fd, int out_fd, uint64_t len, uint64_t *done, struct err *err)
{
	char piece[PIECE];

	while (*done < len) {
		ssize_t n = read_some(in_fd, piece, min_u64(len - *done, sizeof(piece)));

		if (n < 0)
			return err_sys(err, "read");
		if (n == 0)
			break;
		if (fs_write_all(out_fd, piece, (size_t)n, err) < 0)
			return -1;
		*done += (uint64_t)n;
	}
	return 0;
}

int fs_copy_fd(int in_fd, int out_fd, uint64_t len, uint64_t *copied, struct err *err)
{
	uint64_t done = copy_in_kernel(in_fd, out_fd, len);
	int rc = copy_by_hand(in_fd, out_fd, len, &done, err);

	if (copied)
		*copied = done;
	if (rc == 0 && done < len && len != UINT64_MAX)
		return err_set(err, ERR_INVALID,
		               "the source ended after %" PRIu64 " of %" PRIu64 " bytes", done,
		               len);
	return rc;
}
