/* SPDX-License-Identifier: Apache-2.0 */
#include "image/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/db.h"
#include "base/err.h"
#include "base/log.h"
#include "image/mend.h"

#define CHECK_ARENA (1u << 20) /* bytes: who uses one damaged layer */
#define CHECK_USERS 1000       /* that are named at most */
#define CHECK_STEP  (4 << 20)  /* bytes between two lines of progress */

struct check {
	struct image_store *store;
	const struct image_check *options;
	struct image_checked done;
	char short_id[13]; /* of the layer that is looked at */
	int64_t total;     /* bytes it has, about */
	int64_t current, told;
};

static int clear_doubt(struct image_store *store, const char *chain, struct err *err)
{
	return db_exec(store->db, err, "update layer set doubt = 0 where chain = ? and doubt", "t",
	               chain) < 0
	               ? -1
	               : 0;
}

static bool is_gone(struct image_store *store, const char *chain)
{
	struct image_layer row;

	return layer_find(store, chain, &row, NULL, NULL) == 0;
}

/* ---- telling ---- */

static int tell(struct check *c, const char *status, int64_t current, int64_t total)
{
	const struct image_progress *p = c->options->progress;

	if (!p || !p->update)
		return 0;
	return p->update(p->arg, c->short_id, status, current, total);
}

static int hear_bytes(void *arg, int64_t bytes)
{
	struct check *c = arg;

	c->current += bytes;
	c->done.bytes += bytes;
	if (c->current - c->told < CHECK_STEP)
		return 0;
	c->told = c->current;
	return tell(c, "Verifying", c->current, c->total);
}

static int hear_fetch(void *arg, enum fetch_stage stage, int64_t current)
{
	struct check *c = arg;

	if (stage == FETCH_DOWNLOADING && current - c->told < CHECK_STEP)
		return 0;
	c->told = current;
	return tell(c, stage == FETCH_RETRYING ? "Retrying" : "Repairing",
	            stage == FETCH_RETRYING ? 0 : current, 0);
}

/* ---- who uses it ---- */

static char **load_users(struct check *c, const char *sql, const char *chain, struct arena *arena,
                         struct err *err)
{
	char **list = arena_array(arena, CHECK_USERS + 1, sizeof(*list), err);
	auto_type(db_rows) rows = list ? db_query(c->store->db, err, sql, "t", chain) : NULL;
	size_t count = 0;
	int rc = rows ? 1 : -1;

	while (rc > 0 && count < CHECK_USERS && (rc = db_step(rows, err)) > 0) {
		list[count] = arena_strdup(arena, db_text(rows, 0), err);
		if (!list[count++])
			rc = -1;
	}
	return rc < 0 ? NULL : list;
}

static int report(struct check *c, struct image_damage *damage, struct err *err)
{
	auto_arena struct arena arena = ARENA_INIT(CHECK_ARENA);

	damage->images = load_users(
		c, "select distinct image from image_layer where chain = ? order by image",
		damage->layer, &arena, err);
	damage->holders =
		damage->images
			? load_users(c,
	                             "select distinct holder from lease_layer where chain = ?"
	                             " order by holder",
	                             damage->layer, &arena, err)
			: NULL;
	if (!damage->holders)
		return -1;
	c->done.damaged++;
	c->done.mended += damage->mended;
	if (c->options->damaged && c->options->damaged(c->options->arg, damage) < 0)
		return err_set(err, ERR_CANCELED, "the check was canceled");
	return 0;
}

/* ---- a layer ---- */

static int mend(struct check *c, const char *chain, const struct verdict *verdict,
                struct image_damage *damage, struct mend *m, struct err *why)
{
	*m = (struct mend){
		.store = c->store,
		.chain = chain,
		.damage = verdict->damage,
		.auth_for = c->options->auth_for,
		.auth_arg = c->options->auth_arg,
		.tell = hear_fetch,
		.tell_arg = c,
	};
	c->told = 0;
	damage->mended = layer_mend(m, why) == 0;
	damage->outcome = damage->mended ? m->how : why->msg;
	log_warn(c->store->log, damage->mended ? "layer was mended" : "layer cannot be mended",
	         "layer=%s damaged=\"%s\" reason=\"%s\" outcome=\"%s\"", chain, damage->what,
	         damage->reason, damage->outcome);
	return why->kind == ERR_CANCELED || why->kind == ERR_NOMEM ? -1 : 0;
}

