/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * leader - the control plane with a store, a clock, a lock and a socket.
 *
 *	struct leader *l = leader_open(dir_fd, log, err);        // cluster.db in the directory
 *	leader_found(l, cluster_id, spec, err);                  // the first time only
 *	leader_serve(l, &(struct leader_address){...}, err);     // agents may come
 *
 *	struct control *c = leader_enter(l);                     // one thread at a time
 *	service_create(c, leader_now(), text, len, id, err);
 *	leader_exit(l);                                          // messages go out to the agents
 *
 * Agents come over TLS (ca.h). Without a certificate a peer may fetch the CA and join with a
 * token; with one it may speak for exactly the node that the certificate names, as long as that
 * node is in the cluster.
 *
 *	GET  /v1/ca       {"Certificate"}
 *	POST /v1/join     {"Token", "Request"} -> {"NodeID", "ClusterID", "Role", "Certificate", "Addr"}
 *	POST /v1/renew    {"Request", "Manager", ...}: a certificate for the role that the node is to have,
 *	                  and what it needs for it
 *	POST /v1/session  struct proto_hello; the answer is a stream of lines: struct proto_assignments,
 *	                  struct proto_endpoints, log requests, and empty lines as signs of life
 *	POST /v1/report   struct proto_report -> struct proto_reply
 *	GET  /v1/files/{} secrets and configs of a task of the peer's: {"Files": [{"ID", "Data"}]}
 *	POST /v1/logs/{}  the output that a log request asked for
 *
 * Thread-safe. Calls block as long as a commit does, leader_logs() until the node answers.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"
#include "cluster/control.h"
#include "cluster/token.h"
#include "http/server.h"

struct ca_identity;
struct vault;
struct err;
struct leader;
struct log;

#define LEADER_PORT 2377

/* PEM texts; each may be NULL. */
struct leader_tls {
	const char *ca, *cert, *key;
};

struct leader_options {
	int dir_fd;      /* for cluster.db; borrowed during the call */
	const char *url; /* a store that is shared (etcd.h); NULL: cluster.db */
	const char *
		socket; /* of the etcd that we run ourselves (etcd_run.h), the url then being a word */
	const struct leader_tls *tls; /* for "etcds"; NULL: the system's CAs, no certificate */
	int64_t compact_ms; /* how long a shared store keeps old revisions; 0: 5 minutes */
	const char *self;   /* our node's id */
	const char *addr;   /* "IP:PORT": where the other managers reach us */
	bool founding;      /* lead now, for leader_found() */
	const struct log *log;
};
struct leader *leader_open(const struct leader_options *options, struct err *err);
/* Ends the sessions. The agents go on with what they have. */
void leader_close(struct leader *leader);
static inline void leader_free(struct leader *leader)
{
	leader_close(leader);
}
DEFINE_AUTO(leader)

/* Writes the cluster object, with tokens and a CA of its own: `ca`, or a new one (NULL). spec: Docker's,
 * borrowed. */
int leader_found(struct leader *leader, const char *cluster_id, const struct json *spec,
                 const struct ca_identity *ca, struct err *err);

/* Signs a request for a node of this cluster; the subject's cluster_id is filled in. The caller owns *cert. */
struct ca_subject;
int leader_sign(struct leader *leader, const char *request, const struct ca_subject *subject,
                char **cert, struct err *err);

/* The daemon's routes that are about the cluster, for managers that do not lead. */
struct leader_api {
	const struct http_route *routes; /* borrowed; ends with {NULL} */
	void *ctx;
};

struct leader_address {
	const char *listen; /* "IP:PORT" */
	const char *ca, *cert, *key;
	struct leader_api api;
};
/* Where the store is shared, takes part in the election from now on. */
int leader_serve(struct leader *leader, const struct leader_address *address, struct err *err);

/* Another certificate, and what is trusted, for connections from now on; those that are open stay so. One call at a time. */
int leader_set_identity(struct leader *leader, const struct leader_tls *tls, struct err *err);
/* Before our own etcd starts anew to trust others: ERR_UNAVAILABLE while another manager's does, or when we do not lead. */
int leader_begin_turn(struct leader *leader, struct err *err);
/* "CA" of the document: what the node that it is for is to trust. */
int leader_tell_trust(struct leader *leader, struct json *doc, struct err *err);

/* ---- the control plane, for one thread at a time ---- */

/* NULL (ERR_UNAVAILABLE): another manager leads; then leader_exit() must not be called. */
struct control *leader_enter(struct leader *leader, struct err *err);
void leader_exit(struct leader *leader);
struct control_time leader_now(void);

/* Has the leader answer a request of ours, waiting a while for one. 1: we lead, answer it here. */
int leader_relay(struct leader *leader, struct http_request *req, struct err *err);

/* What others must know to be managers; borrowed. NULL: the store is this machine's alone. */
const char *leader_store_url(const struct leader *leader);
/* Some manager leads, as far as we know. */
bool leader_is_known(struct leader *leader);
/* What is wrong with the shared store, in words for people; "". */
void leader_store_note(struct leader *leader, char *out, size_t size);

/* What secrets are sealed with (vault.h); borrowed. */
const struct vault *leader_vault(const struct leader *leader);

/* The whole state (backup.h), appended to out. Requests wait meanwhile. */
struct buf;
int leader_backup(struct leader *leader, const char *passphrase, struct buf *out, struct err *err);

/* How often backups are taken, and how many are kept (snapshots.h). */
struct snapshots_settings;
int leader_read_snapshots(struct leader *leader, struct snapshots_settings *out, struct err *err);
int leader_set_snapshots(struct leader *leader, const struct snapshots_settings *settings,
                         struct err *err);

enum leader_token {
	LEADER_ROTATE_WORKER = 1,
	LEADER_ROTATE_MANAGER = 2,
};
/* A token for one machine, which is good for so long. */
struct leader_one_use {
	bool manager;
	int64_t seconds;
};
int leader_make_one_use(struct leader *leader, const struct leader_one_use *wanted,
                        char text[TOKEN_MAX], struct err *err);
/* New settings and, if asked for, new tokens, or another root certificate (rotation.h). version: what the client read. */
int leader_update(struct leader *leader, const struct json *spec, uint64_t version, unsigned rotate,
                  struct err *err);

/* ---- output of tasks elsewhere ---- */

/* Asks the node for a task's output. A stream of Docker's frames to read to its end; the
 * caller closes it, which ends the node's sending. ERR_UNAVAILABLE when the node is not connected.
 * `options` is handed to the node as it is. */
int leader_logs(struct leader *leader, const char *node_id, const char *task_id,
                const struct json *options, struct err *err);
