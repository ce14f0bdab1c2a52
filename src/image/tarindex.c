/* SPDX-License-Identifier: Apache-2.0 */
#include "image/tarindex.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/map.h"
#include "base/str.h"
#include "image/erofs.h"
#include "image/tarball.h"

#define OPAQUE   "trusted.overlay.opaque"
#define NS_PER_S 1000000000

struct tarindex {
	const struct apply_source *source;
	const struct apply_limits *limits;
	struct apply_result *result;
	struct erofs_node *root;
	int fd;
	int64_t own_end; /* of content in the index itself */
	char path[APPLY_PATH_MAX + 1];
	char target[APPLY_PATH_MAX + 1];
};

static ssize_t stream_read(void *arg, void *data, size_t len, struct err *err)
{
	struct tarindex *t = arg;
	ssize_t n = t->source->read(t->source->arg, data, len, err);

	t->result->stream += n > 0 ? n : 0;
	return n;
}

/* ---- names ---- */

static struct erofs_node *make_parent(struct erofs_node *dir, const char *name, struct err *err)
{
	struct erofs_node *node = erofs_node_create(S_IFDIR | 0755, err);
	int64_t now = clock_wall_ns();

	if (!node)
		return NULL;
	node->mtime = now / NS_PER_S;
	node->mtime_ns = (uint32_t)(now % NS_PER_S);
	if (erofs_node_add(dir, name, node, err) < 0) {
		erofs_node_free_tree(node);
		return NULL;
	}
	return node;
}

/* The directory that holds `path`, made where it is missing, or NULL; *base is the last component. Writes to path and puts
 * back. */
static struct erofs_node *enter_parent(struct tarindex *t, char *path, bool make, const char **base,
                                       struct err *err)
{
	struct erofs_node *dir = t->root;
	char *slash;

	for (; (slash = strchr(path, '/')); path = slash + 1) {
		*slash = '\0';
		struct erofs_node *next = map_find(dir->children, path);
		if (!next && make)
			next = make_parent(dir, path, err);
		else if (!next || !S_ISDIR(next->mode))
			next = NULL,
			(void)err_set(err, ERR_INVALID,
			              "%s: not a directory inside the archive's root", path);
		*slash = '/';
		if (!next)
			return NULL;
		dir = next;
	}
	*base = path;
	return dir;
}

/* ---- one entry ---- */

static int set_attributes(struct erofs_node *node, const struct tarball_entry *e, struct err *err)
{
	node->mode = (node->mode & S_IFMT) | (S_ISLNK(node->mode) ? 0777 : e->mode & 07777);
	node->uid = e->uid;
	node->gid = e->gid;
	node->mtime = e->mtime;
	node->mtime_ns = (uint32_t)e->mtime_ns;
	if (!S_ISREG(node->mode) && !S_ISDIR(node->mode))
		return 0; /* as apply.c: their attributes cannot be set through a descriptor */
	for (size_t i = 0; i < e->xattr_count; i++) {
		const struct tarball_xattr *x = &e->xattrs[i];
		if (apply_xattr_wanted(x->name) &&
		    erofs_node_set_xattr(node, x->name, x->value, x->len, err) < 0)
			return -1;
	}
	return 0;
}

static int set_opaque(struct erofs_node *dir, struct err *err)
{
	return erofs_node_set_xattr(dir, OPAQUE, "y", 1, err);
}

static bool is_whiteout(const struct erofs_node *node)
{
	return node && S_ISCHR(node->mode) && node->rdev == 0;
}

static int put_dir(struct tarindex *t, struct erofs_node *dir, const char *base,
                   const struct tarball_entry *e, struct err *err)
{
	struct erofs_node *node = map_find(dir->children, base);
	bool hides = is_whiteout(node);

	(void)t;
	if (!node || !S_ISDIR(node->mode)) {
		if (node)
			erofs_node_remove(dir, base);
		node = make_parent(dir, base, err);
		if (!node)
			return -1;
	}
	/* Removed and made again in one layer: nothing of the old one may shine through. */
	if (hides && set_opaque(node, err) < 0)
		return -1;
	return set_attributes(node, e, err);
}

