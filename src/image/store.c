/* SPDX-License-Identifier: Apache-2.0 */
#include "image/store.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/db.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/log.h"
#include "base/map.h"
#include "base/str.h"
#include "image/blob.h"
#include "image/endpoint.h"
#include "image/flight.h"
#include "image/layer.h"

#define PARTIAL_KEEP_S (24 * 3600) /* how long half a blob waits for the next pull */
#define NS_PER_S       1000000000ll

static const char *const migrations[] = {
	"create table blob(digest text primary key, size integer not null, kind integer not null)"
	" without rowid;"
	"create table layer(chain text primary key, diff_id text not null, parent text not null,"
	" blob text not null references blob(digest), size integer not null,"
	" born_ns integer not null) without rowid;"
	"create index layer_by_diff on layer(diff_id);"
	"create index layer_by_blob on layer(blob);"
	"create table image(id text primary key, config blob not null, parent text not null,"
	" created_ns integer not null, tagged_ns integer not null, manifest text not null)"
	" without rowid;"
	"create index image_by_parent on image(parent);"
	"create table image_layer(image text not null references image(id) on delete cascade,"
	" position integer not null, chain text not null references layer(chain),"
	" primary key(image, position)) without rowid;"
	"create index image_layer_by_chain on image_layer(chain);"
	/* name: domain/path:tag; digest: domain/path@sha256:... */
	"create table name(name text primary key, repository text not null,"
	" image text not null references image(id)) without rowid;"
	"create index name_by_image on name(image);"
	"create table digest(name text primary key, repository text not null,"
	" image text not null references image(id) on delete cascade) without rowid;"
	"create index digest_by_image on digest(image);"
	"create table manifest(digest text primary key, type text not null, body blob not null)"
	" without rowid;"
	/* A lease outlives the image's own row (rmi -f of an image that a stopped container uses). */
	"create table lease(holder text not null, image text not null,"
	" primary key(holder, image)) without rowid;"
	"create index lease_by_image on lease(image);"
	"create table lease_layer(holder text not null, image text not null,"
	" position integer not null, chain text not null references layer(chain),"
	" primary key(holder, image, position),"
	" foreign key(holder, image) references lease(holder, image) on delete cascade)"
	" without rowid;"
	"create index lease_layer_by_chain on lease_layer(chain);"
	"create table cache(key text primary key,"
	" image text not null references image(id) on delete cascade) without rowid;"
	"create index cache_by_image on cache(image);",
	/* doubt: it was on the disk when the machine went down without a word (boot.c). */
	"alter table layer add column index_digest text not null default '';"
	"alter table layer add column doubt integer not null default 0;"
	"create table boot(one integer primary key check(one = 1), id text not null,"
	" clean integer not null);",
	NULL,
};

char *store_staging_name(char name[STORE_NAME_MAX])
{
	char hex[ID_HEX_MAX];

	(void)snprintf(name, STORE_NAME_MAX, "%.32s", id_make_hex(hex));
	return name;
}

int store_staging_dir(struct image_store *store, char name[STORE_NAME_MAX], struct err *err)
{
	store_staging_name(name);
	if (fs_mkdir(store->staging_fd, name, 0700, err) < 0)
		return -1;
	return fs_open_dir(store->staging_fd, name, err);
}

void store_staging_remove(struct image_store *store, const char *name)
{
	struct err err = ERR_INIT;

	if (fs_remove_tree(store->staging_fd, name, &err) < 0)
		log_warn(store->log, "cannot remove left-over", "name=%s reason=%s", name, err.msg);
}

int store_making_begin(struct image_store *store, const char *chain, struct err *err)
{
	pthread_mutex_lock(&store->making_lock);
	while (map_find(store->making, chain))
		pthread_cond_wait(&store->making_done, &store->making_lock);
	int rc = map_set(store->making, chain, store, NULL, err);
	pthread_mutex_unlock(&store->making_lock);
	return rc;
}

