/* SPDX-License-Identifier: Apache-2.0 */
#include "image/diff.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/xattr.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/map.h"
#include "base/str.h"

#define DIFF_PATH_MAX   4095
#define DIFF_DEPTH_MAX  200
#define DIFF_BLOCK      (256u << 10)
#define DIFF_NAMES_MAX  (1u << 20) /* entries of one directory */
#define XATTR_NAMES_MAX (64u << 10)
#define XATTRS_MAX      64
#define RANGE           65536u
#define WHITEOUT        ".wh."

struct diff {
	bool layer;
	uint32_t first_id; /* owners from here on count from 0 */
	struct tarball_writer *tar;
	struct map *links; /* "dev:ino" -> path (owned) of files with several names */
	struct buf path;
	int64_t size;
	char *block;             /* DIFF_BLOCK bytes */
	char *xattr_names;       /* XATTR_NAMES_MAX bytes */
	struct buf xattr_values; /* of the current entry */
	struct tarball_xattr xattrs[XATTRS_MAX];
};

struct names {
	char **items;
	size_t count, cap;
};

/* ---- a directory's names, in order ---- */

static int collect_name(void *arg, int dir_fd, const char *name, unsigned char d_type)
{
	struct names *names = arg;

	(void)dir_fd, (void)d_type;
	if (names->count == DIFF_NAMES_MAX)
		return 1;
	if (names->count == names->cap) {
		size_t cap = names->cap ? 2 * names->cap : 64;
		char **items = reallocarray(names->items, cap, sizeof(*items));
		if (!items)
			return 1;
		names->items = items;
		names->cap = cap;
	}
	names->items[names->count] = strdup(name);
	return names->items[names->count] ? (names->count++, 0) : 1;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void names_done(struct names *names)
{
	for (size_t i = 0; i < names->count; i++)
		free(names->items[i]);
	free(names->items);
}

/* ---- extended attributes ---- */

/* What a layer carries: the user's own, file capabilities, ACLs. The rest belongs to this
 * machine. 1 wanted, 0 not, -1: an upper that cannot be taken apart. */
static int xattr_wanted(struct diff *d, const char *name, struct err *err)
{
	if (d->layer &&
	    (str_ends(name, ".overlay.redirect") || str_ends(name, ".overlay.metacopy")))
		return err_set(
			err, ERR_UNSUPPORTED,
			"%s: the overlay uses %s; mount it with redirect_dir=off,metacopy=off",
			buf_str(&d->path), name);
	if (str_starts(name, "user.overlay."))
		return 0;
	return str_starts(name, "user.") || str_eq(name, "security.capability") ||
	       str_eq(name, "system.posix_acl_access") || str_eq(name, "system.posix_acl_default");
}

static int add_xattr(struct diff *d, int fd, const char *name, struct tarball_entry *e,
                     struct err *err)
{
	char value[4096];
	ssize_t n = fgetxattr(fd, name, value, sizeof(value));

	if (n < 0 && (errno == ENODATA || errno == ERANGE))
		return 0; /* gone meanwhile, or far longer than anything of use */
	if (n < 0)
		return err_sys(err, "%s: cannot read attribute %s", buf_str(&d->path), name);
	if (e->xattr_count == XATTRS_MAX)
		return err_set(err, ERR_LIMIT, "%s: more than %d extended attributes",
		               buf_str(&d->path), XATTRS_MAX);
	/* The buffer may move: the offset is turned into a pointer when all are in. */
	d->xattrs[e->xattr_count++] = (struct tarball_xattr){
		// NOLINTNEXTLINE(performance-no-int-to-ptr) an offset until then
		name, (const void *)(uintptr_t)d->xattr_values.len, (size_t)n};
	buf_add_mem(&d->xattr_values, value, (size_t)n);
	return buf_check(&d->xattr_values, err);
}

static int take_xattrs(struct diff *d, int fd, struct tarball_entry *e, struct err *err)
{
	ssize_t len = flistxattr(fd, d->xattr_names, XATTR_NAMES_MAX);

	buf_clear(&d->xattr_values);
	if (len < 0)
		return errno == ENOTSUP
		               ? 0
		               : err_sys(err, "%s: cannot list attributes", buf_str(&d->path));
	for (const char *name = d->xattr_names; name < d->xattr_names + len;
	     name += strlen(name) + 1) {
		int wanted = xattr_wanted(d, name, err);
		if (wanted < 0 || (wanted > 0 && add_xattr(d, fd, name, e, err) < 0))
			return -1;
	}
	for (size_t i = 0; i < e->xattr_count; i++)
		d->xattrs[i].value = buf_str(&d->xattr_values) + (uintptr_t)d->xattrs[i].value;
	e->xattrs = d->xattrs;
	return 0;
}

static bool is_opaque(int fd)
{
	char value[4];

	return (fgetxattr(fd, "trusted.overlay.opaque", value, sizeof(value)) == 1 &&
	        value[0] == 'y') ||
	       (fgetxattr(fd, "user.overlay.opaque", value, sizeof(value)) == 1 && value[0] == 'y');
}

/* ---- entries ---- */

/* Made up as it is read, without an end, or with effects: nothing to archive. */
static bool is_kernels(int fd)
{
	struct statfs fs;

	return fstatfs(fd, &fs) == 0 &&
	       (fs.f_type == PROC_SUPER_MAGIC || fs.f_type == SYSFS_MAGIC ||
	        fs.f_type == CGROUP_SUPER_MAGIC || fs.f_type == CGROUP2_SUPER_MAGIC);
}

static uint32_t owner_of(const struct diff *d, uint32_t id)
{
	return id - d->first_id < RANGE ? id - d->first_id : id;
}

static struct tarball_entry entry_of(struct diff *d, const struct stat *st)
{
	return (struct tarball_entry){
		.path = buf_str(&d->path),
		.mode = st->st_mode & (S_IFMT | 07777),
		.uid = owner_of(d, st->st_uid),
		.gid = owner_of(d, st->st_gid),
		.size = S_ISREG(st->st_mode) ? st->st_size : 0,
		.mtime = st->st_mtim.tv_sec,
		.mtime_ns = st->st_mtim.tv_nsec,
		.rdev = st->st_rdev,
	};
}

static int write_mark(struct diff *d, const char *prefix, const char *name, struct err *err)
{
	auto_buf struct buf path = BUF_INIT(DIFF_PATH_MAX + sizeof(WHITEOUT));
	const char *full = buf_str(&d->path);
	const char *slash = strrchr(full, '/');

	buf_add_mem(&path, full, slash ? (size_t)(slash - full) + 1 : 0);
	buf_addf(&path, "%s%s", prefix, name);
	if (buf_check(&path, err) < 0)
		return -1;
	struct tarball_entry e = {.path = buf_str(&path), .mode = S_IFREG | 0600};
	return tarball_writer_entry(d->tar, &e, err);
}

/* 1: another name of this file is in the archive, and e points to it. */
static int find_link(struct diff *d, const struct stat *st, struct tarball_entry *e,
                     struct err *err)
{
	char key[48];

	if (st->st_nlink < 2)
		return 0;
	(void)snprintf(key, sizeof(key), "%llx:%llx", (unsigned long long)st->st_dev,
	               (unsigned long long)st->st_ino);
	e->hardlink = map_find(d->links, key);
	if (e->hardlink)
		return 1;
	auto_free char *path = strdup(buf_str(&d->path));
	if (!path)
		return err_nomem(err);
	if (map_set(d->links, key, path, NULL, err) < 0)
		return -1;
	(void)move_ptr(path);
	return 0;
}

static int write_content(struct diff *d, int fd, int64_t size, struct err *err)
{
	while (size > 0) {
		size_t want = size < DIFF_BLOCK ? (size_t)size : DIFF_BLOCK;
		ssize_t n = read(fd, d->block, want);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(err, "%s: cannot read", buf_str(&d->path));
		if (n == 0) { /* it was cut meanwhile */
			memset(d->block, 0, want);
			n = (ssize_t)want;
		}
		if (tarball_writer_data(d->tar, d->block, (size_t)n, err) < 0)
			return -1;
		size -= n;
	}
	return 0;
}

static int write_file(struct diff *d, int dir_fd, const char *name, const struct stat *st,
                      struct err *err)
{
	struct tarball_entry e = entry_of(d, st);
	int linked = find_link(d, st, &e, err);

	if (linked != 0)
		return linked < 0 ? -1 : tarball_writer_entry(d->tar, &e, err);
	auto_close int fd = fs_open(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0, err);
	struct stat now;
	if (fd < 0)
		return -1;
	if (fstat(fd, &now) < 0 || !S_ISREG(now.st_mode))
		return err_set(err, ERR_CONFLICT, "%s changed while it was read", e.path);
	if (take_xattrs(d, fd, &e, err) < 0 || tarball_writer_entry(d->tar, &e, err) < 0)
		return -1;
	d->size += e.size;
	return write_content(d, fd, e.size, err);
}

static int write_symlink(struct diff *d, int dir_fd, const char *name, const struct stat *st,
                         struct err *err)
{
	auto_buf struct buf target = BUF_INIT(DIFF_PATH_MAX);
	struct tarball_entry e = entry_of(d, st);
	int linked = find_link(d, st, &e, err);

	if (linked < 0 || (linked == 0 && fs_readlink(dir_fd, name, &target, err) < 0))
		return -1;
	e.symlink = linked ? NULL : buf_str(&target);
	return tarball_writer_entry(d->tar, &e, err);
}

static int write_node(struct diff *d, const struct stat *st, struct err *err)
{
	struct tarball_entry e = entry_of(d, st);

	if (find_link(d, st, &e, err) < 0)
		return -1;
	return tarball_writer_entry(d->tar, &e, err);
}

static int write_dir(struct diff *d, int fd, int depth, struct err *err);

static int write_subdir(struct diff *d, int dir_fd, const char *name, const struct stat *st,
                        int depth, struct err *err)
{
	auto_close int fd = fs_open(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, err);

	if (fd < 0)
		return -1;
	if (depth == DIFF_DEPTH_MAX)
		return err_set(err, ERR_LIMIT, "%s: deeper than %d directories", buf_str(&d->path),
		               DIFF_DEPTH_MAX);
	buf_add(&d->path, "/");
	struct tarball_entry e = entry_of(d, st);
	if (take_xattrs(d, fd, &e, err) < 0 || tarball_writer_entry(d->tar, &e, err) < 0)
		return -1;
	if (!d->layer && is_kernels(fd))
		return 0;
	if (d->layer && is_opaque(fd) && write_mark(d, WHITEOUT WHITEOUT, ".opq", err) < 0)
		return -1;
	return write_dir(d, fd, depth + 1, err);
}

static int write_one(struct diff *d, int dir_fd, const char *name, int depth, struct err *err)
{
	struct stat st;

	if (fs_stat(dir_fd, name, &st, NULL) < 0)
		return 0; /* it went away meanwhile */
	if (d->layer && S_ISCHR(st.st_mode) && st.st_rdev == 0)
		return write_mark(d, WHITEOUT, name, err);
	if (d->layer && str_starts(name, WHITEOUT))
		return err_set(err, ERR_INVALID, "%s: names that begin with .wh. cannot be stored",
		               buf_str(&d->path));
	switch (st.st_mode & S_IFMT) {
	case S_IFDIR:
		return write_subdir(d, dir_fd, name, &st, depth, err);
	case S_IFREG:
		return write_file(d, dir_fd, name, &st, err);
	case S_IFLNK:
		return write_symlink(d, dir_fd, name, &st, err);
	case S_IFSOCK:
		return 0;
	default:
		return write_node(d, &st, err);
	}
}

static int write_names(struct diff *d, int fd, const struct names *names, int depth,
                       struct err *err)
{
	size_t len = d->path.len;

	for (size_t i = 0; i < names->count; i++) {
		buf_add(&d->path, names->items[i]);
		if (buf_check(&d->path, err) < 0 ||
		    write_one(d, fd, names->items[i], depth, err) < 0)
			return -1;
		d->path.len = len;
		d->path.data[len] = '\0';
	}
	return 0;
}

static int write_dir(struct diff *d, int fd, int depth, struct err *err)
{
	struct names names = {0};
	int rc = fs_list(fd, collect_name, &names, err);

	if (rc > 0)
		rc = err_set(err, ERR_LIMIT, "%s: too many entries", buf_str(&d->path));
	if (rc == 0) {
		if (names.count > 0)
			qsort(names.items, names.count, sizeof(*names.items), compare_names);
		rc = write_names(d, fd, &names, depth, err);
	}
	names_done(&names);
	return rc;
}

static void diff_done(struct diff *d)
{
	const char *key;
	void *value;

	if (d->links)
		map_for_each (d->links, iter, &key, &value)
			free(value);
	map_free(d->links);
	tarball_writer_free(d->tar);
	buf_free(&d->path);
	buf_free(&d->xattr_values);
	free(d->block);
	free(d->xattr_names);
}

static int diff_begin(struct diff *d, tarball_write_fn *write, void *arg, struct err *err)
{
	d->block = malloc(DIFF_BLOCK);
	d->xattr_names = malloc(XATTR_NAMES_MAX);
	if (!d->block || !d->xattr_names)
		return err_nomem(err);
	d->links = map_create(err);
	if (!d->links)
		return -1;
	d->tar = tarball_writer_create(write, arg, err);
	return d->tar ? 0 : -1;
}

int diff_write(int dir_fd, bool layer, tarball_write_fn *write, void *arg, int64_t *size,
               struct err *err)
{
	struct diff d = {
		.layer = layer,
		.path = BUF_INIT(DIFF_PATH_MAX),
		.xattr_values = BUF_INIT(XATTRS_MAX * 4096),
	};
	int rc = diff_begin(&d, write, arg, err);

	if (rc == 0)
		rc = write_dir(&d, dir_fd, 0, err);
	if (rc == 0)
		rc = tarball_writer_finish(d.tar, err);
	if (rc == 0 && size)
		*size = d.size;
	diff_done(&d);
	return rc;
}

int diff_write_path(int dir_fd, const char *base, const char *name, uint32_t first_id,
                    tarball_write_fn *write, void *arg, struct err *err)
{
	struct diff d = {
		.first_id = first_id,
		.path = BUF_INIT(DIFF_PATH_MAX),
		.xattr_values = BUF_INIT(XATTRS_MAX * 4096),
	};
	int rc = diff_begin(&d, write, arg, err);
	struct stat st;

	buf_add(&d.path, str_eq(name, "/") ? "" : name);
	if (rc == 0)
		rc = fs_stat(dir_fd, base, &st, err);
	if (rc == 0)
		rc = write_one(&d, dir_fd, base, 0, err);
	if (rc == 0)
		rc = tarball_writer_finish(d.tar, err);
	diff_done(&d);
	return rc;
}
