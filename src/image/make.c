/* SPDX-License-Identifier: Apache-2.0 */

/* make - layers from archives and from the uppers of overlays: for build, commit and import. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/hash.h"
#include "image/blob.h"
#include "image/diff.h"
#include "image/image.h"
#include "image/layer.h"

#define MAKE_BLOCK (256u << 10)

static ssize_t read_some(int fd, void *data, size_t len, struct err *err)
{
	ssize_t n;

	do
		n = read(fd, data, len);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return err_sys(err, "cannot read the archive");
	return n;
}

/* Names the finished layer by what is below it and makes it durable. */
static int publish_on(struct layer_maker *m, const char *parent, struct image_layer *out,
                      struct err *err)
{
	struct image_store *store = m->store;

	(void)snprintf(m->parent, sizeof(m->parent), "%s", parent);
	layer_chain(parent, m->layer.diff_id, m->layer.chain_id);
	char chain[DIGEST_TEXT_MAX];
	memcpy(chain, m->layer.chain_id, sizeof(chain));
	if (store_making_begin(store, chain, err) < 0)
		return -1;
	int rc = layer_publish(store, &m, 1, NULL, NULL, err);
	store_making_end(store, chain);
	if (rc < 0)
		return -1;
	/* If it was there before, its blob is the one that counts. */
	return layer_find(store, chain, out, NULL, err) == 1
	               ? 0
	               : err_set(err, ERR_CONFLICT, "layer %s was removed at once", chain);
}

static int check_parent(struct image_store *store, const char *parent, struct err *err)
{
	struct image_layer row;

	if (parent[0] == '\0')
		return 0;
	if (digest_check(parent, err) < 0)
		return -1;
	int rc = layer_find(store, parent, &row, NULL, err);
	if (rc == 0)
		return err_set(err, ERR_NOT_FOUND, "layer %s is not in the store", parent);
	return rc < 0 ? -1 : 0;
}

/* ---- from a tar ---- */

static unsigned maker_flags(enum compress_kind kind)
{
	switch (kind) {
	case COMPRESS_NONE:
		return LAYER_COMPRESS;
	case COMPRESS_OTHER:
		return LAYER_COPY;
	case COMPRESS_GZIP:
	case COMPRESS_ZSTD:
		return 0;
	}
	return 0;
}

int image_layer_from_tar(struct image_store *store, const char *parent, int tar_fd,
                         struct image_layer *out, struct err *err)
{
	auto_free char *data = malloc(MAKE_BLOCK);
	size_t filled = 0;
	ssize_t n = 1;

	if (!data)
		return err_nomem(err);
	if (check_parent(store, parent, err) < 0)
		return -1;
	while (filled < COMPRESS_MAGIC && n > 0) {
		n = read_some(tar_fd, data + filled, MAKE_BLOCK - filled, err);
		if (n < 0)
			return -1;
		filled += (size_t)n;
	}
	auto_type(layer_maker) m =
		layer_maker_create(store, maker_flags(compress_detect(data, filled)), err);
	if (!m)
		return -1;
	for (n = (ssize_t)filled; n > 0; n = read_some(tar_fd, data, MAKE_BLOCK, err))
		if (layer_maker_add(m, data, (size_t)n, err) < 0)
			return -1;
	if (n < 0 || layer_maker_finish(m, err) < 0)
		return -1;
	return publish_on(m, parent, out, err);
}

/* ---- from an upper ---- */

struct upper_sink {
	struct layer_maker *maker;
	struct hash *hash; /* of the tar; NULL when the worker computes it */
};

static int upper_write(void *arg, const void *data, size_t len, struct err *err)
{
	struct upper_sink *sink = arg;

	if (sink->hash)
		hash_add(sink->hash, data, len);
	return layer_maker_add(sink->maker, data, len, err);
}

struct move {
	int to_fd;
	struct err *err;
};

static int move_entry(void *arg, int dir_fd, const char *name, unsigned char d_type)
{
	struct move *move = arg;

	(void)d_type;
	return fs_rename_new(dir_fd, name, move->to_fd, name, move->err) < 0 ? 1 : 0;
}

