/* SPDX-License-Identifier: Apache-2.0 */
#include "image/catalog.h"

#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/db.h"
#include "base/err.h"
#include "base/id.h"
#include "base/str.h"
#include "image/layer.h"
#include "image/store.h"

#define IMAGE_ARENA_MAX (64u << 20) /* bytes of one parsed image */
#define IMAGE_NAMES_MAX 10000

void image_free(struct image *image)
{
	if (!image)
		return;
	if (image->arena)
		arena_done(image->arena);
	free(image->arena);
	free(image);
}

/* ---- finding ---- */

static int find_by_prefix(struct image_store *store, const char *hex, char id[DIGEST_TEXT_MAX],
                          struct err *err)
{
	char pattern[DIGEST_TEXT_MAX];
	int found = 0;

	(void)snprintf(pattern, sizeof(pattern), "sha256:%.64s*", hex);
	auto_type(db_rows) rows = db_query(
		store->db, err, "select id from image where id glob ? limit 2", "t", pattern);
	if (!rows)
		return -1;
	int rc;
	while ((rc = db_step(rows, err)) > 0 && found++ == 0)
		(void)snprintf(id, DIGEST_TEXT_MAX, "%s", db_text(rows, 0));
	if (rc < 0)
		return -1;
	if (found > 1)
		return err_set(err, ERR_CONFLICT, "image id prefix %s is ambiguous", hex);
	return found;
}

static int find_by_reference(struct image_store *store, const struct reference *ref,
                             char id[DIGEST_TEXT_MAX], struct err *err)
{
	struct reference key = *ref;
	char text[REFERENCE_MAX];

	if (key.digest[0])
		key.tag[0] = '\0'; /* the digest says it all */
	reference_format(&key, text);
	auto_type(db_rows) rows = db_query(store->db, err,
	                                   key.digest[0] ? "select image from digest where name = ?"
	                                                 : "select image from name where name = ?",
	                                   "t", text);
	if (!rows)
		return -1;
	int rc = db_step(rows, err);
	if (rc > 0)
		(void)snprintf(id, DIGEST_TEXT_MAX, "%s", db_text(rows, 0));
	return rc;
}

static int not_found(const char *text, const struct reference *ref, struct err *err)
{
	char familiar[REFERENCE_MAX];

	return err_set(err, ERR_NOT_FOUND, "No such image: %s",
	               ref ? reference_familiar(ref, familiar) : text);
}

/* What a search came to: 1 found, 0 not, -1 failed. */
static int conclude(int rc, const char *text, const struct reference *ref, struct err *err)
{
	if (rc == 0)
		return not_found(text, ref, err);
	return rc < 0 ? -1 : 0;
}

int catalog_find_id(struct image_store *store, const char *text, char id[DIGEST_TEXT_MAX],
                    struct reference *ref, enum catalog_how *how, struct err *err)
{
	struct reference parsed, *named = NULL;
	bool prefixed = str_starts(text, "sha256:");
	const char *hex = prefixed ? text + strlen("sha256:") : text;
	bool is_hex = id_is_hex(hex, 1, 64);
	int rc = 0;

	if (how)
		*how = CATALOG_BY_ID;
	if (is_hex && (prefixed || strlen(hex) == 64)) {
		rc = find_by_prefix(store, hex, id, err);
		return conclude(rc, text, NULL, err);
	}
	if (reference_parse(text, &parsed, NULL) == 0) {
		named = &parsed;
		rc = find_by_reference(store, &parsed, id, err);
		if (rc > 0 && how)
			*how = CATALOG_BY_NAME;
		if (rc > 0 && ref)
			*ref = parsed;
	}
	if (rc == 0 && is_hex)
		rc = find_by_prefix(store, hex, id, err);
	return conclude(rc, text, named, err);
}

/* A column of references as familiar text, NULL-terminated in the arena. */
static char **load_names(struct image_store *store, const char *sql, const char *id,
                         struct arena *arena, struct err *err)
{
	char familiar[REFERENCE_MAX];
	struct reference ref;
	size_t count = 0, cap = 0;
	char **names = arena_array(arena, 1, sizeof(*names), err);

	auto_type(db_rows) rows = names ? db_query(store->db, err, sql, "t", id) : NULL;
	if (!rows)
		return NULL;
	int rc;
	while ((rc = db_step(rows, err)) > 0 && count < IMAGE_NAMES_MAX) {
		if (count >= cap) {
			cap = cap ? 2 * cap : 4;
			char **more = arena_array(arena, cap + 1, sizeof(*more), err);
			if (!more)
				return NULL;
			memcpy(more, names, count * sizeof(*names));
			names = more;
		}
		if (reference_parse_bare(db_text(rows, 0), &ref, err) < 0)
			return NULL;
		names[count] = arena_strdup(arena, reference_familiar(&ref, familiar), err);
		if (!names[count++])
			return NULL;
	}
	return rc < 0 ? NULL : names;
}