void store_making_end(struct image_store *store, const char *chain)
{
	pthread_mutex_lock(&store->making_lock);
	(void)map_remove(store->making, chain);
	pthread_cond_broadcast(&store->making_done);
	pthread_mutex_unlock(&store->making_lock);
}

/* ---- opening ---- */

static int init_locks(struct image_store *store, struct err *err)
{
	pthread_rwlockattr_t attr;

	/* A collector waits for those who publish now, not for all who ever come. */
	pthread_rwlockattr_init(&attr);
	pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	int rc = pthread_rwlock_init(&store->gate, &attr);
	pthread_rwlockattr_destroy(&attr);
	pthread_condattr_t clock;
	pthread_condattr_init(&clock);
	pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
	if (rc != 0 || pthread_mutex_init(&store->making_lock, NULL) != 0 ||
	    pthread_cond_init(&store->making_done, NULL) != 0 ||
	    pthread_mutex_init(&store->flight_lock, NULL) != 0 ||
	    pthread_cond_init(&store->flight_changed, &clock) != 0 ||
	    pthread_mutex_init(&store->mounts_lock, NULL) != 0)
		return err_set(err, ERR_SYSTEM, "cannot make the image store's locks");
	pthread_condattr_destroy(&clock);
	store->locks_ready = true;
	store->making = map_create(err);
	store->flights = map_create(err);
	store->mounts = map_create(err);
	return store->making && store->flights && store->mounts ? 0 : -1;
}

static void free_list(char **list)
{
	for (char **s = list; s && *s; s++)
		free(*s);
	free(list);
}

static char **copy_list(const char *const *list, struct err *err)
{
	size_t n = 0;

	while (list && list[n])
		n++;
	char **copy = calloc(n + 1, sizeof(*copy));
	for (size_t i = 0; copy && i < n; i++)
		if (!(copy[i] = strdup(list[i]))) {
			free_list(copy);
			copy = NULL;
		}
	if (!copy)
		(void)err_nomem(err);
	return copy;
}

static int check_mirrors(const struct image_store *store, struct err *err)
{
	for (char **m = store->mirrors; *m; m++) {
		struct endpoint e = {0};

		if (endpoint_of_url(store, endpoint_mirror_url(*m), &e, err) < 0)
			return err_wrap(err, "registry mirror %s", *m);
		endpoint_done(&e);
	}
	return 0;
}

static int copy_options(struct image_store *store, const struct image_store_options *options,
                        struct err *err)
{
	static const char *const places[] = {"/etc/buoy/certs.d", "/etc/docker/certs.d", NULL};

	store->log = options->log;
	store->worker_path = strdup(options->worker_path ? options->worker_path : "/proc/self/exe");
	if (!store->worker_path)
		return err_nomem(err);
	store->insecure = copy_list(options->insecure_registries, err);
	store->mirrors = copy_list(options->mirrors, err);
	store->certs = copy_list(options->certs_dirs ? options->certs_dirs : places, err);
	if (!store->insecure || !store->mirrors || !store->certs)
		return -1;
	return check_mirrors(store, err);
}

static int open_dirs(struct image_store *store, int root_dir_fd, struct err *err)
{
	store->root_fd = fs_open_dir(root_dir_fd, ".", err);
	if (store->root_fd < 0)
		return -1;
	bool fresh = !fs_exists(store->root_fd, "partial");
	store->blobs_fd = fs_mkdir_all(store->root_fd, "blobs/sha256", 0700, err);
	store->layers_fd =
		store->blobs_fd < 0 ? -1 : fs_mkdir_all(store->root_fd, "layers", 0700, err);
	store->staging_fd =
		store->layers_fd < 0 ? -1 : fs_mkdir_all(store->root_fd, "staging", 0700, err);
	store->partial_fd =
		store->staging_fd < 0 ? -1 : fs_mkdir_all(store->root_fd, "partial", 0700, err);
	if (store->partial_fd < 0)
		return -1;
	/* Later only what lies in them is synced: their own names must be on the disk already, and the store's. */
	return fresh ? fs_sync_all(store->root_fd, err) : 0;
}

