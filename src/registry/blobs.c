/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/blobs.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/failpoint.h"
#include "base/fs.h"

/* What `skopeo`, `podman` and kin look for in a layout. */
static const char layout_text[] = "{\"imageLayoutVersion\":\"1.0.0\"}";
static const char empty_index[] =
	"{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.index.v1+json\","
	"\"manifests\":[]}";

/* ---- directories ---- */

static int make_dir(int dir_fd, const char *path, struct err *err)
{
	auto_close int fd = fs_mkdir_all(dir_fd, path, 0700, err);

	return fd < 0 ? -1 : fs_sync(fd, err);
}

static int make_pool(struct blobs *b, struct err *err)
{
	if (make_dir(b->root_fd, "blobs/sha256", err) < 0 ||
	    make_dir(b->root_fd, "blobs/sha512", err) < 0 ||
	    make_dir(b->root_fd, "repositories", err) < 0 ||
	    make_dir(b->root_fd, "staging", err) < 0)
		return -1;
	auto_close int pool = fs_open_dir(b->root_fd, "blobs", err);
	if (pool < 0 || fs_sync(pool, err) < 0 || fs_sync(b->root_fd, err) < 0)
		return -1;
	b->repos_fd = fs_open_dir(b->root_fd, "repositories", err);
	b->staging_fd = fs_open_dir(b->root_fd, "staging", err);
	return b->repos_fd < 0 || b->staging_fd < 0 ? -1 : 0;
}

int blobs_open(struct blobs *b, int root_fd, struct err *err)
{
	*b = (struct blobs){.root_fd = root_fd, .repos_fd = -1, .staging_fd = -1};
	pthread_mutex_init(&b->lock, NULL);
	if (make_pool(b, err) == 0)
		return 0;
	blobs_close(b);
	return -1;
}

void blobs_close(struct blobs *b)
{
	if (b->repos_fd >= 0)
		close(b->repos_fd);
	if (b->staging_fd >= 0)
		close(b->staging_fd);
	close(b->root_fd);
	pthread_mutex_destroy(&b->lock);
}

char *blobs_path(const char *repo, const char *rest, char path[BLOBS_PATH_MAX])
{
	name_to_file(repo, path);
	size_t n = strlen(path);
	snprintf(path + n, BLOBS_PATH_MAX - n, "/%s", rest);
	return path;
}

static char *blob_path(const char *repo, const char *digest, char path[BLOBS_PATH_MAX])
{
	char blob[NAME_BLOB_MAX];

	return blobs_path(repo, name_to_blob(digest, blob), path);
}

/* A whole layout is made aside and renamed, so that a repository is there with all it needs or not at all. */
static int make_layout(struct blobs *b, const char *file, struct err *err)
{
	char aside[NAME_FILE_MAX + 32], path[NAME_FILE_MAX + 64];

	snprintf(aside, sizeof(aside), "%s.%d-%ld", "new", (int)getpid(), (long)gettid());
	if (fs_remove_tree(b->staging_fd, aside, err) < 0)
		return -1;
	snprintf(path, sizeof(path), "%s/blobs/sha512", aside);
	if (make_dir(b->staging_fd, path, err) < 0)
		return -1;
	snprintf(path, sizeof(path), "%s/blobs/sha256", aside);
	if (make_dir(b->staging_fd, path, err) < 0)
		return -1;
	auto_close int dir = fs_open_dir(b->staging_fd, aside, err);
	auto_close int blobs = dir < 0 ? -1 : fs_open_dir(dir, "blobs", err);
	if (blobs < 0 || fs_sync(blobs, err) < 0 ||
	    fs_write_durable(dir, "index.json", empty_index, strlen(empty_index), 0600, err) < 0 ||
	    fs_write_durable(dir, "oci-layout", layout_text, strlen(layout_text), 0600, err) < 0)
		return -1;

	struct err why = ERR_INIT;
	if (fs_rename_new(b->staging_fd, aside, b->repos_fd, file, &why) == 0)
		return fs_sync(b->repos_fd, err);
	(void)fs_remove_tree(b->staging_fd, aside, NULL);
	if (why.kind == ERR_CONFLICT) /* another was faster */
		return 0;
	if (err)
		*err = why;
	return -1;
}

int blobs_make_repo(struct blobs *b, const char *repo, struct err *err)
{
	char file[NAME_FILE_MAX];

	name_to_file(repo, file);
	if (fs_exists(b->repos_fd, file))
		return 0;
	return make_layout(b, file, err) < 0 ? err_wrap(err, "making repository %s", repo) : 0;
}

/* ---- content ---- */

int blobs_stage(struct blobs *b, struct err *err)
{
	return fs_open_tmp(b->staging_fd, err);
}

static int sync_dir_of(int dir_fd, const char *path, struct err *err)
{
	char dir[BLOBS_PATH_MAX];
	const char *slash = strrchr(path, '/');

	snprintf(dir, sizeof(dir), "%.*s", (int)(slash - path), path);
	auto_close int fd = fs_open_dir(dir_fd, dir, err);
	return fd < 0 ? -1 : fs_sync(fd, err);
}

void blobs_touch(const struct blobs *b, int fd, const struct stat *st)
{
	if (time(NULL) - st->st_ctim.tv_sec > b->touch_s)
		(void)fchmod(fd, st->st_mode &
		                         07777); /* sets the ctime; losing it costs a push again */
}

