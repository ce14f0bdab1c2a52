/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * store - where the cluster's objects live: one interface, several drivers.
 *
 *	struct store *s = store_sqlite_open(dir_fd, "cluster.db", err);   // takes the next epoch
 *	auto_type(store_tx) tx = store_begin(s, err);
 *	store_put(tx, STORE_SERVICE, id, 0, text, len);                   // 0: must not exist
 *	store_put(tx, STORE_TASK, task_id, 41, text, len);                // only if it is at 41
 *	int64_t revision = store_commit(tx, err);                         // all or nothing
 *
 * An object is a text under (kind, id) with a version: the revision of the commit that wrote it
 * last. The revision rises by one with each commit. A commit is refused, whole, when
 *  - an object is not at the expected version: ERR_CONFLICT "update out of sequence";
 *  - the store was opened by someone else since: ERR_DENIED, see store_is_stale(). Opening takes
 *    the next epoch; the epoch is compared inside every commit. So a leader that was replaced
 *    cannot write, however late it wakes up (fencing);
 *  - the disk is full or fails: ERR_LIMIT, ERR_SYSTEM. After any failure but ERR_CONFLICT the
 *    caller must read again what it believes; a commit whose answer was lost may have happened.
 *
 * When store_commit() returns, the write is durable (driver SQLite: on the disk).
 *
 * A handle is used from one thread at a time. Drivers block on their disk.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

struct err;
struct store;
struct store_disk; /* what a memory store leaves behind when it is closed */
struct store_tx;

enum store_kind {
	STORE_CLUSTER,
	STORE_NODE,
	STORE_SERVICE,
	STORE_TASK,
	STORE_NETWORK,
	STORE_SECRET,
	STORE_CONFIG,
	STORE_VOLUME,
	STORE_KINDS,
};

#define STORE_ANY  (-1) /* expected version: whatever it is, also absent */
#define STORE_NEW  0    /* expected version: absent */
#define STORE_RING 4096 /* changes remembered for watchers */

const char *store_kind_name(enum store_kind kind);

/* ---- drivers ---- */

/* A "disk" in memory survives its handles: that is how tests crash a leader. */
struct store_disk *store_disk_create(struct err *err);
void store_disk_free(struct store_disk *disk);
DEFINE_AUTO(store_disk)
struct store *store_memory_open(struct store_disk *disk, struct err *err); /* disk is borrowed */

/* `name` in the directory, which is borrowed. ERR_UNSUPPORTED: a newer program made the file. */
struct store *store_sqlite_open(int dir_fd, const char *name, struct err *err);

/* The epochs of that file, which is made if need be, will be above this one. */
int store_sqlite_raise(int dir_fd, const char *name, int64_t epoch, struct err *err);

void store_free(struct store *store); /* closes; accepts NULL */
DEFINE_AUTO(store)

/* ---- reading ---- */

int64_t store_epoch(const struct store *store);
int64_t store_revision(const struct store *store); /* of the last commit seen by this handle */
/* Reads the revision afresh: after a commit whose outcome is not known, before listing again. */
int store_refresh(struct store *store, struct err *err);
bool store_is_stale(const struct err *err); /* the failure says: no longer the leader */
/* The same of an error that may be somebody else's, as of a request: was it the store that refused it? */
bool store_was_taken_over(const struct err *err);

/* Borrowed for the length of the callback. */
struct store_object {
	enum store_kind kind;
	const char *id;
	int64_t version;
	const char *text;
	size_t len;
};

/* Calls fn for the object; ERR_NOT_FOUND "KIND ID not found". fn returns 0, or -1 with *err set,
 * which is handed through. */
int store_get(struct store *store, enum store_kind kind, const char *id,
              int (*fn)(void *arg, const struct store_object *object, struct err *err), void *arg,
              struct err *err);

/* Calls fn for each object of a kind, by id, all at one revision. Stops at the first -1. */
int store_list(struct store *store, enum store_kind kind,
               int (*fn)(void *arg, const struct store_object *object, struct err *err), void *arg,
               struct err *err);

/* ---- writing ---- */

struct store_tx *store_begin(struct store *store, struct err *err);
void store_tx_free(struct store_tx *tx); /* forgets what was not committed; accepts NULL */
DEFINE_AUTO(store_tx)

/* These copy, and cannot fail but for memory; that failure sticks and shows at commit. */
void store_put(struct store_tx *tx, enum store_kind kind, const char *id, int64_t expected,
               const char *text, size_t len);
void store_remove(struct store_tx *tx, enum store_kind kind, const char *id, int64_t expected);

/* The new revision (> 0), which is now the version of each object put; or -1. An empty
 * transaction still checks the epoch and takes a revision. The tx is spent either way;
 * free it. */
int64_t store_commit(struct store_tx *tx, struct err *err);

/* ---- watching: the changes this handle committed, in order ---- */

struct store_change {
	int64_t revision;
	enum store_kind kind;
	bool removed;
	char id[32];
};

/* Copies changes after `since`, oldest first, at most max. The number copied; ERR_LIMIT when some
 * are forgotten already: list again, and watch on from store_revision(). */
int store_changes(const struct store *store, int64_t since, struct store_change *changes,
                  size_t max, struct err *err);
