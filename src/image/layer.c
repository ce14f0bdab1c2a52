/* SPDX-License-Identifier: Apache-2.0 */
#include "image/layer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/db.h"
#include "base/err.h"
#include "base/failpoint.h"
#include "base/fs.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/str.h"
#include "image/blob.h"
#include "image/check.h"
#include "image/flush.h"
#include "image/verify.h"

#define LAYER_READ (256u << 10) /* bytes */
#define LAYER_PUSH (8 << 20)    /* bytes added after which the disk is set to work */

/* ---- making ---- */

static int add_to_blob(void *arg, const void *data, size_t len, struct err *err)
{
	struct layer_maker *m = arg;

	return blob_writer_add(m->blob, data, len, err);
}

struct worker_job layer_job(int dir_fd, bool index)
{
	struct worker_job job = {
		.dir_fd = dir_fd,
		.in_fd = -1,
		.copy_fd = -1,
		.flags = APPLY_LAYER | APPLY_OWNERS | APPLY_SPECIAL | (index ? APPLY_INDEX : 0),
		.limits = APPLY_LIMITS,
	};

	if (geteuid() != 0)
		job.flags = APPLY_LAYER | APPLY_UNPRIVILEGED;
	return job;
}

static int start_worker(struct layer_maker *m, struct err *err)
{
	bool tar = m->tar_dir_fd >= 0;
	struct worker_job job = layer_job(tar ? m->tar_dir_fd : m->diff_fd, tar);

	job.copy_fd = m->copy_fd;
	if (worker_start(m->store->worker_path, &job, &m->worker, err) < 0)
		return -1;
	m->worker_runs = true;
	return 0;
}

/* An error at "image.sync.off" leaves the syncs out: the control of tests/e2e/test_power_cuts.py. */
static bool is_durable(void)
{
	return FAILPOINT("image.sync.off", NULL) == 0;
}

static int start_flush(struct layer_maker *m, struct err *err)
{
	if (!is_durable())
		return 0;
	m->flush = flush_create(err);
	if (!m->flush)
		return -1;
	flush_add(m->flush, blob_writer_fd(m->blob));
	if (m->tar_dir_fd >= 0)
		flush_add(m->flush, m->copy_fd);
	return 0;
}

/* All files are whole: they, and their names, go to the disk while the caller goes on. */
static void end_flush(struct layer_maker *m)
{
	if (!m->flush)
		return;
	if (m->tar_dir_fd >= 0) {
		flush_add(m->flush, m->index_fd);
		flush_add(m->flush, m->diff_fd);
		flush_add(m->flush, m->tar_dir_fd);
	}
	flush_end(m->flush);
}

/* The tar has the diff id; of the index nothing would tell whether it is whole. */
static int note_index(struct layer_maker *m, struct err *err)
{
	char hex[HASH_HEX_MAX];

	if (m->tar_dir_fd < 0)
		return 0;
	m->index_fd = fs_open(m->tar_dir_fd, APPLY_INDEX_NAME, O_RDONLY, 0, err);
	if (m->index_fd < 0 || verify_index_hash(m->index_fd, hex, err) < 0)
		return -1;
	(void)snprintf(m->layer.index, sizeof(m->layer.index), "sha256:%s", hex);
	return 0;
}

