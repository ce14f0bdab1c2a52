/* SPDX-License-Identifier: Apache-2.0 */
#include "image/apply.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/str.h"
#include "image/tarball.h"

/* A directory's time is set last, as every entry made in it changes it. */
struct later {
	struct later *next;
	struct timespec mtime;
	char path[];
};

struct apply {
	int root; /* borrowed */
	unsigned flags;
	const struct apply_limits *limits;
	struct apply_result *result;

	const struct apply_source *source;

	int parent_fd; /* of parent[], kept because neighbours in the archive share it */
	char parent[APPLY_PATH_MAX + 1];
	char path[APPLY_PATH_MAX + 1]; /* normalised, of the current entry */
	char target[APPLY_PATH_MAX + 1];
	struct later *laters; /* newest first; owned */
};

/* ---- the stream ---- */

static ssize_t stream_read(void *arg, void *data, size_t len, struct err *err)
{
	struct apply *a = arg;
	ssize_t n = a->source->read(a->source->arg, data, len, err);

	a->result->stream += n > 0 ? n : 0;
	return n;
}

/* What follows the archive's end mark belongs to the digest as well. */
static int drain(struct apply *a, struct err *err)
{
	char data[16384];
	ssize_t n;

	while ((n = stream_read(a, data, sizeof(data), err)) > 0)
		;
	return n < 0 ? -1 : 0;
}

/* ---- names ---- */

int apply_normalise(const char *path, char out[APPLY_PATH_MAX + 1], struct err *err)
{
	size_t used = 0, depth = 0;

	for (const char *p = path; *p;) {
		size_t n = strcspn(p, "/");
		bool skip = n == 0 || (n == 1 && p[0] == '.');
		if (n == 2 && p[0] == '.' && p[1] == '.')
			return err_set(err, ERR_INVALID, "%s: \"..\" is not allowed in an archive",
			               path);
		if (!skip) {
			if (n > NAME_MAX || used + n + 1 > APPLY_PATH_MAX)
				return err_set(err, ERR_LIMIT, "%.60s...: name is too long", path);
			if (++depth > APPLY_DEPTH_MAX)
				return err_set(err, ERR_LIMIT,
				               "%.60s...: deeper than %d directories", path,
				               APPLY_DEPTH_MAX);
			if (used > 0)
				out[used++] = '/';
			memcpy(out + used, p, n);
			used += n;
		}
		p += n;
		p += *p == '/';
	}
	out[used] = '\0';
	return 0;
}

static int open_dir(struct apply *a, const char *path, struct err *err)
{
	if (a->flags & APPLY_FOLLOW)
		return fs_open_in(a->root, path, O_RDONLY | O_DIRECTORY, 0, err);
	return fs_open(a->root, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, err);
}

/* Opens a directory beneath the root, making what is missing of it. */
static int make_dir(struct apply *a, const char *path, struct err *err)
{
	struct err why = ERR_INIT;
	int fd = open_dir(a, path, &why);

	if (fd >= 0)
		return fd;
	if (why.kind == ERR_NOT_FOUND)
		fd = a->flags & APPLY_FOLLOW ? fs_mkdir_all_in(a->root, path, 0755, &why)
		                             : fs_mkdir_all(a->root, path, 0755, &why);
	if (fd < 0)
		return err_set(err, why.kind == ERR_SYSTEM ? ERR_INVALID : why.kind,
		               "%s: not a directory inside the archive's root (%s)", path, why.msg);
	return fd;
}

/* The directory that holds `path` and the last component of it. Borrowed until the next call. An entry
 * changes nothing above itself, so the directory kept from the one before is still the right one. */
static int enter_parent(struct apply *a, const char *path, const char **base, struct err *err)
{
	const char *slash = strrchr(path, '/');
	size_t n = slash ? (size_t)(slash - path) : 0;

	*base = slash ? slash + 1 : path;
	if (a->parent_fd >= 0 && strlen(a->parent) == n && memcmp(a->parent, path, n) == 0)
		return a->parent_fd;

	if (a->parent_fd >= 0)
		close(a->parent_fd);
	memcpy(a->parent, path, n);
	a->parent[n] = '\0';
	a->parent_fd = make_dir(a, n ? a->parent : ".", err);
	return a->parent_fd;
}

/* ---- attributes, all by descriptor ---- */

bool apply_xattr_wanted(const char *name)
{
	if (str_starts(name, "user.overlay."))
		return false;
	return str_starts(name, "user.") || str_eq(name, "security.capability") ||
	       str_eq(name, "system.posix_acl_access") || str_eq(name, "system.posix_acl_default");
}

