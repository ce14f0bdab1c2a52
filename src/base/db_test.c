/* SPDX-License-Identifier: Apache-2.0 */
#include "base/db.h"

#include "base/err.h"
#include "base/str.h"
#include "base/testing.h"

static const char *const schema_1[] = {
	"create table name(name text primary key, id text not null, size integer)", NULL};
static const char *const schema_2[] = {
	"create table name(name text primary key, id text not null, size integer)",
	"alter table name add column note text", NULL};
static const char *const schema_bad[] = {"create table a(x); create nonsense", NULL};

static struct db *open_memory(void)
{
	struct err err = ERR_INIT;
	struct db *db = db_open(-1, ":memory:", schema_1, DB_FULL, &err);

	assert_non_null(db);
	return db;
}

static void rows_come_back_as_they_went_in(void **state)
{
	struct err err = ERR_INIT;
	auto_type(db) db = open_memory();

	(void)state;
	assert_int_equal(
		db_exec(db, &err, "insert into name values(?,?,?)", "tti", "web", "4f5", INT64_MAX),
		1);
	assert_int_equal(db_exec(db, &err, "insert into name values(?,?,?)", "ttn", "x", ""), 1);

	auto_type(db_rows) rows =
		db_query(db, &err, "select name, id, size from name order by name", "");
	assert_int_equal(db_step(rows, &err), 1);
	assert_string_equal(db_text(rows, 0), "web");
	assert_string_equal(db_text(rows, 1), "4f5");
	assert_true(db_int(rows, 2) == INT64_MAX);
	assert_int_equal(db_step(rows, &err), 1);
	assert_string_equal(db_text(rows, 1), "");
	assert_null(db_text(rows, 2));
	assert_int_equal(db_step(rows, &err), 0);
}

static void a_taken_key_is_a_conflict(void **state)
{
	struct err err = ERR_INIT;
	auto_type(db) db = open_memory();

	(void)state;
	assert_int_equal(db_exec(db, &err, "insert into name values('a','1',0)", ""), 1);
	assert_int_equal(db_exec(db, &err, "insert into name values('a','2',0)", ""), -1);
	assert_int_equal(err.kind, ERR_CONFLICT);
}

static void a_rollback_takes_everything_back(void **state)
{
	struct err err = ERR_INIT;
	auto_type(db) db = open_memory();
	int64_t n = -1;

	(void)state;
	assert_int_equal(db_begin(db, &err), 0);
	db_exec(db, &err, "insert into name values('a','1',0)", "");
	db_rollback(db);
	db_rollback(db); /* outside of one: nothing happens */
	assert_int_equal(db_query_int(db, &err, &n, "select count(*) from name", ""), 1);
	assert_int_equal(n, 0);
	assert_int_equal(db_begin(db, &err), 0);
	db_exec(db, &err, "insert into name values('a','1',0)", "");
	assert_int_equal(db_begin(db, &err), -1);
	assert_int_equal(db_commit(db, &err), 0);
	assert_int_equal(db_query_int(db, &err, &n, "select count(*) from name", ""), 1);
	assert_int_equal(n, 1);
}

static void migrations_run_once_and_only_forwards(void **state)
{
	char path[] = "/tmp/db-test-XXXXXX";
	struct err err = ERR_INIT;

	(void)state;
	assert_non_null(mkdtemp(path));
	int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	db_free(db_open(dir, "x.db", schema_1, DB_FULL, &err));
	struct db *db = db_open(dir, "x.db", schema_2, DB_NORMAL, &err);
	assert_non_null(db);
	assert_int_equal(
		db_exec(db, &err, "insert into name(name,id,note) values('a','b','c')", ""), 1);
	db_free(db);

	assert_null(db_open(dir, "x.db", schema_1, DB_FULL, &err));
	assert_int_equal(err.kind, ERR_UNSUPPORTED);
	assert_null(db_open(dir, "y.db", schema_bad, DB_FULL, &err));
	assert_true(str_starts(err.msg, "y.db: database: "));
	close(dir);
	testing_remove_tree(path);
}

static void relaxed_commits_are_commits_and_end(void **state)
{
	char path[] = "/tmp/db-test-XXXXXX";
	struct err err = ERR_INIT;
	int64_t n = -1, level = -1;

	(void)state;
	assert_non_null(mkdtemp(path));
	int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct db *db = db_open(dir, "x.db", schema_1, DB_FULL, &err);
	assert_non_null(db);
	db_relax(db);
	assert_int_equal(db_query_int(db, &err, &level, "pragma synchronous", ""), 1);
	assert_int_equal(level, 1);
	assert_int_equal(db_exec(db, &err, "insert into name values('a','b',0)", ""), 1);
	db_relax_end(db);
	assert_int_equal(db_query_int(db, &err, &level, "pragma synchronous", ""), 1);
	assert_int_equal(level, 2);
	db_free(db);
	db = db_open(dir, "x.db", schema_1, DB_FULL, &err);
	assert_int_equal(db_query_int(db, &err, &n, "select count(*) from name", ""), 1);
	assert_int_equal(n, 1);
	db_free(db);
	close(dir);
	testing_remove_tree(path);
}

TESTING_MAIN(TEST(relaxed_commits_are_commits_and_end), TEST(rows_come_back_as_they_went_in),
             TEST(a_taken_key_is_a_conflict), TEST(a_rollback_takes_everything_back),
             TEST(migrations_run_once_and_only_forwards))
