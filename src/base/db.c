/* SPDX-License-Identifier: Apache-2.0 */
#include "base/db.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sqlite3.h>

#include "base/err.h"

#define BUSY_TIMEOUT_MS 10000
#define CACHE_KIB       512 /* page cache; our tables are small */
#define KEPT_MAX        24  /* statements */

/* A compiled statement is used again: to compile one takes longer than to run it. */
struct statement {
	sqlite3_stmt *stmt; /* owned; NULL: free */
	bool busy;
	uint64_t used; /* when last, by the handle's count */
};

struct db {
	sqlite3 *handle;      /* owned */
	pthread_mutex_t lock; /* recursive: db_begin() keeps it */
	int dir_fd;           /* owned; the path goes through /proc/self/fd */
	enum db_sync sync;
	int depth; /* transactions of the thread that holds the lock; guarded by lock */
	struct statement kept[KEPT_MAX]; /* guarded by lock */
	uint64_t uses;                   /* guarded by lock */
};

struct db_rows {
	struct db *db;      /* borrowed; its lock is held until db_rows_free() */
	sqlite3_stmt *stmt; /* owned; goes back by give_back() */
};

static int fail(struct db *db, const char *what, struct err *err)
{
	int code = sqlite3_errcode(db->handle);
	int system = sqlite3_system_errno(db->handle);
	const char *words = sqlite3_errmsg(db->handle);

	switch (code) {
	case SQLITE_CONSTRAINT:
		return err_set(err, ERR_CONFLICT, "database: %s: %s", what, words);
	case SQLITE_IOERR:
		if (system != ENOSPC && system != EDQUOT)
			return err_set(err, ERR_SYSTEM, "database: %s: %s%s%s", what, words,
			               system ? ": " : "", system ? strerror(system) : "");
		return err_set(err, ERR_LIMIT, "database: %s: no space left on the disk", what);
	case SQLITE_FULL:
		return err_set(err, ERR_LIMIT, "database: %s: no space left on the disk", what);
	case SQLITE_NOMEM:
		return err_nomem(err);
	case SQLITE_BUSY:
		return err_set(err, ERR_UNAVAILABLE, "database: %s: %s", what, words);
	default:
		return err_set(err, ERR_SYSTEM, "database: %s: %s", what, words);
	}
}

static int run(struct db *db, const char *sql, struct err *err)
{
	if (sqlite3_exec(db->handle, sql, NULL, NULL, NULL) != SQLITE_OK)
		return fail(db, sql, err);
	return 0;
}

static int migrate_one(struct db *db, const char *script, int version, struct err *err)
{
	char pragma[64];

	snprintf(pragma, sizeof(pragma), "pragma user_version = %d", version);
	if (run(db, "begin immediate", err) < 0)
		return -1;
	if (run(db, script, err) < 0 || run(db, pragma, err) < 0 || run(db, "commit", err) < 0) {
		sqlite3_exec(db->handle, "rollback", NULL, NULL, NULL);
		return -1;
	}
	return 0;
}

static int migrate(struct db *db, const char *const *migrations, struct err *err)
{
	int64_t version = 0;
	int count = 0;

	while (migrations[count])
		count++;
	if (db_query_int(db, err, &version, "pragma user_version", "") < 0)
		return -1;
	if (version > count)
		return err_set(
			err, ERR_UNSUPPORTED,
			"it was written by a newer version (schema %d, this program knows %d)",
			(int)version, count);
	for (int i = (int)version; i < count; i++)
		if (migrate_one(db, migrations[i], i + 1, err) < 0)
			return -1;
	return 0;
}

static int configure(struct db *db, enum db_sync sync, struct err *err)
{
	char cache[64];

	snprintf(cache, sizeof(cache), "pragma cache_size = -%d", CACHE_KIB);
	db->sync = sync;
	sqlite3_busy_timeout(db->handle, BUSY_TIMEOUT_MS);
	if (run(db, "pragma journal_mode = wal", err) < 0 ||
	    run(db, "pragma foreign_keys = on", err) < 0 || run(db, cache, err) < 0)
		return -1;
	return run(db,
	           sync == DB_FULL ? "pragma synchronous = full" : "pragma synchronous = normal",
	           err);
}

static struct db *create(int dir_fd, struct err *err)
{
	struct db *db = calloc(1, sizeof(*db));
	pthread_mutexattr_t recursive;

