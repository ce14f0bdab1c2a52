/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * control - the leader's control plane: every loop, as one state machine without a clock.
 *
 *	struct control *c = control_open(&config, now, err);      // reads the whole store
 *	control_agent_hello(c, now, &hello, &session, err);       // events go in ...
 *	control_tick(c, now, err);
 *	while ((m = control_take_message(c)) != NULL)             // ... and messages come out
 *		send(m->node_id, m->text, m->len), control_message_free(m);
 *	sleep until control_next_wake(c) or the next event
 *
 * Each call is one step: it takes an event and the time, runs the loops that the event
 * concerns until nothing changes (orchestrator, allocator, scheduler, restart, update,
 * drain, health, reaper), commits the outcome as one transaction, and only then lets
 * messages out. So nothing is launched that is not written down first, and a leader that
 * dies between any two instructions is continued by the next from the store alone.
 *
 * No thread, clock or random number is inside: `now` is handed in and identifiers come from
 * a generator seeded by the caller. The same events give the same decisions, which is how
 * tests/sim finds and repeats faults.
 *
 * Objects are read from a mirror in memory (below, and service.h node.h task.h). A step that
 * cannot commit returns its error and throws the mirror away; the next call reads the
 * store again. When store_is_stale() says why, another leader is in charge: free this one.
 *
 * One thread at a time; the owner's lock guards it (cluster.h). Steps block as long as the
 * store's commit does.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "cluster/model.h"
#include "cluster/proto.h"

struct control;
struct store;

struct control_time {
	int64_t mono_ms; /* decides */
	int64_t wall_ns; /* is written into objects for people */
};

/* Defences a test may switch off, to see that it notices. 0 everywhere else. */
enum control_unsafe {
	CONTROL_UNSAFE_STATES = 1 << 0,   /* believe statuses that fall */
	CONTROL_UNSAFE_GRACE = 1 << 1,    /* call nodes dead at once after a take-over */
	CONTROL_UNSAFE_INTENT = 1 << 2,   /* let messages out although the commit failed */
	CONTROL_UNSAFE_HANDOVER = 1 << 3, /* start a successor before its predecessor has stopped */
};

struct control_config {
	struct store *store;  /* borrowed; open, and this control its only user */
	uint64_t seed[2];     /* of the identifier generator; from id_random() in a daemon */
	int64_t heartbeat_ms; /* 0 = PROTO_HEARTBEAT_MS; suspect after 2 missed, dead after 3 */
	int64_t history;      /* ended tasks kept per slot; 0 = 5 */
	unsigned unsafe;
	char self[32]; /* id of the node we lead from; "": not told to anybody */
	bool shared;   /* the store: there may be several managers */
	bool voting;   /* and each is one of its voices: most of them must be there */
};

/* Takes over: reads everything, runs a full pass of every loop. NULL: the store's failure. */
struct control *control_open(const struct control_config *config, struct control_time now,
                             struct err *err);
void control_free(struct control *c); /* accepts NULL; the store stays open */
DEFINE_AUTO(control)

/* ---- events ---- */

/* Timers: health, restart delays, updates. Call when control_next_wake() has come; harmless at
 * any time. */
int control_tick(struct control *c, struct control_time now, struct err *err);
int64_t control_next_wake(const struct control *c); /* mono_ms; INT64_MAX = only on events */

/* A node was admitted (its certificate is signed). Twice is fine. The description may be empty. */
int control_node_add(struct control *c, struct control_time now, const char *node_id,
                     const char *role, const char *addr, struct err *err);

/* A node that was promoted is a manager from now on, which the others reach at `addr` ("IP:PORT"). Twice is fine.
 * ERR_CONFLICT: it is to be a worker. */
int control_node_enlist(struct control *c, struct control_time now, const char *node_id,
                        const char *addr, struct err *err);

/* An agent connected: its node is ready, its statuses are taken, a complete set is queued.
 * ERR_NOT_FOUND: the node was removed from the cluster (the agent should leave). ERR_CONFLICT:
 * the agent has seen a higher epoch than ours: we are not the leader. */
int control_agent_hello(struct control *c, struct control_time now, const struct proto_hello *hello,
                        int64_t *session, struct err *err);

/* A heartbeat with statuses. *reply is filled on success. */
int control_agent_report(struct control *c, struct control_time now,
                         const struct proto_report *report, struct proto_reply *reply,
                         struct err *err);

/* The session's stream broke. Only a hint: the node stays alive until heartbeats are missed, but
 * is not reached until it is heard again. */
void control_agent_gone(struct control *c, const char *node_id, int64_t session);

/* ---- messages out, in order; those of one node must be sent in this order ---- */

struct control_message {
	struct control_message *next;
	char node_id[32];
	int64_t session; /* drop it when the node's stream is of another session */
	char *text;      /* struct proto_assignments, one line, no newline; owned */
	size_t len;
};

struct control_message *
control_take_message(struct control *c); /* NULL: none; the caller owns it */
void control_message_free(struct control_message *message);

/* ---- reading the mirror: borrowed until the next event ---- */

int64_t control_epoch(const struct control *c);
int64_t control_revision(const struct control *c);

/* By exact id. NULL: none. */
const struct service *control_service(const struct control *c, const char *id);
const struct task *control_task(const struct control *c, const char *id);
const struct node *control_node(const struct control *c, const char *id);
const struct cluster *control_cluster(const struct control *c); /* NULL: not made yet */

/* In id order. Start with *at = 0; NULL at the end. */
const struct service *control_next_service(const struct control *c, size_t *at);
const struct task *control_next_task(const struct control *c, size_t *at);
const struct node *control_next_node(const struct control *c, size_t *at);

/* Alive now, by heartbeat: what `docker node ls` calls Ready. */
bool control_node_is_alive(const struct control *c, const char *id);

/* Alive, and heard lately: connections to its tasks are likely to work. The number changes whenever
 * a node begins or ceases to be reached, which leaves the store untouched. */
bool control_node_is_reached(const struct control *c, const char *id);
uint64_t control_reach(const struct control *c);

/* Writes the cluster object (made by `swarm init`, changed by `swarm update` and cluster/ca).
 * expected: its version, 0 for the first. ERR_CONFLICT "update out of sequence". */
int control_cluster_set(struct control *c, struct control_time now, const struct cluster *cluster,
                        uint64_t expected, struct err *err);
