/* SPDX-License-Identifier: Apache-2.0 */

/*
 * remove - images go: by name, by id, unused ones; and the layers and blobs after them.
 *
 * The rules and the words are Docker's: a name is untagged first; what nobody names, uses or builds
 * on is deleted; parents without a name follow.
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/db.h"
#include "base/err.h"
#include "base/failpoint.h"
#include "base/fs.h"
#include "base/log.h"
#include "image/blob.h"
#include "image/catalog.h"
#include "image/layer.h"
#include "image/store.h"

#define ID_DIGITS     12 /* shown of an id */
#define COLLECT_BATCH 256
#define HOLDER_MAX    512
#define FRESH_NS      (3600ll * 1000 * 1000 * 1000) /* layers of a build that is still running */

/* ---- collecting layers and blobs ---- */

struct doomed {
	char chain[DIGEST_TEXT_MAX];
	char blob[DIGEST_TEXT_MAX];
	char trash[STORE_NAME_MAX]; /* where it was moved in staging/, or "" */
	int64_t size;
	int fd; /* its directory, locked exclusively */
};

struct doomed_list {
	struct doomed items[COLLECT_BATCH];
	size_t count;
};

/* Locks the layer unless somebody uses it. -1: in use. A layer whose directory is gone may go. */
static int lock_unused(struct image_store *store, const char *chain)
{
	char path[DIGEST_TEXT_MAX + 8];

	(void)snprintf(path, sizeof(path), "%s/diff", digest_hex(chain));
	auto_close int fd = fs_open_dir(store->layers_fd, path, NULL);
	if (fd < 0)
		return fs_exists(store->layers_fd, path) ? -1 : -2;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return -1;
	return move_fd(&fd);
}

static void doom(struct image_store *store, struct db_rows *rows, struct doomed_list *list)
{
	struct doomed *d = &list->items[list->count];

	*d = (struct doomed){.size = db_int(rows, 2)};
	(void)snprintf(d->chain, sizeof(d->chain), "%s", db_text(rows, 0));
	(void)snprintf(d->blob, sizeof(d->blob), "%s", db_text(rows, 1));
	d->fd = digest_ok(d->chain) ? lock_unused(store, d->chain) : -1;
	if (d->fd != -1)
		list->count++;
}

#define UNREFERENCED                                                                               \
	"select chain, blob, size from layer l where not exists(select 1 from image_layer"         \
	" where chain = l.chain) and not exists(select 1 from lease_layer where chain = l.chain)"

static int doom_all(struct image_store *store, struct doomed_list *list, struct err *err)
{
	auto_type(db_rows) rows =
		db_query(store->db, err, UNREFERENCED " and (born_ns < ? or born_ns < ?)", "ii",
	                 store->opened_ns, clock_wall_ns() - FRESH_NS);
	int rc = rows ? 0 : -1;

	while (rc == 0 && list->count < COLLECT_BATCH && (rc = db_step(rows, err)) > 0) {
		doom(store, rows, list);
		rc = 0;
	}
	return rc;
}

static int doom_chains(struct image_store *store, const char (*chains)[DIGEST_TEXT_MAX],
                       size_t count, struct doomed_list *list, struct err *err)
{
	/* Top first, as Docker tells it. */
	for (size_t i = count; i-- > 0 && list->count < COLLECT_BATCH;) {
		auto_type(db_rows) rows =
			db_query(store->db, err, UNREFERENCED " and chain = ?", "t", chains[i]);
		int rc = rows ? db_step(rows, err) : -1;
		if (rc < 0)
			return -1;
		if (rc > 0)
			doom(store, rows, list);
	}
	return 0;
}

static int delete_rows(struct image_store *store, const struct doomed_list *list, struct err *err)
{
	if (db_begin(store->db, err) < 0)
		return -1;
	for (size_t i = 0; i < list->count; i++)
		if (db_exec(store->db, err, "delete from layer where chain = ?", "t",
		            list->items[i].chain) < 0)
			return db_rollback(store->db), -1;
	if (db_commit(store->db, err) < 0)
		return -1;
	return FAILPOINT("image.collect.after", err);
}

/* Removes the blob's row, and then its file, when no layer has it any more. Bytes given back. */
static int64_t drop_blob(struct image_store *store, const char *digest, struct err *err)
{
	int64_t size = 0;
	int rc =
		db_query_int(store->db, err, &size,
	                     "select size from blob b where digest = ? and not exists(select 1 from"
	                     " layer where blob = b.digest)",
	                     "t", digest);

	if (rc <= 0)
		return rc;
	if (db_exec(store->db, err, "delete from blob where digest = ?", "t", digest) < 0)
		return -1;
	return blob_remove(store, digest, err) < 0 ? -1 : size;
}

