/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * agent - a node's side of the cluster: gets tasks from the leader, has them run, says how they are.
 *
 *	struct agent *agent = agent_open(&options, err);   // agent.db in the directory
 *	agent_poke(agent, task_id);                        // something happened to its container
 *	agent_close(agent);                                // containers live on
 *
 * Two threads talk to the leader: one holds the stream that assignments come by, one sends the
 * heartbeat with the statuses, each second and at once when there is news. Assignments are written
 * down before anything is done about them, so an agent that was killed goes on where it was,
 * finding its containers again through the executor; and it goes on with what it has when
 * no leader answers. The rules of the exchange are in proto.h.
 *
 * Each task is brought step by step to what is desired, on a pool of threads, one step of a task
 * at a time; a step looks at the container first, so pokes may come early, late or twice.
 *
 * The executor does the work on containers: see below. Thread-safe.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/id.h"
#include "cluster/endpoints.h"
#include "cluster/model.h"

struct agent;
struct arena;
struct err;
struct log;

enum agent_health {
	AGENT_HEALTH_NONE, /* no check */
	AGENT_HEALTH_STARTING,
	AGENT_HEALTH_GOOD,
	AGENT_HEALTH_BAD,
};

/* A task's container. */
struct agent_container {
	char id[ID_HEX_MAX]; /* "": there is none */
	bool started;        /* at least once */
	bool running;
	int64_t pid, exit_code;
	char *error; /* why it did not start or was killed; NULL */
	enum agent_health health;
	char *address;           /* on this machine; NULL */
	struct json_array ports; /* struct model_port, published_port as the machine gave it */
};

/* A secret or config of the task, opened. Wiped after the call it was handed to. */
struct agent_file {
	const char *target; /* absolute */
	uint32_t uid, gid, mode;
	bool templated; /* its places are to be filled in */
	char *data;     /* NUL after it */
	size_t len;
};

struct agent_work {
	const struct task *task;
	const char *node_id, *node_name;
	const struct agent_file *files; /* prepare() only */
	size_t file_count;
};

/* A call that fails with ERR_CANCELED (the engine stops) says nothing about the task: it is made
 * again. Calls block and come from several threads, one at a time for a task. Each may be repeated: what is
 * done already is success. */
struct agent_executor {
	void *arg;
	/* Image, files, container. A failure rejects the task. */
	int (*prepare)(void *arg, const struct agent_work *work, struct err *err);
	int (*start)(void *arg, const struct agent_work *work, struct err *err);
	/* Politely, then by force. */
	int (*stop)(void *arg, const struct agent_work *work, struct err *err);
	/* By force if it runs. */
	int (*remove)(void *arg, const char *task_id, struct err *err);
	int (*look)(void *arg, const char *task_id, struct arena *arena,
	            struct agent_container *out, struct err *err);
	/* Ids of all tasks that have a container here. */
	int (*list)(void *arg, struct arena *arena, struct json_strings *task_ids, struct err *err);
	/* What the table of endpoints says; an empty one when the cluster is left. */
	int (*publish)(void *arg, const struct endpoints *table, struct err *err);
	/* Ids of all endpoints on the cluster's networks that are here. */
	int (*endpoints)(void *arg, struct arena *arena, struct json_strings *ids, struct err *err);
	/* Writes Docker's frames of the task's output to fd, a socket, until it ends or the other side
	 * has closed. `options`: Docker's query, {"stdout":"1","tail":"3",...}. */
	int (*logs)(void *arg, const char *task_id, const struct json *options, int fd,
	            struct err *err);
};

struct agent_options {
	int dir_fd; /* for agent.db; borrowed */
	const char *node_id;
	const char *leader; /* "IP:PORT" of a manager: the first to try */
	const char *
		other; /* of one to try when that does not lead, until the leader has told of all; may be
	                     * NULL */
	const char *ca, *cert, *key;
	const char *addr; /* where other nodes reach this one; NULL: as the leader sees it */
	const struct node_description *description;
	const struct agent_executor *executor; /* borrowed, lives longer than the agent */
	/* The leader's word about this node: PROTO_SELF, borrowed. Called from the stream's thread; must not
	 * wait for it. May be NULL. */
	void (*told)(void *arg, const struct json *doc);
	void *told_arg;
	const struct log *log;
};

struct agent *agent_open(const struct agent_options *options, struct err *err);
void agent_close(struct agent *agent);

/* The task's container started, ended, changed its health, or is gone. NULL: look at all. */
void agent_poke(struct agent *agent, const char *task_id);

/* Other certificates, for connections from now on; what is open stays so, and the leader knows of them when the agent
 * has introduced itself anew. */
struct agent_identity {
	const char *ca, *cert, *key;
	const char *leader; /* as in the options; NULL: as before */
};
int agent_set_identity(struct agent *agent, const struct agent_identity *identity, struct err *err);
/* If what it trusts, or whose its certificate is, is not what it told the leader: begins another session. */
void agent_introduce(struct agent *agent);

/* Posts a question of this node's to the leader that it has its session with. The caller owns *reply. */
struct agent_question {
	const char *path;
	struct json *body;          /* taken */
	bool refusable;             /* a manager that says no has answered: others are not asked */
	bool (*give_up)(void *arg); /* as in http/client.h */
	void *arg;
};
int agent_ask(struct agent *agent, const struct agent_question *question, struct json **reply,
              struct err *err);

/* Asks the leader for an address on one of the cluster's networks, for a container that is no task's. */
struct agent_attach {
	const char *network;      /* name or id */
	const char *id;           /* of the endpoint; NULL: only the network is looked up */
	const char *container_id; /* for others to see */
	const char *address;      /* NULL: any */
	struct json_strings names;
	bool (*give_up)(void *arg); /* as in http/client.h; may be NULL */
	void *arg;
};
struct agent_attached {
	struct network network;
	const char *address; /* "10.0.3.9" */
};
/* The same id gets the same address again. agent_attach_done() must follow, also after a failure, when the
 * endpoint is there for agent_executor.endpoints to see, or will not be. */
int agent_attach(struct agent *agent, const struct agent_attach *want, struct arena *arena,
                 struct agent_attached *out, struct err *err);
void agent_attach_done(struct agent *agent, const char *id);
/* An endpoint that had such an address may be gone: it is looked at soon. */
void agent_detached(struct agent *agent);

/* Before leaving the cluster: stops talking, then removes every task's container. */
int agent_leave(struct agent *agent, struct err *err);

struct agent_state {
	bool connected;
	char error[256]; /* why it is not; "" */
};
void agent_look(struct agent *agent, struct agent_state *state);
