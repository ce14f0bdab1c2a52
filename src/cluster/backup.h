/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * backup - a cluster's whole state as one text: to keep, and to begin anew from.
 *
 *	backup_write(store, &(struct backup_about){...}, passphrase, &text, err);
 *	backup_read(text.data, text.len, passphrase, &backup, err);   // checked whole before anything is used
 *	backup_put(&backup, tx);
 *	backup_done(&backup);
 *
 * Lines. The first says what it is, JSON; the last is the SHA-256 of all before it. Between them an object
 * a line: {"Kind", "ID", "Text"}, the first of which has the vault's key and the last their number. With a passphrase
 * these lines are cut into pieces, sealed by AES-256-GCM with a key from PBKDF2, each under its place. Whoever
 * has a backup without one has the cluster: its CA, its tokens, its secrets.
 *
 * Nothing blocks but for the store.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cluster/store.h"

struct buf;
struct ca_identity;
struct vault;

#define BACKUP_MAX (1u << 30) /* bytes */

struct backup_about {
	const char *cluster_id;
	const char
		*store; /* where the state is: "file", "etcd", or "url" of an etcd of the user's */
	const struct vault *vault;
};
/* Appends to out. As the leader, so that nobody writes meanwhile. passphrase: NULL or "": none. */
int backup_write(struct store *store, const struct backup_about *about, const char *passphrase,
                 struct buf *out, struct err *err);

struct backup_item {
	enum store_kind kind;
	char *id, *text; /* owned */
};

struct backup {
	char cluster_id[32];
	char store[8];
	char *vault_key; /* owned; NULL: there was none */
	int64_t epoch;   /* of the leader that wrote it */
	struct backup_item *items;
	size_t count;
};
/* ERR_INVALID: not a backup, or damaged; ERR_DENIED: another passphrase; ERR_UNSUPPORTED: of a newer program. */
int backup_read(const char *text, size_t len, const char *passphrase, struct backup *out,
                struct err *err);
void backup_done(struct backup *backup);

/* The cluster's CA; the caller frees it. */
int backup_ca(const struct backup *backup, struct ca_identity *ca, struct err *err);

/* The one manager of the restored cluster, whether the backup knows it or not. */
struct backup_manager {
	const char *node_id, *addr; /* "IP:PORT" */
};
/* Puts all objects into a transaction on an empty store. Other managers are workers now: their store is gone, and they
 * learn so when they come. */
int backup_put(const struct backup *backup, const struct backup_manager *manager,
               struct store_tx *tx, struct err *err);

/* The epochs of a restored cluster are above this, which is above all that nodes may have seen since. */
int64_t backup_epoch_base(const struct backup *backup);