static int load_layers(struct image_store *store, struct image *image, struct err *err)
{
	size_t cap = image->config->rootfs.diff_ids.count;

	image->layers = arena_array(image->arena, cap ? cap : 1, sizeof(*image->layers), err);
	if (!image->layers)
		return -1;
	auto_type(db_rows) rows = db_query(
		store->db, err,
		"select i.chain, l.size from image_layer i join layer l on l.chain = i.chain"
		" where i.image = ? order by i.position",
		"t", image->id);
	if (!rows)
		return -1;
	int rc;
	while ((rc = db_step(rows, err)) > 0 && image->layer_count < cap) {
		(void)snprintf(image->layers[image->layer_count++], DIGEST_TEXT_MAX, "%s",
		               db_text(rows, 0));
		image->size += db_int(rows, 1);
	}
	return rc < 0 ? -1 : 0;
}

static int load_row(struct image_store *store, struct image *image, struct err *err)
{
	size_t len;

	auto_type(db_rows) rows =
		db_query(store->db, err,
	                 "select config, parent, created_ns, tagged_ns from image where id = ?",
	                 "t", image->id);
	if (!rows)
		return -1;
	int rc = db_step(rows, err);
	if (rc <= 0)
		return rc < 0 ? -1 : not_found(image->id, NULL, err);
	const void *config = db_blob(rows, 0, &len);
	image->config_text = arena_strndup(image->arena, config, len, err);
	image->config_len = len;
	(void)snprintf(image->parent, sizeof(image->parent), "%s", db_text(rows, 1));
	image->created_ns = db_int(rows, 2);
	image->tagged_ns = db_int(rows, 3);
	image->config = arena_alloc(image->arena, sizeof(*image->config), err);
	if (!image->config_text || !image->config)
		return -1;
	return oci_config_parse(image->config_text, len, image->arena, image->config, err);
}

static int load_into(struct image_store *store, struct image *image, struct err *err)
{
	image->arena = calloc(1, sizeof(*image->arena));
	if (!image->arena)
		return err_nomem(err);
	*image->arena = ARENA_INIT(IMAGE_ARENA_MAX);
	if (load_row(store, image, err) < 0 || load_layers(store, image, err) < 0)
		return -1;
	image->names = load_names(store, "select name from name where image = ? order by name",
	                          image->id, image->arena, err);
	image->digests =
		image->names
			? load_names(store, "select name from digest where image = ? order by name",
	                             image->id, image->arena, err)
			: NULL;
	return image->digests ? 0 : -1;
}

static struct image *load_image(struct image_store *store, const char *id, struct err *err)
{
	auto_type(image) image = calloc(1, sizeof(*image));

	if (!image) {
		(void)err_nomem(err);
		return NULL;
	}
	(void)snprintf(image->id, sizeof(image->id), "%s", id);
	if (load_into(store, image, err) < 0)
		return NULL;
	return move_ptr(image);
}

struct image *image_find(struct image_store *store, const char *name, struct err *err)
{
	char id[DIGEST_TEXT_MAX];

	if (catalog_find_id(store, name, id, NULL, NULL, err) < 0)
		return NULL;
	return load_image(store, id, err);
}

/* ---- listing ---- */

struct id_list {
	char (*ids)[DIGEST_TEXT_MAX];
	size_t count;
};

static int list_ids(struct image_store *store, bool all, struct id_list *list, struct err *err)
{
	auto_type(db_rows) rows = db_query(
		store->db, err,
		"select id from image i where ? or exists(select 1 from name where image = i.id)"
		" or exists(select 1 from digest where image = i.id)"
		" or not exists(select 1 from image where parent = i.id)"
		" order by created_ns desc, id",
		"i", (int64_t)all);
	if (!rows)
		return -1;
	int rc;
	while ((rc = db_step(rows, err)) > 0) {
		void *more = reallocarray(list->ids, list->count + 1, sizeof(*list->ids));
		if (!more)
			return err_nomem(err);
		list->ids = more;
		(void)snprintf(list->ids[list->count++], DIGEST_TEXT_MAX, "%s", db_text(rows, 0));
	}
	return rc;
}

struct image **image_list(struct image_store *store, bool all, size_t *count, struct err *err)
{
	struct id_list list = {0};
	size_t n = 0;
	struct image **images = NULL;
	int rc = list_ids(store, all, &list, err);

