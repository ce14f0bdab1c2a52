/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/fs_lookup.h"
#include "base/map.h"

/* fs_tree - lists and whole trees; see fs.h. A container can nest directories without
 * end, so neither the stack nor the descriptors may grow with the depth of a tree. */

#define REMOVE_DEPTH 32  /* directories open at once; deeper ones are moved up first */
#define REMOVE_TRIES 64  /* passes over a directory that somebody else fills */
#define USAGE_DEPTH  256 /* levels that fs_disk_usage counts */

static void close_dir(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

#define auto_dir __attribute__((cleanup(close_dir)))

/* A stream with a descriptor of its own, so that dir_fd keeps its position. */
static DIR *open_stream(int dir_fd)
{
	auto_close int fd = fs_lookup(dir_fd, ".", O_RDONLY | O_DIRECTORY, 0, FS_OWN);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	if (dir)
		(void)move_fd(&fd);
	return dir;
}

static bool is_dot(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* The next entry that is not a dot. NULL at the end (errno 0) or on failure. */
static struct dirent *next_entry(DIR *dir)
{
	struct dirent *e;

	do {
		errno = 0;
		e = readdir(dir);
	} while (e && is_dot(e->d_name));
	return e;
}

int fs_list(int dir_fd, int (*fn)(void *arg, int dir_fd, const char *name, unsigned char d_type),
            void *arg, struct err *err)
{
	auto_dir DIR *dir = open_stream(dir_fd);
	struct dirent *e;

	if (!dir)
		return err_sys(err, "list a directory");
	while ((e = next_entry(dir))) {
		int rc = fn(arg, dir_fd, e->d_name, e->d_type);

		if (rc != 0)
			return rc;
	}
	return errno ? err_sys(err, "list a directory") : 0;
}

/* ---- removing ---- */

struct removal {
	int top;        /* the root of the tree; what is too deep is moved here */
	uint64_t moved; /* names given so far */
	const char *path;
	struct err *err;
};

static int remove_children(struct removal *r, int dir_fd, int depth);

static int failed(const struct removal *r, const char *name)
{
	if (errno == EXDEV)
		return err_set(r->err, ERR_CONFLICT, "remove %s: %s is a mount point", r->path,
		               name);
	return err_sys(r->err, "remove %s: %s", r->path, name);
}

/* Moves a directory up to the top, whose loop then meets it at depth one. */
static int move_up(struct removal *r, int dir_fd, const char *name)
{
	char fresh[48];

	do {
		snprintf(fresh, sizeof(fresh), ".removing-%" PRIu64, r->moved++);
		if (renameat2(dir_fd, name, r->top, fresh, RENAME_NOREPLACE) == 0)
			return 0;
	} while (errno == EEXIST);
	return errno == ENOENT ? 0 : failed(r, name);
}

/* RESOLVE_NO_XDEV sees every mount, also one of the same file system. */
static int open_child(int dir_fd, const char *name)
{
	return fs_lookup(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0,
	                 FS_OWN | RESOLVE_NO_XDEV);
}

static int remove_directory(struct removal *r, int dir_fd, const char *name, int depth)
{
	if (depth >= REMOVE_DEPTH)
		return move_up(r, dir_fd, name);

	for (int i = 0; i < REMOVE_TRIES; i++) {
		uint64_t moved = r->moved;
		auto_close int child = open_child(dir_fd, name);

		if (child < 0)
			return errno == ENOENT ? 0 : failed(r, name);
		if (depth == 0)
			r->top = child;
		if (remove_children(r, child, depth + 1) < 0)
			return -1;
		if (unlinkat(dir_fd, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
			return 0;
		if (errno != ENOTEMPTY)
			break;
		if (depth == 0 && r->moved > moved)
			i = -1; /* what was moved up waits; each pass makes the tree smaller */
	}
	return failed(r, name);
}

static int remove_entry(struct removal *r, int dir_fd, const char *name, int depth)
{
	if (unlinkat(dir_fd, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR)
		return failed(r, name);
	return remove_directory(r, dir_fd, name, depth);
}

static int remove_children(struct removal *r, int dir_fd, int depth)
{
	auto_dir DIR *dir = open_stream(dir_fd);
	struct dirent *e;

	if (!dir)
		return failed(r, ".");
	while ((e = next_entry(dir)))
		if (remove_entry(r, dir_fd, e->d_name, depth) < 0)
			return -1;
	return errno ? failed(r, ".") : 0;
}

int fs_remove_tree(int dir_fd, const char *name, struct err *err)
{
	struct err why = ERR_INIT;
	auto_parent struct fs_parent parent;
	struct removal r = {.top = -1, .path = name, .err = err};

	if (fs_parent_find(dir_fd, name, FS_OWN, &parent, &why) < 0) {
		if (why.sys == ENOENT)
			return 0;
		if (err)
			*err = why;
		return -1;
	}
	return remove_entry(&r, parent.fd, parent.base, 0);
}

/* ---- usage ---- */

struct usage {
	uint64_t bytes;
	uint64_t entries;
	struct map *linked; /* "device:inode" of files with several names; owned */
	struct err *err;
};

/* 1: this file was counted under another name, 0: it was not, -1. */
static int was_counted(struct usage *u, const struct stat *st)
{
	char key[48];
	void *old;

	if (S_ISDIR(st->st_mode) || st->st_nlink < 2)
		return 0;
	snprintf(key, sizeof(key), "%jx:%jx", (uintmax_t)st->st_dev, (uintmax_t)st->st_ino);
	if (map_set(u->linked, key, u, &old, u->err) < 0)
		return -1;
	return old != NULL;
}

static int count_one(struct usage *u, const struct stat *st)
{
	int counted = was_counted(u, st);

	if (counted < 0)
		return -1;
	u->entries++;
	if (!counted)
		u->bytes += (uint64_t)st->st_blocks * 512;
	return 0;
}

static int count_children(struct usage *u, int dir_fd, int depth);

static int count_entry(struct usage *u, int dir_fd, const char *name, int depth)
{
	struct stat st;

	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : err_sys(u->err, "%s", name);
	if (!S_ISDIR(st.st_mode))
		return count_one(u, &st);

	auto_close int child = open_child(dir_fd, name);
	if (child < 0) /* a mount, or gone or exchanged since */
		return errno == EXDEV || errno == ENOENT || errno == ENOTDIR || errno == ELOOP
		               ? 0
		               : err_sys(u->err, "%s", name);
	if (count_one(u, &st) < 0)
		return -1;
	return depth < USAGE_DEPTH ? count_children(u, child, depth + 1) : 0;
}

static int count_children(struct usage *u, int dir_fd, int depth)
{
	auto_dir DIR *dir = open_stream(dir_fd);
	struct dirent *e;

	if (!dir)
		return err_sys(u->err, "list a directory");
	while ((e = next_entry(dir)))
		if (count_entry(u, dir_fd, e->d_name, depth) < 0)
			return -1;
	return errno ? err_sys(u->err, "list a directory") : 0;
}

int fs_disk_usage(int dir_fd, const char *path, uint64_t *bytes, uint64_t *entries, struct err *err)
{
	auto_close int fd = fs_open(dir_fd, path, O_PATH | O_NOFOLLOW, 0, err);
	auto_type(map) linked = fd < 0 ? NULL : map_create(err);
	struct usage u = {.linked = linked, .err = err};
	struct stat st;

	if (!linked)
		return -1;
	if (fstat(fd, &st) < 0)
		return err_sys(err, "%s", path);
	if (count_one(&u, &st) < 0)
		return -1;
	if (S_ISDIR(st.st_mode) && count_children(&u, fd, 1) < 0)
		return err_wrap(err, "size of %s", path);
	*bytes = u.bytes;
	*entries = u.entries;
	return 0;
}
