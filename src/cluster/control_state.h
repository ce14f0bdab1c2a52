/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * control_state - what the loops of the control plane share. Internal; control.h is the door.
 *
 * Every loop is a function of (struct control, one object): level-triggered, so running it once
 * more changes nothing. Loops change the mirror only; control.c commits and dispatches.
 */

#include "cluster/control.h"
#include "cluster/mirror.h"

struct scheduler;

TAILQ_HEAD(control_messages_head, control_message);

struct control {
	struct control_config config;
	struct mirror m;
	bool loaded;
	uint64_t random[2];
	struct control_time now; /* of this step */
	int64_t last_step_ms;
	int64_t next_session;
	bool schedule;               /* something changed that may let a waiting task in */
	struct scheduler *scheduler; /* NULL until something waited */
	uint64_t reach;              /* control_reach() */
	int64_t suspect_until_ms;    /* so many nodes went silent that we doubt ourselves */
	struct control_message *first, *last; /* waiting to be taken */
};

/* control.c */
void control_make_id(struct control *c, char *id);        /* ID_SWARM_MAX bytes */
char *control_stamp(const struct control *c, char *text); /* CLOCK_TEXT_MAX bytes */
int control_begin(struct control *c, struct control_time now, struct err *err); /* of every step */
int control_finish(struct control *c, struct err *err); /* loops, commit, messages */

/* A time at which this service must be looked at again. */
static inline void control_wake(struct mirror_service *service, int64_t ms)
{
	if (ms < service->wake_ms)
		service->wake_ms = ms;
}

/* slots.c: a service's tasks, sorted by slot and age. */
struct slot {
	int64_t number;             /* 0 in a global service */
	const char *node_id;        /* global: the slot's node; borrowed */
	struct mirror_task **tasks; /* oldest first */
	size_t count;
	struct mirror_task *wanted; /* newest with desired <= running; NULL: none */
	struct mirror_task *older;  /* another such: start-first */
	bool done;                  /* nothing wanted, and the policy wants it so */
};

struct slots {
	struct slot *items; /* owned */
	size_t count;
	struct mirror_task **tasks; /* owned */
};

int slots_list(struct slots *slots, struct mirror_service *service, struct err *err);
void slots_done(struct slots *slots);
#define auto_slots __attribute__((cleanup(slots_done)))

/* orchestrator.c */
int orchestrator_run(struct control *c, struct mirror_service *service, struct err *err);
/* A new task in a slot, from the service's spec or, with `like`, from that task's. */
struct mirror_task *orchestrator_add(struct control *c, struct mirror_service *service,
                                     const struct slot *slot, const struct mirror_task *like,
                                     struct err *err);
/* The wanted task gives way to a new one with the service's spec. */
int orchestrator_replace(struct control *c, struct mirror_service *service, const struct slot *slot,
                         bool start_first, struct err *err);

/* restart.c: ended tasks get a successor, successors are let go when it is time. */
int restart_run(struct control *c, struct mirror_service *service, struct err *err);
/* Is the task followed by one with its own spec, not the service's: a paused update? */
bool restart_keeps_spec(const struct mirror_service *service, const struct mirror_task *ended);

/* update.c */
int update_run(struct control *c, struct mirror_service *service, struct err *err);
/* The spec of `s` becomes its previous one, and the next takes its place: one that needs other tasks, or not. */
void update_set_version(struct service *s, bool replaces);
/* The two specs change places. Tasks of the one that comes back are right as they are. */
void update_swap_versions(struct service *s);
/* Marks an update as begun. */
int update_begin(struct control *c, struct mirror_service *service, bool rollback, struct err *err);

/* rebalance.c */
int rebalance_run(struct control *c, struct mirror_service *service, struct err *err);

/* reaper.c */
int reaper_run(struct control *c, struct mirror_service *service, struct err *err);
void reaper_loose(struct control *c);

/* scheduler.c */
void scheduler_free(struct scheduler *s);
int scheduler_run(struct control *c, struct err *err);
/* What stands between a task of a service and each node: appends {Name, Reason, Nodes} per filter to `filters`
 * and {ID, Hostname, Filter} per node to `nodes` ("": it would do). Places nothing. */
int scheduler_explain(struct control *c, const struct mirror_task *task, struct json *filters,
                      struct json *nodes, struct err *err);
/* preempt.c: tasks for which others made room are let go when it is there. */
void preempt_release(struct control *c);
int64_t preempt_next(
	const struct control *c); /* when more may be sent away; INT64_MAX: nobody waits for that */
void preempt_tick(struct control *c);
/* May a task of this service run there at all (constraints)? */
bool scheduler_allows(const struct mirror_node *node, const struct service_task *spec);

/* health.c */
void health_begin(struct control *c); /* of every step, before anything else */
int health_run(struct control *c, struct err *err);
int health_node_lost(struct control *c, struct mirror_node *node, const char *why, struct err *err);
void health_set_silent(struct control *c, struct mirror_node *node, bool silent);
int64_t health_next(const struct control *c);

/* collector.c */
int collector_take(struct control *c, struct mirror_node *node, const struct json_array *statuses,
                   struct err *err);

/* dispatcher.c */
int dispatcher_run(struct control *c, struct err *err);

/* allocator.c: published ports. */
int allocator_assign(struct control *c, const char *own_id, const struct service_spec *spec,
                     struct arena *arena, struct service_endpoint *endpoint, struct err *err);

/* allocator_address.c: subnets, numbers and addresses of networks. Nothing is kept beside the objects: what is
 * taken is what they say. */
/* A new network's subnet, gateway and number. */
int allocator_network(struct control *c, const char *subnet, const char *gateway,
                      struct arena *arena, struct network *n, struct err *err);
/* An address on each of the cluster's networks that the spec names; those that it had it keeps. */
int allocator_vips(struct control *c, const char *own_id, const struct service_spec *spec,
                   struct arena *arena, struct service_endpoint *endpoint, struct err *err);
/* One address on the network, without its prefix, in the arena: the one asked for (NULL, "": any free one). */
int allocator_give(struct control *c, struct mirror_network *network, const char *wanted,
                   struct arena *arena, char **address, struct err *err);
/* What a node needs to make the network: neither labels nor who else is on it. Borrows. */
struct network allocator_cut(const struct network *n);
/* Does a task with this spec want addresses? */
bool allocator_wants(const struct control *c, const struct service_task *spec);
/* May the task's container still use its address on that network? */
bool allocator_holds(const struct task *t, const char *network_id);
/* New tasks get their addresses, or say why not. */
int allocator_run(struct control *c, struct err *err);

/* network.c: by id or name; NULL. */
struct mirror_network *network_by_ref(const struct control *c, const char *ref);