/* Rows first: a directory or file without a row is swept at the next open, a row without
 * its file would be a lie. */
static int64_t collect(struct image_store *store, struct doomed_list *list, struct err *err)
{
	int64_t freed = 0;

	if (list->count > 0 && delete_rows(store, list, err) < 0)
		return -1;
	for (size_t i = 0; i < list->count; i++) {
		struct doomed *d = &list->items[i];
		int64_t blob = drop_blob(store, d->blob, err);
		if (blob < 0)
			return -1;
		freed += d->size + blob;
		if (d->fd < 0)
			continue;
		layer_forget(store, d->chain);
		store_staging_name(d->trash);
		if (fs_rename(store->layers_fd, digest_hex(d->chain), store->staging_fd, d->trash,
		              err) < 0)
			return -1;
	}
	return freed;
}

static int64_t collect_batch(struct image_store *store, bool all,
                             const char (*chains)[DIGEST_TEXT_MAX], size_t count,
                             struct doomed_list *list, struct err *err)
{
	pthread_rwlock_wrlock(&store->gate);
	int rc = all ? doom_all(store, list, err) : doom_chains(store, chains, count, list, err);
	int64_t freed = rc < 0 ? -1 : collect(store, list, err);
	pthread_rwlock_unlock(&store->gate);
	return freed;
}

int64_t store_collect(struct image_store *store, bool all, const char (*chains)[DIGEST_TEXT_MAX],
                      size_t count, const struct image_removed *told, struct err *err)
{
	auto_free struct doomed_list *list = calloc(1, sizeof(*list));
	int64_t freed = 0, batch;

	if (!list)
		return err_nomem(err);
	do {
		list->count = 0;
		batch = collect_batch(store, all, chains, count, list, err);
		for (size_t i = 0; i < list->count; i++) {
			if (list->items[i].trash[0]) /* the slow part, without the gate */
				store_staging_remove(store, list->items[i].trash);
			if (list->items[i].fd >= 0)
				close(list->items[i].fd);
			if (batch >= 0 && told && told->deleted)
				told->deleted(told->arg, list->items[i].chain);
		}
		freed += batch;
	} while (batch >= 0 && list->count == COLLECT_BATCH);
	return batch < 0 ? -1 : freed;
}

/* ---- names ---- */

static int count_rows(struct image_store *store, const char *sql, const char *id, struct err *err)
{
	int64_t n = 0;

	return db_query_int(store->db, err, &n, sql, "t", id) < 0 ? -1 : (int)n;
}

static void untagged(const struct image_removed *told, const char *full_name)
{
	struct reference ref;
	char familiar[REFERENCE_MAX];

	if (!told || !told->untagged)
		return;
	if (reference_parse_bare(full_name, &ref, NULL) < 0)
		told->untagged(told->arg, full_name);
	else
		told->untagged(told->arg, reference_familiar(&ref, familiar));
}

/* Takes names off an image: those that `sql` finds for `key` in table name or digest. */
static int untag_rows(struct image_store *store, const char *select, const char *remove,
                      const char *id, const char *key, const struct image_removed *told,
                      struct err *err)
{
	char name[REFERENCE_MAX];

	for (;;) {
		auto_type(db_rows) rows = db_query(store->db, err, select, "tt", id, key);
		int rc = rows ? db_step(rows, err) : -1;
		if (rc <= 0)
			return rc;
		(void)snprintf(name, sizeof(name), "%s", db_text(rows, 0));
		db_rows_free(move_ptr(rows));
		if (db_exec(store->db, err, remove, "t", name) < 0)
			return -1;
		untagged(told, name);
	}
}

#define SELECT_NAMES   "select name from name where image = ? and name like ? limit 1"
#define SELECT_DIGESTS "select name from digest where image = ? and repository like ? limit 1"
#define DELETE_NAME    "delete from name where name = ?"
#define DELETE_DIGEST  "delete from digest where name = ?"

static int untag_all(struct image_store *store, const char *id, const struct image_removed *told,
                     struct err *err)
{
	if (untag_rows(store, SELECT_NAMES, DELETE_NAME, id, "%", told, err) < 0)
		return -1;
	return untag_rows(store, SELECT_DIGESTS, DELETE_DIGEST, id, "%", told, err);
}

