/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * etcd - a client of etcd's JSON gateway (v3), and the leadership of a cluster kept in it.
 *
 *	struct etcd *e = etcd_open(&(struct etcd_options){.url = "etcd://10.0.0.1,10.0.0.2"}, err);
 *	int64_t lease = etcd_grant(e, 2, err), epoch;
 *	if (etcd_campaign(e, "who", lease, &epoch, err) == 1)         // we lead, under this epoch
 *		struct store *s = store_etcd_open(e, epoch, err);     // takes the client over
 *
 * URL: etcd://[USER:PASSWORD@]HOST[:PORT][,HOST[:PORT]...][/PREFIX]; "etcds" speaks TLS. Port 2379 and
 * prefix "buoy" where none is given; user and password may hold %XX. Each call goes to the endpoint that answered last, and on to
 * the next when it does not answer, until its time is up. So a call may reach etcd twice: only such
 * calls are made as do no harm then (reads, and transactions that compare what they change).
 *
 * What is kept, below PREFIX:
 *	leader            who leads; the key's create_revision is the epoch, its lease only says
 *	                  when others may try
 *	head              the store's revision: see store_etcd.c
 *	o/KIND/ID         an object
 *	redo/...          large commits on their way
 *
 * A handle is used from one thread at a time. Calls block, at most for the options' time.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

struct buf;
struct err;
struct etcd;
struct json;
struct store;

#define ETCD_FULL                                                                                  \
	"etcd is full: its quota is used up, it takes no writes. The leader gives back what it "   \
	"can; start etcd with a larger --quota-backend-bytes if that is not enough"

#define ETCD_PORT    2379
#define ETCD_CALL_MS 3000 /* for a call, all endpoints together */

struct etcd_options {
	const char *url;
	const char *socket; /* instead: one of our own (etcd_run.h), by its unix socket */
	const char *ca_pem, *cert_pem,
		*key_pem; /* "etcds"; NULL: the system's CAs, no certificate */
	int64_t call_ms;  /* 0: ETCD_CALL_MS */
};

/* Connects to nobody yet. ERR_INVALID names what is wrong with the URL. */
struct etcd *etcd_open(const struct etcd_options *options, struct err *err);
void etcd_free(struct etcd *etcd); /* accepts NULL */
DEFINE_AUTO(etcd)

/* Another handle to the same place, for another thread. */
struct etcd *etcd_copy(const struct etcd *etcd, struct err *err);

/* POST /v3/WHAT with the body (taken); the caller owns the reply. ERR_UNAVAILABLE, ERR_TIMEOUT: nobody
 * answered; what was asked for may have happened. */
struct json *etcd_call(struct etcd *etcd, const char *what, struct json *body, struct err *err);

/* ---- pieces of requests and answers ---- */

void etcd_key(const struct etcd *etcd, struct buf *out, const char *name); /* PREFIX + name */
void etcd_set_bytes(struct json *object, const char *field, const void *bytes, size_t len);
void etcd_set_number(struct json *object, const char *field, int64_t number);
int64_t etcd_number(const struct json *object, const char *field); /* 0 where absent */
int etcd_bytes(const struct json *object, const char *field, struct buf *out, struct err *err);
/* {"target", "result": "EQUAL", "key"}: for create_revision ("CREATE") or mod_revision ("MOD"). */
struct json *etcd_compare(const struct etcd *etcd, const char *name, bool create, int64_t revision);
/* {"request_range": {"key"}}. */
struct json *etcd_read(const struct etcd *etcd, const char *name);
int64_t etcd_revision_of(const struct json *reply); /* the header's */

/* ---- leadership ---- */

int64_t etcd_grant(struct etcd *etcd, int64_t seconds, struct err *err); /* a lease's id */
/* 1: it lives on, 0: it is gone. */
int etcd_keep(struct etcd *etcd, int64_t lease, struct err *err);
void etcd_revoke(struct etcd *etcd, int64_t lease);
/* 1: we lead, *epoch is set. 0: somebody else does, and holder (may be NULL) gets what it said of
 * itself. `who` must differ between attempts of different processes. The key goes with the lease: one that an attempt
 * under another lease of ours has left counts as somebody else's. */
int etcd_campaign(struct etcd *etcd, const char *who, int64_t lease, int64_t *epoch,
                  struct buf *holder, struct err *err);
/* Writes anew what we say of ourselves, while we lead under this epoch. */
int etcd_announce(struct etcd *etcd, const char *who, int64_t lease, int64_t epoch,
                  struct err *err);
/* 1: out gets what the leader said of itself; 0: nobody leads. */
int etcd_holder(struct etcd *etcd, struct buf *out, int64_t *epoch, int64_t *revision,
                struct err *err);
/* Gives the leadership up, if it is of this epoch still. */
int etcd_resign(struct etcd *etcd, int64_t epoch, struct err *err);

/* ---- watching ---- */

struct etcd_event {
	bool removed;
	const char *key; /* without the prefix; borrowed, as is the value */
	const char *value;
	size_t len;
	int64_t revision;
};

/* Follows keys that begin with `name` (below the prefix) from a revision on, and calls fn for each
 * change. Blocks; returns when fn or `stop` says so (non-zero), with 0; or -1: then *since is the
 * revision to go on from, and ERR_LIMIT says that older changes are compacted away: list again.
 * `stop` is asked at least every second or two. */
int etcd_watch(struct etcd *etcd, const char *name, int64_t *since,
               int (*fn)(void *arg, const struct etcd_event *event), bool (*stop)(void *arg),
               void *arg, struct err *err);

/* ---- housekeeping ---- */

struct etcd_health {
	int64_t revision;
	int64_t size, in_use; /* bytes of the largest member */
	size_t members, answering;
	bool full; /* the NOSPACE alarm: etcd takes no writes */
};
int etcd_look(struct etcd *etcd, struct etcd_health *health, struct err *err);
/* Drops what was overwritten before the revision, gives the room back member by member, the etcd
 * leader last, when more than half is unused (or always), and lifts the NOSPACE alarm. Blocks for
 * as long as that takes: a member that gives room back answers nobody meanwhile. */
int etcd_compact(struct etcd *etcd, int64_t revision, bool always, struct err *err);

/* ---- the store ---- */

/* What is added to the epochs of a store that came from elsewhere (store_move.h), where others were given out: etcd's
 * own are its revisions, which begin anew in each etcd. */
int etcd_set_epoch_base(struct etcd *etcd, int64_t base, struct err *err);

/* Takes the client over, also on failure. Every commit compares the epoch, which
 * etcd_campaign() gave; store_epoch() has the base added. */
struct store *store_etcd_open(struct etcd *etcd, int64_t epoch, struct err *err);
