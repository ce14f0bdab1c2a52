/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/archive.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/map.h"
#include "base/str.h"
#include "base/userns.h"
#include "engine/container.h"
#include "engine/ids.h"
#include "engine/private.h"
#include "engine/rootfs.h"
#include "image/image.h"

#define PATH_TEXT_MAX 4096
#define CHANGES_MAX   (1u << 20)
#define DEPTH_MAX     200

/* ---- paths as text ---- */

/* Absolute, without "." and "..", without slashes at the end, as Docker reads a path. */
static int clean_path(const char *path, struct buf *out, struct err *err)
{
	buf_add(out, "/");
	for (const char *p = path; *p; p += *p == '/') {
		size_t n = strcspn(p, "/");

		if (n == 2 && p[0] == '.' && p[1] == '.') {
			const char *slash = strrchr(buf_str(out), '/');
			size_t keep = (size_t)(slash - buf_str(out));
			out->len = keep ? keep : 1;
			out->data[out->len] = '\0';
		} else if (n > 0 && !(n == 1 && p[0] == '.')) {
			buf_addf(out, "%s%.*s", out->len > 1 ? "/" : "", (int)n, p);
		}
		p += n;
	}
	if (buf_check(out, err) < 0)
		return err_wrap(err, "path");
	return 0;
}

/* What of `path` is below `top`, without a leading slash; NULL: it is not below it. Both are clean. */
static const char *below(const char *path, const char *top)
{
	if (!path || !top)
		return NULL;
	size_t n = strlen(top);
	if (n <= 1)
		return path + 1;
	if (strncmp(path, top, n) != 0 || (path[n] != '/' && path[n] != '\0'))
		return NULL;
	return path[n] ? path + n + 1 : path + n;
}

/* ---- the tree that a path is looked up in ---- */

struct tree {
	int fd;            /* owned */
	uint32_t first_id; /* of the ids in it, see ids.h */
	const char *rest;  /* of the path, from there; borrowed from it */
};

/* The innermost volume or bind that the path leads into. They are sorted, outer before inner. */
static const struct container_mount *mount_of(const struct config *config, const char *path)
{
	const struct container_mount *found = NULL;

	for (size_t i = 0; i < config->mount_count; i++)
		if (below(path, config->mounts[i].destination))
			found = &config->mounts[i];
	return found;
}

static int check_writable(const struct config *config, const struct container_mount *mount,
                          struct err *err)
{
	if (mount && !mount->rw)
		return err_set(err, ERR_DENIED, "mounted volume is marked read-only");
	if (!mount && config->create.host.readonly_rootfs)
		return err_set(err, ERR_DENIED, "container rootfs is marked read-only");
	return 0;
}

/* op held. */
static int open_stopped(struct container *c, const struct container_mount *mount, const char *path,
                        bool write, struct tree *tree, struct err *err)
{
	if (mount) {
		tree->fd = fs_trusted_open(mount->source, O_RDONLY | O_DIRECTORY, 0, err);
		tree->rest = below(path, mount->destination);
		return tree->fd < 0 ? err_wrap(err, "volume at %s", mount->destination) : 0;
	}
	tree->first_id = write ? c->first_id : 0;
	tree->fd = write ? rootfs_container_open_rw(c, err) : rootfs_container_open(c, err);
	tree->rest = path + 1;
	return tree->fd < 0 ? -1 : 0;
}

/* op held. */
static int open_tree_of(struct container *c, const char *path, bool write, struct tree *tree,
                        struct err *err)
{
	auto_type(config) config = container_config(c);
	const struct container_mount *mount = mount_of(config, path);

	if (write && check_writable(config, mount, err) < 0)
		return -1;
	pthread_mutex_lock(&c->lock);
	bool up = container_is_up(c) && c->pid > 0;
	pthread_mutex_unlock(&c->lock);
	if (!up)
		return open_stopped(c, mount, path, write, tree, err);
	tree->first_id = c->first_id;
	tree->fd = container_rootfs_open(c->engine, c->id, err);
	tree->rest = path + 1;
	return tree->fd < 0 ? -1 : 0;
}

static int not_there(const struct container *c, const char *path, struct err *err)
{
	if (err && err->kind != ERR_NOT_FOUND)
		return err_wrap(err, "%s", path);
	return err_set(err, ERR_NOT_FOUND, "Could not find the file %s in container %s", path,
	               c->id);
}

/* ---- one thing in a container ---- */

static bool ends_in_dot(const char *path)
{
	return str_eq(path, ".") || str_ends(path, "/.");
}

/* Where a relative target leads from the link at `path`, as text. */
static char *absolute_target(const char *path, const char *target, struct err *err)
{
	auto_buf struct buf joined = BUF_INIT(2 * PATH_TEXT_MAX), out = BUF_INIT(2 * PATH_TEXT_MAX);
	const char *slash = strrchr(path, '/');

	if (*target != '/')
		buf_add_mem(&joined, path, (size_t)(slash - path) + 1);
	buf_add(&joined, target);
	if (buf_check(&joined, err) < 0 || clean_path(buf_str(&joined), &out, err) < 0)
		return NULL;
	return buf_take(&out, err);
}