/* One reference; with the last tag of a repository its digests go as well. */
static int untag_one(struct image_store *store, const char *id, const struct reference *ref,
                     const struct image_removed *told, struct err *err)
{
	struct reference key = *ref;
	char name[REFERENCE_MAX], repository[REFERENCE_MAX];
	int64_t left = 0;

	if (key.digest[0])
		key.tag[0] = '\0';
	reference_format(&key, name);
	reference_name(&key, repository);
	if (db_exec(store->db, err, key.digest[0] ? DELETE_DIGEST : DELETE_NAME, "t", name) < 0)
		return -1;
	untagged(told, name);
	if (key.digest[0])
		return 0;
	if (db_query_int(store->db, err, &left,
	                 "select count(*) from name where image = ? and repository = ?", "tt", id,
	                 repository) < 0)
		return -1;
	return left > 0 ? 0
	                : untag_rows(store,
	                             "select name from digest where image = ? and repository = ?"
	                             " limit 1",
	                             DELETE_DIGEST, id, repository, told, err);
}

/* Names of one image: all of one repository and at most one tag among them. 1 yes, 0 no. */
static int has_single_reference(struct image_store *store, const char *id, struct err *err)
{
	int tags = count_rows(store, "select count(*) from name where image = ?", id, err);
	int repositories = count_rows(store,
	                              "select count(*) from (select repository from name where"
	                              " image = ?1 union select repository from digest where"
	                              " image = ?1)",
	                              id, err);

	return tags < 0 || repositories < 0 ? -1 : tags <= 1 && repositories <= 1;
}

static int count_names(struct image_store *store, const char *id, struct err *err)
{
	return count_rows(store,
	                  "select (select count(*) from name where image = ?1) +"
	                  " (select count(*) from digest where image = ?1)",
	                  id, err);
}

/* ---- conflicts ---- */

enum conflict {
	CONFLICT_NONE,
	CONFLICT_CHILD,
	CONFLICT_RUNNING,
	CONFLICT_NAMED,
	CONFLICT_STOPPED
};

struct check {
	bool names; /* further names are a conflict */
	bool force; /* only what cannot be forced is */
};

static bool in_use(const struct image_removed *told, const char *id, bool running, char who[65])
{
	who[0] = '\0';
	return told && told->in_use && told->in_use(told->arg, id, running, who);
}

/* Why the image cannot be deleted, or CONFLICT_NONE; -1 on failure. */
static int find_conflict(struct image_store *store, const char *id, struct check check,
                         const struct image_removed *told, char who[65], struct err *err)
{
	int children = count_rows(store, "select count(*) from image where parent = ?", id, err);

	if (children < 0)
		return -1;
	if (children > 0)
		return CONFLICT_CHILD;
	if (in_use(told, id, true, who))
		return CONFLICT_RUNNING;
	if (check.force)
		return CONFLICT_NONE;
	int names = check.names ? count_names(store, id, err) : 0;
	if (names < 0)
		return -1;
	if (names > 0)
		return CONFLICT_NAMED;
	return in_use(told, id, false, who) ? CONFLICT_STOPPED : CONFLICT_NONE;
}

static int say_conflict(int conflict, const char *id, const char *who, struct err *err)
{
	bool hard = conflict == CONFLICT_CHILD || conflict == CONFLICT_RUNNING;
	char why[160] = "image has dependent child images";

	if (conflict == CONFLICT_RUNNING)
		(void)snprintf(why, sizeof(why), "image is being used by running container %.*s",
		               ID_DIGITS, who);
	else if (conflict == CONFLICT_STOPPED)
		(void)snprintf(why, sizeof(why), "image is being used by stopped container %.*s",
		               ID_DIGITS, who);
	else if (conflict == CONFLICT_NAMED)
		(void)snprintf(why, sizeof(why), "image is referenced in multiple repositories");
	return err_set(err, ERR_CONFLICT, "conflict: unable to delete %.*s (%s) - %s", ID_DIGITS,
	               digest_hex(id), hard ? "cannot be forced" : "must be forced", why);
}

/* ---- deleting ---- */

