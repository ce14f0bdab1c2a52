/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "cluster/store_driver.h"

struct store {
	const struct store_driver *driver;
	void *state; /* owned; the driver's */
	int64_t epoch;
	int64_t revision;
	size_t changes_made;       /* since the handle was opened */
	int64_t opened_at;         /* revision from which the ring knows all */
	struct store_change *ring; /* owned; STORE_RING entries */
};

struct store_tx {
	struct store *store; /* borrowed */
	struct store_op *ops;
	struct store_op **tail;
	bool out_of_memory;
	bool spent;
};

static const char *const kind_names[STORE_KINDS] = {
	[STORE_CLUSTER] = "cluster", [STORE_NODE] = "node",       [STORE_SERVICE] = "service",
	[STORE_TASK] = "task",       [STORE_NETWORK] = "network", [STORE_SECRET] = "secret",
	[STORE_CONFIG] = "config",   [STORE_VOLUME] = "volume",
};

const char *store_kind_name(enum store_kind kind)
{
	return kind < STORE_KINDS ? kind_names[kind] : "object";
}

struct store *store_create(const struct store_driver *driver, void *state, int64_t epoch,
                           int64_t revision, struct err *err)
{
	struct store *s = calloc(1, sizeof(*s));
	struct store_change *ring = calloc(STORE_RING, sizeof(*ring));

	if (!s || !ring) {
		free(s);
		free(ring);
		driver->close(state);
		err_nomem(err);
		return NULL;
	}
	*s = (struct store){.driver = driver,
	                    .state = state,
	                    .epoch = epoch,
	                    .revision = revision,
	                    .opened_at = revision,
	                    .ring = ring};
	return s;
}

void store_free(struct store *store)
{
	if (!store)
		return;
	store->driver->close(store->state);
	free(store->ring);
	free(store);
}

int64_t store_epoch(const struct store *store)
{
	return store->epoch;
}

int64_t store_revision(const struct store *store)
{
	return store->revision;
}

int store_refresh(struct store *store, struct err *err)
{
	int64_t revision;

	if (store->driver->revision(store->state, &revision, err) < 0)
		return -1;
	if (revision != store->revision) {
		store->changes_made = 0;
		store->opened_at = revision;
	}
	store->revision = revision;
	return 0;
}

bool store_is_stale(const struct err *err)
{
	return err_is(err, ERR_DENIED);
}

#define TAKEN_OVER "the store has a newer leader"

bool store_was_taken_over(const struct err *err)
{
	return store_is_stale(err) && strstr(err->msg, TAKEN_OVER);
}

int store_check_epoch(int64_t ours, int64_t newest, struct err *err)
{
	if (ours == newest)
		return 0;
	return err_set(err, ERR_DENIED, TAKEN_OVER " (epoch %lld, ours is %lld)", (long long)newest,
	               (long long)ours);
}

int store_check_version(const struct store_op *op, int64_t found, struct err *err)
{
	if (op->expected == STORE_ANY || op->expected == found)
		return 0;
	return err_set(err, ERR_CONFLICT, "update out of sequence");
}

int store_get(struct store *store, enum store_kind kind, const char *id,
              int (*fn)(void *arg, const struct store_object *object, struct err *err), void *arg,
              struct err *err)
{
	struct store_visitor visitor = {.fn = fn, .arg = arg};
	int found = store->driver->get(store->state, kind, id, &visitor, err);

	if (found == 0)
		return err_set(err, ERR_NOT_FOUND, "%s %s not found", store_kind_name(kind), id);
	return found < 0 ? -1 : 0;
}

int store_list(struct store *store, enum store_kind kind,
               int (*fn)(void *arg, const struct store_object *object, struct err *err), void *arg,
               struct err *err)
{
	struct store_visitor visitor = {.fn = fn, .arg = arg};

	return store->driver->list(store->state, kind, &visitor, err);
}

/* ---- transactions ---- */

struct store_tx *store_begin(struct store *store, struct err *err)
{
	struct store_tx *tx = calloc(1, sizeof(*tx));

	if (!tx) {
		err_nomem(err);
		return NULL;
	}
	tx->store = store;
	tx->tail = &tx->ops;
	return tx;
}

static void op_free(struct store_op *op)
{
	free(op->id);
	free(op->text);
	free(op->spare);
	free(op);
}

void store_tx_free(struct store_tx *tx)
{
	if (!tx)
		return;
	while (tx->ops) {
		struct store_op *op = tx->ops;

		tx->ops = op->next;
		op_free(op);
	}
	free(tx);
}

static struct store_op *add_op(struct store_tx *tx, enum store_kind kind, const char *id,
                               int64_t expected)
{
	struct store_op *op = calloc(1, sizeof(*op));

	if (op)
		op->id = strdup(id);
	if (!op || !op->id) {
		free(op);
		tx->out_of_memory = true;
		return NULL;
	}
	op->kind = kind;
	op->expected = expected;
	*tx->tail = op;
	tx->tail = &op->next;
	return op;
}

void store_put(struct store_tx *tx, enum store_kind kind, const char *id, int64_t expected,
               const char *text, size_t len)
{
	struct store_op *op = add_op(tx, kind, id, expected);

	if (!op)
		return;
	op->text = malloc(len + 1);
	if (!op->text) {
		tx->out_of_memory = true;
		return;
	}
	memcpy(op->text, text, len);
	op->text[len] = '\0';
	op->len = len;
}

void store_remove(struct store_tx *tx, enum store_kind kind, const char *id, int64_t expected)
{
	struct store_op *op = add_op(tx, kind, id, expected);

	if (op)
		op->remove = true;
}

static void remember(struct store *s, const struct store_op *op, int64_t revision)
{
	struct store_change *change = &s->ring[s->changes_made++ % STORE_RING];

	*change = (struct store_change){
		.revision = revision, .kind = op->kind, .removed = op->remove};
	snprintf(change->id, sizeof(change->id), "%s", op->id);
}

int64_t store_commit(struct store_tx *tx, struct err *err)
{
	struct store *s = tx->store;

	if (tx->spent)
		return err_set(err, ERR_INTERNAL, "transaction was committed before");
	tx->spent = true;
	if (tx->out_of_memory)
		return err_nomem(err);

	int64_t revision = s->driver->commit(s->state, s->epoch, tx->ops, err);
	if (revision < 0) {
		/* It may have happened all the same: watchers have to list again. */
		s->changes_made = 0;
		s->opened_at = s->revision + 1;
		return -1;
	}
	s->revision = revision;
	for (const struct store_op *op = tx->ops; op; op = op->next)
		remember(s, op, revision);
	return revision;
}

/* ---- watching ---- */

int store_changes(const struct store *store, int64_t since, struct store_change *changes,
                  size_t max, struct err *err)
{
	size_t oldest = store->changes_made > STORE_RING ? store->changes_made - STORE_RING : 0;
	/* What stood in the ring before its oldest entry is known only by that entry's revision. */
	int64_t known_from = oldest ? store->ring[oldest % STORE_RING].revision : store->opened_at;
	size_t count = 0;

	if (since < known_from)
		return err_set(err, ERR_LIMIT,
		               "changes since revision %lld are forgotten (known from %lld): list "
		               "again",
		               (long long)since, (long long)known_from);
	for (size_t i = oldest; i < store->changes_made && count < max; i++)
		if (store->ring[i % STORE_RING].revision > since)
			changes[count++] = store->ring[i % STORE_RING];
	return (int)count;
}