	if (!db) {
		err_nomem(err);
		return NULL;
	}
	pthread_mutexattr_init(&recursive);
	pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
	pthread_mutex_init(&db->lock, &recursive);
	pthread_mutexattr_destroy(&recursive);
	db->dir_fd = dir_fd < 0 ? -1 : fcntl(dir_fd, F_DUPFD_CLOEXEC, 3);
	return db;
}

struct db *db_open(int dir_fd, const char *name, const char *const *migrations, enum db_sync sync,
                   struct err *err)
{
	auto_type(db) db = create(dir_fd, err);
	char path[512];

	if (!db)
		return NULL;
	if (strcmp(name, ":memory:") == 0)
		snprintf(path, sizeof(path), ":memory:");
	else
		snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", db->dir_fd, name);

	if (sqlite3_open_v2(path, &db->handle,
	                    SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
	                    NULL) != SQLITE_OK) {
		if (db->handle)
			fail(db, "open", err);
		else
			err_nomem(err);
		err_wrap(err, "%s", name);
		return NULL;
	}
	sqlite3_extended_result_codes(db->handle, 0);
	if (configure(db, sync, err) < 0 || migrate(db, migrations, err) < 0) {
		err_wrap(err, "%s", name);
		return NULL;
	}
	return move_ptr(db);
}

void db_free(struct db *db)
{
	if (!db)
		return;
	for (size_t i = 0; i < KEPT_MAX; i++)
		sqlite3_finalize(db->kept[i].stmt);
	sqlite3_close_v2(db->handle);
	cleanup_close(&db->dir_fd);
	pthread_mutex_destroy(&db->lock);
	free(db);
}

static int bind_one(sqlite3_stmt *stmt, int index, char type, va_list *ap)
{
	switch (type) {
	case 't':
		return sqlite3_bind_text(stmt, index, va_arg(*ap, const char *), -1,
		                         SQLITE_TRANSIENT);
	case 'i':
		return sqlite3_bind_int64(stmt, index, va_arg(*ap, int64_t));
	case 'b': {
		const void *data = va_arg(*ap, const void *);
		size_t len = va_arg(*ap, size_t);
		return sqlite3_bind_blob64(stmt, index, data, len, SQLITE_TRANSIENT);
	}
	case 'n':
		return sqlite3_bind_null(stmt, index);
	default:
		return SQLITE_MISUSE;
	}
}

/* The kept statement of this text that nobody is using, or the place for a new one; NULL: all are in use. */
static struct statement *find_kept(struct db *db, const char *sql)
{
	struct statement *oldest = NULL;

	for (size_t i = 0; i < KEPT_MAX; i++) {
		struct statement *one = &db->kept[i];

		if (one->busy)
			continue;
		if (one->stmt && strcmp(sqlite3_sql(one->stmt), sql) == 0)
			return one;
		if (!oldest || one->used < oldest->used)
			oldest = one;
	}
	return oldest;
}

static sqlite3_stmt *compile(struct db *db, const char *sql)
{
	struct statement *place = find_kept(db, sql);
	bool kept = place && place->stmt && strcmp(sqlite3_sql(place->stmt), sql) == 0;
	sqlite3_stmt *stmt = kept ? place->stmt : NULL;

	if (!kept && sqlite3_prepare_v3(db->handle, sql, -1, place ? SQLITE_PREPARE_PERSISTENT : 0,
	                                &stmt, NULL) != SQLITE_OK)
		return NULL;
	if (!place)
		return stmt;
	if (!kept)
		sqlite3_finalize(place->stmt);
	*place = (struct statement){.stmt = stmt, .busy = true, .used = ++db->uses};
	return stmt;
}

static void give_back(struct db *db, sqlite3_stmt *stmt)
{
	for (size_t i = 0; stmt && i < KEPT_MAX; i++) {
		if (db->kept[i].stmt != stmt)
			continue;
		(void)sqlite3_reset(stmt);
		(void)sqlite3_clear_bindings(stmt);
		db->kept[i].busy = false;
		return;
	}
	sqlite3_finalize(stmt);
}

static sqlite3_stmt *prepare(struct db *db, const char *sql, const char *types, va_list *ap,
                             struct err *err)
{
	sqlite3_stmt *stmt = compile(db, sql);

	if (!stmt) {
		fail(db, sql, err);
		return NULL;
	}
	for (int i = 0; types[i]; i++) {
		if (bind_one(stmt, i + 1, types[i], ap) != SQLITE_OK) {
			fail(db, sql, err);
			give_back(db, stmt);
			return NULL;
		}
	}
	return stmt;
}