/* The image's rows go, then what only it had. Returns bytes given back. */
static int64_t delete_image(struct image_store *store, const char *id,
                            const struct image_removed *told, struct err *err)
{
	auto_type(image) image = image_find(store, id, err);
	int rc = image ? db_begin(store->db, err) : -1;

	if (rc < 0)
		return -1;
	if (db_exec(store->db, err, "delete from name where image = ?", "t", id) < 0 ||
	    db_exec(store->db, err,
	            "delete from manifest where digest = (select manifest from image where id = ?1)"
	            " and not exists(select 1 from image where id <> ?1 and manifest ="
	            " manifest.digest)",
	            "t", id) < 0 ||
	    db_exec(store->db, err, "delete from image where id = ?", "t", id) < 0)
		return db_rollback(store->db), -1;
	if (db_commit(store->db, err) < 0 || FAILPOINT("image.delete.after", err) < 0)
		return -1;
	if (told && told->deleted)
		told->deleted(told->arg, id);
	return store_collect(store, false, (const char(*)[DIGEST_TEXT_MAX])image->layers,
	                     image->layer_count, told, err);
}

static int find_parent(struct image_store *store, const char *id, char parent[DIGEST_TEXT_MAX],
                       struct err *err)
{
	parent[0] = '\0';
	auto_type(db_rows) rows = db_query(
		store->db, err,
		"select p.id from image i join image p on p.id = i.parent where i.id = ?", "t", id);
	int rc = rows ? db_step(rows, err) : -1;
	if (rc > 0)
		(void)snprintf(parent, DIGEST_TEXT_MAX, "%s", db_text(rows, 0));
	return rc < 0 ? -1 : 0;
}

/* Deletes the image, then its parents for as long as nobody names or uses them. `quiet`: a
 * conflict is no failure. */
static int delete_upwards(struct image_store *store, const char *first, bool force, bool prune,
                          bool quiet, const struct image_removed *told, struct err *err)
{
	char id[DIGEST_TEXT_MAX], parent[DIGEST_TEXT_MAX], who[65];

	(void)snprintf(id, sizeof(id), "%s", first);
	for (;;) {
		struct check check = {.names = true, .force = force};
		int conflict = find_conflict(store, id, check, told, who, err);
		if (conflict < 0)
			return -1;
		if (conflict != CONFLICT_NONE)
			return quiet ? 0 : say_conflict(conflict, id, who, err);
		if (find_parent(store, id, parent, err) < 0 ||
		    untag_all(store, id, told, err) < 0 || delete_image(store, id, told, err) < 0)
			return -1;
		if (!prune || parent[0] == '\0')
			return 0;
		memcpy(id, parent, sizeof(id));
		force = false;
		quiet = true;
	}
}

static int remove_name(struct image_store *store, const char *id, const struct reference *ref,
                       const char *name, bool force, const struct image_removed *told,
                       struct err *err)
{
	char who[65];
	int single = has_single_reference(store, id, err);

	if (single < 0)
		return -1;
	if (!force && single && in_use(told, id, false, who))
		return err_set(
			err, ERR_CONFLICT,
			"conflict: unable to remove repository reference \"%s\" (must force) - "
			"container %.*s is using its referenced image %.*s",
			name, ID_DIGITS, who, ID_DIGITS, digest_hex(id));
	if (untag_one(store, id, ref, told, err) < 0)
		return -1;
	return count_names(store, id, err);
}

static int remove_id(struct image_store *store, const char *id, bool force,
                     const struct image_removed *told, struct err *err)
{
	char who[65];
	int single = has_single_reference(store, id, err);

	if (single <= 0)
		return single; /* several names: delete_upwards() says so unless forced */
	struct check check = {.names = false, .force = force};
	int conflict = find_conflict(store, id, check, told, who, err);
	if (conflict != CONFLICT_NONE)
		return conflict < 0 ? -1 : say_conflict(conflict, id, who, err);
	return untag_all(store, id, told, err);
}

int image_remove(struct image_store *store, const char *name, bool force, bool keep_parents,
                 const struct image_removed *told, struct err *err)
{
	char id[DIGEST_TEXT_MAX];
	struct reference ref;
	enum catalog_how how;

	if (catalog_find_id(store, name, id, &ref, &how, err) < 0)
		return -1;
	if (how == CATALOG_BY_NAME) {
		int left = remove_name(store, id, &ref, name, force, told, err);
		if (left != 0)
			return left < 0 ? -1 : 0;
		/* The name is gone already: what keeps the image alive is no failure any more. */
		return delete_upwards(store, id, force, !keep_parents, true, told, err);
	}
	if (remove_id(store, id, force, told, err) < 0)
		return -1;
	return delete_upwards(store, id, force, !keep_parents, false, told, err);
}