static int open_maker(struct layer_maker *m, struct err *err)
{
	auto_close int staging = store_staging_dir(m->store, m->staging, err);

	if (staging < 0 || fs_mkdir(staging, LAYER_DIFF, 0700, err) < 0)
		return -1;
	m->diff_fd = fs_open_dir(staging, LAYER_DIFF, err);
	if (m->diff_fd < 0)
		return -1;
	if (m->store->erofs && !(m->flags & LAYER_MOVED)) {
		m->copy_fd = fs_open(staging, LAYER_TAR, O_RDWR | O_CREAT | O_EXCL, 0600, err);
		m->tar_dir_fd = move_fd(&staging);
		if (m->copy_fd < 0)
			return -1;
	}
	/* The root of a container for which no layer says otherwise. */
	if (fchmod(m->diff_fd, 0755) < 0)
		return err_sys(err, "cannot set the mode of a new layer");
	m->blob = blob_writer_create(m->store, err);
	if (!m->blob || start_flush(m, err) < 0)
		return -1;
	if (m->flags & (LAYER_COMPRESS | LAYER_COPY)) {
		m->gzip = compress_writer_create(add_to_blob, m, err);
		if (!m->gzip)
			return -1;
	}
	if (m->flags & LAYER_COPY && m->copy_fd < 0) {
		m->copy_fd = fs_open_tmp(m->store->staging_fd, err);
		if (m->copy_fd < 0)
			return -1;
	}
	return m->flags & LAYER_MOVED ? 0 : start_worker(m, err);
}

struct layer_maker *layer_maker_create(struct image_store *store, unsigned flags, struct err *err)
{
	auto_type(layer_maker) m = calloc(1, sizeof(*m));

	if (!m) {
		(void)err_nomem(err);
		return NULL;
	}
	m->store = store;
	m->flags = flags;
	m->diff_fd = m->copy_fd = m->tar_dir_fd = m->index_fd = -1;
	if (open_maker(m, err) < 0)
		return NULL;
	return move_ptr(m);
}

void layer_maker_free(struct layer_maker *m)
{
	if (!m)
		return;
	if (m->worker_runs)
		worker_cancel(&m->worker);
	flush_free(m->flush); /* before what it syncs is closed */
	compress_writer_free(m->gzip);
	blob_writer_free(m->blob);
	if (m->index_fd >= 0)
		close(m->index_fd);
	if (m->copy_fd >= 0)
		close(m->copy_fd);
	if (m->diff_fd >= 0)
		close(m->diff_fd);
	if (m->tar_dir_fd >= 0)
		close(m->tar_dir_fd);
	if (m->staging[0])
		store_staging_remove(m->store, m->staging);
	free(m);
}

/* The worker gave up: its own words are better than "it stopped reading". */
static int worker_words(struct layer_maker *m, struct err *err)
{
	struct apply_result unused;

	m->worker_runs = false;
	if (worker_finish(&m->worker, &unused, err) == 0)
		return err_set(err, ERR_INTERNAL, "the unpacker ended before the archive did");
	return -1;
}

/* What is written already may go to the disk while the rest comes: the sync at the end has less to wait for. */
static void start_writeback(struct layer_maker *m, size_t len)
{
	m->waiting += len;
	if (m->waiting < LAYER_PUSH)
		return;
	m->waiting = 0;
	if (m->flush)
		flush_poke(m->flush);
}

int layer_maker_add(struct layer_maker *m, const void *data, size_t len, struct err *err)
{
	int rc = 0;

	if (m->flags & LAYER_COMPRESS)
		rc = compress_writer_add(m->gzip, data, len, err);
	else if (!(m->flags & LAYER_COPY))
		rc = blob_writer_add(m->blob, data, len, err);
	if (rc < 0)
		return -1;
	if (m->worker_runs && worker_write(&m->worker, data, len, NULL) < 0)
		return worker_words(m, err);
	start_writeback(m, len);
	return 0;
}

static int compress_copy(struct layer_maker *m, struct err *err)
{
	auto_free char *data = malloc(LAYER_READ);
	off_t at = 0;
	ssize_t n;

	if (!data)
		return err_nomem(err);
	while ((n = pread(m->copy_fd, data, LAYER_READ, at)) > 0) {
		if (compress_writer_add(m->gzip, data, (size_t)n, err) < 0)
			return -1;
		at += n;
	}
	return n < 0 ? err_sys(err, "cannot read back an archive") : 0;
}