/* Moves what the upper holds into the layer: no byte is written again. */
static int move_upper(int upper_fd, int to_fd, struct err *err)
{
	struct move move = {to_fd, err};
	struct stat st;

	if (fstat(upper_fd, &st) < 0 || fchown(to_fd, st.st_uid, st.st_gid) < 0 ||
	    fchmod(to_fd, st.st_mode & 07777) < 0)
		return err_sys(err, "cannot copy the attributes of a layer's root");
	return fs_list(upper_fd, move_entry, &move, err) == 0 ? 0 : -1;
}

static bool same_file_system(int a, int b)
{
	struct stat sa, sb;

	return fstat(a, &sa) == 0 && fstat(b, &sb) == 0 && sa.st_dev == sb.st_dev;
}

static int fill_from_upper(struct layer_maker *m, int upper_fd, bool move, struct err *err)
{
	struct upper_sink sink = {.maker = m};
	char hex[HASH_HEX_MAX];
	int64_t size;

	auto_type(hash) hash = move ? hash_create(err) : NULL;
	if (move && !hash)
		return -1;
	sink.hash = hash;
	if (diff_write(upper_fd, true, upper_write, &sink, &size, err) < 0)
		return -1;
	if (move) {
		m->layer.size = size;
		(void)snprintf(m->layer.diff_id, sizeof(m->layer.diff_id), "sha256:%s",
		               hash_hex(hash, hex));
		if (move_upper(upper_fd, m->diff_fd, err) < 0)
			return -1;
	}
	return layer_maker_finish(m, err);
}

int image_layer_from_upper(struct image_store *store, const char *parent, int upper_dir_fd,
                           bool consume, struct image_layer *out, struct err *err)
{
	bool move = consume && same_file_system(upper_dir_fd, store->staging_fd);

	if (check_parent(store, parent, err) < 0)
		return -1;
	auto_type(layer_maker) m =
		layer_maker_create(store, LAYER_COMPRESS | (move ? LAYER_MOVED : 0), err);
	if (!m || fill_from_upper(m, upper_dir_fd, move, err) < 0)
		return -1;
	return publish_on(m, parent, out, err);
}

/* ---- other archives ---- */

static int write_fd(void *arg, const void *data, size_t len, struct err *err)
{
	return fs_write_all(*(int *)arg, data, len, err);
}

int image_export_dir(struct image_store *store, int dir_fd, int out_fd, struct err *err)
{
	(void)store;
	return diff_write(dir_fd, false, write_fd, &out_fd, NULL, err);
}

int image_export_path(struct image_store *store, int dir_fd, const char *base, const char *name,
                      uint32_t first_id, int out_fd, struct err *err)
{
	(void)store;
	return diff_write_path(dir_fd, base, name, first_id, write_fd, &out_fd, err);
}

int image_unpack_as(struct image_store *store, int tar_fd, int dir_fd, int userns_fd,
                    unsigned flags, struct err *err)
{
	struct worker_job job = {
		.dir_fd = dir_fd,
		.in_fd = tar_fd,
		.copy_fd = -1,
		.userns_fd = userns_fd,
		.limits = APPLY_LIMITS,
	};
	struct apply_result result;
	struct worker worker;

	if (flags & IMAGE_UNPACK_FOLLOW)
		job.flags |= APPLY_FOLLOW;
	if (flags & IMAGE_UNPACK_KEEP_TYPE)
		job.flags |= APPLY_KEEP_TYPE;
	if (flags & IMAGE_UNPACK_OWNERS && geteuid() == 0)
		job.flags |= APPLY_OWNERS | APPLY_SPECIAL;
	if (worker_start(store->worker_path, &job, &worker, err) < 0)
		return -1;
	return worker_finish(&worker, &result, err);
}

int image_unpack(struct image_store *store, int tar_fd, int dir_fd, unsigned flags, struct err *err)
{
	return image_unpack_as(store, tar_fd, dir_fd, -1, flags, err);
}

int image_unpack_context(struct image_store *store, int tar_fd, int dir_fd, struct err *err)
{
	return image_unpack(store, tar_fd, dir_fd, 0, err);
}