static int drop_staged(void *arg, int dir_fd, const char *name, unsigned char d_type)
{
	(void)dir_fd, (void)d_type;
	store_staging_remove(arg, name);
	return 0;
}

/* Half a blob that nobody came back for. */
static int drop_old_partial(void *arg, int dir_fd, const char *name, unsigned char d_type)
{
	struct image_store *store = arg;
	struct err err = ERR_INIT;
	struct stat st;

	(void)d_type;
	if (fs_stat(dir_fd, name, &st, &err) == 0 &&
	    (int64_t)st.st_mtime > store->opened_ns / NS_PER_S - PARTIAL_KEEP_S)
		return 0;
	if (fs_unlink(dir_fd, name, &err) < 0)
		log_warn(store->log, "cannot remove half a blob", "blob=%s reason=%s", name,
		         err.msg);
	return 0;
}

/* A directory without a row: its maker was cut off before it was durable. */
static int drop_unknown_layer(void *arg, int dir_fd, const char *name, unsigned char d_type)
{
	struct image_store *store = arg;
	char chain[DIGEST_TEXT_MAX];
	int64_t one;

	(void)d_type;
	(void)snprintf(chain, sizeof(chain), "sha256:%.64s", name);
	if (db_query_int(store->db, NULL, &one, "select 1 from layer where chain = ?", "t",
	                 chain) != 0)
		return 0;
	struct err err = ERR_INIT;
	if (fs_remove_tree(dir_fd, name, &err) < 0)
		log_warn(store->log, "cannot remove left-over layer", "layer=%s reason=%s", name,
		         err.msg);
	return 0;
}

static int drop_unknown_blob(void *arg, int dir_fd, const char *name, unsigned char d_type)
{
	struct image_store *store = arg;
	char digest[DIGEST_TEXT_MAX];
	int64_t one;

	(void)d_type;
	(void)snprintf(digest, sizeof(digest), "sha256:%.64s", name);
	if (db_query_int(store->db, NULL, &one, "select 1 from blob where digest = ?", "t",
	                 digest) != 0)
		return 0;
	struct err err = ERR_INIT;
	if (fs_unlink(dir_fd, name, &err) < 0)
		log_warn(store->log, "cannot remove left-over blob", "blob=%s reason=%s", name,
		         err.msg);
	return 0;
}

/* What the rows promise must be there; what is not is said once, and repaired by the next pull. */
static int check_rows(struct image_store *store, struct err *err)
{
	struct stat st;

	auto_type(db_rows) rows = db_query(
		store->db, err,
		"select l.chain, l.blob, b.size from layer l join blob b on b.digest = l.blob", "");
	if (!rows)
		return -1;
	int rc;
	while ((rc = db_step(rows, err)) > 0) {
		const char *chain = db_text(rows, 0), *blob = db_text(rows, 1);
		if (!digest_ok(chain) || !digest_ok(blob))
			return err_set(err, ERR_INVALID, "image.db: bad digest in table layer");
		if (!fs_exists(store->layers_fd, digest_hex(chain)))
			log_error(store->log, "layer is missing", "layer=%s", chain);
		if (fs_stat(store->blobs_fd, digest_hex(blob), &st, NULL) < 0 ||
		    st.st_size != db_int(rows, 2))
			log_error(store->log, "blob is damaged", "blob=%s", blob);
	}
	return rc;
}

static int recover(struct image_store *store, struct err *err)
{
	/* Cut off between a layer's row and its blob's: nothing else runs yet, so both go now. */
	if (db_exec(store->db, err,
	            "delete from blob where not exists(select 1 from layer where blob ="
	            " blob.digest)",
	            "") < 0)
		return -1;
	if (fs_list(store->staging_fd, drop_staged, store, err) < 0 ||
	    fs_list(store->partial_fd, drop_old_partial, store, err) < 0 ||
	    fs_list(store->layers_fd, drop_unknown_layer, store, err) < 0 ||
	    fs_list(store->blobs_fd, drop_unknown_blob, store, err) < 0 ||
	    store_collect(store, true, NULL, 0, NULL, err) < 0)
		return -1;
	return check_rows(store, err);
}

