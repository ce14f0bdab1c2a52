/* SPDX-License-Identifier: Apache-2.0 */
#include "image/mend.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/db.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/hash.h"
#include "base/str.h"
#include "image/blob.h"
#include "image/diff.h"
#include "image/endpoint.h"
#include "image/registry.h"

#define MEND_READ    (256u << 10) /* bytes */
#define MEND_SOURCES 16           /* repositories that are asked at most */

static void say(struct mend *m, const char *how, const char *where)
{
	(void)snprintf(m->how, sizeof(m->how), "%s%s", how, where);
}

/* ---- an index from its tar ---- */

static int index_tar(struct mend *m, int layer_fd, int dir_fd, const char *diff_id, struct err *err)
{
	auto_close int tar = fs_open(layer_fd, LAYER_TAR, O_RDONLY | O_NOFOLLOW, 0, err);
	struct worker_job job = layer_job(dir_fd, true);
	struct apply_result result;
	struct worker worker;

	job.in_fd = tar;
	if (tar < 0 || worker_start(m->store->worker_path, &job, &worker, err) < 0 ||
	    worker_finish(&worker, &result, err) < 0)
		return -1;
	if (strcmp(result.diff_id, diff_id) != 0)
		return err_set(err, ERR_INVALID, "the tar is damaged as well");
	return 0;
}

static int mend_index(struct mend *m, const struct image_layer *row, struct err *err)
{
	char name[STORE_NAME_MAX], digest[DIGEST_TEXT_MAX] = "sha256:";
	auto_close int layer = fs_open_dir(m->store->layers_fd, digest_hex(m->chain), err);
	auto_close int dir = layer < 0 ? -1 : store_staging_dir(m->store, name, err);

	if (dir < 0)
		return -1;
	int rc = index_tar(m, layer, dir, row->diff_id, err);
	auto_close int index =
		rc < 0 ? -1 : fs_open(dir, APPLY_INDEX_NAME, O_RDONLY | O_NOFOLLOW, 0, err);
	/* Cut off between the name and the row, the digest is an old one, and the next check writes the index again. */
	if (index < 0 || verify_index_hash(index, digest + strlen("sha256:"), err) < 0 ||
	    fs_sync(index, err) < 0 ||
	    fs_rename(dir, APPLY_INDEX_NAME, layer, APPLY_INDEX_NAME, err) < 0 ||
	    fs_sync(layer, err) < 0 || layer_note_index(m->store, m->chain, digest, err) < 0)
		rc = -1;
	store_staging_remove(m->store, name);
	say(m, "rebuilt from its tar", "");
	return rc;
}

/* ---- a blob from its layer ---- */

static int to_blob(void *arg, const void *data, size_t len, struct err *err)
{
	return blob_writer_add(arg, data, len, err);
}

static int to_gzip(void *arg, const void *data, size_t len, struct err *err)
{
	return compress_writer_add(arg, data, len, err);
}

