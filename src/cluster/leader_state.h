/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* leader_state - what leader.c, leader_wire.c and leader_logs.c share. leader.h is the door. */

#include <pthread.h>
#include <sys/queue.h>

#include "base/hash.h"
#include "base/log.h"
#include "cluster/address.h"
#include "cluster/ca.h"
#include "cluster/leader.h"
#include "cluster/vault.h"
#include "http/server.h"

struct etcd;
struct store;

/* One line for an agent's stream. */
struct line {
	STAILQ_ENTRY(line) next;
	char *text; /* owned */
	size_t len;
};
STAILQ_HEAD(lines, line);

/* An agent's stream; lives on the stack of its connection's thread. */
struct session {
	LIST_ENTRY(session) next;
	char node_id[32];
	int64_t id;
	struct lines lines;
	int64_t endpoints_sent; /* version of the table it has */
	char role[16];          /* what the node was told to be; "" */
	int64_t root_told;      /* leader_root.told when it was */
	bool over;              /* another one took its place */
	pthread_cond_t changed;
};

/* Somebody waits for a task's output. */
struct log_request {
	LIST_ENTRY(log_request) next;
	char id[33];
	char node_id[32];
	int fd; /* owned until the node comes for it; -1 then */
};

/* What nodes are to trust and to have a certificate of, as they are told; leader_root.c. */
struct leader_root {
	uint64_t version;         /* of the cluster object that this is from; 0: none yet */
	int64_t told;             /* rises when what follows changes */
	char trust[HASH_HEX_MAX]; /* digest of the text */
	char *issuer;             /* owned; public key */
	int64_t spread_ms;        /* within which nodes come for it */
	int64_t revision;         /* for which it was last seen whether all have it */
	bool failing;             /* is said once */
	/* The manager whose etcd starts anew to trust others: one at a time. */
	char turn[32];
	int64_t turn_until_ms;
};

/* What the elector found out; leader_elect.c. */
struct mandate {
	pthread_mutex_t lock; /* guards all of it; nothing else is locked while it is held */
	pthread_cond_t changed;
	int64_t epoch, until_ms;  /* we may lead, so long; 0: not */
	int64_t refused;          /* an epoch that we could not make use of */
	int64_t ready;            /* the epoch whose control plane is open */
	char holder[ADDRESS_MAX]; /* who leads, if not we; "" */
	int64_t holder_ms;        /* since when */
	int64_t asked_ms;         /* when another manager last sent us a request */
	bool leaving, announced;  /* we are about to hand over; the others know */
	bool retiring;            /* our node is to be a worker: others shall lead */
	char note[200];           /* what is wrong with the store; "" */
	bool stop;
};

struct leader {
	struct log log;
	char *url; /* owned; of a shared store; NULL: the store is ours alone */
	char *store_ca, *store_cert, *store_key; /* owned; may be NULL */
	char *socket;                            /* owned; of our own etcd; NULL: it is another's */
	int64_t compact_ms;
	char self[32];          /* our node's id */
	char addr[ADDRESS_MAX]; /* where others reach us */
	char *ca, *cert, *key;  /* owned; guarded by `lock`; NULL until leader_serve() */
	struct mandate mandate;
	pthread_t elector, keeper;
	bool electing, keeping;
	int64_t epoch; /* under which we lead a shared store; written by the ticker; 0: we do not */
	int64_t founding_lease;
	struct http_route *routes; /* owned, as are the patterns of those behind leader_routes */
	struct leader_api api;
	pthread_mutex_t lock; /* guards everything below */
	pthread_cond_t woken; /* for the ticker */
	struct store *store;
	struct vault vault; /* not guarded: written by leader_open() alone */
	struct control *control;
	struct http_server *server;
	pthread_t ticker;
	bool ticking, stop;
	int64_t revision; /* for which the endpoints were last looked at */
	uint64_t reach;   /* likewise */
	char *endpoints;  /* owned; without its version, to compare */
	char *table;      /* owned; as it is sent */
	size_t table_len;
	int64_t table_version;
	char *managers; /* owned; the line that tells nodes of all managers */
	struct leader_root root;
	LIST_HEAD(, session) sessions;
	LIST_HEAD(, log_request) requests;
};

#define LEADER_ELSEWHERE "another manager leads the cluster, or none does yet: try again"

struct etcd *leader_etcd(struct leader *leader, int64_t call_ms, struct err *err);

/* leader_members.c: of an etcd that the managers run themselves */
/* A manager that joins becomes a learner; the reply tells it of the others. Takes seconds. */
int leader_take_in(struct leader *leader, const char *node_id, const char *addr, struct json *reply,
                   struct err *err);
