/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/etcd.h"

#include <pthread.h>

#include "base/str.h"
#include "cluster/etcd_testing.h"
#include "cluster/store.h"

/* Leadership, watching, passwords and housekeeping, against a real etcd. */

static struct etcd *open_at(const char *prefix, const char *user)
{
	char url[160];
	struct err err = ERR_INIT;

	snprintf(url, sizeof(url), "etcd://%s127.0.0.1:%d/%s", user, etcd_testing_port(), prefix);
	struct etcd *e = etcd_open(&(struct etcd_options){.url = url}, &err);
	if (!e)
		fail_msg("%s", err.msg);
	return e;
}

static int64_t put(struct store *s, const char *id, struct err *err)
{
	auto_type(store_tx) tx = store_begin(s, err);

	store_put(tx, STORE_SERVICE, id, STORE_ANY, id, strlen(id));
	return store_commit(tx, err);
}

static void urls_are_checked(void **state)
{
	(void)state;
	static const char *const bad[] = {"", "http://a", "etcd://", "etcd://a,,b", "etcd://me@a"};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct err err = ERR_INIT;

		assert_null(etcd_open(&(struct etcd_options){.url = bad[i]}, &err));
		assert_int_equal(err.kind, ERR_INVALID);
	}
	etcd_free(etcd_open(&(struct etcd_options){.url = "etcds://u:p@[::1]:1,b/x/y"}, NULL));
}

static void one_leads_until_its_lease_is_gone(void **state)
{
	(void)state;
	auto_type(etcd) a = open_at("lead", "");
	auto_type(etcd) b = open_at("lead", "");
	auto_buf struct buf who = BUF_INIT(4096);
	int64_t epoch, other, revision;
	int64_t lease = etcd_grant(a, 2, NULL), its = etcd_grant(b, 2, NULL);

	assert_int_equal(etcd_campaign(a, "a", lease, &epoch, NULL, NULL), 1);
	assert_int_equal(etcd_campaign(b, "b", its, &other, NULL, NULL), 0);
	/* The answer was lost, and it asks again. */
	assert_int_equal(etcd_campaign(a, "a", lease, &other, NULL, NULL), 1);
	assert_int_equal(other, epoch);
	assert_int_equal(etcd_keep(a, lease, NULL), 1);
	assert_int_equal(etcd_holder(b, &who, &other, &revision, NULL), 1);
	assert_string_equal(buf_str(&who), "a");

	/* With another lease it is not its own any more: the key goes with the first. */
	int64_t another = etcd_grant(a, 2, NULL);
	assert_int_equal(etcd_campaign(a, "a", another, &other, NULL, NULL), 0);

	etcd_revoke(a, lease);
	assert_int_equal(etcd_keep(a, lease, NULL), 0);
	assert_int_equal(etcd_campaign(b, "b", its, &other, NULL, NULL), 1);
	assert_true(other > epoch);
}

static void a_leader_whose_lease_lapsed_cannot_write(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	struct etcd *e = open_at("lapse", "");
	auto_type(etcd) other = open_at("lapse", "");
	int64_t epoch, lease = etcd_grant(e, 2, NULL);

	assert_int_equal(etcd_campaign(e, "a", lease, &epoch, NULL, NULL), 1);
	auto_type(store) s = store_etcd_open(e, epoch, NULL);
	assert_int_equal(put(s, "one", NULL), 1);
	etcd_revoke(other, lease);
	assert_int_equal(put(s, "two", &err), -1);
	assert_true(store_is_stale(&err));
}

struct seen {
	char text[256];
	int count, until;
};

static int on_event(void *arg, const struct etcd_event *event)
{
	struct seen *seen = arg;

	snprintf(seen->text + strlen(seen->text), sizeof(seen->text) - strlen(seen->text), "%s%s ",
	         event->removed ? "-" : "", event->key);
	return ++seen->count >= seen->until;
}

static bool never(void *arg)
{
	(void)arg;
	return false;
}

static void a_watch_goes_on_where_it_was_and_learns_of_compaction(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	struct etcd *e = open_at("watch", "");
	auto_type(etcd) watcher = open_at("watch", "");
	struct seen seen = {.until = 2};
	int64_t epoch, since = 1, first;

	assert_int_equal(etcd_campaign(e, "a", 0, &epoch, NULL, NULL), 1);
	auto_type(store) s = store_etcd_open(e, epoch, NULL);
	put(s, "one", NULL);
	put(s, "two", NULL);
	assert_int_equal(etcd_watch(watcher, "o/", &since, on_event, never, &seen, NULL), 0);
	assert_string_equal(seen.text, "o/service/one o/service/two ");
	first = since;

	put(s, "three", NULL);
	seen = (struct seen){.until = 1};
	assert_int_equal(etcd_watch(watcher, "o/", &since, on_event, never, &seen, NULL), 0);
	assert_string_equal(seen.text, "o/service/three ");

	assert_int_equal(etcd_compact(watcher, since - 1, true, &err), 0);
	since = 1;
	assert_int_equal(etcd_watch(watcher, "o/", &since, on_event, never, &seen, &err), -1);
	assert_int_equal(err.kind, ERR_LIMIT);
	assert_true(since >= first);
}

static void call(struct etcd *e, const char *what, const char *json)
{
	struct err err = ERR_INIT;
	auto_type(json) reply = etcd_call(e, what, json_parse(json, strlen(json), NULL), &err);

	if (!reply)
		fail_msg("%s: %s", what, err.msg);
}

static void a_password_is_used_and_a_wrong_one_is_said(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	auto_buf struct buf who = BUF_INIT(4096);
	auto_type(etcd) e = open_at("auth", "");
	auto_type(etcd) root = open_at("auth", "root:secret@");
	auto_type(etcd) wrong = open_at("auth", "root:guess@");
	int64_t epoch, revision;

	call(e, "auth/user/add", "{\"name\":\"root\",\"password\":\"secret\"}");
	call(e, "auth/role/add", "{\"name\":\"root\"}");
	call(e, "auth/user/grant", "{\"user\":\"root\",\"role\":\"root\"}");
	call(e, "auth/enable", "{}");
	assert_int_equal(etcd_holder(e, &who, &epoch, &revision, &err), -1);
	err = ERR_INIT;
	assert_int_equal(etcd_holder(wrong, &who, &epoch, &revision, &err), -1);
	assert_non_null(strstr(err.msg, "authentication failed"));
	assert_false(store_is_stale(&err));
	assert_int_equal(etcd_campaign(root, "a", 0, &epoch, NULL, NULL), 1);
	call(root, "auth/disable", "{}");
}

static void its_health_is_seen(void **state)
{
	(void)state;
	struct etcd_health health;
	auto_type(etcd) e = open_at("health", "");

	assert_int_equal(etcd_look(e, &health, NULL), 0);
	assert_int_equal(health.answering, 1);
	assert_true(health.size > 0);
	assert_false(health.full);
}

TESTING_MAIN(TEST(urls_are_checked), TEST(one_leads_until_its_lease_is_gone),
             TEST(a_leader_whose_lease_lapsed_cannot_write),
             TEST(a_watch_goes_on_where_it_was_and_learns_of_compaction),
             TEST(a_password_is_used_and_a_wrong_one_is_said), TEST(its_health_is_seen))