static int look_up(const struct tree *tree, bool follow, struct archive_path *out, struct err *err)
{
	const char *base = ".";

	out->dir_fd = follow || !*tree->rest ? fs_open_in(tree->fd, *tree->rest ? tree->rest : ".",
	                                                  O_RDONLY | O_DIRECTORY, 0, err)
	                                     : fs_open_parent_in(tree->fd, tree->rest, &base, err);
	if (out->dir_fd < 0)
		return -1;
	out->first_id = tree->first_id;
	(void)snprintf(out->base, sizeof(out->base), "%s", base);
	return fs_stat(out->dir_fd, out->base, &out->st, err);
}

static int read_link(const char *path, struct archive_path *out, struct err *err)
{
	auto_buf struct buf target = BUF_INIT(PATH_TEXT_MAX);

	if (!S_ISLNK(out->st.st_mode))
		return 0;
	if (fs_readlink(out->dir_fd, out->base, &target, err) < 0)
		return -1;
	out->link_target = absolute_target(path, buf_str(&target), err);
	return out->link_target ? 0 : -1;
}

static int open_path(struct container *c, const char *asked, struct archive_path *out,
                     struct err *err)
{
	auto_buf struct buf path = BUF_INIT(PATH_TEXT_MAX);
	struct tree tree = {.fd = -1};

	if (clean_path(asked, &path, err) < 0 ||
	    open_tree_of(c, buf_str(&path), false, &tree, err) < 0)
		return -1;
	auto_close int held = tree.fd;
	bool follow = str_ends(asked, "/") || ends_in_dot(asked);
	if (look_up(&tree, follow, out, err) < 0)
		return not_there(c, asked, err);
	const char *last = strrchr(buf_str(&path), '/') + 1;
	(void)snprintf(out->name, sizeof(out->name), "%s",
	               ends_in_dot(asked) ? "."
	               : *last            ? last
	                                  : "/");
	return read_link(buf_str(&path), out, err);
}

int archive_open(struct engine *engine, const char *ref, const char *path, struct archive_path *out,
                 struct err *err)
{
	auto_type(container) c = container_get(engine, ref, err);

	*out = (struct archive_path){.dir_fd = -1};
	if (!c)
		return -1;
	pthread_mutex_lock(&c->op);
	int rc = open_path(c, path, out, err);
	pthread_mutex_unlock(&c->op);
	return rc;
}

void archive_path_done(struct archive_path *path)
{
	if (path->dir_fd >= 0)
		close(path->dir_fd);
	free(path->link_target);
	*path = (struct archive_path){.dir_fd = -1};
}

int archive_write(struct engine *engine, const struct archive_path *path, int out_fd,
                  struct err *err)
{
	return image_export_path(engine->images, path->dir_fd, path->base, path->name,
	                         path->first_id, out_fd, err);
}

/* ---- into a container ---- */

/* The unpacker is one of the container's users: what it makes belongs to them, in mounts with mapped ids too. */
static int open_userns(struct container *c, struct err *err)
{
	char path[64];

	pthread_mutex_lock(&c->lock);
	pid_t pid = container_is_up(c) ? c->pid : 0;
	pthread_mutex_unlock(&c->lock);
	if (pid <= 0)
		return userns_open_mapped(0, c->first_id, IDS_COUNT, err);
	snprintf(path, sizeof(path), "/proc/%d/ns/user", (int)pid);
	return fs_trusted_open(path, O_RDONLY, 0, err);
}

static int extract(struct container *c, const char *asked, int tar_fd, bool keep_type,
                   struct err *err)
{
	unsigned flags = IMAGE_UNPACK_OWNERS | IMAGE_UNPACK_FOLLOW;
	auto_buf struct buf path = BUF_INIT(PATH_TEXT_MAX);
	struct tree tree = {.fd = -1};

	if (clean_path(asked, &path, err) < 0 ||
	    open_tree_of(c, buf_str(&path), true, &tree, err) < 0)
		return -1;
	auto_close int held = tree.fd;
	auto_close int dir =
		fs_open_in(tree.fd, *tree.rest ? tree.rest : ".", O_RDONLY | O_DIRECTORY, 0, err);
	if (dir < 0 && errno == ENOTDIR)
		return err_set(err, ERR_INVALID, "extraction point is not a directory: %s", asked);
	if (dir < 0)
		return not_there(c, asked, err);
	auto_close int userns_fd = -1;
	if (tree.first_id && (userns_fd = open_userns(c, err)) < 0)
		return -1;
	return image_unpack_as(c->engine->images, tar_fd, dir, userns_fd,
	                       flags | (keep_type ? IMAGE_UNPACK_KEEP_TYPE : 0), err);
}