	if (rc == 0) {
		images = calloc(list.count + 1, sizeof(struct image *));
		rc = images ? 0 : err_nomem(err);
	}
	for (size_t i = 0; rc == 0 && i < list.count; i++) {
		struct err why = ERR_INIT;
		images[n] = load_image(store, list.ids[i], &why);
		if (images[n])
			n++;
		else if (why.kind != ERR_NOT_FOUND) { /* not found: removed meanwhile */
			rc = -1;
			if (err)
				*err = why;
		}
	}
	free(list.ids);
	if (rc < 0) {
		while (n > 0)
			image_free(images[--n]);
		free(images);
		return NULL;
	}
	*count = n;
	return images;
}

/* ---- making and naming ---- */

int catalog_check(struct catalog_image *image, struct err *err)
{
	auto_arena struct arena arena = ARENA_INIT(IMAGE_ARENA_MAX);
	struct oci_config config = {0};

	if (oci_config_parse(image->config_text, image->config_len, &arena, &config, err) < 0)
		return -1;
	const struct json_strings *diffs = &config.rootfs.diff_ids;
	if (diffs->count > OCI_LAYERS_MAX)
		return err_set(err, ERR_LIMIT, "image has %zu layers; at most %d are possible",
		               diffs->count, OCI_LAYERS_MAX);
	digest_of(image->config_text, image->config_len, image->id);
	image->created_ns = 0;
	if (!str_empty(config.created))
		(void)clock_parse(config.created, &image->created_ns, NULL);
	image->chains = calloc(diffs->count + 1, sizeof(*image->chains));
	if (!image->chains)
		return err_nomem(err);
	for (size_t i = 0; i < diffs->count; i++) {
		if (digest_check(diffs->items[i], err) < 0)
			return err_wrap(err, "rootfs.diff_ids");
		layer_chain(i ? image->chains[i - 1] : "", diffs->items[i], image->chains[i]);
	}
	image->chain_count = diffs->count;
	return 0;
}

void catalog_image_done(struct catalog_image *image)
{
	free(image->chains);
	image->chains = NULL;
}

static int add_layers(struct image_store *store, const struct catalog_image *image, struct err *err)
{
	for (size_t i = 0; i < image->chain_count; i++) {
		struct err why = ERR_INIT;
		if (db_exec(store->db, &why, "insert or ignore into image_layer values(?, ?, ?)",
		            "tit", image->id, (int64_t)i, image->chains[i]) >= 0)
			continue;
		if (why.kind == ERR_CONFLICT)
			return err_set(err, ERR_NOT_FOUND, "layer %s is not in the store",
			               image->chains[i]);
		if (err)
			*err = why;
		return -1;
	}
	return 0;
}

int catalog_add(struct image_store *store, const struct catalog_image *image, struct err *err)
{
	if (db_exec(store->db, err, "insert or ignore into image values(?, ?, ?, ?, 0, ?)", "tbtit",
	            image->id, (const void *)image->config_text, image->config_len, image->parent,
	            image->created_ns, image->manifest) < 0 ||
	    add_layers(store, image, err) < 0)
		return -1;
	if (image->manifest[0] &&
	    db_exec(store->db, err, "update image set manifest = ? where id = ?", "tt",
	            image->manifest, image->id) < 0)
		return -1;
	if (image->ref)
		return catalog_name(store, image->id, image->ref, err);
	return 0;
}

int catalog_name(struct image_store *store, const char *id, const struct reference *ref,
                 struct err *err)
{
	char text[REFERENCE_MAX], repository[REFERENCE_MAX];
	struct reference tagged = *ref, digested = *ref;

	reference_name(ref, repository);
	tagged.digest[0] = '\0';
	digested.tag[0] = '\0';
	if (tagged.tag[0] &&
	    db_exec(store->db, err,
	            "insert into name values(?, ?, ?) on conflict(name) do update set image ="
	            " excluded.image",
	            "ttt", reference_format(&tagged, text), repository, id) < 0)
		return -1;
	if (digested.digest[0] &&
	    db_exec(store->db, err,
	            "insert into digest values(?, ?, ?) on conflict(name) do update set image ="
	            " excluded.image",
	            "ttt", reference_format(&digested, text), repository, id) < 0)
		return -1;
	return db_exec(store->db, err, "update image set tagged_ns = ? where id = ?", "it",
	               clock_wall_ns(), id) < 0
	               ? -1
	               : 0;
}

int catalog_add_manifest(struct image_store *store, const char *digest, const char *type,
                         const void *body, size_t len, struct err *err)
{
	return db_exec(store->db, err, "insert or ignore into manifest values(?, ?, ?)", "ttb",
	               digest, type, body, len) < 0
	               ? -1
	               : 0;
}

int image_tag(struct image_store *store, const char *id, const struct reference *ref,
              struct err *err)
{
	char full[DIGEST_TEXT_MAX];

