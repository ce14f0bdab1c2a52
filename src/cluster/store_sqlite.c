/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "base/db.h"
#include "base/err.h"
#include "cluster/store_driver.h"

/* store_sqlite - a table of objects, and one row with the epoch and the revision. See store.h. */

struct sqlite_store {
	struct db *db; /* owned */
};

static const char *const schema[] = {
	"create table object(kind integer not null, id text not null, version integer not null,"
	" text blob not null, primary key(kind, id)) without rowid;"
	"create table head(one integer primary key check(one = 1), epoch integer not null,"
	" revision integer not null);"
	"insert into head values(1, 0, 0);",
	NULL,
};

static int visit(struct db_rows *rows, enum store_kind kind, const struct store_visitor *visitor,
                 struct err *err)
{
	struct store_object object = {
		.kind = kind, .id = db_text(rows, 0), .version = db_int(rows, 1)};

	object.text = db_blob(rows, 2, &object.len);
	return visitor->fn(visitor->arg, &object, err);
}

static int sqlite_get(void *state, enum store_kind kind, const char *id,
                      const struct store_visitor *visitor, struct err *err)
{
	struct sqlite_store *s = state;
	auto_type(db_rows) rows = db_query(
		s->db, err, "select id, version, text from object where kind = ? and id = ?", "it",
		(int64_t)kind, id);
	int found = rows ? db_step(rows, err) : -1;

	if (found > 0 && visit(rows, kind, visitor, err) < 0)
		return -1;
	return found;
}

static int sqlite_list(void *state, enum store_kind kind, const struct store_visitor *visitor,
                       struct err *err)
{
	struct sqlite_store *s = state;
	auto_type(db_rows) rows = db_query(
		s->db, err, "select id, version, text from object where kind = ? order by id", "i",
		(int64_t)kind);
	int more = rows ? db_step(rows, err) : -1;

	while (more > 0) {
		if (visit(rows, kind, visitor, err) < 0)
			return -1;
		more = db_step(rows, err);
	}
	return more;
}

static int read_head(struct db *db, int64_t *epoch, int64_t *revision, struct err *err)
{
	auto_type(db_rows) rows = db_query(db, err, "select epoch, revision from head", "");
	int found = rows ? db_step(rows, err) : -1;

	if (found == 0)
		return err_set(err, ERR_INTERNAL, "store has no head row");
	if (found < 0)
		return -1;
	*epoch = db_int(rows, 0);
	*revision = db_int(rows, 1);
	return 0;
}

static int apply(struct db *db, const struct store_op *op, int64_t revision, struct err *err)
{
	int64_t found = 0;

	if (op->expected != STORE_ANY) {
		if (db_query_int(db, err, &found,
		                 "select version from object where kind = ? and id = ?", "it",
		                 (int64_t)op->kind, op->id) < 0 ||
		    store_check_version(op, found, err) < 0)
			return -1;
	}
	if (op->remove)
		return db_exec(db, err, "delete from object where kind = ? and id = ?", "it",
		               (int64_t)op->kind, op->id);
	return db_exec(db, err,
	               "insert into object(kind, id, version, text) values(?, ?, ?, ?)"
	               " on conflict(kind, id) do update set version = excluded.version,"
	               " text = excluded.text",
	               "itib", (int64_t)op->kind, op->id, revision, op->text, op->len);
}

static int write_all(struct db *db, int64_t epoch, const struct store_op *ops, int64_t *revision,
                     struct err *err)
{
	int64_t newest;

	if (read_head(db, &newest, revision, err) < 0 || store_check_epoch(epoch, newest, err) < 0)
		return -1;
	++*revision;
	for (const struct store_op *op = ops; op; op = op->next)
		if (apply(db, op, *revision, err) < 0)
			return -1;
	return db_exec(db, err, "update head set revision = ?", "i", *revision);
}

static int64_t sqlite_commit(void *state, int64_t epoch, struct store_op *ops, struct err *err)
{
	struct sqlite_store *s = state;
	int64_t revision;

	if (db_begin(s->db, err) < 0)
		return -1;
	if (write_all(s->db, epoch, ops, &revision, err) < 0) {
		db_rollback(s->db);
		return -1;
	}
	return db_commit(s->db, err) < 0 ? -1 : revision;
}

static int sqlite_revision(void *state, int64_t *revision, struct err *err)
{
	struct sqlite_store *s = state;
	int64_t epoch;

	return read_head(s->db, &epoch, revision, err);
}

static void sqlite_close(void *state)
{
	struct sqlite_store *s = state;

	db_free(s->db);
	free(s);
}

static const struct store_driver sqlite_driver = {
	.get = sqlite_get,
	.list = sqlite_list,
	.commit = sqlite_commit,
	.revision = sqlite_revision,
	.close = sqlite_close,
};

static int take_epoch(struct db *db, int64_t *epoch, int64_t *revision, struct err *err)
{
	if (db_begin(db, err) < 0)
		return -1;
	if (db_exec(db, err, "update head set epoch = epoch + 1", "") < 0 ||
	    read_head(db, epoch, revision, err) < 0) {
		db_rollback(db);
		return -1;
	}
	return db_commit(db, err);
}

struct store *store_sqlite_open(int dir_fd, const char *name, struct err *err)
{
	struct sqlite_store *s = calloc(1, sizeof(*s));
	int64_t epoch, revision;

	if (!s) {
		err_nomem(err);
		return NULL;
	}
	s->db = db_open(dir_fd, name, schema, DB_FULL, err);
	if (!s->db || take_epoch(s->db, &epoch, &revision, err) < 0) {
		sqlite_close(s);
		return NULL;
	}
	return store_create(&sqlite_driver, s, epoch, revision, err);
}

int store_sqlite_raise(int dir_fd, const char *name, int64_t epoch, struct err *err)
{
	auto_type(db) db = db_open(dir_fd, name, schema, DB_FULL, err);

	return db ? db_exec(db, err, "update head set epoch = max(epoch, ?)", "i", epoch) : -1;
}