int layer_maker_finish(struct layer_maker *m, struct err *err)
{
	if (m->worker_runs) {
		struct apply_result result;
		m->worker_runs = false;
		if (worker_finish(&m->worker, &result, err) < 0)
			return -1;
		memcpy(m->layer.diff_id, result.diff_id, sizeof(m->layer.diff_id));
		m->layer.size = result.size;
	}
	if (m->flags & LAYER_COPY && compress_copy(m, err) < 0)
		return -1;
	if (m->gzip && compress_writer_finish(m->gzip, err) < 0)
		return -1;
	if (blob_writer_finish(m->blob, m->layer.blob, &m->layer.blob_size, err) < 0 ||
	    note_index(m, err) < 0)
		return -1;
	end_flush(m);
	return 0;
}

void layer_chain(const char *parent, const char *diff_id, char chain[DIGEST_TEXT_MAX])
{
	char text[2 * DIGEST_TEXT_MAX];

	if (parent[0] == '\0') {
		(void)snprintf(chain, DIGEST_TEXT_MAX, "%s", diff_id);
		return;
	}
	int n = snprintf(text, sizeof(text), "%s %s", parent, diff_id);
	digest_of(text, (size_t)n, chain);
}

/* ---- publishing ---- */

int layer_find(struct image_store *store, const char *chain, struct image_layer *out,
               enum compress_kind *blob_kind, struct err *err)
{
	auto_type(db_rows) rows = db_query(
		store->db, err,
		"select l.diff_id, l.blob, b.size, l.size, b.kind, l.index_digest from layer l"
		" join blob b on b.digest = l.blob where l.chain = ?",
		"t", chain);
	if (!rows)
		return -1;
	int rc = db_step(rows, err);
	if (rc <= 0)
		return rc;
	(void)snprintf(out->chain_id, sizeof(out->chain_id), "%s", chain);
	(void)snprintf(out->diff_id, sizeof(out->diff_id), "%s", db_text(rows, 0));
	(void)snprintf(out->blob, sizeof(out->blob), "%s", db_text(rows, 1));
	out->blob_size = db_int(rows, 2);
	out->size = db_int(rows, 3);
	(void)snprintf(out->index, sizeof(out->index), "%s", db_text(rows, 5));
	if (blob_kind)
		*blob_kind = (enum compress_kind)db_int(rows, 4);
	return 1;
}

/* Gives the layer and its blob their names. Called with the gate held shared. */
static int put_in_place(struct layer_maker *m, struct err *err)
{
	struct image_store *store = m->store;
	const char *hex = digest_hex(m->layer.chain_id);
	struct image_layer there;
	char old[STORE_NAME_MAX];

	int known = layer_find(store, m->layer.chain_id, &there, NULL, err);
	if (known != 0)
		return known < 0 ? -1 : 0; /* ours is thrown away by layer_maker_free() */
	if (blob_writer_publish(m->blob, err) < 0)
		return -1;
	/* A directory without a row is what a failed publication left. */
	if (fs_exists(store->layers_fd, hex)) {
		store_staging_name(old);
		if (fs_rename(store->layers_fd, hex, store->staging_fd, old, err) < 0)
			return -1;
		store_staging_remove(store, old);
	}
	if (fs_rename_new(store->staging_fd, m->staging, store->layers_fd, hex, err) < 0)
		return -1;
	m->staging[0] = '\0';
	return 0;
}

static int add_rows(struct layer_maker *m, struct err *err)
{
	const struct image_layer *l = &m->layer;

	if (m->staging[0])
		return 0; /* it was there */
	if (db_exec(m->store->db, err, "insert or ignore into blob values(?, ?, ?)", "tii", l->blob,
	            l->blob_size, (int64_t)blob_writer_kind(m->blob)) < 0)
		return -1;
	if (db_exec(m->store->db, err,
	            "insert or ignore into layer(chain, diff_id, parent, blob, size, born_ns,"
	            " index_digest) values(?, ?, ?, ?, ?, ?, ?)",
	            "ttttiit", l->chain_id, l->diff_id, m->parent, l->blob, l->size,
	            clock_wall_ns(), l->index) < 0)
		return -1;
	return 0;
}

