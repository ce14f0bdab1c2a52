/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * db - a SQLite file, opened the way we want it, and statements without ceremony.
 *
 *	struct db *db = db_open(dir_fd, "engine.db", schema, DB_FULL, err);
 *	db_exec(db, err, "insert into name(name, id) values(?, ?)", "tt", name, id);
 *
 *	struct db_rows *rows = db_query(db, err, "select id, size from blob where x = ?", "i", x);
 *	while (db_step(rows, err) > 0)
 *		use(db_text(rows, 0), db_int(rows, 1));
 *	db_rows_free(rows);
 *
 * WAL, foreign keys on, busy time-out. A handle may be used from several threads:
 * one lock serialises it; db_begin() holds that lock until db_commit() or
 * db_rollback(), so a transaction is never mixed with another thread's calls.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

struct err;
struct db;
struct db_rows;

enum db_sync {
	DB_FULL,   /* a commit is on the disk when it returns */
	DB_NORMAL, /* a commit may be lost by power loss, the file never torn */
};

/* Opens or makes the file. `migrations` is a NULL-terminated list of SQL scripts; user_version
 * tells how many have run, each new one runs in a transaction. dir_fd is borrowed and kept
 * by duplicate. ":memory:" as name: no file. ERR_UNSUPPORTED if a newer program made it. */
struct db *db_open(int dir_fd, const char *name, const char *const *migrations, enum db_sync sync,
                   struct err *err);
void db_free(struct db *db);
DEFINE_AUTO(db)

/* One statement. `types` has a letter per argument: t const char * (NULL = null),
 * i int64_t, b const void * + size_t (a blob), n nothing (null). Returns rows changed.
 * ERR_CONFLICT: a constraint (unique, foreign key); ERR_LIMIT: the disk is full. */
int db_exec(struct db *db, struct err *err, const char *sql, const char *types, ...);

struct db_rows *db_query(struct db *db, struct err *err, const char *sql, const char *types, ...);
int db_step(struct db_rows *rows, struct err *err); /* 1: a row, 0: the end, -1 */
const char *db_text(struct db_rows *rows,
                    int column); /* borrowed until the next step; NULL = null */
int64_t db_int(struct db_rows *rows, int column);
const void *db_blob(struct db_rows *rows, int column, size_t *len);
void db_rows_free(struct db_rows *rows);
DEFINE_AUTO(db_rows)

/* One value; 1 if there was a row, 0 if not. */
int db_query_int(struct db *db, struct err *err, int64_t *value, const char *sql, const char *types,
                 ...);

int db_begin(struct db *db, struct err *err);  /* immediate; takes the handle's lock */
int db_commit(struct db *db, struct err *err); /* on failure the transaction is rolled back */
void db_rollback(struct db *db);               /* no-op outside a transaction of this thread */

/* Between the two, this thread's commits are as with DB_NORMAL: a kill of the program loses nothing, a power
 * cut may lose the last ones. For rows that could be made again, or that a power cut makes void anyway. */
void db_relax(struct db *db);
void db_relax_end(struct db *db);
