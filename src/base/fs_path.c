/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/fs_lookup.h"

/* fs_path - from a name to a descriptor; see fs.h and fs_lookup.h. */

#define LOOKUP_TRIES 256 /* EAGAIN: somebody renames while ".." is looked up */

int fs_lookup(int dir_fd, const char *path, int flags, mode_t mode, uint64_t resolve)
{
	bool makes = (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE;
	struct open_how how = {
		.flags = (uint64_t)(unsigned)(flags | O_CLOEXEC),
		.mode = makes ? mode & 07777 : 0, /* the kernel refuses a mode without use */
		.resolve = resolve,
	};
	long fd = -1;

	for (int i = 0; i < LOOKUP_TRIES; i++) {
		fd = syscall(SYS_openat2, dir_fd, path, &how, sizeof(how));
		if (fd >= 0 || (errno != EAGAIN && errno != EINTR))
			break;
	}
	return (int)fd;
}

int fs_lookup_failed(const char *path, struct err *err)
{
	int saved = errno;

	if (saved == EXDEV)
		err_set(err, ERR_DENIED, "%s: leaves its directory", path);
	else if (saved == ELOOP)
		err_set(err, ERR_DENIED, "%s: a symbolic link is not followed here", path);
	else if (saved == EAGAIN)
		err_set(err, ERR_UNAVAILABLE, "%s: renamed again and again while opening", path);
	else
		return err_sys(err, "%s", path);
	if (err)
		err->sys = saved;
	return -1;
}

static bool is_base(const char *base)
{
	size_t len = strlen(base);

	return len > 0 && strcmp(base, ".") != 0 && strcmp(base, "..") != 0;
}

int fs_lookup_parent(int dir_fd, const char *path, uint64_t resolve, const char **base,
                     struct err *err)
{
	const char *slash = strrchr(path, '/');
	const char *last = slash ? slash + 1 : path;
	char parent[PATH_MAX] = ".";

	if (!is_base(last))
		return err_set(err, ERR_INVALID, "\"%s\" does not end in a name", path);
	if (slash) {
		size_t len = (size_t)(last - path); /* with the slash: "/" stays absolute */

		if (len >= sizeof(parent)) {
			errno = ENAMETOOLONG;
			return err_sys(err, "%.100s...", path);
		}
		memcpy(parent, path, len);
		parent[len] = '\0';
	}
	int fd = fs_lookup(dir_fd, parent, O_PATH | O_DIRECTORY, 0, resolve);
	if (fd < 0)
		return fs_lookup_failed(path, err);
	*base = last;
	return fd;
}

int fs_parent_find(int dir_fd, const char *path, uint64_t resolve, struct fs_parent *out,
                   struct err *err)
{
	*out = (struct fs_parent){.fd = dir_fd, .opened = -1, .base = path};
	if (!strchr(path, '/') && is_base(path))
		return 0;
	out->opened = out->fd = fs_lookup_parent(dir_fd, path, resolve, &out->base, err);
	return out->fd < 0 ? -1 : 0;
}

void fs_parent_done(struct fs_parent *parent)
{
	cleanup_close(&parent->opened);
}

/* ---- mkdir -p ---- */

/* The directory `name` of dir_fd, made if it is not there. */
static int open_or_mkdir(int dir_fd, const char *name, mode_t mode)
{
	if (mkdirat(dir_fd, name, mode) < 0 && errno != EEXIST)
		return -1;
	return fs_lookup(dir_fd, name, O_PATH | O_DIRECTORY, 0, FS_OWN);
}

/* What `prefix` (its last component begins at `name`) leads to. Lookup starts at the
 * top each time, for a symlink in it is to be read from there; only a component that
 * is missing is made, in the directory that the one before led to. */
static int step(int dir_fd, int before_fd, const char *prefix, size_t name, mode_t mode,
                uint64_t resolve)
{
	int fd = fs_lookup(dir_fd, prefix, O_PATH | O_DIRECTORY, 0, resolve);

	if (fd < 0 && errno == ENOENT)
		fd = open_or_mkdir(before_fd, prefix + name, mode);
	return fd;
}

/* Walks path, which is writable so that each prefix can be cut out in place. */
static int walk(int dir_fd, char *path, mode_t mode, uint64_t resolve)
{
	size_t at = strspn(path, "/");
	auto_close int current =
		fs_lookup(dir_fd, at ? "/" : ".", O_PATH | O_DIRECTORY, 0, resolve);

	while (current >= 0 && path[at]) {
		size_t end = at + strcspn(path + at, "/");
		char cut = path[end];

		path[end] = '\0';
		int next = step(dir_fd, current, path, at, mode, resolve);
		path[end] = cut;
		if (next < 0)
			return -1;
		close(current);
		current = next;
		at = end + strspn(path + end, "/");
	}
	return current < 0 ? -1 : fs_lookup(current, ".", O_RDONLY | O_DIRECTORY, 0, FS_OWN);
}

/* Only the last directory is missing, as mostly. -1 with errno: ENOENT if more is. */
static int make_last(int dir_fd, const char *path, mode_t mode, uint64_t resolve)
{
	auto_parent struct fs_parent parent;

	if (fs_parent_find(dir_fd, path, resolve, &parent, NULL) < 0) {
		errno = ENOENT;
		return -1;
	}
	if (mkdirat(parent.fd, parent.base, mode) < 0 && errno != EEXIST)
		return -1;
	return fs_lookup(parent.fd, parent.base, O_RDONLY | O_DIRECTORY, 0, FS_OWN);
}

int fs_lookup_or_mkdir(int dir_fd, const char *path, mode_t mode, uint64_t resolve, struct err *err)
{
	char copy[PATH_MAX];
	size_t len = strlen(path);

	if (len == 0)
		return err_set(err, ERR_INVALID, "the path of a directory is empty");
	if (len >= sizeof(copy)) {
		errno = ENAMETOOLONG;
		return err_sys(err, "%.100s...", path);
	}
	memcpy(copy, path, len + 1);

	int fd = fs_lookup(dir_fd, path, O_RDONLY | O_DIRECTORY, 0,
	                   resolve); /* mostly it is there */
	if (fd < 0 && errno == ENOENT)
		fd = make_last(dir_fd, path, mode, resolve);
	if (fd < 0 && errno == ENOENT)
		fd = walk(dir_fd, copy, mode, resolve);
	return fd < 0 ? fs_lookup_failed(path, err) : fd;
}
