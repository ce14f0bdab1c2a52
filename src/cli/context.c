/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/context.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <archive.h>
#include <archive_entry.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/str.h"

#define IGNORE_FILE  ".dockerignore"
#define IGNORE_ARENA (8u << 20)
#define DEPTH_MAX    128
#define BLOCK        (64u << 10)
#define LINK_MAX     (64u << 10)

/* The walk of one directory. */
struct walk {
	struct context *c;
	struct archive *tar;
	const char *path; /* of the directory, "" at the top */
	int depth;
	struct err *err;
};

static int read_ignore(struct context *c, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(PATTERN_FILE_MAX);

	c->arena = ARENA_INIT(IGNORE_ARENA);
	if (c->dir_fd < 0 || c->plain || !fs_exists(c->dir_fd, IGNORE_FILE))
		return 0;
	if (fs_read(c->dir_fd, IGNORE_FILE, PATTERN_FILE_MAX, &text, err) < 0 ||
	    pattern_list_parse(buf_str(&text), text.len, &c->arena, &c->ignore, err) < 0)
		return err_wrap(err, IGNORE_FILE);
	return 0;
}

static bool left_out(const struct context *c, const char *path)
{
	if (c->plain)
		return false;
	if (c->extra && str_eq(path, c->dockerfile))
		return true;
	if (str_eq(path, c->dockerfile) || str_eq(path, IGNORE_FILE))
		return false;
	return pattern_list_excludes(&c->ignore, path);
}

static int put_header(struct archive *tar, struct archive_entry *entry, struct err *err)
{
	if (archive_write_header(tar, entry) < ARCHIVE_OK)
		return err_set(err, ERR_SYSTEM, "build context: %s", archive_error_string(tar));
	return 0;
}

