/* SPDX-License-Identifier: Apache-2.0 */
#include "image/blob.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/db.h"
#include "base/err.h"
#include "base/failpoint.h"
#include "base/fs.h"
#include "base/hash.h"
#include "image/store.h"

#define BLOB_READ (128u << 10) /* bytes */

struct blob_writer {
	struct image_store *store; /* borrowed */
	int fd;
	int64_t size;
	struct hash *hash;
	char digest[DIGEST_TEXT_MAX]; /* "" until finished */
	unsigned char magic[COMPRESS_MAGIC];
	size_t magic_len;
};

struct blob_writer *blob_writer_create(struct image_store *store, struct err *err)
{
	auto_type(blob_writer) w = calloc(1, sizeof(*w));

	if (!w) {
		(void)err_nomem(err);
		return NULL;
	}
	w->store = store;
	w->fd = fs_open_tmp(store->blobs_fd, err);
	if (w->fd < 0)
		return NULL;
	w->hash = hash_create(err);
	if (!w->hash)
		return NULL;
	return move_ptr(w);
}

void blob_writer_free(struct blob_writer *w)
{
	if (!w)
		return;
	if (w->fd >= 0)
		close(w->fd);
	hash_free(w->hash);
	free(w);
}

int blob_writer_add(struct blob_writer *w, const void *data, size_t len, struct err *err)
{
	if (w->magic_len < COMPRESS_MAGIC) {
		size_t n =
			COMPRESS_MAGIC - w->magic_len < len ? COMPRESS_MAGIC - w->magic_len : len;
		memcpy(w->magic + w->magic_len, data, n);
		w->magic_len += n;
	}
	if (FAILPOINT("image.blob.write", err) < 0 || fs_write_all(w->fd, data, len, err) < 0)
		return err_wrap(err, "cannot store a blob");
	hash_add(w->hash, data, len);
	w->size += (int64_t)len;
	return 0;
}

int blob_writer_finish(struct blob_writer *w, char digest[DIGEST_TEXT_MAX], int64_t *size,
                       struct err *err)
{
	char hex[HASH_HEX_MAX];

	if (fchmod(w->fd, 0400) < 0)
		return err_sys(err, "cannot make a blob read-only");
	(void)snprintf(w->digest, sizeof(w->digest), "sha256:%s", hash_hex(w->hash, hex));
	memcpy(digest, w->digest, sizeof(w->digest));
	*size = w->size;
	return 0;
}

int blob_open(struct image_store *store, const char *digest, struct err *err)
{
	if (digest_check(digest, err) < 0)
		return -1;
	return fs_open(store->blobs_fd, digest_hex(digest), O_RDONLY | O_NOFOLLOW, 0, err);
}

/* Does the file of this name hold what its name says? */
static bool is_whole(struct image_store *store, const char *digest)
{
	auto_close int fd = blob_open(store, digest, NULL);
	auto_type(hash) hash = hash_create(NULL);
	auto_free char *data = malloc(BLOB_READ);
	char hex[HASH_HEX_MAX];
	ssize_t n;

	if (fd < 0 || !hash || !data)
		return false;
	while ((n = read(fd, data, BLOB_READ)) > 0)
		hash_add(hash, data, (size_t)n);
	return n == 0 && strcmp(hash_hex(hash, hex), digest_hex(digest)) == 0;
}

int blob_writer_publish(struct blob_writer *w, struct err *err)
{
	struct err why = ERR_INIT;
	const char *name = digest_hex(w->digest);

	if (fs_link_tmp(w->fd, w->store->blobs_fd, name, &why) == 0)
		return 0;
	if (why.kind != ERR_CONFLICT) {
		if (err)
			*err = why;
		return -1;
	}
	if (is_whole(w->store, w->digest))
		return 0;
	/* A crash or the disk damaged it. */
	if (fs_unlink(w->store->blobs_fd, name, err) < 0)
		return -1;
	return fs_link_tmp(w->fd, w->store->blobs_fd, name, err);
}

enum compress_kind blob_writer_kind(const struct blob_writer *w)
{
	return compress_detect(w->magic, w->magic_len);
}

int blob_writer_fd(const struct blob_writer *w)
{
	return w->fd;
}

int blob_find(struct image_store *store, const char *digest, int64_t size)
{
	struct stat st;
	int64_t said;

	if (!digest_ok(digest) ||
	    db_query_int(store->db, NULL, &said, "select size from blob where digest = ?", "t",
	                 digest) <= 0 ||
	    said != size)
		return -1;
	auto_close int fd = blob_open(store, digest, NULL);
	return fd >= 0 && fstat(fd, &st) == 0 && st.st_size == size ? move_fd(&fd) : -1;
}

int blob_writer_keep(struct blob_writer *w, const char *digest, struct err *err)
{
	const char *name = digest_hex(digest);

	if (fs_exists(w->store->partial_fd, name) && fs_unlink(w->store->partial_fd, name, err) < 0)
		return -1;
	return fs_link_tmp(w->fd, w->store->partial_fd, name, err);
}

int blob_partial_take(struct image_store *store, const char *digest)
{
	if (!digest_ok(digest))
		return -1;
	const char *name = digest_hex(digest);
	auto_close int fd = fs_open(store->partial_fd, name, O_RDONLY | O_NOFOLLOW, 0, NULL);
	return fd >= 0 && fs_unlink(store->partial_fd, name, NULL) == 0 ? move_fd(&fd) : -1;
}

int blob_remove(struct image_store *store, const char *digest, struct err *err)
{
	if (digest_check(digest, err) < 0)
		return -1;
	return fs_unlink(store->blobs_fd, digest_hex(digest), err);
}
