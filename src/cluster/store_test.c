/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/store.h"

#include "base/err.h"
#include "base/testing.h"

/* The same sentences hold for every driver. */

struct fixture {
	const char *driver;
	struct store_disk *disk; /* memory */
	char dir[64];            /* sqlite */
	int dir_fd;
};

static struct store *open_store(struct fixture *f)
{
	struct err err = ERR_INIT;
	struct store *s = f->disk ? store_memory_open(f->disk, &err)
	                          : store_sqlite_open(f->dir_fd, "cluster.db", &err);

	if (!s)
		fail_msg("%s", err.msg);
	return s;
}

static int setup_memory(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->driver = "memory";
	f->disk = store_disk_create(NULL);
	*state = f;
	return 0;
}

static int setup_sqlite(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->driver = "sqlite";
	snprintf(f->dir, sizeof(f->dir), "/tmp/buoy-store-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->dir_fd = open(f->dir, O_DIRECTORY | O_CLOEXEC);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	if (f->disk) {
		store_disk_free(f->disk);
	} else {
		close(f->dir_fd);
		testing_remove_tree(f->dir);
	}
	free(f);
	return 0;
}

static int64_t put(struct store *s, const char *id, int64_t expected, const char *text,
                   struct err *err)
{
	auto_type(store_tx) tx = store_begin(s, err);

	store_put(tx, STORE_SERVICE, id, expected, text, strlen(text));
	return store_commit(tx, err);
}

static int copy_text(void *arg, const struct store_object *object, struct err *err)
{
	(void)err;
	snprintf(arg, 256, "%s@%lld=%.*s", object->id, (long long)object->version, (int)object->len,
	         object->text);
	return 0;
}

static const char *get(struct store *s, const char *id, char text[256])
{
	text[0] = '\0';
	(void)store_get(s, STORE_SERVICE, id, copy_text, text, NULL);
	return text;
}

static void a_commit_survives_closing_and_the_revision_goes_on(void **state)
{
	char text[256];
	struct store *s = open_store(*state);

	assert_int_equal(put(s, "web", STORE_NEW, "one", NULL), 1);
	assert_int_equal(put(s, "web", 1, "two", NULL), 2);
	store_free(s);

	s = open_store(*state);
	assert_int_equal(store_revision(s), 2);
	assert_string_equal(get(s, "web", text), "web@2=two");
	assert_int_equal(put(s, "db", STORE_NEW, "x", NULL), 3);
	store_free(s);
}

static void a_wrong_version_is_out_of_sequence_and_changes_nothing(void **state)
{
	struct err err = ERR_INIT;
	char text[256];
	auto_type(store) s = open_store(*state);
	auto_type(store_tx) tx = store_begin(s, NULL);

	assert_int_equal(put(s, "web", STORE_NEW, "one", NULL), 1);
	store_put(tx, STORE_SERVICE, "other", STORE_NEW, "x", 1);
	store_put(tx, STORE_SERVICE, "web", 7, "two", 3);
	assert_int_equal(store_commit(tx, &err), -1);
	assert_int_equal(err.kind, ERR_CONFLICT);
	assert_string_equal(err.msg, "update out of sequence");
	assert_string_equal(get(s, "web", text), "web@1=one");
	assert_string_equal(get(s, "other", text), "");
	assert_int_equal(store_revision(s), 1);

	err = ERR_INIT;
	assert_int_equal(put(s, "web", STORE_NEW, "again", &err), -1);
	assert_int_equal(err.kind, ERR_CONFLICT);
}

static void an_older_leader_cannot_write(void **state)
{
	struct err err = ERR_INIT;
	auto_type(store) old = open_store(*state);
	auto_type(store) new = open_store(*state);

	assert_int_equal(store_epoch(new), store_epoch(old) + 1);
	assert_int_equal(put(old, "web", STORE_ANY, "late", &err), -1);
	assert_true(store_is_stale(&err));
	assert_int_equal(put(new, "web", STORE_ANY, "mine", NULL), 1);
}

static void an_empty_transaction_still_checks_the_epoch(void **state)
{
	struct err err = ERR_INIT;
	auto_type(store) old = open_store(*state);
	auto_type(store_tx) tx = store_begin(old, NULL);
	auto_type(store) new = open_store(*state);

	(void)new;
	assert_int_equal(store_commit(tx, &err), -1);
	assert_true(store_is_stale(&err));
}

static void a_removed_object_is_gone_and_may_be_made_again(void **state)
{
	struct err err = ERR_INIT;
	auto_type(store) s = open_store(*state);
	auto_type(store_tx) tx = store_begin(s, NULL);

	assert_int_equal(put(s, "web", STORE_NEW, "one", NULL), 1);
	store_remove(tx, STORE_SERVICE, "web", 1);
	assert_int_equal(store_commit(tx, NULL), 2);
	assert_int_equal(store_get(s, STORE_SERVICE, "web", copy_text, NULL, &err), -1);
	assert_int_equal(err.kind, ERR_NOT_FOUND);
	assert_string_equal(err.msg, "service web not found");
	assert_int_equal(put(s, "web", STORE_NEW, "two", NULL), 3);
}

static int add_id(void *arg, const struct store_object *object, struct err *err)
{
	(void)err;
	snprintf((char *)arg + strlen(arg), 8, "%s", object->id);
	return 0;
}

static void a_list_is_in_the_order_of_ids_and_of_one_kind(void **state)
{
	char ids[64] = "";
	auto_type(store) s = open_store(*state);
	auto_type(store_tx) tx = store_begin(s, NULL);

	store_put(tx, STORE_SERVICE, "c", STORE_NEW, "", 0);
	store_put(tx, STORE_SERVICE, "a", STORE_NEW, "", 0);
	store_put(tx, STORE_TASK, "b", STORE_NEW, "", 0);
	assert_int_equal(store_commit(tx, NULL), 1);
	assert_int_equal(store_list(s, STORE_SERVICE, add_id, ids, NULL), 0);
	assert_string_equal(ids, "ac");
}

static void watchers_see_changes_in_order_and_learn_when_they_missed_some(void **state)
{
	struct store_change seen[4];
	struct err err = ERR_INIT;
	auto_type(store) s = open_store(*state);

	put(s, "a", STORE_ANY, "", NULL);
	put(s, "b", STORE_ANY, "", NULL);
	assert_int_equal(store_changes(s, 0, seen, 4, NULL), 2);
	assert_string_equal(seen[0].id, "a");
	assert_string_equal(seen[1].id, "b");
	assert_int_equal(store_changes(s, 1, seen, 4, NULL), 1);
	assert_int_equal(store_changes(s, 2, seen, 4, NULL), 0);
	assert_int_equal(store_changes(s, -1, seen, 4, &err), -1);
	assert_int_equal(err.kind, ERR_LIMIT);
}

#define FOR_BOTH(fn) TEST_WITH(fn, setup_memory, teardown), TEST_WITH(fn, setup_sqlite, teardown)

TESTING_MAIN(FOR_BOTH(a_commit_survives_closing_and_the_revision_goes_on),
             FOR_BOTH(a_wrong_version_is_out_of_sequence_and_changes_nothing),
             FOR_BOTH(an_older_leader_cannot_write),
             FOR_BOTH(an_empty_transaction_still_checks_the_epoch),
             FOR_BOTH(a_removed_object_is_gone_and_may_be_made_again),
             FOR_BOTH(a_list_is_in_the_order_of_ids_and_of_one_kind),
             FOR_BOTH(watchers_see_changes_in_order_and_learn_when_they_missed_some))
