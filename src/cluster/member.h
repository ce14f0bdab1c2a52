/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * member - this machine's part in a cluster, if it has one: the leader, the agent, or both.
 *
 *	struct member *m = member_open(&options, err);          // goes on with what it was before
 *	member_init(m, &(struct member_init){...}, err);        // a new cluster, this machine its manager
 *	member_join(m, &(struct member_join){...}, err);        // a worker of an existing one
 *	struct control *c = member_enter(m, err);               // managers: the control plane, locked
 *	node_list(c, NULL, &out, err);
 *	member_exit(m);
 *	member_close(m);                                        // stays a member, containers live on
 *
 * On the disk, below options.root_fd, directory `cluster` (0700):
 *   member.json  who we are and where the manager is; written last, so that what is there is whole
 *   cert.pem key.pem ca.pem   agent.db   cluster.db (managers)
 *
 * Thread-safe. init, join and leave exclude each other and what goes on between enter and exit.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"
#include "base/id.h"
#include "cluster/agent.h"
#include "cluster/leader.h"
#include "cluster/snapshots.h"

struct buf;
struct err;
struct log;
struct member;

struct member_options {
	int root_fd;                                /* borrowed */
	const struct node_description *description; /* borrowed until member_close() */
	const struct agent_executor *executor;      /* the same */
	const struct log *log;
	struct leader_api api; /* what managers answer for each other; may be empty */
	int64_t compact_ms;    /* as in leader.h */
};

/* A membership that cannot be taken up (its port is taken, say) is no failure: member_look() tells. */
struct member *member_open(const struct member_options *options, struct err *err);
void member_close(struct member *member);
static inline void member_free(struct member *member)
{
	member_close(member);
}
DEFINE_AUTO(member)

struct member_init {
	const char *listen;       /* "IP:PORT", "IP" or NULL: 0.0.0.0:2377 */
	const char *advertise;    /* "IP:PORT", "IP", an interface's name, or NULL: found out */
	const struct json *spec;  /* Docker's, borrowed; NULL: empty */
	const char *availability; /* NULL: active */
	const char *store;        /* "etcd://...", shared with other managers; NULL: our own */
	struct leader_tls tls;    /* for "etcds://..." */
};
/* node_id gets our id. ERR_UNAVAILABLE in Docker's words when we are in one already. */
int member_init(struct member *member, const struct member_init *init, char node_id[ID_SWARM_MAX],
                struct err *err);

struct member_join {
	const char *remote; /* "IP:PORT" or "IP" */
	const char *token;
	const char *advertise; /* as above; NULL: the address that the manager sees */
	const char *listen;    /* as above; of managers, and of workers that become such */
};
int member_join(struct member *member, const struct member_join *join, struct err *err);

/* For a manager of several whose others are lost for good: goes on alone, with what its etcd has. */
int member_start_anew(struct member *member, char node_id[ID_SWARM_MAX], struct err *err);

/* Moves the state of a cluster with one manager from its file to an etcd that others can share: init's
 * store and tls. Requests wait meanwhile, containers go on. On failure all is as before. */
int member_migrate(struct member *member, const struct member_init *init, struct err *err);

/* The whole state, to keep elsewhere (backup.h). Only the leader can; others relay. */
int member_backup(struct member *member, const char *passphrase, struct buf *out, struct err *err);

/* Backups that the leader takes of itself (snapshots.h), in its own directory. Only the leader can; others relay. */
struct snapshots_settings;
int member_set_snapshots(struct member *member, const struct snapshots_settings *settings,
                         struct err *err);
int member_take_snapshot(struct member *member, char name[SNAPSHOTS_NAME_MAX], struct err *err);
/* {"IntervalSeconds", "Keep", "Hostname", "Directory": below the root, "Snapshots": as snapshots_list()}; owned. */
struct json *member_list_snapshots(struct member *member, struct err *err);
/* Checked whole: ERR_INVALID for one that is damaged. Appended to out. */
int member_read_snapshot(struct member *member, const char *name, struct buf *out, struct err *err);

/* Begins the cluster of a backup anew: on a machine that is in none, or on one of its managers, whose containers
 * live on. Nodes come to it by the addresses of managers that they know. */
struct member_restore {
	const char *text;
	size_t len;
	const char *passphrase;  /* NULL: none */
	struct member_init init; /* listen, advertise, store ("file", or NULL: as it was) and tls */
};
int member_restore(struct member *member, const struct member_restore *restore,
                   char node_id[ID_SWARM_MAX], struct err *err);

/* Removes the tasks' containers and forgets the cluster. A manager needs force: the cluster's state
 * goes with it. */
int member_leave(struct member *member, bool force, struct err *err);

/* ERR_UNAVAILABLE in Docker's words on a machine that is no manager; then member_exit() must not
 * be called. */
/* What secrets are sealed with; after member_enter(), borrowed until member_exit(). */
const struct vault *member_vault(struct member *m);

struct control *member_enter(struct member *member, struct err *err);
void member_exit(struct member *member);

/* Has another manager answer the request, if that one leads. 1: answer it here. */
int member_relay(struct member *member, struct http_request *req, struct err *err);

/* With member_enter()'s rule for who may: */
int member_update(struct member *member, const struct json *spec, uint64_t version, unsigned rotate,
                  struct err *err);
int member_make_one_use(struct member *member, const struct leader_one_use *wanted,
                        char text[TOKEN_MAX], struct err *err);
/* The cluster as GET /swarm shows it; tokens: with the join tokens. */
int member_inspect(struct member *member, bool tokens, struct buf *out, struct err *err);
int member_logs(struct member *member, const char *node_id, const char *task_id,
                const struct json *options, struct err *err);

/* As agent.h's, for a machine that is in a cluster: ERR_UNAVAILABLE in Docker's words when it is not. */
int member_attach(struct member *member, const struct agent_attach *want, struct arena *arena,
                  struct agent_attached *out, struct err *err);
void member_attach_done(struct member *member, const char *id);
void member_detached(struct member *member);

/* The task's container may have changed. */
void member_poke(struct member *member, const char *task_id);

struct member_view {
	bool active, manager;
	bool shared;                  /* the store, with other managers */
	bool connected;               /* to the leader */
	char node_id[ID_SWARM_MAX];   /* "" when inactive */
	char addr[64];                /* ours */
	char leader_id[ID_SWARM_MAX]; /* "" when not known */
	char leader[96];              /* "IP:PORT" */
	char error[256];              /* what is wrong; "" */
};
void member_look(struct member *member, struct member_view *view);