static int read_tar(int layer_fd, struct compress_writer *gzip, struct err *err)
{
	auto_close int tar = fs_open(layer_fd, LAYER_TAR, O_RDONLY | O_NOFOLLOW, 0, err);
	auto_free char *data = malloc(MEND_READ);
	ssize_t n;

	if (tar < 0)
		return -1;
	if (!data)
		return err_nomem(err);
	while ((n = read(tar, data, MEND_READ)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(err, "cannot read a layer");
		if (compress_writer_add(gzip, data, (size_t)n, err) < 0)
			return -1;
	}
	return 0;
}

static int pack_layer(int layer_fd, struct compress_writer *gzip, struct err *err)
{
	if (fs_exists(layer_fd, LAYER_TAR))
		return read_tar(layer_fd, gzip, err);
	auto_close int diff = fs_open_dir(layer_fd, LAYER_DIFF, err);
	return diff < 0 ? -1 : diff_write(diff, true, to_gzip, gzip, NULL, err);
}

/* A blob that buoy packed itself (commit, build) comes out the same again. 1: it did. */
static int mend_blob(struct mend *m, const struct image_layer *row, struct err *err)
{
	char digest[DIGEST_TEXT_MAX];
	int64_t size;
	auto_type(blob_writer) w = blob_writer_create(m->store, err);
	auto_type(compress_writer) gzip = w ? compress_writer_create(to_blob, w, err) : NULL;
	auto_close int layer =
		gzip ? fs_open_dir(m->store->layers_fd, digest_hex(m->chain), err) : -1;

	if (layer < 0 || pack_layer(layer, gzip, err) < 0 ||
	    compress_writer_finish(gzip, err) < 0 || blob_writer_finish(w, digest, &size, err) < 0)
		return -1;
	if (strcmp(digest, row->blob) != 0)
		return 0;
	if (fs_sync(blob_writer_fd(w), err) < 0 || blob_writer_publish(w, err) < 0 ||
	    fs_sync(m->store->blobs_fd, err) < 0)
		return -1;
	say(m, "packed again from its layer", "");
	return 1;
}

/* ---- a layer from its blob ---- */

/* The new one takes the old one's place. */
static int replace(struct mend *m, struct fetch *f, struct err *err)
{
	struct layer_maker *maker = f->maker;

	(void)snprintf(maker->layer.chain_id, sizeof(maker->layer.chain_id), "%s", m->chain);
	return layer_replace(maker, (m->damage & ~(unsigned)DAMAGE_BLOB) != 0, err);
}

static int from_blob(struct mend *m, struct fetch *f, struct err *err)
{
	if (fetch_stored(f, err) < 0 || replace(m, f, err) < 0)
		return -1;
	say(m, "unpacked again from its blob", "");
	return 0;
}

/* ---- from where it came ---- */

/* Repositories as "domain/path@sha256:...". Their number, or -1. */
static int find_sources(struct mend *m, char (*names)[REFERENCE_MAX], struct err *err)
{
	int count = 0, rc;

	auto_type(db_rows) rows =
		db_query(m->store->db, err,
	                 "select min(d.name) from image_layer i join digest d on d.image = i.image"
	                 " where i.chain = ? group by d.repository",
	                 "t", m->chain);
	if (!rows)
		return -1;
	while ((rc = db_step(rows, err)) > 0 && count < MEND_SOURCES)
		(void)snprintf(names[count++], REFERENCE_MAX, "%s", db_text(rows, 0));
	return rc < 0 ? -1 : count;
}

static int fetch_by(struct mend *m, struct fetch *f, struct registry *r, struct err *err)
{
	if (!r)
		return -1;
	int rc = fetch_run(f, r, err) < 0 || replace(m, f, err) < 0 ? -1 : 0;
	if (rc == 0)
		say(m, "fetched again from ", registry_host(r));
	fetch_done(f);
	f->stage = FETCH_WAITING;
	f->current = 0;
	return rc;
}

/* Mirrors first, as for a pull. What comes is verified, whoever sent it. */
static int fetch_from(struct mend *m, struct fetch *f, const char *name, struct err *err)
{
	struct reference ref;
	const char *mirror;

	if (reference_parse_bare(name, &ref, err) < 0)
		return -1;
	for (size_t i = 0; (mirror = endpoint_mirror(m->store, ref.domain, i)); i++) {
		struct err why = ERR_INIT;
		auto_type(registry) r = registry_open_mirror(m->store, &ref, mirror, &why);
		if (fetch_by(m, f, r, &why) == 0)
			return 0;
	}
	const struct image_auth *auth = m->auth_for ? m->auth_for(m->auth_arg, ref.domain) : NULL;
	auto_type(registry) r = registry_open(m->store, &ref, auth, "pull", err);
	return fetch_by(m, f, r, err);
}

static int fetch_again(struct mend *m, struct fetch *f, struct err *err)
{
	auto_free char(*names)[REFERENCE_MAX] = calloc(MEND_SOURCES, sizeof(*names));
	struct err why = ERR_INIT;

	if (!names)
		return err_nomem(err);
	int count = find_sources(m, names, err);
	if (count == 0)
		return err_set(err, ERR_NOT_FOUND,
		               "no image that has it came from a registry: remove those images "
		               "(rmi -f) and build, load or import them again");
	for (int i = 0; i < count; i++) {
		why = (struct err)ERR_INIT;
		if (fetch_from(m, f, names[i], &why) == 0)
			return 0;
		if (why.kind == ERR_CANCELED || why.kind == ERR_NOMEM || why.kind == ERR_CONFLICT)
			break;
	}
	if (count > 0 && err)
		*err = why;
	return count < 0 || why.kind == ERR_CANCELED || why.kind == ERR_CONFLICT
	               ? -1
	               : err_wrap(err, "it could not be fetched again; log in there or wait until "
	                               "the registry answers, then repeat this");
}

/* ---- the whole ---- */

/* Files of a directory that somebody has as a lower would go from under him. */
static int lock_directory(struct mend *m, struct err *err)
{
	char path[DIGEST_TEXT_MAX + sizeof("/" LAYER_DIFF)];

	(void)snprintf(path, sizeof(path), "%s/" LAYER_DIFF, digest_hex(m->chain));
	auto_close int fd = fs_open_dir(m->store->layers_fd, path, NULL);
	if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0)
		return err_set(err, ERR_CONFLICT,
		               "containers that run have its directory mounted: stop them, then "
		               "repeat this");
	return fd < 0 ? -1 : move_fd(&fd);
}

int layer_mend(struct mend *m, struct err *err)
{
	struct image_layer row;
	struct oci_descriptor blob = {0};
	int rc = layer_find(m->store, m->chain, &row, NULL, err);

	if (rc <= 0)
		return rc < 0 ? -1 : err_set(err, ERR_NOT_FOUND, "layer %s is gone", m->chain);
	if (m->damage == DAMAGE_INDEX && mend_index(m, &row, NULL) == 0)
		return 0;
	if (m->damage == DAMAGE_BLOB && mend_blob(m, &row, NULL) > 0)
		return 0;
	struct err busy = ERR_INIT;
	auto_close int lock = m->damage & DAMAGE_TREE ? lock_directory(m, &busy) : -1;
	if (busy.kind != ERR_NONE) {
		if (err)
			*err = busy;
		return -1;
	}
	blob.digest = row.blob;
	blob.size = row.blob_size;
	struct fetch f = {
		.store = m->store,
		.blob = &blob,
		.diff_id = row.diff_id,
		.tell = m->tell,
		.arg = m->tell_arg,
	};
	rc = m->damage & DAMAGE_BLOB ? -1 : from_blob(m, &f, NULL);
	fetch_done(&f);
	f.stage = FETCH_WAITING;
	f.current = 0;
	return rc == 0 ? 0 : fetch_again(m, &f, err);
}
