/* SPDX-License-Identifier: Apache-2.0 */
#include "image/verify.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/hash.h"
#include "image/blob.h"
#include "image/diff.h"

#define VERIFY_READ  (256 << 10) /* bytes */
#define VERIFY_BLOCK 4096

struct verify {
	struct image_store *store;
	const struct verify_watch *watch; /* may be NULL */
	struct image_layer row;
	struct verdict *verdict;
};

static void find_damage(struct verify *v, enum damage what, const char *file, const char *why)
{
	if (v->verdict->damage == 0)
		(void)snprintf(v->verdict->reason, sizeof(v->verdict->reason), "%s: %.160s", file,
		               why);
	v->verdict->damage |= what;
}

static int tell(struct verify *v, int64_t bytes, struct err *err)
{
	if (v->watch && v->watch->tell && v->watch->tell(v->watch->arg, bytes) < 0)
		return err_set(err, ERR_CANCELED, "the check was canceled");
	return 0;
}

/* ---- files ---- */

/* Reads fd to its end. A disk that fails is a finding: *why. -1: canceled. */
static int hash_all(struct verify *v, int fd, struct hash *hash, const char **why, struct err *err)
{
	auto_free char *data = malloc(VERIFY_READ);
	ssize_t n;

	if (!data)
		return err_nomem(err);
	/* What this machine still remembers says nothing about what the disk holds. */
	(void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	for (;;) {
		n = read(fd, data, VERIFY_READ);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		hash_add(hash, data, (size_t)n);
		if (tell(v, n, err) < 0)
			return -1;
	}
	if (n < 0)
		*why = strerrordesc_np(errno);
	return 0;
}

static bool is_zero(const char *block, size_t len)
{
	return len == 0 || (block[0] == 0 && memcmp(block, block + 1, len - 1) == 0);
}

/* A block that is not all zeroes, behind its place in the file. */
static void hash_block(struct hash *hash, const char *block, size_t len, int64_t at)
{
	uint64_t place = htole64((uint64_t)at);

	if (is_zero(block, len))
		return;
	hash_add(hash, &place, sizeof(place));
	hash_add(hash, block, len);
}

struct blocks {
	struct verify *v;
	int fd;
	struct hash *hash;
	char *data;       /* VERIFY_READ bytes */
	const char **why; /* set when the disk fails */
};

/* hash_block() of [from, to), or up to the end of the file. 1: *why; -1: canceled. */
static int hash_extent(const struct blocks *b, int64_t from, int64_t to, struct err *err)
{
	while (from < to) {
		size_t want = to - from < VERIFY_READ ? (size_t)(to - from) : VERIFY_READ;
		ssize_t n = pread(b->fd, b->data, want, from);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			*b->why = strerrordesc_np(errno);
		if (n <= 0)
			return 1;
		for (size_t i = 0; i < (size_t)n; i += VERIFY_BLOCK)
			hash_block(b->hash, b->data + i,
			           (size_t)n - i < VERIFY_BLOCK ? (size_t)n - i : VERIFY_BLOCK,
			           from + (int64_t)i);
		from += n;
		if (tell(b->v, n, err) < 0)
			return -1;
	}
	return 0;
}

/* As hash_all(), of a file that may be holes for the most part: they cost nothing, and how the file system keeps
 * zeroes makes no difference. The end counts as a block of its own. */
static int hash_blocks(struct verify *v, int fd, struct hash *hash, const char **why,
                       struct err *err)
{
	auto_free char *data = malloc(VERIFY_READ);
	const struct blocks blocks = {v, fd, hash, data, why};
	int64_t size = lseek(fd, 0, SEEK_END), at = 0;
	uint64_t end = htole64((uint64_t)size);
	int rc = 0;

	if (!data)
		return err_nomem(err);
	(void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	while (rc == 0 && at < size && (at = lseek(fd, at, SEEK_DATA)) >= 0) {
		int64_t hole = lseek(fd, at, SEEK_HOLE);

		if (hole <= at) {
			at = -1;
			break;
		}
		at -= at % VERIFY_BLOCK;
		hole += (VERIFY_BLOCK - hole % VERIFY_BLOCK) % VERIFY_BLOCK;
		rc = hash_extent(&blocks, at, hole < size ? hole : size, err);
		at = hole;
	}
	if (size < 0 || (at < 0 && errno != ENXIO)) /* ENXIO: holes up to the end */
		*why = strerrordesc_np(errno);
	hash_add(hash, &end, sizeof(end));
	return rc < 0 ? -1 : 0;
}

int verify_index_hash(int fd, char hex[HASH_HEX_MAX], struct err *err)
{
	struct verify nobody_listens = {0};
	const char *why = NULL;

	auto_type(hash) hash = hash_create(err);
	if (!hash || hash_blocks(&nobody_listens, fd, hash, &why, err) < 0)
		return -1;
	if (why)
		return err_set(err, ERR_SYSTEM, "cannot read a layer's index: %s", why);
	hash_hex(hash, hex);
	return 0;
}

static int check_file(struct verify *v, int dir_fd, const char *name, const char *digest,
                      enum damage what, struct err *err)
{
	struct err unreadable = ERR_INIT;
	char hex[HASH_HEX_MAX], file[24];
	const char *why = NULL;

	auto_type(hash) hash = hash_create(err);
	if (!hash)
		return -1;
	(void)snprintf(file, sizeof(file), "%.12s", name);
	auto_close int fd = fs_open(dir_fd, name, O_RDONLY | O_NOFOLLOW, 0, &unreadable);
	if (fd < 0)
		why = unreadable.msg;
	else if ((what == DAMAGE_INDEX ? hash_blocks : hash_all)(v, fd, hash, &why, err) < 0)
		return -1;
	if (!why && strcmp(hash_hex(hash, hex), digest_hex(digest)) != 0)
		why = lseek(fd, 0, SEEK_END) == 0 ? "the file is empty"
		                                  : "its bytes are not those of its digest";
	if (why)
		find_damage(v, what, file, why);
	return 0;
}

static int check_tar(struct verify *v, int dir_fd, struct err *err)
{
	if (check_file(v, dir_fd, LAYER_TAR, v->row.diff_id, DAMAGE_TAR, err) < 0)
		return -1;
	if (v->row.index[0] == '\0') {
		find_damage(v, DAMAGE_INDEX, APPLY_INDEX_NAME,
		            "an older version wrote it, without noting its digest");
		return 0;
	}
	return check_file(v, dir_fd, APPLY_INDEX_NAME, v->row.index, DAMAGE_INDEX, err);
}

/* ---- directories ---- */

struct pack {
	struct verify *verify;
	struct hash *hash;
};

static int pack_write(void *arg, const void *data, size_t len, struct err *err)
{
	struct pack *p = arg;

	hash_add(p->hash, data, len);
	return tell(p->verify, (int64_t)len, err);
}

/* The digest of a layer's directory, packed: equal for equal trees. */
static int pack(struct verify *v, int dir_fd, char digest[DIGEST_TEXT_MAX], struct err *err)
{
	auto_type(hash) hash = hash_create(err);
	struct pack p = {v, hash};
	char hex[HASH_HEX_MAX];

	if (!hash || diff_write(dir_fd, true, pack_write, &p, NULL, err) < 0)
		return -1;
	(void)snprintf(digest, DIGEST_TEXT_MAX, "sha256:%s", hash_hex(hash, hex));
	return 0;
}

static int unpack_blob(struct verify *v, int dir_fd, struct err *err)
{
	auto_close int blob = blob_open(v->store, v->row.blob, err);
	struct worker_job job = layer_job(dir_fd, false);
	struct apply_result result;
	struct worker worker;

	job.in_fd = blob;
	if (blob < 0 || worker_start(v->store->worker_path, &job, &worker, err) < 0 ||
	    worker_finish(&worker, &result, err) < 0)
		return -1;
	if (strcmp(result.diff_id, v->row.diff_id) != 0)
		return err_set(err, ERR_INVALID, "the blob holds another layer");
	return 0;
}

/* What the directory should be: the blob, unpacked where nobody looks. */
static int pack_blob(struct verify *v, char digest[DIGEST_TEXT_MAX], struct err *err)
{
	char name[STORE_NAME_MAX];
	auto_close int dir = store_staging_dir(v->store, name, err);

	if (dir < 0)
		return -1;
	int rc = unpack_blob(v, dir, err) < 0 ? -1 : pack(v, dir, digest, err);
	store_staging_remove(v->store, name);
	return rc;
}

static int check_tree(struct verify *v, int dir_fd, struct err *err)
{
	char is[DIGEST_TEXT_MAX], should[DIGEST_TEXT_MAX];
	struct err unreadable = ERR_INIT;

	auto_close int diff = fs_open_dir(dir_fd, LAYER_DIFF, &unreadable);
	if (diff < 0 || pack(v, diff, is, &unreadable) < 0) {
		if (unreadable.kind == ERR_CANCELED || unreadable.kind == ERR_NOMEM) {
			if (err)
				*err = unreadable;
			return -1;
		}
		find_damage(v, DAMAGE_TREE, LAYER_DIFF, unreadable.msg);
		return 0;
	}
	if (strcmp(is, v->row.diff_id) == 0)
		return 0;
	/* Only a blob that is sound itself can be compared with; a damaged one brings the layer again anyway. */
	if (!(v->verdict->damage & DAMAGE_BLOB) &&
	    check_file(v, v->store->blobs_fd, digest_hex(v->row.blob), v->row.blob, DAMAGE_BLOB,
	               err) < 0)
		return -1;
	if (v->verdict->damage & DAMAGE_BLOB) {
		find_damage(v, DAMAGE_TREE, LAYER_DIFF, "it cannot be compared with its blob");
		return 0;
	}
	if (pack_blob(v, should, err) < 0)
		return -1;
	if (strcmp(is, should) != 0)
		find_damage(v, DAMAGE_TREE, LAYER_DIFF, "the directory is not what its blob holds");
	return 0;
}

/* ---- the whole ---- */

int layer_verify(struct image_store *store, const char *chain, bool with_blob,
                 const struct verify_watch *watch, struct verdict *out, struct err *err)
{
	struct verify v = {.store = store, .watch = watch, .verdict = out};
	struct err missing = ERR_INIT;

	*out = (struct verdict){0};
	int rc = layer_find(store, chain, &v.row, NULL, err);
	if (rc <= 0)
		return rc < 0 ? -1
		              : err_set(err, ERR_NOT_FOUND, "layer %s is not in the store", chain);
	if (with_blob && check_file(&v, store->blobs_fd, digest_hex(v.row.blob), v.row.blob,
	                            DAMAGE_BLOB, err) < 0)
		return -1;
	auto_close int dir = fs_open_dir(store->layers_fd, digest_hex(chain), &missing);
	out->tar = v.row.index[0] ||
	           (dir >= 0 && (fs_exists(dir, LAYER_TAR) || fs_exists(dir, APPLY_INDEX_NAME)));
	if (dir < 0) {
		find_damage(&v, out->tar ? DAMAGE_TAR | DAMAGE_INDEX : DAMAGE_TREE, "directory",
		            missing.msg);
		return 0;
	}
	return out->tar ? check_tar(&v, dir, err) : check_tree(&v, dir, err);
}

char *damage_words(unsigned damage, char text[40])
{
	static const char *const names[] = {"blob", "tar", "index", "directory"};
	size_t n = 0;

	text[0] = '\0';
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (damage & 1u << i)
			n += (size_t)snprintf(text + n, 40 - n, "%s%s", n ? ", " : "", names[i]);
	return text;
}
