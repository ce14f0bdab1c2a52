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
 *	POST /v1/session  struct proto_hello; the answer is a stream of lines: struct proto_assignments,
 *	                  struct proto_endpoints, log requests, and empty lines as signs of life
 *	POST /v1/report   struct proto_report -> struct proto_reply
 *	POST /v1/logs/{}  the output that a log request asked for
 *
 * Thread-safe. Calls block as long as a commit does, leader_logs() until the node answers.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"
#include "cluster/control.h"

struct ca_identity;
struct err;
struct leader;
struct log;

#define LEADER_PORT 2377

struct leader *leader_open(int dir_fd, const struct log *log, struct err *err);
/* Ends the sessions. The agents go on with what they have. */
void leader_close(struct leader *leader);
static inline void leader_free(struct leader *leader)
{
	leader_close(leader);
}
DEFINE_AUTO(leader)

/* Writes the cluster object, with a CA and tokens of its own. spec: Docker's, borrowed. */
int leader_found(struct leader *leader, const char *cluster_id, const struct json *spec,
                 struct err *err);

/* Signs a request for a node of this cluster. The caller owns *cert. */
int leader_sign(struct leader *leader, const char *request, const char *node_id, bool manager,
                char **cert, struct err *err);

struct leader_address {
	const char *listen; /* "IP:PORT" */
	const char *cert, *key;
};
int leader_serve(struct leader *leader, const struct leader_address *address, struct err *err);

/* ---- the control plane, for one thread at a time ---- */

struct control *leader_enter(struct leader *leader);
void leader_exit(struct leader *leader);
struct control_time leader_now(void);

enum leader_token {
	LEADER_ROTATE_WORKER = 1,
	LEADER_ROTATE_MANAGER = 2,
};
/* New settings and, if asked for, new tokens. version: what the client read. */
int leader_update(struct leader *leader, const struct json *spec, uint64_t version, unsigned rotate,
                  struct err *err);

/* ---- output of tasks elsewhere ---- */

/* Asks the node for a task's output. A stream of Docker's frames to read to its end; the
 * caller closes it, which ends the node's sending. ERR_UNAVAILABLE when the node is not connected.
 * `options` is handed to the node as it is. */
int leader_logs(struct leader *leader, const char *node_id, const char *task_id,
                const struct json *options, struct err *err);
