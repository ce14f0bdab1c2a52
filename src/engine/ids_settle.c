/* SPDX-License-Identifier: Apache-2.0 */
/* ids_settle - a tree that a container wrote becomes a layer: its ids are taken back on disk. */

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/fs.h"
#include "engine/ids.h"

#define DEPTH_MAX 256
#define VALUE_MAX 65536

/* The same directory twice: with the ids on disk, and as the container sees them. */
struct pair {
	int disk, view;
	uint32_t first;
	int depth;
	struct err *err;
};

/* These have ids inside, which the mapped mount translates; changing the owner may remove them. */
static const char *const with_ids[] = {
	"security.capability",
	"system.posix_acl_access",
	"system.posix_acl_default",
};

struct attributes {
	char *values[3]; /* owned */
	ssize_t len[3];  /* -1: has none */
};

static void attributes_done(struct attributes *a)
{
	for (size_t i = 0; i < 3; i++)
		free(a->values[i]);
}

static int read_attributes(int fd, struct attributes *out, struct err *err)
{
	auto_free char *value = malloc(VALUE_MAX);

	if (!value)
		return err_nomem(err);
	for (size_t i = 0; i < 3; i++) {
		out->len[i] = fgetxattr(fd, with_ids[i], value, VALUE_MAX);
		if (out->len[i] < 0 && errno != ENODATA && errno != EOPNOTSUPP)
			return err_sys(err, "read %s", with_ids[i]);
		if (out->len[i] < 0)
			continue;
		out->values[i] = malloc((size_t)out->len[i] + 1);
		if (!out->values[i])
			return err_nomem(err);
		memcpy(out->values[i], value, (size_t)out->len[i]);
	}
	return 0;
}

static bool is_shifted(const struct pair *p, const struct stat *st)
{
	return st->st_uid - p->first < IDS_COUNT || st->st_gid - p->first < IDS_COUNT;
}

static uint32_t settled(uint32_t id, uint32_t first)
{
	return id - first < IDS_COUNT ? id - first : id;
}

/* A file or directory that is open on both sides: owner first, since that clears what follows. */
static int settle_open(const struct pair *p, int disk, int view, const struct stat *st)
{
	__attribute__((cleanup(attributes_done))) struct attributes a = {.len = {-1, -1, -1}};

	if (!is_shifted(p, st))
		return 0;
	if (read_attributes(view, &a, p->err) < 0)
		return -1;
	if (fchown(disk, settled(st->st_uid, p->first), settled(st->st_gid, p->first)) < 0)
		return err_sys(p->err, "chown");
	if (st->st_mode & 07000 && fchmod(disk, st->st_mode & 07777) < 0)
		return err_sys(p->err, "chmod");
	for (size_t i = 0; i < 3; i++)
		if (a.len[i] >= 0 &&
		    fsetxattr(disk, with_ids[i], a.values[i], (size_t)a.len[i], 0) < 0)
			return err_sys(p->err, "set %s", with_ids[i]);
	return 0;
}

static int settle_dir(struct pair *p);

static int settle_subdir(const struct pair *p, const char *name)
{
	struct pair sub = {.first = p->first, .depth = p->depth + 1, .err = p->err};
	auto_close int disk = fs_open_dir(p->disk, name, p->err);
	auto_close int view = disk < 0 ? -1 : fs_open_dir(p->view, name, p->err);

	if (view < 0)
		return -1;
	if (sub.depth > DEPTH_MAX)
		return err_set(p->err, ERR_LIMIT, "directories deeper than %d", DEPTH_MAX);
	sub.disk = disk;
	sub.view = view;
	return settle_dir(&sub);
}

static int settle_file(const struct pair *p, const char *name, const struct stat *st)
{
	const int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK;

	/* Another name of a file that is settled: in the view it is nobody's now. */
	if (!is_shifted(p, st))
		return 0;
	auto_close int disk = fs_open(p->disk, name, flags, 0, p->err);
	auto_close int view = disk < 0 ? -1 : fs_open(p->view, name, flags, 0, p->err);

	return view < 0 ? -1 : settle_open(p, disk, view, st);
}

static int settle_entry(void *arg, int dir_fd, const char *name, unsigned char d_type)
{
	const struct pair *p = arg;
	struct stat st;

	(void)d_type;
	if (fs_stat(dir_fd, name, &st, p->err) < 0)
		return -1;
	if (S_ISDIR(st.st_mode))
		return settle_subdir(p, name);
	if (S_ISREG(st.st_mode))
		return settle_file(p, name, &st);
	if (is_shifted(p, &st) && fchownat(dir_fd, name, settled(st.st_uid, p->first),
	                                   settled(st.st_gid, p->first), AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(p->err, "chown %s", name);
	return 0;
}

static int settle_dir(struct pair *p)
{
	struct stat st;

	if (fs_list(p->disk, settle_entry, p, p->err) != 0)
		return -1;
	if (fstat(p->disk, &st) < 0)
		return err_sys(p->err, "stat");
	return settle_open(p, p->disk, p->view, &st);
}

int ids_settle(int dir_fd, uint32_t first, struct err *err)
{
	auto_close int disk = fs_open_dir(dir_fd, ".", err);
	auto_close int view = disk < 0 ? -1 : ids_view(dir_fd, first, err);
	struct pair top = {.disk = disk, .view = view, .first = first, .err = err};

	return view < 0 ? -1 : settle_dir(&top);
}
