/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * mirror - the whole store in memory, typed and linked, with a list of what changed.
 *
 * Internal to the control plane. The loops change objects in place through the functions
 * below; mirror_commit() writes every changed object in one transaction; mirror_settle()
 * forgets the list. If the commit fails the mirror says more than the store: throw it away
 * with mirror_done() and load again. So no loop needs to undo anything.
 *
 *	mirror_set_desired(m, task, TASK_SHUTDOWN);
 *	if (mirror_commit(m, store, err) == 0)
 *		dispatch what m->dirty holds, then mirror_settle(m);
 */

#include <sys/queue.h>

#include "base/arena.h"
#include "cluster/model.h"
#include "cluster/store.h"

struct mirror_object {
	const char *id; /* lives in arena */
	enum store_kind kind;
	int64_t version; /* in the store; 0: not there yet */
	bool dirty;
	bool removed;
	size_t settled; /* arena bytes when it was last fresh */
	TAILQ_ENTRY(mirror_object) in_dirty;
	struct arena arena;
};

TAILQ_HEAD(mirror_objects, mirror_object);

struct mirror_index {
	struct mirror_object **items; /* owned, by id */
	size_t count, cap;
};

struct mirror_task {
	struct mirror_object o;
	struct task *t;
	struct mirror_service *service;      /* NULL: removed */
	struct mirror_node *node;            /* NULL: not assigned, or removed */
	TAILQ_ENTRY(mirror_task) of_service; /* or of mirror.loose */
	TAILQ_ENTRY(mirror_task) of_node;
	bool counted;       /* in its node's used and active */
	bool waiting;       /* in its service's waiting */
	bool blocked;       /* in its service's blocked: the scheduler found no node for it */
	bool send;          /* its node must hear of it */
	int64_t start_ms;   /* desired may become running then */
	int64_t running_ms; /* when it was first seen running; -1: not yet */
	int64_t ended_ms;   /* when it was first seen ended; -1: not yet */
};

TAILQ_HEAD(mirror_tasks, mirror_task);

struct mirror_service {
	struct mirror_object o;
	struct service *s;
	struct mirror_tasks tasks;
	size_t waiting;  /* tasks without a node that want one */
	size_t blocked;  /* of those, looked at in vain: they wait for room */
	bool evaluate;   /* a loop should look at it in this step */
	int64_t wake_ms; /* and again then */
};

struct mirror_node {
	struct mirror_object o;
	struct node *n;
	struct mirror_tasks tasks;
	struct model_resources used; /* reserved by tasks that may run */
	int64_t active;              /* how many those are */
	bool alive;                  /* by heartbeat */
	bool silent;                 /* not heard for a while: nobody is sent to it */
	bool held;                   /* may have tasks that wait until others have made room */
	int64_t seen_ms;
	int64_t session; /* 0: none */
	int64_t sent;    /* version of the last assignment message */
	int64_t sent_ms;
	bool whole;       /* next, tell it everything */
	uint32_t edition; /* rises when another text takes the place of the one before */
	uint32_t slot;    /* the scheduler's number for it, plus one; 0: it does not know it */
	size_t mine;      /* scratch of a loop */
};

struct mirror_secret { /* or config */
	struct mirror_object o;
	struct secret *s;
};

struct mirror_network {
	struct mirror_object o;
	struct network *n;
	uint32_t last; /* address given out last: freed ones rest as long as there are others */
};

struct mirror {
	struct mirror_index tasks, services, nodes, secrets, configs, networks;
	struct mirror_object *cluster_entry; /* NULL: not made yet */
	struct cluster *cluster;
	struct mirror_tasks loose; /* tasks whose service is gone */
	struct mirror_objects dirty;
	bool held;      /* some node may have such tasks */
	bool woken;     /* a service changed or went: blocked tasks are looked at again */
	int64_t now_ms; /* of the step, for what is remembered with a time */
};

void mirror_init(struct mirror *m);
void mirror_done(struct mirror *m);
int mirror_load(struct mirror *m, struct store *store, struct err *err);

