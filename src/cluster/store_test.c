/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/store.h"

#include "base/err.h"
#include "base/testing.h"
#include "cluster/etcd_testing.h"

/* The same sentences hold for every driver. */

struct fixture {
	const char *driver;
	struct store_disk *disk; /* memory */
	char dir[64];            /* sqlite */
	int dir_fd;
	char url[128]; /* etcd */
};

/* Takes the leadership, whoever has it. */
static struct store *open_etcd(struct fixture *f, struct err *err)
{
	struct etcd *e = etcd_open(&(struct etcd_options){.url = f->url}, err);
	auto_buf struct buf who = BUF_INIT(4096);
	int64_t epoch, revision;
	static int opened;
	char name[32];

	assert_non_null(e);
	if (etcd_holder(e, &who, &epoch, &revision, err) == 1)
		assert_int_equal(etcd_resign(e, epoch, err), 0);
	snprintf(name, sizeof(name), "leader %d", ++opened);
	assert_int_equal(etcd_campaign(e, name, 0, &epoch, NULL, err), 1);
	return store_etcd_open(e, epoch, err);
}

static struct store *open_store(struct fixture *f)
{
	struct err err = ERR_INIT;
	struct store *s = f->url[0] ? open_etcd(f, &err)
	                  : f->disk ? store_memory_open(f->disk, &err)
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

static int setup_etcd(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	static int fixtures;

	f->driver = "etcd";
	f->dir_fd = -1;
	/* Nobody listens on port 1: every test goes on to the second endpoint. */
	snprintf(f->url, sizeof(f->url), "etcd://127.0.0.1:1,127.0.0.1:%d/test%d",
	         etcd_testing_port(), ++fixtures);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	if (f->url[0]) {
		free(f);
		return 0;
	}
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

	assert_true(store_epoch(new) > store_epoch(old));
	assert_int_equal(put(old, "web", STORE_ANY, "late", &err), -1);
	assert_true(store_is_stale(&err));
	assert_true(store_was_taken_over(&err));
	err_set(&err, ERR_DENIED, "this user may not");
	assert_false(store_was_taken_over(&err)); /* a request's own refusal */
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

static int count_whole(void *arg, const struct store_object *object, struct err *err)
{
	(void)err;
	if (object->len == 4000 && object->version == 1 && object->text[3999] == 'x')
		++*(int *)arg;
	return 0;
}

/* More than etcd takes in one transaction. */
static void a_large_commit_is_one_commit(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;
	char id[32], text[256], big[4000];
	int seen = 0;
	struct store *s = open_store(f);
	auto_type(store_tx) tx = store_begin(s, NULL);
	auto_type(store_tx) wrong = store_begin(s, NULL);

	memset(big, 'x', sizeof(big));
	for (int i = 0; i < 1000; i++) {
		snprintf(id, sizeof(id), "t%04d", i);
		store_put(tx, STORE_TASK, id, STORE_NEW, big, sizeof(big));
		store_put(wrong, STORE_TASK, id, i == 999 ? 7 : 1, "", 0);
	}
	assert_int_equal(store_commit(tx, &err), 1);
	assert_int_equal(store_commit(wrong, &err), -1);
	assert_int_equal(err.kind, ERR_CONFLICT);
	assert_int_equal(put(s, "web", STORE_NEW, "after", NULL), 2);
	store_free(s);

	s = open_store(f);
	assert_int_equal(store_list(s, STORE_TASK, count_whole, &seen, NULL), 0);
	assert_int_equal(seen, 1000);
	assert_string_equal(get(s, "web", text), "web@2=after");
	store_free(s);
}

#define FOR_ALL(fn)                                                                                \
	TEST_WITH(fn, setup_memory, teardown), TEST_WITH(fn, setup_sqlite, teardown),              \
		TEST_WITH(fn, setup_etcd, teardown)

TESTING_MAIN(FOR_ALL(a_commit_survives_closing_and_the_revision_goes_on),
             FOR_ALL(a_wrong_version_is_out_of_sequence_and_changes_nothing),
             FOR_ALL(an_older_leader_cannot_write),
             FOR_ALL(an_empty_transaction_still_checks_the_epoch),
             FOR_ALL(a_removed_object_is_gone_and_may_be_made_again),
             FOR_ALL(a_list_is_in_the_order_of_ids_and_of_one_kind),
             FOR_ALL(a_large_commit_is_one_commit),
             FOR_ALL(watchers_see_changes_in_order_and_learn_when_they_missed_some))
