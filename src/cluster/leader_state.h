/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* leader_state - what leader.c, leader_wire.c and leader_logs.c share. leader.h is the door. */

#include <pthread.h>
#include <sys/queue.h>

#include "base/log.h"
#include "cluster/ca.h"
#include "cluster/leader.h"
#include "http/server.h"

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

struct leader {
	struct log log;
	pthread_mutex_t lock; /* guards everything below */
	pthread_cond_t woken; /* for the ticker */
	struct store *store;
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
	LIST_HEAD(, session) sessions;
	LIST_HEAD(, log_request) requests;
};

/* All with the lock held. */
struct session *leader_session(struct leader *leader, const char *node_id);
int leader_say(struct session *session, const char *text, size_t len, struct err *err);
void leader_pump(struct leader *leader); /* what the control plane has to say, to the sessions */
int leader_read_ca(struct leader *leader, struct ca_identity *ca, struct err *err);

/* leader_wire.c */
extern const struct http_route leader_routes[];
/* leader_logs.c */
int leader_take_logs(void *ctx, struct http_request *req, struct err *err);
void leader_drop_requests(struct leader *leader);
/* The id of the node that the peer's certificate names. ERR_DENIED without one. */
const char *leader_peer(struct http_request *req, struct err *err);