static int add_all_rows(struct image_store *store, struct layer_maker **makers, size_t count,
                        int (*rows)(void *arg, struct err *err), void *arg, struct err *err)
{
	if (FAILPOINT("image.row.before", err) < 0 || db_begin(store->db, err) < 0)
		return -1;
	for (size_t i = 0; i < count; i++)
		if (add_rows(makers[i], err) < 0)
			return db_rollback(store->db), -1;
	if (rows && rows(arg, err) < 0)
		return db_rollback(store->db), -1;
	if (db_commit(store->db, err) < 0)
		return -1;
	return FAILPOINT("image.row.after", err);
}

/* Waits for what is on its way to the disk already. */
static int finish_flushes(struct layer_maker **makers, size_t count, struct err *err)
{
	for (size_t i = 0; i < count; i++)
		if (makers[i]->flush && flush_finish(makers[i]->flush, err) < 0)
			return -1;
	return 0;
}

/* The names; and the content of what is unpacked. */
static int sync_names(struct image_store *store, bool unpacked, struct err *err)
{
	if (!is_durable())
		return 0;
	if (FAILPOINT("image.sync.before", err) < 0)
		return -1;
	int rc = unpacked ? fs_sync_all(store->root_fd, err)
	         : fs_sync(store->layers_fd, err) < 0 || fs_sync(store->blobs_fd, err) < 0 ? -1
	                                                                                   : 0;
	return rc < 0 ? -1 : FAILPOINT("image.sync.after", err);
}

static int publish(struct image_store *store, struct layer_maker **makers, size_t count,
                   int (*rows)(void *arg, struct err *err), void *arg, struct err *err)
{
	bool fresh = false, unpacked = false;

	if (finish_flushes(makers, count, err) < 0)
		return -1;
	for (size_t i = 0; i < count; i++) {
		if (put_in_place(makers[i], err) < 0)
			return -1;
		fresh |= makers[i]->staging[0] == '\0';
		unpacked |= makers[i]->tar_dir_fd < 0;
	}
	if (fresh && sync_names(store, unpacked, err) < 0)
		return -1;
	return add_all_rows(store, makers, count, rows, arg, err);
}

int layer_publish(struct image_store *store, struct layer_maker **makers, size_t count,
                  int (*rows)(void *arg, struct err *err), void *arg, struct err *err)
{
	pthread_rwlock_rdlock(&store->gate);
	int rc = publish(store, makers, count, rows, arg, err);
	pthread_rwlock_unlock(&store->gate);
	return rc;
}

/* ---- mending ---- */

int layer_note_index(struct image_store *store, const char *chain, const char *digest,
                     struct err *err)
{
	if (db_exec(store->db, err, "update layer set index_digest = ?, doubt = 0 where chain = ?",
	            "tt", digest, chain) < 0)
		return -1;
	layer_forget(store, chain);
	return 0;
}

/* What was there lies in staging afterwards, and goes with the maker. */
static int swap_layer(struct layer_maker *m, struct err *err)
{
	struct image_store *store = m->store;
	const char *hex = digest_hex(m->layer.chain_id);

	if (fs_exists(store->layers_fd, hex))
		return fs_exchange(store->staging_fd, m->staging, store->layers_fd, hex, err);
	if (fs_rename_new(store->staging_fd, m->staging, store->layers_fd, hex, err) < 0)
		return -1;
	m->staging[0] = '\0';
	return 0;
}

static int replace(struct layer_maker *m, bool whole, struct err *err)
{
	struct image_store *store = m->store;

	if (finish_flushes(&m, 1, err) < 0 || blob_writer_publish(m->blob, err) < 0 ||
	    (whole && swap_layer(m, err) < 0) || sync_names(store, m->tar_dir_fd < 0, err) < 0)
		return -1;
	return whole ? layer_note_index(store, m->layer.chain_id, m->layer.index, err) : 0;
}