static int found_damage(struct check *c, const char *chain, const struct image_layer *row,
                        const struct verdict *verdict, struct err *err)
{
	struct err why = ERR_INIT;
	struct mend m;
	char words[40];
	struct image_damage damage = {
		.layer = chain,
		.diff_id = row->diff_id,
		.blob = row->blob,
		.what = damage_words(verdict->damage, words),
		.reason = verdict->reason,
		.outcome = "",
	};

	if (c->options->repair && mend(c, chain, verdict, &damage, &m, &why) < 0) {
		if (err)
			*err = why;
		return -1;
	}
	(void)tell(c, damage.mended ? "Repaired" : "Damaged", 0, 0);
	/* What containers see of it is as it should be. */
	if (verdict->damage == DAMAGE_BLOB && clear_doubt(c->store, chain, err) < 0)
		return -1;
	return report(c, &damage, err);
}

static int check_claimed(struct check *c, const char *chain, struct err *err)
{
	const struct verify_watch watch = {hear_bytes, c};
	struct image_layer row;
	struct verdict verdict;

	int known = layer_find(c->store, chain, &row, NULL, err);
	if (known <= 0)
		return known;
	c->current = c->told = 0;
	c->total = row.size + row.blob_size;
	(void)snprintf(c->short_id, sizeof(c->short_id), "%.12s", digest_hex(chain));
	if (tell(c, "Verifying", 0, c->total) < 0)
		return err_set(err, ERR_CANCELED, "the check was canceled");
	struct err why = ERR_INIT;
	int rc = layer_verify(c->store, chain, true, &watch, &verdict, &why);
	/* Removed while it was read: nobody misses it. */
	if ((rc < 0 || verdict.damage) && is_gone(c->store, chain))
		return 0;
	if (rc < 0) {
		if (err)
			*err = why;
		return -1;
	}
	c->done.layers++;
	if (verdict.damage)
		return found_damage(c, chain, &row, &verdict, err);
	(void)tell(c, "Sound", 0, 0);
	return clear_doubt(c->store, chain, err);
}

static int check_layer(struct check *c, const char *chain, struct err *err)
{
	if (store_making_begin(c->store, chain, err) < 0)
		return -1;
	int rc = check_claimed(c, chain, err);
	store_making_end(c->store, chain);
	return rc;
}

/* ---- all ---- */

static int list_layers(struct image_store *store, char (**list)[DIGEST_TEXT_MAX], size_t *count,
                       struct err *err)
{
	auto_type(db_rows) rows =
		db_query(store->db, err, "select chain from layer order by born_ns, chain", "");
	int rc = rows ? 1 : -1;

	while (rc > 0 && (rc = db_step(rows, err)) > 0) {
		void *more = reallocarray(*list, *count + 1, sizeof(**list));
		if (!more)
			return err_nomem(err);
		*list = more;
		(void)snprintf((*list)[(*count)++], DIGEST_TEXT_MAX, "%s", db_text(rows, 0));
	}
	return rc;
}

int image_check(struct image_store *store, const struct image_check *check,
                struct image_checked *out, struct err *err)
{
	struct check c = {.store = store, .options = check};
	char(*layers)[DIGEST_TEXT_MAX] = NULL;
	size_t count = 0;

	int rc = list_layers(store, &layers, &count, err);
	for (size_t i = 0; rc == 0 && i < count; i++)
		rc = check_layer(&c, layers[i], err);
	free(layers);
	*out = c.done;
	return rc;
}

/* ---- the first use after an unclean boot ---- */

/* A start does not wait for a registry that does not answer. */
static int fetch_once(void *arg, enum fetch_stage stage, int64_t current)
{
	(void)arg, (void)current;
	return stage == FETCH_RETRYING ? -1 : 0;
}

static int settle(struct image_store *store, const char *chain, struct err *err)
{
	struct mend m = {.store = store, .chain = chain, .tell = fetch_once};
	struct err why = ERR_INIT;
	struct verdict verdict;
	int64_t doubt = 0;
	char words[40];

	int known = db_query_int(store->db, err, &doubt, "select doubt from layer where chain = ?",
	                         "t", chain);
	if (known < 0 || !doubt)
		return known < 0 ? -1 : 0;
	if (layer_verify(store, chain, false, NULL, &verdict, err) < 0)
		return -1;
	if (!verdict.damage)
		return clear_doubt(store, chain, err);
	m.damage = verdict.damage;
	damage_words(verdict.damage, words);
	if (layer_mend(&m, &why) == 0) {
		log_warn(store->log, "layer was mended",
		         "layer=%s damaged=\"%s\" reason=\"%s\" outcome=\"%s\"", chain, words,
		         verdict.reason, m.how);
		return 0;
	}
	return err_set(err, ERR_SYSTEM,
	               "layer %s was damaged when the machine went down (%s) and cannot be mended "
	               "now: %s; `buoy system check --repair` says more",
	               chain, verdict.reason, why.msg);
}

int layer_settle(struct image_store *store, const char *chain, struct err *err)
{
	if (store_making_begin(store, chain, err) < 0)
		return -1;
	int rc = settle(store, chain, err);
	store_making_end(store, chain);
	return rc;
}