int archive_extract(struct engine *engine, const char *ref, const char *path, int tar_fd,
                    bool keep_type, struct err *err)
{
	auto_type(container) c = container_get(engine, ref, err);

	if (!c)
		return -1;
	pthread_mutex_lock(&c->op);
	int rc = extract(c, path, tar_fd, keep_type, err);
	pthread_mutex_unlock(&c->op);
	return rc;
}

/* ---- changes ---- */

struct change {
	char kind;
	char *path; /* owned */
};

struct changes {
	int image_fd; /* the image's root */
	struct change *items;
	size_t count, room;
	struct buf path; /* where the walk is, without a leading slash */
	int depth;
	struct err *err;
};

static int add_change(struct changes *list, char kind)
{
	auto_buf struct buf text = BUF_INIT(PATH_TEXT_MAX + 1);

	if (list->count == CHANGES_MAX)
		return err_set(list->err, ERR_LIMIT, "more than %u changes", CHANGES_MAX);
	if (list->count == list->room) {
		size_t room = list->room ? 2 * list->room : 64;
		struct change *items = reallocarray(list->items, room, sizeof(*items));
		if (!items)
			return err_nomem(list->err);
		list->items = items;
		list->room = room;
	}
	buf_addf(&text, "/%s", buf_str(&list->path));
	char *path = buf_take(&text, list->err);
	if (!path)
		return -1;
	list->items[list->count++] = (struct change){kind, path};
	return 0;
}

/* What starting a container puts there is no change of its own. */
static bool is_ours(const char *path)
{
	static const char *const ours[] = {"dev",       "proc",         "sys",
	                                   "etc/hosts", "etc/hostname", "etc/resolv.conf"};

	for (size_t i = 0; i < ARRAY_LEN(ours); i++)
		if (str_eq(path, ours[i]))
			return true;
	return false;
}

static int walk(struct changes *list, int dir_fd, const char *name);

/* A directory that is only in the upper for what is below it counts with that. */
static int take_dir(struct changes *list, int dir_fd, const char *name, bool changed)
{
	size_t count = list->count;
	int rc = walk(list, dir_fd, name);

	if (rc == 0 && count > 0 && list->count == count && !changed)
		free(list->items[--list->count].path);
	return rc;
}

/* One entry of the upper directory. A whiteout is a device 0:0. */
static int take_entry(void *arg, int dir_fd, const char *name, unsigned char d_type)
{
	struct changes *list = arg;
	size_t len = list->path.len;
	struct stat st, old;
	int rc = 0;

	(void)d_type;
	if (fs_stat(dir_fd, name, &st, NULL) < 0)
		return 0; /* went away meanwhile */
	buf_addf(&list->path, "%s%s", len ? "/" : "", name);
	if (buf_check(&list->path, list->err) < 0)
		return -1;
	bool was = fs_stat(list->image_fd, buf_str(&list->path), &old, NULL) == 0;
	if (S_ISCHR(st.st_mode) && st.st_rdev == 0)
		rc = was ? add_change(list, 'D') : 0;
	else if (was || !is_ours(buf_str(&list->path)))
		rc = add_change(list, was ? 'C' : 'A');
	if (rc == 0 && S_ISDIR(st.st_mode))
		rc = take_dir(list, dir_fd, name, !was || old.st_mode != st.st_mode);
	list->path.len = len;
	list->path.data[len] = '\0';
	return rc;
}

static int walk(struct changes *list, int dir_fd, const char *name)
{
	auto_close int fd = fs_open(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, NULL);

	if (fd < 0)
		return 0; /* went away meanwhile */
	if (list->depth == DEPTH_MAX)
		return err_set(list->err, ERR_LIMIT, "%s: deeper than %d directories",
		               buf_str(&list->path), DEPTH_MAX);
	list->depth++;
	int rc = fs_list(fd, take_entry, list, list->err);
	list->depth--;
	return rc;
}

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct change *)a)->path, ((const struct change *)b)->path);
}

static int find_changes(struct container *c, struct changes *list, struct err *err)
{
	auto_close int dir = container_dir(c, err);

	if (dir < 0)
		return -1;
	auto_close int image = rootfs_image_open(c->engine, c->image_id, err);
	if (image < 0)
		return -1;
	list->image_fd = image;
	return walk(list, dir, "upper");
}

int archive_changes(struct engine *engine, const char *ref,
                    int (*fn)(void *arg, char kind, const char *path), void *arg, struct err *err)
{
	auto_type(container) c = container_get(engine, ref, err);
	struct changes list = {.path = BUF_INIT(PATH_TEXT_MAX), .err = err};

	if (!c)
		return -1;
	buf_add(&list.path, "");
	pthread_mutex_lock(&c->op);
	int rc = find_changes(c, &list, err);
	pthread_mutex_unlock(&c->op);
	if (rc == 0 && list.count > 0)
		qsort(list.items, list.count, sizeof(*list.items), by_path);
	for (size_t i = 0; i < list.count; i++) {
		if (rc == 0)
			rc = fn(arg, list.items[i].kind, list.items[i].path);
		free(list.items[i].path);
	}
	free(list.items);
	buf_free(&list.path);
	return rc;
}