struct mirror_task *mirror_find_task(const struct mirror *m, const char *id);
struct mirror_service *mirror_find_service(const struct mirror *m, const char *id);
struct mirror_node *mirror_find_node(const struct mirror *m, const char *id);

struct mirror_network *mirror_find_network(const struct mirror *m, const char *id);

/* kind: STORE_SECRET or STORE_CONFIG, also below. */
struct mirror_secret *mirror_find_secret(const struct mirror *m, enum store_kind kind,
                                         const char *id);

/* The i-th by id; NULL past the end. */
struct mirror_task *mirror_task_at(const struct mirror *m, size_t i);
struct mirror_service *mirror_service_at(const struct mirror *m, size_t i);
struct mirror_node *mirror_node_at(const struct mirror *m, size_t i);
struct mirror_network *mirror_network_at(const struct mirror *m, size_t i);
struct mirror_secret *mirror_secret_at(const struct mirror *m, enum store_kind kind, size_t i);

/* Text of an object of ours becomes an entry, linked and marked as changed. */
struct mirror_task *mirror_add_task(struct mirror *m, const struct task *t, struct err *err);
struct mirror_service *mirror_add_service(struct mirror *m, const struct service *s,
                                          struct err *err);
struct mirror_node *mirror_add_node(struct mirror *m, const struct node *n, struct err *err);
struct mirror_secret *mirror_add_secret(struct mirror *m, enum store_kind kind,
                                        const struct secret *s, struct err *err);
struct mirror_network *mirror_add_network(struct mirror *m, const struct network *n,
                                          struct err *err);
int mirror_set_cluster(struct mirror *m, const struct cluster *cluster, struct err *err);

/* Replaces what an entry says; its links stay. */
int mirror_change_service(struct mirror *m, struct mirror_service *entry, const struct service *s,
                          struct err *err);
int mirror_change_node(struct mirror *m, struct mirror_node *entry, const struct node *n,
                       struct err *err);

/* For kinds without anything to do beside. */
int mirror_change(struct mirror *m, struct mirror_object *o, const void *record, struct err *err);

/* Out of the loops' sight at once, out of the store with the commit. Tasks of a removed service
 * become loose, those of a removed node keep its id. */
void mirror_remove_task(struct mirror *m, struct mirror_task *task);
void mirror_remove_service(struct mirror *m, struct mirror_service *service);
void mirror_remove_node(struct mirror *m, struct mirror_node *node);
void mirror_remove_secret(struct mirror *m, struct mirror_secret *secret);
void mirror_remove_network(struct mirror *m, struct mirror_network *network);

/* Changes of a task. Setting what is there already changes nothing. */
void mirror_set_desired(struct mirror *m, struct mirror_task *task, enum task_state desired);
void mirror_set_state(struct mirror *m, struct mirror_task *task, enum task_state state);
int mirror_set_error(struct mirror *m, struct mirror_task *task, const char *message,
                     const char *error, struct err *err);
int mirror_set_status(struct mirror *m, struct mirror_task *task, const struct task_status *status,
                      struct err *err);
/* The task gets its addresses, and may be given a node. */
int mirror_set_networks(struct mirror *m, struct mirror_task *task,
                        const struct task_network *networks, size_t count, struct err *err);
int mirror_assign(struct mirror *m, struct mirror_task *task, struct mirror_node *node,
                  struct err *err);
void mirror_set_blocked(struct mirror_task *task, bool blocked); /* of one that waits */

void mirror_touch(struct mirror *m, struct mirror_object *o); /* changed by hand */
void mirror_evaluate(struct mirror_task *task);               /* its service, in this step */

/* "UpdatedAt" of everything that changed. */
int mirror_stamp(struct mirror *m, const char *stamp, struct err *err);
bool mirror_is_dirty(const struct mirror *m);
int mirror_commit(struct mirror *m, struct store *store, struct err *err);
void mirror_settle(struct mirror *m);