int layer_replace(struct layer_maker *m, bool whole, struct err *err)
{
	pthread_rwlock_rdlock(&m->store->gate);
	int rc = replace(m, whole, err);
	pthread_rwlock_unlock(&m->store->gate);
	return rc;
}

/* ---- using ---- */

int layer_pin(struct image_store *store, const char *chain, struct err *err)
{
	char path[DIGEST_TEXT_MAX + sizeof(LAYER_DIFF)];
	struct image_layer row;

	if (digest_check(chain, err) < 0)
		return -1;
	(void)snprintf(path, sizeof(path), "%s/" LAYER_DIFF, digest_hex(chain));
	struct err why = ERR_INIT;
	auto_close int fd = fs_open_dir(store->layers_fd, path, &why);
	/* The collector locks exclusively before it takes the row away, so look at the row last. */
	if (fd < 0 || flock(fd, LOCK_SH | LOCK_NB) < 0 ||
	    layer_find(store, chain, &row, NULL, &why) <= 0)
		return err_set(err, why.kind == ERR_NONE ? ERR_NOT_FOUND : why.kind,
		               "layer %s is not in the store", chain);
	return move_fd(&fd);
}

int layer_open(struct image_store *store, const char *chain, int *pin, struct err *err)
{
	if (store->doubts && layer_settle(store, chain, err) < 0)
		return -1;
	auto_close int held = layer_pin(store, chain, err);
	auto_close int dir = held < 0 ? -1 : fs_open_dir(store->layers_fd, digest_hex(chain), err);

	if (dir < 0)
		return -1;
	if (!fs_exists(dir, APPLY_INDEX_NAME)) {
		if (fs_exists(dir, LAYER_TAR))
			return err_set(err, ERR_SYSTEM,
			               "layer %s is damaged, its index is missing: "
			               "`buoy system check --repair` mends it",
			               chain);
		*pin = -1;
		return move_fd(&held);
	}
	int fd = layer_mount_shared(store, chain, dir, err);
	if (fd < 0)
		return err_wrap(err, "layer %s", chain);
	*pin = move_fd(&held);
	return fd;
}

int image_layers_add(struct image_store *store, struct image_layers *layers, const char *chain,
                     struct err *err)
{
	int *fds = reallocarray(layers->fds, layers->count + 1, sizeof(*fds));

	if (!fds)
		return err_nomem(err);
	layers->fds = fds;
	int *pins = reallocarray(layers->pins, layers->count + 1, sizeof(*pins));
	if (!pins)
		return err_nomem(err);
	layers->pins = pins;
	fds[layers->count] = layer_open(store, chain, &pins[layers->count], err);
	if (fds[layers->count] < 0)
		return -1;
	layers->count++;
	return 0;
}

int image_chain_open(struct image_store *store, const char *chain_id, struct image_layers *out,
                     struct err *err)
{
	struct image_layers layers = {0};
	char chain[DIGEST_TEXT_MAX];

	(void)snprintf(chain, sizeof(chain), "%s", chain_id);
	while (chain[0]) {
		if (image_layers_add(store, &layers, chain, err) < 0)
			return image_layers_close(&layers), -1;

		auto_type(db_rows) rows = db_query(
			store->db, err, "select parent from layer where chain = ?", "t", chain);
		if (!rows || db_step(rows, err) <= 0)
			return image_layers_close(&layers),
			       err_set(err, ERR_NOT_FOUND, "layer %s is not in the store", chain);
		(void)snprintf(chain, sizeof(chain), "%s", db_text(rows, 0));
	}
	*out = layers;
	return 0;
}

void image_layers_close(struct image_layers *layers)
{
	for (size_t i = 0; i < layers->count; i++) {
		close(layers->fds[i]);
		if (layers->pins[i] >= 0)
			close(layers->pins[i]);
	}
	free(layers->fds);
	free(layers->pins);
	*layers = (struct image_layers){0};
}