void leader_tend_members(struct leader *leader, struct etcd *etcd);
/* A manager that has become a worker has no voice any more. */
int leader_put_out(struct leader *leader, const char *node_id, struct err *err);

/* leader_self.c: what a node is to be, and what it needs for that */
/* With the lock held: tells the node its role, unless it knows. */
void leader_tell_self(struct leader *leader, struct session *session);
/* With the lock held: our own node is a manager no longer, so others shall lead. */
void leader_check_self(struct leader *leader);
struct leader_recruit {
	const char *node_id, *addr; /* "IP:PORT" */
	const char *etcd_request;   /* of a certificate for its etcd; may be NULL */
};
/* Puts into the reply what makes a manager of a node. Takes seconds where managers run etcd. */
int leader_equip(struct leader *leader, const struct leader_recruit *recruit, struct json *reply,
                 struct err *err);
int leader_renew_node(void *ctx, struct http_request *req, struct err *err);

/* leader_root.c: what all trust, and its change (rotation.h); all with the lock held */
void leader_refresh_root(struct leader *leader);
void leader_turn_root(
	struct leader *leader); /* the ticker's: the next step, when all have made the last */
/* "CA": what the node is to trust. */
int leader_add_trust(struct leader *leader, struct json *reply, struct err *err);
/* A manager that will start its etcd anew takes its turn. ERR_UNAVAILABLE: another's. */
int leader_take_turn(struct leader *leader, const char *node_id, struct err *err);

/* leader_keep.c: compaction and alarms of the shared store */
void *leader_keep(void *arg); /* a thread; arg is the leader */

/* leader_elect.c */
void *leader_elect(void *arg); /* a thread; arg is the leader */
/* The ticker's: takes over or lays down as the elector says, waiting so long for news. */
void leader_follow_mandate(struct leader *leader, int64_t wait_ms);
void leader_lay_down(struct leader *leader);
void leader_refuse(struct leader *leader, int64_t epoch);
bool leader_may_lead(struct leader *leader);
bool leader_holder(struct leader *leader, char out[ADDRESS_MAX]); /* false: not known */
void leader_retire(struct leader *leader);
/* Waits until something of the mandate has changed, at most so long. */
void leader_await(struct leader *leader, int64_t ms);
/* If it is our turn to lead, waits until we are ready for it. */
void leader_await_ready(struct leader *leader);
/* Before the elector is stopped: lets the others get ready while we still lead. Then they have
 * little to do when we resign. */
void leader_announce(struct leader *leader);
/* And after it: answers those who have not heard of it yet, until they have. */
void leader_linger(struct leader *leader);
int leader_found_shared(struct leader *leader, struct err *err);
void leader_end_founding(struct leader *leader);

/* leader_relay.c: leader_routes and the API's, for other managers. */
struct http_route *leader_all_routes(struct leader *leader, struct err *err);
void leader_free_routes(struct leader *leader);
/* Has the leader answer a request to join. 1: we lead. */
int leader_relay_join(struct leader *leader, struct http_request *req, struct json *doc,
                      struct err *err);

/* Locks; -1 and unlocked when we do not lead. leader_exit() after 0. */
int leader_lock(struct leader *leader, struct err *err);

/* All with the lock held. */
struct session *leader_session(struct leader *leader, const char *node_id);
int leader_say(struct session *session, const char *text, size_t len, struct err *err);
void leader_pump(struct leader *leader); /* what the control plane has to say, to the sessions */
int leader_read_ca(struct leader *leader, struct ca_identity *ca, struct err *err);

/* leader_wire.c */
extern const struct http_route leader_routes[];
/* leader_files.c */
int leader_give_files(void *ctx, struct http_request *req, struct err *err);
/* leader_networks.c */
int leader_attach(void *ctx, struct http_request *req, struct err *err);
int leader_detach(void *ctx, struct http_request *req, struct err *err);
/* leader_token.c: which role the token gives, with the lock held: 1 manager, 0 worker. One that is good for one
 * machine is used up by this. */
int leader_token_role(struct leader *leader, const char *token, struct err *err);
/* Puts a field of the cluster object's secret part, with the lock held; commits. Takes the value. */
int leader_set_secret(struct control *c, const char *field, struct json *value, struct err *err);
/* leader_logs.c */
int leader_take_logs(void *ctx, struct http_request *req, struct err *err);
void leader_drop_requests(struct leader *leader);
/* The id of the node that the peer's certificate names. ERR_DENIED without one. */
const char *leader_peer(struct http_request *req, struct err *err);
