/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* member_state - what member.c and its member_*.c share. member.h is the door. */

#include <pthread.h>

#include "base/arena.h"
#include "base/hash.h"
#include "cluster/address.h"
#include "cluster/member.h"

struct ca_identity;
struct etcd_run;

/* The store of managers that run their etcd themselves. */
#define MEMBER_ETCD "etcd"

/* Below the root. */
#define MEMBER_DIR      "cluster"
#define MEMBER_DIR_NEW  "cluster.new" /* in the making */
#define MEMBER_DATABASE "cluster.db"

struct founding {
	char listen[ADDRESS_MAX], advertise[ADDRESS_MAX], addr[ADDRESS_MAX];
	char node_id[ID_SWARM_MAX], cluster_id[ID_SWARM_MAX];
};

/* What member.json says. */
struct card {
	char *node_id, *cluster_id;
	bool manager;
	char *listen; /* managers: where the leader listens */
	char *addr;   /* our own, as others reach it */
	bool fixed;   /* and it was given, not seen by the manager */
	char *leader; /* "IP:PORT" of the manager, as it is shown */
	char *leader_id;
	char *store; /* managers that share it: "etcd://..."; may hold a password, as key.pem a key */
	char *store_ca, *store_cert, *store_key; /* PEM, for "etcds" */
	char *etcd_cluster; /* of those that run an etcd themselves and joined others: "NAME=URL,..." */
};

/* Of the card and the texts. */
#define MEMBER_ARENA (256u << 10)

#define MEMBER_ISSUER_MAX 2048 /* a public key, base64 */

/* What the leader says that we are to be and to have. */
struct member_word {
	bool manager;
	char trust[HASH_HEX_MAX], issuer[MEMBER_ISSUER_MAX];
	int64_t spread_ms;
};

/* member_keep.c: a thread. */
struct member_keeper {
	pthread_t thread;
	bool runs;
	bool failing, no_snapshot; /* the thread's own */
	pthread_mutex_t lock;      /* guards what follows */
	pthread_cond_t woken;
	bool stop;
	bool told; /* by the leader: */
	struct member_word word;
	bool look; /* at the certificate */
};

struct member {
	struct member_options options;
	struct member_keeper keeper;
	pthread_mutex_t changing; /* init, join, leave, renewal, close: one at a time */
	pthread_rwlock_t lock;    /* guards the rest; written only by the above */
	int dir_fd;               /* -1: no member */
	struct arena arena;       /* of the card and the texts */
	struct card card;
	char *ca, *cert, *key;
	struct etcd_run *etcd; /* of managers with the store "etcd" */
	struct leader *leader;
	struct agent *agent;
	char error[256];
};

/* ---- member_card.c: files of the directory ---- */

int member_write_text(int dir_fd, const char *name, const char *text, struct err *err);
int member_write_card(int dir_fd, const struct card *card, struct err *err);
int member_read_all(struct member *m, struct err *err); /* from m->dir_fd */

/* ---- member.c: with the lock for writing ---- */

/* A directory in the making; what an earlier attempt left is thrown away. A descriptor. */
int member_make_directory(struct member *m, struct err *err);
/* Gives it its name: from then on we are a member. */
int member_keep_directory(struct member *m, int dir_fd, struct err *err);
/* Addresses and ids of the first manager. */
int member_plan(const struct member_init *init, struct founding *f, struct err *err);
struct card member_card_of(const struct member_init *init, const struct founding *f);
/* Holds the lock for reading when it returns 0: there is a leader to ask. */
int member_begin(struct member *m, struct err *err);
int member_start_leader(struct member *m, struct err *err);
/* From the directory. Whatever fails, we are a member still, with an error to show. */
int member_take_up(struct member *m, struct err *err);
void member_lay_down(struct member *m, bool for_good);

/* ---- member_etcd.c ---- */

bool member_runs_etcd(const struct card *card);
/* The member's own etcd, as the card says; running already or not. */
struct etcd_run *member_start_etcd(const struct member *m, int dir_fd, const struct card *card,
                                   bool alone, struct err *err);
/* The first member of a new cluster: makes the CA, if it is empty, and the key, writes them to the directory, and
 * waits until etcd answers. *key is for the node's certificate request; owned. */
struct etcd_run *member_found_etcd(const struct member *m, int dir_fd, const struct card *card,
                                   struct ca_identity *ca, struct err *err);
/* Before it goes: another leads the others. It goes in any case. */
void member_yield_etcd(struct member *m);
/* If the root certificates are others than those that it was started with: it starts anew, and is waited for. Not with the
 * lock: requests go on meanwhile. */
void member_trust_etcd(struct member *m);
/* Takes ourselves out of the others' quorum, ends etcd, and frees it. */
void member_retire_etcd(struct member *m, struct etcd_run *run, const char *peer);

/* ---- member_keep.c ---- */

int member_start_keeper(struct member *m, struct err *err);
void member_end_keeper(struct member *m);
/* There is another one: is it to be renewed? */
void member_look_at_cert(struct member *m);
/* Takes one if it is due; how long to wait. */
int64_t member_tend_snapshots(struct member *m);
/* An agent's: the leader's word about this node. `arg` is the member. */
void member_told(void *arg, const struct json *doc);
/* Goes on with a change of certificates or role that was cut short, if there was one. With the lock for writing. */
int member_finish_renewal(struct member *m, struct err *err);
