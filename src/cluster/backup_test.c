/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/backup.h"

#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "base/str.h"
#include "base/testing.h"
#include "cluster/ca.h"
#include "cluster/vault.h"

#define SELF "0123456789abcdefghijklmno"

/* A store with a cluster object and its CA, two managers, and something that is no JSON of ours. */
struct bench {
	struct store_disk *disk;
	struct store *store;
	struct vault vault;
	struct buf text;
};

static void put(struct store_tx *tx, enum store_kind kind, const char *id, const char *text)
{
	store_put(tx, kind, id, STORE_NEW, text, strlen(text));
}

static void bench_init(struct bench *b)
{
	*b = (struct bench){.text = BUF_INIT(BACKUP_MAX), .vault = {.known = true, .key = "k"}};
	b->disk = store_disk_create(NULL);
	b->store = store_memory_open(b->disk, NULL);
	auto_type(store_tx) tx = store_begin(b->store, NULL);
	put(tx, STORE_CLUSTER, "c",
	    "{\"TLSInfo\":{\"TrustRoot\":\"CERT\"},\"Secret\":{\"CAKey\":\"KEY\"}}");
	put(tx, STORE_NODE, "m1",
	    "{\"ID\":\"m1\",\"Spec\":{\"Role\":\"manager\"},\"ManagerStatus\":{\"Addr\":\"a:1\"}}");
	put(tx, STORE_NODE, SELF,
	    "{\"ID\":\"m2\",\"Spec\":{\"Role\":\"manager\"},\"ManagerStatus\":{\"Addr\":\"b:1\"}}");
	put(tx, STORE_SECRET, "s", "line\nwith \"quotes\" and \xc3\xa9");
	assert_true(store_commit(tx, NULL) > 0);
}

static void bench_done(struct bench *b)
{
	buf_free(&b->text);
	store_free(b->store);
	store_disk_free(b->disk);
}

static void write_it(struct bench *b, const char *passphrase)
{
	struct err err = ERR_INIT;

	if (backup_write(
		    b->store,
		    &(struct backup_about){.cluster_id = "c", .store = "etcd", .vault = &b->vault},
		    passphrase, &b->text, &err) < 0)
		fail_msg("%s", err.msg);
}

static int find_text(void *arg, const struct store_object *object, struct err *err)
{
	(void)err;
	buf_add_mem(arg, object->text, object->len);
	return 0;
}

static void read_object(struct store *store, enum store_kind kind, const char *id, struct buf *out)
{
	struct err err = ERR_INIT;

	if (store_get(store, kind, id, find_text, out, &err) < 0)
		fail_msg("%s", err.msg);
}

/* Everything, into another store, whose manager is SELF. */
static void check_put(const struct backup *backup)
{
	auto_type(store_disk) disk = store_disk_create(NULL);
	auto_type(store) to = store_memory_open(disk, NULL);
	auto_type(store_tx) tx = store_begin(to, NULL);
	auto_buf struct buf secret = BUF_INIT(4096), m1 = BUF_INIT(4096), m2 = BUF_INIT(4096);

	assert_int_equal(backup_put(backup,
	                            &(struct backup_manager){.node_id = SELF, .addr = "10.0.0.9:7"},
	                            tx, NULL),
	                 0);
	assert_true(store_commit(tx, NULL) > 0);
	read_object(to, STORE_SECRET, "s", &secret);
	assert_string_equal(buf_str(&secret), "line\nwith \"quotes\" and \xc3\xa9");
	read_object(to, STORE_NODE, "m1", &m1);
	assert_non_null(strstr(buf_str(&m1), "\"Role\":\"worker\""));
	assert_null(strstr(buf_str(&m1), "a:1"));
	read_object(to, STORE_NODE, SELF, &m2);
	assert_non_null(strstr(buf_str(&m2), "\"Role\":\"manager\""));
	assert_non_null(strstr(buf_str(&m2), "10.0.0.9:7"));
}