static int count_bytes(struct tarindex *t, int64_t more, struct err *err)
{
	if (more > t->limits->bytes - t->result->size)
		return err_set(err, ERR_LIMIT, "archive holds more than %lld bytes of files",
		               (long long)t->limits->bytes);
	t->result->size += more;
	return 0;
}

static int write_at(int fd, const char *data, size_t len, int64_t offset, struct err *err)
{
	while (len > 0) {
		ssize_t n = pwrite(fd, data, len, offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(err, "cannot write a layer's index");
		data += n;
		offset += n;
		len -= (size_t)n;
	}
	return 0;
}

/* Content that does not lie in the tar in one piece goes into the index; its holes stay holes. */
static int copy_content(struct tarindex *t, struct tarball_reader *tar, struct erofs_node *node,
                        struct err *err)
{
	const char *data;
	size_t len;
	int64_t offset;
	int rc;

	node->own = true;
	node->data = (uint64_t)t->own_end;
	while ((rc = tarball_reader_data(tar, (const void **)&data, &len, &offset, err)) > 0) {
		if (offset < 0 || offset > node->size || (int64_t)len > node->size - offset)
			return err_set(err, ERR_INVALID, "%s: content leaves its size", t->path);
		if (write_at(t->fd, data, len, t->own_end + offset, err) < 0)
			return -1;
	}
	t->own_end += (node->size + EROFS_BLOCK - 1) / EROFS_BLOCK * EROFS_BLOCK;
	if (rc == 0 && t->own_end > EROFS_SIZE_MAX)
		return err_set(err, ERR_LIMIT, "%s: the sparse files are too large", t->path);
	return rc;
}

static int put_new(struct erofs_node *dir, const char *base, struct erofs_node *node,
                   struct err *err)
{
	if (map_find(dir->children, base))
		erofs_node_remove(dir, base);
	if (erofs_node_add(dir, base, node, err) == 0)
		return 0;
	erofs_node_free_tree(node);
	return -1;
}

static int put_file(struct tarindex *t, struct tarball_reader *tar, struct erofs_node *dir,
                    const char *base, const struct tarball_entry *e, struct err *err)
{
	int64_t at = tarball_reader_position(tar);

	if (count_bytes(t, e->size, err) < 0)
		return -1;
	struct erofs_node *node = erofs_node_create(S_IFREG, err);
	if (!node || put_new(dir, base, node, err) < 0)
		return -1;
	node->size = e->size;
	node->data = (uint64_t)at;
	if (set_attributes(node, e, err) < 0)
		return -1;
	if (at >= 0 && at % EROFS_BLOCK == 0 && at + e->size <= EROFS_SIZE_MAX)
		return 0;
	return copy_content(t, tar, node, err);
}

static int put_node(struct tarindex *t, struct erofs_node *dir, const char *base,
                    const struct tarball_entry *e, struct err *err)
{
	if (S_ISLNK(e->mode) && (strlen(e->symlink) > APPLY_PATH_MAX || e->symlink[0] == '\0'))
		return err_set(err, ERR_LIMIT, "%s: target is too long, or empty", t->path);
	struct erofs_node *node = erofs_node_create(e->mode & S_IFMT, err);
	if (!node || put_new(dir, base, node, err) < 0)
		return -1;
	if (S_ISLNK(e->mode) && !(node->target = strdup(e->symlink)))
		return err_nomem(err);
	node->rdev = e->rdev;
	return set_attributes(node, e, err);
}

static int put_hardlink(struct tarindex *t, struct erofs_node *dir, const char *base,
                        const struct tarball_entry *e, struct err *err)
{
	const char *name;

	if (apply_normalise(e->hardlink, t->target, err) < 0)
		return -1;
	if (t->target[0] == '\0')
		return err_set(err, ERR_INVALID, "%s: hard link to the root", t->path);
	if (strcmp(t->target, t->path) == 0)
		return 0;
	struct erofs_node *from = enter_parent(t, t->target, false, &name, NULL);
	struct erofs_node *node = from ? map_find(from->children, name) : NULL;
	if (!node || S_ISDIR(node->mode))
		return err_set(err, ERR_INVALID,
		               "%s: hard link to %s, which is no file of the archive", t->path,
		               e->hardlink);
	if (map_find(dir->children, base) == node)
		return 0;
	/* What the new name replaces may be a directory that held the only other one. */
	node->links++;
	if (map_find(dir->children, base))
		erofs_node_remove(dir, base);
	int rc = node->links == 1
	                 ? err_set(err, ERR_INVALID, "%s: hard link to %s, which it replaces",
	                           t->path, e->hardlink)
	                 : erofs_node_add(dir, base, node, err);
	erofs_node_free_tree(node);
	return rc;
}

/* ".wh.name" hides name of the layers below, never what this layer itself brings. */
static int put_whiteout(struct tarindex *t, struct erofs_node *dir, const char *base,
                        struct err *err)
{
	const char *name = base + strlen(APPLY_WHITEOUT);

	if (strcmp(base, APPLY_WHITEOUT_OPAQUE) == 0)
		return set_opaque(dir, err);
	if (str_starts(base, APPLY_WHITEOUT_AUFS))
		return 0;
	if (*name == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return err_set(err, ERR_INVALID, "%s: whiteout of nothing", t->path);
	struct erofs_node *there = map_find(dir->children, name);
	if (there)
		return S_ISDIR(there->mode) ? set_opaque(there, err) : 0;
	struct erofs_node *mark = erofs_node_create(S_IFCHR, err);
	return mark ? put_new(dir, name, mark, err) : -1;
}

static int put_root(struct tarindex *t, const struct tarball_entry *e, struct err *err)
{
	if (!S_ISDIR(e->mode) || e->hardlink)
		return err_set(err, ERR_INVALID, "the archive's root is not a directory");
	return set_attributes(t->root, e, err);
}

static int put_entry(struct tarindex *t, struct tarball_reader *tar, const struct tarball_entry *e,
                     struct err *err)
{
	const char *base;

	if (++t->result->entries > t->limits->entries)
		return err_set(err, ERR_LIMIT, "archive has more than %lld entries",
		               (long long)t->limits->entries);
	if (apply_normalise(e->path, t->path, err) < 0)
		return -1;
	if (t->path[0] == '\0')
		return put_root(t, e, err);
	struct erofs_node *dir = enter_parent(t, t->path, true, &base, err);
	if (!dir)
		return -1;
	if (str_starts(base, APPLY_WHITEOUT))
		return put_whiteout(t, dir, base, err);
	if (e->hardlink)
		return put_hardlink(t, dir, base, e, err);

	switch (e->mode & S_IFMT) {
	case S_IFDIR:
		return put_dir(t, dir, base, e, err);
	case S_IFREG:
		return put_file(t, tar, dir, base, e, err);
	case S_IFLNK:
	case S_IFIFO:
	case S_IFCHR:
	case S_IFBLK:
		return put_node(t, dir, base, e, err);
	case S_IFSOCK:
		return 0; /* nobody listens on it any more */
	default:
		return err_set(err, ERR_INVALID, "%s: unknown type of entry", t->path);
	}
}

/* ---- the whole ---- */

/* What follows the archive's end mark belongs to the digest as well. */
static int drain(struct tarindex *t, struct err *err)
{
	char data[16384];
	ssize_t n;

	while ((n = stream_read(t, data, sizeof(data), err)) > 0)
		;
	return n < 0 ? -1 : 0;
}

static int read_entries(struct tarindex *t, struct err *err)
{
	struct tarball_entry entry;
	int rc;

	auto_type(tarball_reader) tar = tarball_reader_open(stream_read, t, err);
	if (!tar)
		return -1;
	while ((rc = tarball_reader_next(tar, &entry, err)) > 0)
		if (put_entry(t, tar, &entry, err) < 0)
			return -1;
	return rc < 0 ? -1 : drain(t, err);
}

int tarindex_stream(const struct apply_source *source, int index_fd,
                    const struct apply_limits *limits, struct apply_result *result, struct err *err)
{
	struct tarindex t = {
		.source = source,
		.limits = limits,
		.result = result,
		.fd = index_fd,
		.own_end = EROFS_DATA,
	};
	int64_t now = clock_wall_ns();

	*result = (struct apply_result){0};
	t.root = erofs_node_create(S_IFDIR | 0755, err);
	if (!t.root)
		return -1;
	t.root->mtime = now / NS_PER_S;
	int rc = read_entries(&t, err);
	if (rc == 0)
		rc = erofs_write(index_fd, t.root, t.own_end, err);
	erofs_node_free_tree(t.root);
	return rc;
}
