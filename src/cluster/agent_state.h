/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* agent_state - what agent.c, agent_task.c, agent_book.c and agent_wire.c share. agent.h is the door. */

#include <pthread.h>

#include "base/log.h"
#include "cluster/address.h"
#include "cluster/agent.h"
#include "cluster/proto.h"

struct db;
struct endpoints;
struct http_client;
struct map;
struct pool;

/* A task that the leader gave us. All under the agent's lock. */
struct record {
	char id[32];
	char *text;   /* owned; struct task as it came, but for desired */
	char *slot;   /* owned; which slot it is in: "SERVICE/SLOT" */
	char *status; /* owned; struct task_status; NULL: nothing to say yet */
	enum task_state state, desired;
	int64_t status_version; /* of agent->news when it was last changed */
	bool dropped;           /* the leader does not want it any more: stop and forget */
	bool busy;              /* a thread is at it */
	bool again;             /* look again when it is done */
	bool retry;             /* a step failed: again at the next heartbeat */
	bool gone;              /* to be forgotten by the thread that is at it */
};

#define AGENT_MANAGERS_MAX  32
#define AGENT_ATTACHING_MAX 64   /* containers that are being put on networks */
#define AGENT_GIVING_MAX    1024 /* of which it is looked at once whether they are gone */

struct agent {
	struct log log;
	struct agent_executor executor;
	char node_id[32];
	char *addr; /* owned */
	void (*told)(void *arg, const struct json *doc);
	void *told_arg;
	char *description; /* owned; JSON text; TLSInfo is added when it is told */
	char *node_name;   /* owned */
	struct db *db;
	struct pool *pool;
	pthread_t stream_thread, report_thread;
	bool talking; /* the threads run */

	pthread_mutex_t lock; /* guards everything below */
	pthread_cond_t woken;
	char *leader, *ca, *cert, *key; /* owned */
	int64_t identity;               /* counts them */
	char *tls, *tls_told; /* owned; TLSInfo of these; what the leader was told; NULL: none */
	struct map *records;  /* struct record by task id; owned */
	int64_t epoch;        /* highest seen; on the disk */
	int64_t session, session_epoch, applied; /* 0: none */
	int64_t heartbeat_ms;
	bool stop;
	bool resync;          /* the stream must begin anew */
	bool introduce;       /* because we have something to say of ourselves */
	bool giving;          /* a thread gives addresses back */
	int64_t news;         /* counts changes of statuses */
	int64_t acknowledged; /* news that the leader has */
	int64_t sequence;
	char *table; /* owned; last table of endpoints */
	int64_t table_epoch, table_version;
	bool table_stale;  /* must be applied */
	bool table_failed; /* was not applied as a whole: at the next heartbeat it is stale again */
	bool connected;
	char error[256];
	size_t log_senders;
	/* All that may lead, as the last leader told; on the disk. `at` counts from options.leader, which
	 * is 0, through these: whom we talk to, or try next. */
	char managers[AGENT_MANAGERS_MAX][ADDRESS_MAX];
	size_t manager_count, at;
	/* Endpoints for which an address was asked, but which may not be here yet. */
	char attaching[AGENT_ATTACHING_MAX][ID_HEX_MAX];
	size_t attaching_count;
};

/* ---- agent_book.c: what is on the disk. With the lock held unless said otherwise. ---- */

int book_open(struct agent *agent, int dir_fd, struct err *err);
int book_set_epoch(struct agent *agent, int64_t epoch, struct err *err);
int book_set_managers(struct agent *agent, const struct json *list, struct err *err);
int book_save_status(struct agent *agent, const struct record *record, struct err *err);
int book_forget(struct agent *agent, const char *task_id, struct err *err);
/* An assignment becomes records, on the disk first, all or nothing. */
int book_apply(struct agent *agent, const struct proto_assignments *set, struct err *err);
void record_free(struct record *record);

/* ---- agent_task.c ---- */

/* With the lock held: gets a thread to look at the task. */
void task_kick(struct agent *agent, struct record *record);

/* ---- agent_wire.c ---- */

/* Threads; the argument is the agent. */
void *wire_stream(void *arg);
void *wire_report(void *arg);

/* ---- agent_files.c ---- */

/* The task's secrets and configs, from the leader; in the arena. ERR_NOT_FOUND, ERR_DENIED: there is no hope;
 * anything else: try again later. */
int files_fetch(struct agent *agent, struct agent_work *work, struct arena *arena, struct err *err);
void files_wipe(const struct agent_work *work);

/* ---- agent_networks.c ---- */

/* Gives back the addresses of endpoints that are here no more. Without the lock. */
int networks_sweep(struct agent *agent, const struct endpoints *table, struct err *err);

/* ---- agent_logs.c ---- */

/* A request of the leader for a task's output: answers it on threads of its own. */
void logs_answer(struct agent *agent, const struct json *request);
void logs_wait(struct agent *agent); /* until all of them have ended */

/* ---- agent.c ---- */

struct http_client *agent_client(struct agent *agent, int64_t stall_ms, struct err *err);
/* After a failure: true when all have been tried. */
bool agent_next_manager(struct agent *agent);
/* Tells the executor where services answer, if that has changed. Without the lock. */
void agent_publish(struct agent *agent);
/* With the lock held: waits for news, at most so long. */
void agent_wait(struct agent *agent, int64_t ms);