/* 1: the name is made; 0: it was there. The lease is renewed either way. */
static int link_or_have(const struct blobs *b, int from_dir, const char *from, int to_dir,
                        const char *to, struct err *err)
{
	struct err why = ERR_INIT;
	struct stat st;

	if (fs_link(from_dir, from, to_dir, to, &why) == 0)
		return 1;
	if (why.kind != ERR_CONFLICT) {
		if (err)
			*err = why;
		return -1;
	}
	auto_close int fd = fs_open(to_dir, to, O_RDONLY, 0, err);
	if (fd < 0)
		return -1;
	if (fstat(fd, &st) < 0)
		return err_sys(err, "%s", to);
	blobs_touch(b, fd, &st);
	return 0;
}

static int link_into_repo(struct blobs *b, const char *pool, const char *digest, const char *repo,
                          struct err *err)
{
	char path[BLOBS_PATH_MAX];

	blob_path(repo, digest, path);
	pthread_mutex_lock(&b->lock);
	int rc = link_or_have(b, b->root_fd, pool, b->repos_fd, path, err);
	pthread_mutex_unlock(&b->lock);
	return rc < 0 || sync_dir_of(b->repos_fd, path, err) < 0 ? -1 : rc;
}

int blobs_publish(struct blobs *b, int fd, const char *digest, const char *repo, struct err *err)
{
	char pool[NAME_BLOB_MAX], path[BLOBS_PATH_MAX];
	struct err why = ERR_INIT;

	name_to_blob(digest, pool);
	blob_path(repo, digest, path);
	if (fdatasync(fd) < 0)
		return err_sys(err, "writing %s", digest);
	if (FAILPOINT("registry.publish.before", err) < 0)
		return -1;

	pthread_mutex_lock(&b->lock);
	int rc = fs_link_tmp(fd, b->root_fd, pool, &why);
	if (rc < 0 && why.kind == ERR_CONFLICT)
		rc = 0; /* the pool has the same bytes already */
	if (rc == 0)
		rc = link_or_have(b, b->root_fd, pool, b->repos_fd, path, &why);
	pthread_mutex_unlock(&b->lock);
	if (rc < 0) {
		if (err)
			*err = why;
		return -1;
	}
	if (FAILPOINT("registry.publish.linked", err) < 0)
		return -1;
	if (sync_dir_of(b->root_fd, pool, err) < 0 || sync_dir_of(b->repos_fd, path, err) < 0)
		return -1;
	return rc;
}

int blobs_publish_bytes(struct blobs *b, const void *data, size_t len, const char *digest,
                        const char *repo, struct err *err)
{
	auto_close int fd = blobs_stage(b, err);

	if (fd < 0 || fs_write_all(fd, data, len, err) < 0)
		return -1;
	return blobs_publish(b, fd, digest, repo, err);
}

int blobs_mount(struct blobs *b, const char *digest, const char *from, const char *repo,
                struct err *err)
{
	char pool[NAME_BLOB_MAX], path[BLOBS_PATH_MAX];

	name_to_blob(digest, pool);
	if (!blobs_has(b, from, digest))
		return err_set(err, ERR_NOT_FOUND, "%s is not in %s", digest, from);
	if (fs_exists(b->root_fd, pool))
		return link_into_repo(b, pool, digest, repo, err);

	/* The pool's name was lost; the repository's is as good. */
	blob_path(from, digest, path);
	pthread_mutex_lock(&b->lock);
	int rc = link_or_have(b, b->repos_fd, path, b->root_fd, pool, err);
	pthread_mutex_unlock(&b->lock);
	return rc < 0 ? -1 : link_into_repo(b, pool, digest, repo, err);
}

int blobs_read(const struct blobs *b, const char *repo, const char *digest, struct stat *st,
               struct err *err)
{
	char path[BLOBS_PATH_MAX];
	auto_close int fd = fs_open(b->repos_fd, blob_path(repo, digest, path), O_RDONLY, 0, err);

	if (fd < 0)
		return -1;
	if (fstat(fd, st) < 0)
		return err_sys(err, "%s", digest);
	return move_fd(&fd);
}

bool blobs_has(const struct blobs *b, const char *repo, const char *digest)
{
	char path[BLOBS_PATH_MAX];

	return fs_exists(b->repos_fd, blob_path(repo, digest, path));
}

int blobs_drop(struct blobs *b, const char *repo, const char *digest, struct err *err)
{
	char path[BLOBS_PATH_MAX];

	blob_path(repo, digest, path);
	if (!fs_exists(b->repos_fd, path))
		return err_set(err, ERR_NOT_FOUND, "%s is not in %s", digest, repo);
	if (fs_unlink(b->repos_fd, path, err) < 0)
		return -1;
	return sync_dir_of(b->repos_fd, path, err);
}

void blobs_discard(struct blobs *b, const char *digest)
{
	char pool[NAME_BLOB_MAX];
	struct stat st;

	name_to_blob(digest, pool);
	/* Naming in repositories waits meanwhile, as for the collector. */
	pthread_mutex_lock(&b->lock);
	if (fs_stat(b->root_fd, pool, &st, NULL) == 0 && st.st_nlink == 1)
		(void)fs_unlink(b->root_fd, pool, NULL);
	pthread_mutex_unlock(&b->lock);
}

int blobs_quarantine(struct blobs *b, const char *digest, struct err *err)
{
	char pool[NAME_BLOB_MAX], path[NAME_BLOB_MAX + 40];
	auto_close int dir = fs_mkdir_all(b->root_fd, "quarantine", 0700, err);

	if (dir < 0)
		return -1;
	name_to_blob(digest, pool);
	snprintf(path, sizeof(path), "%.6s-%s.%lld", digest, digest + 7, (long long)time(NULL));
	pthread_mutex_lock(&b->lock);
	int rc = fs_rename(b->root_fd, pool, dir, path, err);
	pthread_mutex_unlock(&b->lock);
	return rc < 0 || fs_sync(dir, err) < 0 ? -1 : sync_dir_of(b->root_fd, pool, err);
}