int db_exec(struct db *db, struct err *err, const char *sql, const char *types, ...)
{
	va_list ap;
	int changes = -1;

	pthread_mutex_lock(&db->lock);
	va_start(ap, types);
	sqlite3_stmt *stmt = prepare(db, sql, types, &ap, err);
	va_end(ap);
	if (stmt) {
		int rc = sqlite3_step(stmt);
		if (rc == SQLITE_DONE || rc == SQLITE_ROW)
			changes = sqlite3_changes(db->handle);
		else
			fail(db, sql, err);
		give_back(db, stmt);
	}
	pthread_mutex_unlock(&db->lock);
	return changes;
}

static struct db_rows *query(struct db *db, const char *sql, const char *types, va_list *ap,
                             struct err *err)
{
	struct db_rows *rows = calloc(1, sizeof(*rows));

	if (!rows) {
		err_nomem(err);
		return NULL;
	}
	pthread_mutex_lock(&db->lock);
	rows->db = db;
	rows->stmt = prepare(db, sql, types, ap, err);
	if (!rows->stmt) {
		db_rows_free(rows);
		return NULL;
	}
	return rows;
}

struct db_rows *db_query(struct db *db, struct err *err, const char *sql, const char *types, ...)
{
	va_list ap;

	va_start(ap, types);
	struct db_rows *rows = query(db, sql, types, &ap, err);
	va_end(ap);
	return rows;
}

int db_step(struct db_rows *rows, struct err *err)
{
	switch (sqlite3_step(rows->stmt)) {
	case SQLITE_ROW:
		return 1;
	case SQLITE_DONE:
		return 0;
	default:
		return fail(rows->db, sqlite3_sql(rows->stmt), err);
	}
}

const char *db_text(struct db_rows *rows, int column)
{
	return (const char *)sqlite3_column_text(rows->stmt, column);
}

int64_t db_int(struct db_rows *rows, int column)
{
	return sqlite3_column_int64(rows->stmt, column);
}

const void *db_blob(struct db_rows *rows, int column, size_t *len)
{
	const void *data = sqlite3_column_blob(rows->stmt, column);

	*len = (size_t)sqlite3_column_bytes(rows->stmt, column);
	return data;
}

void db_rows_free(struct db_rows *rows)
{
	if (!rows)
		return;
	give_back(rows->db, rows->stmt);
	pthread_mutex_unlock(&rows->db->lock);
	free(rows);
}

int db_query_int(struct db *db, struct err *err, int64_t *value, const char *sql, const char *types,
                 ...)
{
	va_list ap;

	va_start(ap, types);
	auto_type(db_rows) rows = query(db, sql, types, &ap, err);
	va_end(ap);
	if (!rows)
		return -1;
	int rc = db_step(rows, err);
	if (rc == 1)
		*value = db_int(rows, 0);
	return rc;
}

int db_begin(struct db *db, struct err *err)
{
	pthread_mutex_lock(&db->lock);
	if (db->depth > 0) {
		pthread_mutex_unlock(&db->lock);
		return err_set(err, ERR_INTERNAL, "database: a transaction inside a transaction");
	}
	if (run(db, "begin immediate", err) < 0) {
		pthread_mutex_unlock(&db->lock);
		return -1;
	}
	db->depth = 1;
	return 0;
}

int db_commit(struct db *db, struct err *err)
{
	if (run(db, "commit", err) < 0) {
		db_rollback(db);
		return -1;
	}
	db->depth = 0;
	pthread_mutex_unlock(&db->lock);
	return 0;
}

void db_rollback(struct db *db)
{
	/* Only the thread that is inside has the lock; another one must not undo its work. */
	if (pthread_mutex_trylock(&db->lock) != 0)
		return;
	if (db->depth > 0) {
		sqlite3_exec(db->handle, "rollback", NULL, NULL, NULL);
		db->depth = 0;
		pthread_mutex_unlock(&db->lock);
	}
	pthread_mutex_unlock(&db->lock);
}

void db_relax(struct db *db)
{
	pthread_mutex_lock(&db->lock); /* recursive: held until db_relax_end() */
	(void)run(db, "pragma synchronous = normal", NULL);
}

void db_relax_end(struct db *db)
{
	if (db->sync == DB_FULL)
		(void)run(db, "pragma synchronous = full", NULL);
	pthread_mutex_unlock(&db->lock);
}