static int set_xattrs(struct apply *a, int fd, const struct tarball_entry *e, struct err *err)
{
	for (size_t i = 0; i < e->xattr_count; i++) {
		const struct tarball_xattr *x = &e->xattrs[i];
		if (!apply_xattr_wanted(x->name))
			continue;
		if (!(a->flags & APPLY_OWNERS) && !str_starts(x->name, "user."))
			continue;
		if (fsetxattr(fd, x->name, x->value, x->len, 0) < 0 && errno != ENOTSUP)
			return err_sys(err, "%s: cannot set attribute %s", a->path, x->name);
	}
	return 0;
}

/* fd may be an O_PATH descriptor (symbolic links, devices): no mode then. Owner goes first, as a
 * change of it clears set-id bits and capabilities. */
static int set_attributes(struct apply *a, int fd, const struct tarball_entry *e, bool path_only,
                          struct err *err)
{
	struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {e->mtime, e->mtime_ns}};

	if (a->flags & APPLY_OWNERS && fchownat(fd, "", e->uid, e->gid, AT_EMPTY_PATH) < 0)
		return err_sys(err, "%s: cannot set owner %u:%u", a->path, e->uid, e->gid);
	if (!path_only) {
		if (set_xattrs(a, fd, e, err) < 0)
			return -1;
		if (fchmod(fd, e->mode & 07777) < 0)
			return err_sys(err, "%s: cannot set mode %o", a->path, e->mode & 07777);
	}
	if (utimensat(fd, "", times, AT_EMPTY_PATH) < 0)
		return err_sys(err, "%s: cannot set time", a->path);
	return 0;
}

static int set_opaque(struct apply *a, int fd, struct err *err)
{
	const char *name =
		a->flags & APPLY_UNPRIVILEGED ? "user.overlay.opaque" : "trusted.overlay.opaque";

	if (fsetxattr(fd, name, "y", 1, 0) < 0)
		return err_sys(err, "%s: cannot mark the directory opaque", a->path);
	return 0;
}

/* ---- one entry ---- */

enum standing {
	STANDING_FREE,     /* nothing is there (any more) */
	STANDING_DIR,      /* a directory is there and the new one is a directory too */
	STANDING_WHITEOUT, /* a mark of this layer was there and is gone now */
};

/* Clears the way for a new `base`. Later entries of an archive win over earlier ones. */
static int make_room(struct apply *a, int parent, const char *base, bool dir,
                     enum standing *standing, struct err *err)
{
	struct stat st;