static void comes_back(const char *passphrase)
{
	struct bench b;
	struct backup backup;
	struct ca_identity ca = {0};
	struct err err = ERR_INIT;

	bench_init(&b);
	write_it(&b, passphrase);
	if (backup_read(b.text.data, b.text.len, passphrase, &backup, &err) < 0)
		fail_msg("%s", err.msg);
	assert_string_equal(backup.cluster_id, "c");
	assert_string_equal(backup.store, "etcd");
	assert_int_equal(backup.count, 4);
	assert_true(backup_epoch_base(&backup) > backup.epoch + (INT64_C(1) << 39));
	auto_free char *key = vault_export(&b.vault, NULL);
	assert_string_equal(backup.vault_key, key);
	assert_int_equal(backup_ca(&backup, &ca, NULL), 0);
	assert_string_equal(ca.key, "KEY");
	check_put(&backup);
	ca_identity_done(&ca);
	backup_done(&backup);
	bench_done(&b);
}

static void what_was_written_comes_back(void **state)
{
	(void)state;
	comes_back(NULL);
}

static void sealed_it_comes_back_too(void **state)
{
	(void)state;
	comes_back("correct horse");
}

static void a_sealed_backup_shows_nothing(void **state)
{
	(void)state;
	struct bench b;
	struct backup backup;
	struct err err = ERR_INIT;

	bench_init(&b);
	write_it(&b, "correct horse");
	assert_null(strstr(buf_str(&b.text), "with \\\"quotes"));
	assert_null(strstr(buf_str(&b.text), "\"CAKey\"")); /* no letters of base64, by chance */
	assert_int_equal(backup_read(b.text.data, b.text.len, "battery", &backup, &err), -1);
	assert_true(err_is(&err, ERR_DENIED));
	err = (struct err)ERR_INIT;
	assert_int_equal(backup_read(b.text.data, b.text.len, NULL, &backup, &err), -1);
	assert_true(err_is(&err, ERR_DENIED));
	bench_done(&b);
}

static void a_new_manager_is_added(void **state)
{
	(void)state;
	struct bench b;
	struct backup backup;
	auto_type(store_disk) disk = store_disk_create(NULL);
	auto_type(store) to = store_memory_open(disk, NULL);
	auto_type(store_tx) tx = store_begin(to, NULL);
	auto_buf struct buf text = BUF_INIT(4096);

	bench_init(&b);
	write_it(&b, NULL);
	assert_int_equal(backup_read(b.text.data, b.text.len, NULL, &backup, NULL), 0);
	assert_int_equal(
		backup_put(&backup,
	                   &(struct backup_manager){.node_id = "new", .addr = "10.0.0.9:7"}, tx,
	                   NULL),
		0);
	assert_true(store_commit(tx, NULL) > 0);
	read_object(to, STORE_NODE, "new", &text);
	assert_non_null(strstr(buf_str(&text), "\"Role\":\"manager\""));
	buf_clear(&text);
	read_object(to, STORE_NODE, SELF, &text);
	assert_non_null(strstr(buf_str(&text), "\"Role\":\"worker\""));
	backup_done(&backup);
	bench_done(&b);
}

/* Cut short anywhere, and each byte changed: never taken for whole. */
static void damage_is_seen(void **state)
{
	(void)state;
	struct bench b;
	struct backup backup;

	bench_init(&b);
	write_it(&b, NULL);
	for (size_t len = 0; len < b.text.len; len++)
		assert_int_equal(backup_read(b.text.data, len, NULL, &backup, NULL), -1);
	for (size_t i = 0; i < b.text.len; i++) {
		b.text.data[i] ^= 1;
		assert_int_equal(backup_read(b.text.data, b.text.len, NULL, &backup, NULL), -1);
		b.text.data[i] ^= 1;
	}
	assert_int_equal(backup_read(b.text.data, b.text.len, NULL, &backup, NULL), 0);
	backup_done(&backup);
	bench_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_written_comes_back),
		cmocka_unit_test(sealed_it_comes_back_too),
		cmocka_unit_test(a_sealed_backup_shows_nothing),
		cmocka_unit_test(a_new_manager_is_added),
		cmocka_unit_test(damage_is_seen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