/* ---- leases ---- */

/* The image that a holder had and that is gone otherwise: its layers may go now. */
static int collect_leased(struct image_store *store, const char *holder, struct err *err)
{
	char(*chains)[DIGEST_TEXT_MAX] = calloc(OCI_LAYERS_MAX, sizeof(*chains));
	size_t count = 0;
	int rc = chains ? 0 : err_nomem(err);

	if (rc == 0) {
		auto_type(db_rows) rows =
			db_query(store->db, err,
		                 "select chain from lease_layer where holder = ? order by position",
		                 "t", holder);
		rc = rows ? 1 : -1;
		while (rc > 0 && count < OCI_LAYERS_MAX && (rc = db_step(rows, err)) > 0)
			(void)snprintf(chains[count++], DIGEST_TEXT_MAX, "%s", db_text(rows, 0));
	}
	if (rc >= 0) {
		db_relax(store->db); /* what comes back is released at the next start */
		rc = db_exec(store->db, err, "delete from lease where holder = ?", "t", holder);
		db_relax_end(store->db);
	}
	if (rc >= 0 && count > 0 &&
	    store_collect(store, false, (const char(*)[DIGEST_TEXT_MAX])chains, count, NULL, err) <
	            0)
		rc = -1;
	free(chains);
	return rc < 0 ? -1 : 0;
}

int image_release(struct image_store *store, const char *holder, struct err *err)
{
	return collect_leased(store, holder, err);
}

/* The next holder after the one in the buffer, which it replaces. 1, 0 at the end. */
static int next_holder(struct image_store *store, struct buf *holder, struct err *err)
{
	auto_type(db_rows) rows = db_query(
		store->db, err, "select holder from lease where holder > ? order by holder limit 1",
		"t", buf_str(holder));
	int rc = rows ? db_step(rows, err) : -1;

	buf_clear(holder);
	if (rc > 0)
		buf_add(holder, db_text(rows, 0));
	return rc > 0 && buf_check(holder, err) < 0 ? -1 : rc;
}

int image_release_unknown(struct image_store *store, bool (*known)(void *arg, const char *holder),
                          void *arg, struct err *err)
{
	auto_buf struct buf holder = BUF_INIT(HOLDER_MAX);
	int rc;

	while ((rc = next_holder(store, &holder, err)) > 0)
		if (!known(arg, buf_str(&holder)) &&
		    image_release(store, buf_str(&holder), err) < 0)
			return -1;
	return rc;
}

/* ---- pruning ---- */

/* The next image to look at after `after`. 1, 0 at the end. */
static int next_image(struct image_store *store, bool all, const char *after,
                      char id[DIGEST_TEXT_MAX], struct err *err)
{
	auto_type(db_rows) rows = db_query(
		store->db, err,
		"select id from image i where id > ?1 and not exists(select 1 from image where parent ="
		" i.id) and not exists(select 1 from lease where image = i.id) and (?2 or"
		" (not exists(select 1 from name where image = i.id) and"
		" not exists(select 1 from digest where image = i.id))) order by id limit 1",
		"ti", after, (int64_t)all);
	int rc = rows ? db_step(rows, err) : -1;

	if (rc > 0)
		(void)snprintf(id, DIGEST_TEXT_MAX, "%s", db_text(rows, 0));
	return rc;
}

/* One walk over the images; deleting children may free parents for the next. */
static int prune_pass(struct image_store *store, bool all, const struct image_removed *told,
                      int64_t *freed, struct err *err)
{
	char id[DIGEST_TEXT_MAX], after[DIGEST_TEXT_MAX] = "", who[65];
	int rc, removed = 0;

	while ((rc = next_image(store, all, after, id, err)) > 0) {
		memcpy(after, id, sizeof(after));
		if (in_use(told, id, false, who))
			continue;
		if (untag_all(store, id, told, err) < 0)
			return -1;
		int64_t bytes = delete_image(store, id, told, err);
		if (bytes < 0)
			return -1;
		*freed += bytes;
		removed++;
	}
	return rc < 0 ? -1 : removed;
}

int64_t image_prune(struct image_store *store, bool all, const struct image_removed *told,
                    struct err *err)
{
	int64_t freed = 0;
	int removed;

	do
		removed = prune_pass(store, all, told, &freed, err);
	while (removed > 0);
	int64_t rest = removed < 0 ? -1 : store_collect(store, true, NULL, 0, told, err);
	return rest < 0 ? -1 : freed + rest;
}