static int choose_form(struct image_store *store, enum image_form form, struct err *err)
{
	struct err why = ERR_INIT;

	if (form == IMAGE_FORM_DIRECTORIES)
		return 0;
	store->erofs = layer_probe(store, &why) == 0;
	if (!store->erofs && form == IMAGE_FORM_TARS)
		return err_set(err, ERR_UNSUPPORTED, "layers cannot be mounted here: %s", why.msg);
	log_info(store->log, store->erofs ? "layers are mounted" : "layers are unpacked",
	         "reason=%s", store->erofs ? "" : why.msg);
	return 0;
}

struct image_store *image_store_open(int root_dir_fd, const struct image_store_options *options,
                                     struct err *err)
{
	struct image_store *store = calloc(1, sizeof(*store));

	if (!store) {
		(void)err_nomem(err);
		return NULL;
	}
	store->root_fd = store->blobs_fd = store->layers_fd = -1;
	store->staging_fd = store->partial_fd = -1;
	store->opened_ns = clock_wall_ns();
	if (init_locks(store, err) < 0 || copy_options(store, options, err) < 0 ||
	    open_dirs(store, root_dir_fd, err) < 0)
		return image_store_close(store), NULL;
	store->db = db_open(store->root_fd, "image.db", migrations, DB_FULL, err);
	if (!store->db || recover(store, err) < 0 || boot_begin(store, err) < 0 ||
	    choose_form(store, options->form, err) < 0) {
		(void)err_wrap(err, "image store");
		return image_store_close(store), NULL;
	}
	return store;
}

static void close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
}

void image_store_close(struct image_store *store)
{
	if (!store)
		return;
	if (store->counted)
		boot_end(store);
	db_free(store->db);
	close_fd(store->partial_fd);
	close_fd(store->staging_fd);
	close_fd(store->layers_fd);
	close_fd(store->blobs_fd);
	close_fd(store->root_fd);
	map_free(store->making);
	if (store->flights)
		flight_forget_all(store);
	map_free(store->flights);
	if (store->mounts)
		layer_forget_all(store);
	map_free(store->mounts);
	if (store->locks_ready) {
		pthread_cond_destroy(&store->making_done);
		pthread_mutex_destroy(&store->making_lock);
		pthread_cond_destroy(&store->flight_changed);
		pthread_mutex_destroy(&store->flight_lock);
		pthread_mutex_destroy(&store->mounts_lock);
		pthread_rwlock_destroy(&store->gate);
	}
	free_list(store->insecure);
	free_list(store->mirrors);
	free_list(store->certs);
	free(store->worker_path);
	free(store);
}

int image_disk_usage(struct image_store *store, struct image_usage *out, struct err *err)
{
	struct image_usage u = {0};

	if (db_query_int(store->db, err, &u.images, "select count(*) from image", "") < 0 ||
	    db_query_int(store->db, err, &u.layers, "select count(*) from layer", "") < 0 ||
	    db_query_int(store->db, err, &u.layer_bytes, "select total(size) from layer", "") < 0 ||
	    db_query_int(store->db, err, &u.blob_bytes, "select total(size) from blob", "") < 0)
		return -1;
	*out = u;
	return 0;
}

int64_t image_shared_size(struct image_store *store, const char *id, struct err *err)
{
	int64_t size;

	return db_query_int(
		       store->db, err, &size,
		       "select cast(total(l.size) as integer) from image_layer i"
		       " join layer l on l.chain = i.chain where i.image = ?1 and exists("
		       "select 1 from image_layer o where o.chain = i.chain and o.image <> ?1)",
		       "t", id) < 0
	               ? -1
	               : size;
}
