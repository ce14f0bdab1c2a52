/* SPDX-License-Identifier: Apache-2.0 */

/*
 * boot - did the machine go down while this store was open?
 *
 * A row has the id of the boot in which the store was opened last, and whether it was closed since. Another boot, and not
 * closed: the power went, or the kernel stopped. What was acknowledged is on the disk; whether the disk kept its word
 * is for layer_settle() to see, layer by layer, before each is used the first time. A daemon that was killed in a boot that
 * goes on leaves no doubt: the kernel has all that was written.
 */

#include "base/buf.h"
#include "base/db.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/str.h"
#include "image/store.h"

#define BOOT_ID     "/proc/sys/kernel/random/boot_id"
#define BOOT_ID_MAX 64

static int doubt_all(struct image_store *store, struct err *err)
{
	int layers = db_exec(store->db, err, "update layer set doubt = 1", "");

	if (layers > 0)
		log_warn(
			store->log,
			"the machine went down unexpectedly; layers are verified at their next use",
			"layers=%d", layers);
	return layers;
}

static int begin(struct image_store *store, const char *id, struct err *err)
{
	int64_t unclean;

	int known = db_query_int(store->db, err, &unclean, "select id <> ? and not clean from boot",
	                         "t", id);
	if (known < 0 || (known > 0 && unclean && doubt_all(store, err) < 0))
		return -1;
	return db_exec(store->db, err, "insert or replace into boot values(1, ?, 0)", "t", id);
}

static int note(struct image_store *store, struct err *err)
{
	auto_buf struct buf id = BUF_INIT(BOOT_ID_MAX);

	if (fs_trusted_read(BOOT_ID, BOOT_ID_MAX, &id, err) < 0 || db_begin(store->db, err) < 0)
		return -1;
	if (begin(store, buf_str(&id), err) < 0)
		return db_rollback(store->db), -1;
	return db_commit(store->db, err);
}

int boot_begin(struct image_store *store, struct err *err)
{
	struct err why = ERR_INIT;
	int64_t one;

	store->counted = note(store, &why) == 0;
	/* A full disk is no reason not to start: rm and prune are what helps then. */
	if (!store->counted && why.kind != ERR_LIMIT) {
		if (err)
			*err = why;
		return -1;
	}
	if (!store->counted)
		log_warn(store->log, "cannot note that the image store is open", "reason=%s",
		         why.msg);
	int doubts =
		db_query_int(store->db, err, &one, "select 1 from layer where doubt limit 1", "");
	store->doubts = doubts > 0;
	return doubts < 0 ? -1 : 0;
}

void boot_end(struct image_store *store)
{
	struct err err = ERR_INIT;

	if (db_exec(store->db, &err, "update boot set clean = 1", "") < 0)
		log_warn(store->log, "cannot note that the image store is closed", "reason=%s",
		         err.msg);
}