	if (catalog_find_id(store, id, full, NULL, NULL, err) < 0)
		return -1;
	if (ref->tag[0] == '\0')
		return err_set(err, ERR_INVALID,
		               "refusing to create a tag with a digest reference");
	if (db_begin(store->db, err) < 0)
		return -1;
	struct err why = ERR_INIT;
	if (catalog_name(store, full, ref, &why) < 0) {
		db_rollback(store->db);
		/* The foreign key: the image went away between the look and the name. */
		if (why.kind == ERR_CONFLICT)
			return not_found(id, NULL, err);
		if (err)
			*err = why;
		return -1;
	}
	return db_commit(store->db, err);
}

int image_create(struct image_store *store, const char *config_text, size_t config_len,
                 const char *parent, const struct reference *name, char id[DIGEST_TEXT_MAX],
                 struct err *err)
{
	struct catalog_image image = {
		.config_text = config_text,
		.config_len = config_len,
		.parent = parent ? parent : "",
		.manifest = "",
		.ref = name,
	};
	int rc = catalog_check(&image, err);

	if (rc == 0)
		rc = db_begin(store->db, err);
	if (rc == 0 && (rc = catalog_add(store, &image, err)) < 0)
		db_rollback(store->db);
	else if (rc == 0)
		rc = db_commit(store->db, err);
	if (rc == 0)
		memcpy(id, image.id, sizeof(image.id));
	catalog_image_done(&image);
	return rc;
}

/* ---- using ---- */

/* Opens the chains that a statement lists, top first. */
static int open_listed(struct image_store *store, const char *sql, const char *id,
                       struct image_layers *out, struct err *err)
{
	auto_type(db_rows) rows = db_query(store->db, err, sql, "t", id);
	struct image_layers layers = {0};
	int rc = rows ? 1 : -1;

	while (rc > 0 && (rc = db_step(rows, err)) > 0)
		if (layers.count == OCI_LAYERS_MAX ||
		    image_layers_add(store, &layers, db_text(rows, 0), err) < 0)
			rc = -1;
	if (rc < 0)
		return image_layers_close(&layers), -1;
	*out = layers;
	return 0;
}

int image_layers_open(struct image_store *store, const char *id, struct image_layers *out,
                      struct err *err)
{
	char full[DIGEST_TEXT_MAX];
	struct err why = ERR_INIT;
	int64_t one;

	if (catalog_find_id(store, id, full, NULL, NULL, &why) == 0)
		return open_listed(store,
		                   "select chain from image_layer where image = ? order by position"
		                   " desc",
		                   full, out, err);
	/* Removed by force while somebody holds it: the lease still knows its layers. */
	if (why.kind == ERR_NOT_FOUND &&
	    db_query_int(store->db, err, &one, "select 1 from lease where image = ?", "t", id) == 1)
		return open_listed(store,
		                   "select chain from lease_layer where image = ?1 and holder ="
		                   " (select min(holder) from lease where image = ?1)"
		                   " order by position desc",
		                   id, out, err);
	if (err)
		*err = why;
	return -1;
}

static int insert_lease(struct image_store *store, const char *id, const char *holder,
                        struct err *err)
{
	if (db_begin(store->db, err) < 0)
		return -1;
	if (db_exec(store->db, err,
	            "insert or ignore into lease select ?1, id from image where id = ?2", "tt",
	            holder, id) < 0 ||
	    db_exec(store->db, err,
	            "insert or ignore into lease_layer select ?1, image, position, chain from"
	            " image_layer where image = ?2",
	            "tt", holder, id) < 0)
		return db_rollback(store->db), -1;
	return db_commit(store->db, err);
}

int image_lease(struct image_store *store, const char *id, const char *holder, struct err *err)
{
	char full[DIGEST_TEXT_MAX];

	if (catalog_find_id(store, id, full, NULL, NULL, err) < 0)
		return -1;
	/* Holders take their leases again at their start: a power cut may take this one. */
	db_relax(store->db);
	int rc = insert_lease(store, full, holder, err);
	db_relax_end(store->db);
	return rc;
}

int image_cache_find(struct image_store *store, const char *key, char id[DIGEST_TEXT_MAX],
                     struct err *err)
{
	auto_type(db_rows) rows =
		db_query(store->db, err, "select image from cache where key = ?", "t", key);

	if (!rows)
		return -1;
	int rc = db_step(rows, err);
	if (rc > 0)
		(void)snprintf(id, DIGEST_TEXT_MAX, "%s", db_text(rows, 0));
	return rc;
}

int image_cache_add(struct image_store *store, const char *key, const char *id, struct err *err)
{
	return db_exec(store->db, err, "insert or replace into cache values(?, ?)", "tt", key, id) <
	                       0
	               ? -1
	               : 0;
}