	*standing = STANDING_FREE;
	if (fstatat(parent, base, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : err_sys(err, "%s: cannot look", a->path);
	if (S_ISDIR(st.st_mode) && dir) {
		*standing = STANDING_DIR;
		return 0;
	}
	if (a->flags & APPLY_KEEP_TYPE && S_ISDIR(st.st_mode) != dir)
		return err_set(err, ERR_CONFLICT, "cannot overwrite %s with %s: /%s",
		               dir ? "non-directory" : "directory",
		               dir ? "directory" : "non-directory", a->path);
	if (S_ISCHR(st.st_mode) && st.st_rdev == 0)
		*standing = STANDING_WHITEOUT;
	if (!S_ISDIR(st.st_mode))
		return fs_unlink(parent, base, err);
	return fs_remove_tree(parent, base, err);
}

static int remember_time(struct apply *a, const struct tarball_entry *e, struct err *err)
{
	size_t n = strlen(a->path) + 1;
	struct later *l = malloc(sizeof(*l) + n);

	if (!l)
		return err_nomem(err);
	memcpy(l->path, a->path, n);
	l->mtime = (struct timespec){e->mtime, e->mtime_ns};
	l->next = a->laters;
	a->laters = l;
	return 0;
}

static int put_root(struct apply *a, const struct tarball_entry *e, struct err *err)
{
	if (!S_ISDIR(e->mode) || e->hardlink)
		return err_set(err, ERR_INVALID, "the archive's root is not a directory");
	if (a->flags & APPLY_KEEP_TYPE) /* somebody's own directory: only its content is ours */
		return 0;
	auto_close int fd = fs_open_dir(a->root, ".", err);
	if (fd < 0 || set_attributes(a, fd, e, false, err) < 0)
		return -1;
	return remember_time(a, e, err);
}

static int put_dir(struct apply *a, int parent, const char *base, const struct tarball_entry *e,
                   struct err *err)
{
	enum standing standing;

	if (make_room(a, parent, base, true, &standing, err) < 0)
		return -1;
	if (standing != STANDING_DIR && fs_mkdir(parent, base, 0700, err) < 0)
		return -1;
	auto_close int fd = fs_open(parent, base, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, err);
	if (fd < 0)
		return -1;
	/* Removed and made again in one layer: nothing of the old one may shine through. */
	if (standing == STANDING_WHITEOUT && a->flags & APPLY_LAYER && set_opaque(a, fd, err) < 0)
		return -1;
	if (set_attributes(a, fd, e, false, err) < 0)
		return -1;
	return remember_time(a, e, err);
}

static int count_bytes(struct apply *a, int64_t more, struct err *err)
{
	if (more > a->limits->bytes - a->result->size)
		return err_set(err, ERR_LIMIT, "archive holds more than %lld bytes of files",
		               (long long)a->limits->bytes);
	a->result->size += more;
	return 0;
}

static int write_content(struct apply *a, struct tarball_reader *tar, int fd,
                         const struct tarball_entry *e, struct err *err)
{
	const char *data;
	size_t len;
	int64_t offset, end = 0;
	int rc;

	while ((rc = tarball_reader_data(tar, (const void **)&data, &len, &offset, err)) > 0) {
		if (offset < 0 || offset > e->size || (int64_t)len > e->size - offset)
			return err_set(err, ERR_INVALID, "%s: content leaves its size", a->path);
		end = offset + (int64_t)len;
		while (len > 0) {
			ssize_t n = pwrite(fd, data, len, offset);
			if (n < 0 && errno == EINTR)
				continue;
			if (n < 0)
				return err_sys(err, "%s: cannot write", a->path);
			data += n;
			offset += n;
			len -= (size_t)n;
		}
	}
	if (rc == 0 && end < e->size && ftruncate(fd, e->size) < 0)
		return err_sys(err, "%s: cannot make it %lld bytes long", a->path,
		               (long long)e->size);
	return rc;
}

static int put_file(struct apply *a, struct tarball_reader *tar, int parent, const char *base,
                    const struct tarball_entry *e, struct err *err)
{
	enum standing standing;

	if (count_bytes(a, e->size, err) < 0 ||
	    make_room(a, parent, base, false, &standing, err) < 0)
		return -1;
	auto_close int fd =
		fs_open(parent, base, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600, err);
	if (fd < 0 || write_content(a, tar, fd, e, err) < 0)
		return -1;
	return set_attributes(a, fd, e, false, err);
}

/* Symbolic links, fifos and devices: made by name, then held by an O_PATH descriptor. */
static int put_node(struct apply *a, int parent, const char *base, const struct tarball_entry *e,
                    struct err *err)
{
	enum standing standing;

	if (!S_ISLNK(e->mode) && !S_ISFIFO(e->mode) && !(a->flags & APPLY_SPECIAL))
		return err_set(err, ERR_DENIED, "%s: devices are not allowed in this archive",
		               a->path);
	if (make_room(a, parent, base, false, &standing, err) < 0)
		return -1;
	if (S_ISLNK(e->mode)) {
		if (strlen(e->symlink) > APPLY_PATH_MAX)
			return err_set(err, ERR_LIMIT, "%s: target is too long", a->path);
		if (fs_symlink(e->symlink, parent, base, err) < 0)
			return -1;
	} else if (fs_mknod(parent, base, e->mode & (S_IFMT | 07777), e->rdev, err) < 0) {
		return -1;
	}
	auto_close int fd = fs_open(parent, base, O_PATH | O_NOFOLLOW, 0, err);
	if (fd < 0)
		return -1;
	return set_attributes(a, fd, e, true, err);
}

static int put_hardlink(struct apply *a, int parent, const char *base,
                        const struct tarball_entry *e, struct err *err)
{
	enum standing standing;
	struct stat st;

	if (apply_normalise(e->hardlink, a->target, err) < 0)
		return -1;
	if (a->target[0] == '\0')
		return err_set(err, ERR_INVALID, "%s: hard link to the root", a->path);
	if (strcmp(a->target, a->path) == 0)
		return 0;

	char *slash = strrchr(a->target, '/');
	const char *name = slash ? slash + 1 : a->target;
	if (slash)
		*slash = '\0';
	struct err why = ERR_INIT;
	auto_close int from = open_dir(a, slash ? a->target : ".", &why);
	if (from < 0 || fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || S_ISDIR(st.st_mode))
		return err_set(err, ERR_INVALID,
		               "%s: hard link to %s, which is no file of the archive", a->path,
		               e->hardlink);
	if (make_room(a, parent, base, false, &standing, err) < 0)
		return -1;
	return fs_link(from, name, parent, base, err);
}

/* ".wh.name" hides name of the layers below, never what this layer itself brings. */
static int put_whiteout(struct apply *a, int parent, const char *base, struct err *err)
{
	const char *name = base + strlen(APPLY_WHITEOUT);
	struct stat st;

	if (strcmp(base, APPLY_WHITEOUT_OPAQUE) == 0)
		return set_opaque(a, parent, err);
	if (str_starts(base, APPLY_WHITEOUT_AUFS))
		return 0;
	if (*name == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return err_set(err, ERR_INVALID, "%s: whiteout of nothing", a->path);
	if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		if (errno != ENOENT)
			return err_sys(err, "%s: cannot look", a->path);
		return fs_mknod(parent, name, S_IFCHR, makedev(0, 0), err);
	}
	if (!S_ISDIR(st.st_mode))
		return 0;
	auto_close int fd = fs_open(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, err);
	if (fd < 0)
		return -1;
	return set_opaque(a, fd, err);
}

static int put_entry(struct apply *a, struct tarball_reader *tar, const struct tarball_entry *e,
                     struct err *err)
{
	const char *base;

	if (++a->result->entries > a->limits->entries)
		return err_set(err, ERR_LIMIT, "archive has more than %lld entries",
		               (long long)a->limits->entries);
	if (apply_normalise(e->path, a->path, err) < 0)
		return -1;
	if (a->path[0] == '\0')
		return put_root(a, e, err);
	int parent = enter_parent(a, a->path, &base, err);
	if (parent < 0)
		return -1;
	if (a->flags & APPLY_LAYER && str_starts(base, APPLY_WHITEOUT))
		return put_whiteout(a, parent, base, err);
	if (e->hardlink)
		return put_hardlink(a, parent, base, e, err);

	switch (e->mode & S_IFMT) {
	case S_IFDIR:
		return put_dir(a, parent, base, e, err);
	case S_IFREG:
		return put_file(a, tar, parent, base, e, err);
	case S_IFLNK:
	case S_IFIFO:
	case S_IFCHR:
	case S_IFBLK:
		return put_node(a, parent, base, e, err);
	case S_IFSOCK:
		return 0; /* nobody listens on it any more */
	default:
		return err_set(err, ERR_INVALID, "%s: unknown type of entry", a->path);
	}
}

/* ---- the whole ---- */

static int apply_entries(struct apply *a, struct err *err)
{
	struct tarball_entry entry;
	int rc;

	auto_type(tarball_reader) tar = tarball_reader_open(stream_read, a, err);
	if (!tar)
		return -1;
	while ((rc = tarball_reader_next(tar, &entry, err)) > 0)
		if (put_entry(a, tar, &entry, err) < 0)
			return -1;
	if (rc < 0)
		return -1;
	return drain(a, err);
}

/* In the archive's order, so that of two entries for one directory the later wins. */
static void apply_times(struct apply *a)
{
	struct later *ordered = NULL;

	while (a->laters) {
		struct later *l = a->laters;
		a->laters = l->next;
		l->next = ordered;
		ordered = l;
	}
	a->laters = ordered;
	for (struct later *l = ordered; l; l = l->next) {
		struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, l->mtime};
		auto_close int fd = open_dir(a, l->path[0] ? l->path : ".", NULL);
		if (fd >= 0) /* else a later entry replaced it */
			(void)futimens(fd, times);
	}
}

static void apply_done(struct apply *a)
{
	if (a->parent_fd >= 0)
		close(a->parent_fd);
	while (a->laters) {
		struct later *l = a->laters;
		a->laters = l->next;
		free(l);
	}
}

int apply_stream(const struct apply_source *source, int dir_fd, unsigned flags,
                 const struct apply_limits *limits, struct apply_result *result, struct err *err)
{
	struct apply a = {
		.source = source,
		.root = dir_fd,
		.flags = flags,
		.limits = limits,
		.result = result,
		.parent_fd = -1,
	};
	mode_t before = umask(0);

	*result = (struct apply_result){0};
	int rc = apply_entries(&a, err);
	if (rc == 0)
		apply_times(&a);
	umask(before);
	apply_done(&a);
	return rc;
}