static int put_data(struct archive *tar, const char *data, size_t len, struct err *err)
{
	while (len > 0) {
		la_ssize_t n = archive_write_data(tar, data, len);
		if (n <= 0)
			return err_set(err, ERR_SYSTEM, "build context: %s",
			               archive_error_string(tar));
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

/* A file that shrinks while we read it is filled up by libarchive, one that grows is cut. */
static int put_file(struct walk *w, int fd, struct err *err)
{
	auto_free char *block = malloc(BLOCK);
	ssize_t n;

	if (!block)
		return err_nomem(err);
	while ((n = read(fd, block, BLOCK)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(err, "read");
		la_ssize_t put = archive_write_data(w->tar, block, (size_t)n);
		if (put < 0)
			return err_set(err, ERR_SYSTEM, "%s", archive_error_string(w->tar));
		if (put < n)
			return 0;
	}
	return 0;
}

static void entry_free(struct archive_entry **entry)
{
	archive_entry_free(*entry);
}

static int put_entry(struct walk *w, int dir_fd, const char *name, const char *path,
                     const struct stat *st)
{
	__attribute__((cleanup(entry_free))) struct archive_entry *entry = archive_entry_new();
	auto_buf struct buf target = BUF_INIT(LINK_MAX);

	if (!entry)
		return err_nomem(w->err);
	archive_entry_copy_stat(entry, st);
	archive_entry_set_pathname(entry, path);
	archive_entry_set_uid(entry, w->c->plain ? st->st_uid : 0);
	archive_entry_set_gid(entry, w->c->plain ? st->st_gid : 0);
	if (S_ISLNK(st->st_mode)) {
		if (fs_readlink(dir_fd, name, &target, w->err) < 0)
			return -1;
		archive_entry_set_symlink(entry, buf_str(&target));
	}
	if (!S_ISREG(st->st_mode)) {
		archive_entry_set_size(entry, 0);
		return put_header(w->tar, entry, w->err);
	}
	auto_close int fd = fs_open(dir_fd, name, O_RDONLY | O_NOFOLLOW, 0, w->err);
	if (fd < 0 || put_header(w->tar, entry, w->err) < 0)
		return -1;
	return put_file(w, fd, w->err);
}

static int walk_one(void *arg, int dir_fd, const char *name, unsigned char type);

static int walk_dir(struct walk *parent, int dir_fd, const char *name, const char *path)
{
	struct walk w = *parent;
	auto_close int fd = fs_open_dir(dir_fd, name, w.err);

	w.path = path;
	if (fd < 0)
		return -1;
	if (++w.depth > DEPTH_MAX)
		return err_set(w.err, ERR_LIMIT, "build context: %s is more than %d levels deep",
		               path, DEPTH_MAX);
	return fs_list(fd, walk_one, &w, w.err);
}

static int walk_one(void *arg, int dir_fd, const char *name, unsigned char type)
{
	struct walk *w = arg;
	auto_buf struct buf path = BUF_INIT(64u << 10);
	struct stat st;

	(void)type;
	if (w->depth == 0 && w->c->as)
		buf_add(&path, w->c->as);
	else
		buf_addf(&path, "%s%s%s", w->path, *w->path ? "/" : "", name);
	if (buf_check(&path, w->err) < 0 || fs_stat(dir_fd, name, &st, w->err) < 0)
		return -1;
	bool skip = left_out(w->c, buf_str(&path));
	if (S_ISSOCK(st.st_mode) || (skip && !S_ISDIR(st.st_mode)))
		return 0;
	/* An excluded directory may hold what is taken back, or the Dockerfile. */
	if (skip && !w->c->ignore.has_exceptions && !str_starts(w->c->dockerfile, buf_str(&path)))
		return 0;
	if (!skip && put_entry(w, dir_fd, name, buf_str(&path), &st) < 0)
		return err_wrap(w->err, "%s", buf_str(&path));
	return S_ISDIR(st.st_mode) ? walk_dir(w, dir_fd, name, buf_str(&path)) : 0;
}

static int put_extra(const struct context *c, struct archive *tar, struct err *err)
{
	__attribute__((cleanup(entry_free))) struct archive_entry *entry = archive_entry_new();

	if (!entry)
		return err_nomem(err);
	archive_entry_set_pathname(entry, c->dockerfile);
	archive_entry_set_filetype(entry, AE_IFREG);
	archive_entry_set_perm(entry, 0644);
	archive_entry_set_size(entry, (la_int64_t)c->extra_len);
	if (put_header(tar, entry, err) < 0)
		return -1;
	return put_data(tar, c->extra, c->extra_len, err);
}

static int write_all(struct context *c, struct err *err)
{
	struct archive *tar = archive_write_new();
	struct walk w = {.c = c, .tar = tar, .path = "", .err = err};
	int rc = 0;

	if (!tar)
		return err_nomem(err);
	archive_write_set_format_pax_restricted(tar);
	if (archive_write_open_fd(tar, c->write_fd) != ARCHIVE_OK)
		rc = err_set(err, ERR_SYSTEM, "build context: %s", archive_error_string(tar));
	if (rc == 0 && c->extra)
		rc = put_extra(c, tar, err);
	if (rc == 0 && c->only)
		rc = walk_one(&w, c->dir_fd, c->only, 0);
	else if (rc == 0 && c->dir_fd >= 0)
		rc = fs_list(c->dir_fd, walk_one, &w, err);
	if (rc == 0 && archive_write_close(tar) != ARCHIVE_OK)
		rc = err_set(err, ERR_SYSTEM, "build context: %s", archive_error_string(tar));
	archive_write_free(tar);
	return rc;
}

static void *context_main(void *arg)
{
	struct context *c = arg;

	(void)write_all(c, &c->err);
	close(c->write_fd);
	return NULL;
}

int context_start(struct context *c, struct err *err)
{
	int ends[2];

	c->err = ERR_INIT;
	if (read_ignore(c, err) < 0)
		return -1;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_sys(err, "pipe");
	c->read_fd = ends[0];
	c->write_fd = ends[1];
	int rc = pthread_create(&c->thread, NULL, context_main, c);
	if (rc == 0)
		return 0;
	close(ends[0]);
	close(ends[1]);
	errno = rc;
	return err_sys(err, "start a thread");
}

ssize_t context_read_fd(void *arg, void *data, size_t len)
{
	const int *fd = arg;
	ssize_t n;

	do
		n = read(*fd, data, len);
	while (n < 0 && errno == EINTR);
	return n;
}

ssize_t context_read(void *arg, void *data, size_t len)
{
	struct context *c = arg;
	ssize_t n = context_read_fd(&c->read_fd, data, len);

	/* A tar that was broken off must not look like a whole one. */
	if (n == 0) {
		pthread_join(c->thread, NULL);
		c->thread = 0;
		if (c->err.kind != ERR_NONE)
			return -1;
	}
	return n;
}

int context_finish(struct context *c, struct err *err)
{
	close(c->read_fd); /* a writer that still writes gets EPIPE */
	if (c->thread)
		pthread_join(c->thread, NULL);
	arena_done(&c->arena);
	if (c->err.kind == ERR_NONE)
		return 0;
	if (err)
		*err = c->err;
	return -1;
}
