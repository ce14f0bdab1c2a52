/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * proto - what an agent and the leader say to each other, as JSON.
 *
 *	agent                                   leader
 *	  | hello ------------------------------> |   opens the session's long stream
 *	  | <------------------ assignments: complete (to = 1) ...
 *	  | <------------------ assignments: increment (from = 1, to = 2) ...
 *	  | report (every heartbeat, and at once when a task's state changes) -> |
 *	  | <------------------------------------ reply (acknowledged, resync)
 *
 * What makes loss, repetition and reordering harmless:
 *  - every message carries the leader's epoch. An agent writes the highest it has seen to its
 *    disk before it acts, and refuses a lower one;
 *  - a session is a number that rises within an epoch. An agent refuses assignments of a
 *    (epoch, session) below the one it has, and takes over a higher one with its complete set;
 *  - an increment applies only to exactly version `from`. Already at `to` or above: a repetition,
 *    ignored. Anything else: the agent says hello again and gets a complete set;
 *  - a complete set is everything the node shall have: the agent stops and forgets any other task.
 *    An empty one must say so itself (`empty`), else it is refused;
 *  - the agent writes an assignment to its disk before it says ACCEPTED, and knows every task it
 *    has until the leader drops it from the set, ended ones too (their logs can still be read);
 *  - an agent starts no task while another of its slot (service and slot; in a global service the
 *    service) that was told to stop still runs on this node;
 *  - statuses only rise, and are sent in each report until a reply acknowledges them;
 *  - the reports say which assignment version was applied; a leader that sees one lag sends a
 *    complete set again.
 *
 * An agent runs what it was last told when every leader is gone.
 */

#include "cluster/model.h"

#define PROTO_VERSION      1
#define PROTO_TEXT_MAX     (32u << 20) /* bytes of one message */
#define PROTO_STATUSES_MAX 10000       /* per message */
#define PROTO_HEARTBEAT_MS 1000

/* ---- agent to leader ---- */

struct proto_status {
	char *task_id;
	struct task_status status;
};

struct proto_hello {
	int64_t protocol;
	char *node_id; /* must be the one in the peer's certificate: the transport compares */
	int64_t epoch; /* highest the agent has seen */
	char *addr;    /* where other nodes reach it; NULL: the address the connection came from */
	struct node_description description;
	struct json_array statuses; /* struct proto_status: all it has */
};

struct proto_report {
	int64_t protocol;
	char *node_id;
	int64_t epoch; /* of the session */
	int64_t session;
	int64_t sequence;           /* rises with each report of this agent's process */
	int64_t applied;            /* assignment version it has on its disk */
	struct json_array statuses; /* struct proto_status: those not acknowledged yet */
};

/* ---- leader to agent ---- */

#define PROTO_COMPLETE  "complete"
#define PROTO_INCREMENT "increment"

struct proto_assignments {
	char *type; /* complete increment */
	int64_t epoch;
	int64_t session;
	int64_t from; /* increments only */
	int64_t to;
	int64_t heartbeat_ms;
	bool empty;                  /* complete: yes, nothing at all */
	struct json_array tasks;     /* struct task: new or changed (desired) */
	struct json_strings removed; /* increments: ids to stop, if need be, and forget */
};

struct proto_reply {
	int64_t epoch;
	int64_t session;
	int64_t acknowledged; /* the report's sequence, once its statuses are in the store */
	bool resync;          /* this session is over: say hello again */
};

/* ---- published by the leader to all nodes: where services answer ---- */

struct proto_backend {
	char *task_id;
	char *node_id;
	char *address;           /* the node's */
	struct json_array ports; /* struct model_port: target_port -> published_port on that node */
};

struct proto_service {
	char *id;
	char *name;
	struct json_array ports;    /* struct model_port: published_port answers on every node */
	struct json_array backends; /* struct proto_backend: running tasks */
};

/* To one node: {"Type", "Role": manager worker, "Trust", "Issuer", "SpreadMs"}, at the beginning of a session and when it
 * changes. A node that is something else, trusts something else (SHA-256 of its ca.pem), or has a certificate of another
 * root (its public key) asks for what it needs: POST /v1/renew (leader.h), within so many milliseconds. */
#define PROTO_SELF "self"

/* Somebody with an address on a network: a task, from when it has a node, or a container. */
struct proto_member {
	char *address;
	char *node_id, *node_address;
	struct json_strings names; /* its own */
	char *attachment; /* of a plain container: its endpoint's id on its node; else NULL */
};

/* A service on a network. */
struct proto_group {
	struct json_strings names;    /* lead to the address, or without one to the backends */
	char *tasks;                  /* a name that leads to the backends in any case */
	char *address;                /* virtual; NULL: none */
	struct json_strings backends; /* addresses of tasks that run and shall */
};

struct proto_network {
	struct network network;
	struct json_array members; /* struct proto_member */
	struct json_array groups;  /* struct proto_group */
};

#define PROTO_ENDPOINTS "endpoints"
#define PROTO_MANAGERS  "managers" /* {"Type", "Managers": ["IP:PORT", ...]} */

struct proto_endpoints {
	char *type; /* endpoints */
	int64_t epoch;
	int64_t version;            /* rises; a table with a lower one is ignored */
	struct json_array services; /* struct proto_service: a whole table, not an increment */
	struct json_array networks; /* struct proto_network: all of them */
};

extern const struct json_table proto_hello_table;
extern const struct json_table proto_report_table;
extern const struct json_table proto_assignments_table;
extern const struct json_table proto_reply_table;
extern const struct json_table proto_endpoints_table;

/* json_decode_text() with the derived fields of model.h filled in, the protocol checked
 * (ERR_UNSUPPORTED) and the ceilings above. */
int proto_hello_decode(const char *text, size_t len, struct arena *arena, struct proto_hello *out,
                       struct err *err);
int proto_report_decode(const char *text, size_t len, struct arena *arena, struct proto_report *out,
                        struct err *err);
int proto_assignments_decode(const char *text, size_t len, struct arena *arena,
                             struct proto_assignments *out, struct err *err);
