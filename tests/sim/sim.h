/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * sim - a cluster in virtual time, from one seed: a leader over a memory disk, agents, a bad
 * network and a client, with checks after each step. Files:
 *
 *	sim.c     options, the loop over seeds
 *	world.c   the queue of events, the network, chance
 *	leader.c  the leader's lives, and the client who gives it work
 *	agent.c   a node: durable assignments, containers, statuses
 *	check.c   what must hold, always and in the end
 *
 * Everything random comes from world_random(), so a seed repeats exactly.
 */

#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/map.h"
#include "cluster/control.h"
#include "cluster/store.h"

#define SIM_NODES    8
#define SIM_TASKS    256 /* an agent's table */
#define SIM_SERVICES 4
#define SIM_BEAT_MS  1000

/* Defences that --break turns off. */
enum sim_break {
	SIM_BREAK_NONE,
	SIM_BREAK_STORE,    /* the store compares neither epoch nor version */
	SIM_BREAK_EPOCH,    /* agents obey any epoch and session */
	SIM_BREAK_FROM,     /* agents apply an increment to whatever they have */
	SIM_BREAK_ACK,      /* agents forget a status once it was sent */
	SIM_BREAK_SLOT,     /* agents start a successor beside its predecessor */
	SIM_BREAK_STATES,   /* the leader believes states that fall */
	SIM_BREAK_GRACE,    /* a new leader calls silent nodes dead at once */
	SIM_BREAK_INTENT,   /* the leader speaks before it has written */
	SIM_BREAK_HANDOVER, /* the leader starts a successor too early */
	SIM_BREAKS,
};

struct agent_task {
	char id[32];
	char service[64];
	char image[16];
	int64_t slot;
	enum task_state desired, state;
	bool container;      /* runs now */
	int64_t changed_seq; /* first report that carried the state; 0: none yet */
	bool acknowledged;
	int64_t stops_at_ms;
};

struct agent {
	char id[32];
	/* on its disk */
	int64_t epoch, session, applied;
	bool has_set;
	struct agent_task tasks[SIM_TASKS];
	size_t count;
	/* in memory */
	bool up;
	int64_t paused_until_ms;
	bool connected; /* has a session's complete set */
	int64_t hello_at_ms, beat_at_ms;
	int64_t sequence;
};

enum event_kind {
	EVENT_AGENT_STEP,
	EVENT_LEADER_STEP,
	EVENT_CLIENT,
	EVENT_FAULT,
	EVENT_TO_LEADER, /* text: hello or report */
	EVENT_TO_AGENT,  /* text: assignments or reply */
};

struct event {
	int64_t at_ms;
	uint64_t order;
	enum event_kind kind;
	size_t node;
	bool hello; /* to the leader: hello; to an agent: assignments */
	char *text; /* owned */
};

struct leader {
	struct store *store;
	struct control *c; /* NULL: down */
	int64_t opened_ms; /* listens since */
	int64_t paused_until_ms;
	bool unsure;   /* the disk may hold decisions that no step of this one reported */
	bool readable; /* the last step worked: the mirror is what the disk says */
};

/* What the client knows of a service. */
struct order {
	bool exists;
	int64_t replicas;
	int64_t image;
};

struct wish {
	struct order known;
	struct order maybe; /* the last request's outcome, if its answer was lost */
	bool unsure;
};

struct world {
	uint64_t random[2];
	int64_t now_ms;
	struct event *queue; /* a heap */
	size_t queued, queue_cap;
	uint64_t next_order;
	struct store_disk *disk;
	struct leader leader, zombie; /* zombie: a former leader that does not know it */
	int64_t zombie_until_ms, leader_back_ms;
	uint64_t lives; /* of leaders, for their seeds */
	struct agent agents[SIM_NODES];
	size_t nodes;
	struct wish wishes[SIM_SERVICES];
	bool calm; /* faults are over */
	enum sim_break broken;
	bool verbose;
	/* check.c */
	struct map *seen; /* task id -> struct seen */
	int64_t revision;
	uint64_t scan;
	int64_t heard_ms[SIM_NODES];
	bool was_down[SIM_NODES];
	jmp_buf failed;
	char complaint[512];
	/* statistics */
	uint64_t messages, steps, deaths, elections, writes;
};

/* world.c */
uint64_t world_random(struct world *w, uint64_t below);
bool world_chance(struct world *w, unsigned percent);
void world_init(struct world *w, uint64_t seed);
void world_done(struct world *w);
void world_schedule(struct world *w, struct event event);
bool world_next(struct world *w, struct event *event);
/* Through the network: lost, twice, late, out of order. Takes the text. */
void world_send(struct world *w, enum event_kind kind, size_t node, bool flag, char *text);
void world_fail(struct world *w, const char *fmt, ...)
	__attribute__((format(printf, 2, 3), noreturn));
void world_log(const struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
struct control_time world_time(const struct world *w);
const char *sim_break_name(enum sim_break broken);

/* agent.c */
void agent_init(struct world *w, size_t i);
void agent_step(struct world *w, size_t i);
void agent_take(struct world *w, size_t i, bool assignments, const char *text);
void agent_crash(struct world *w, size_t i);   /* the machine */
void agent_restart(struct world *w, size_t i); /* its daemon alone, containers live on */

/* leader.c */
void leader_open(struct world *w);
void leader_crash(struct world *w, bool zombie);
void leader_step(struct world *w);
void leader_take(struct world *w, size_t node, bool hello, const char *text);
void leader_client(struct world *w);
void leader_heal(struct world *w);         /* good images, nodes active */
void leader_name(size_t k, char name[16]); /* of the client's k-th service */
int64_t leader_image(const char *image);
#define SIM_BAD_IMAGE 3
void leader_zombie_end(struct world *w);

/* check.c */
void check_step(struct world *w);           /* after a step of the leader that worked */
void check_wish(struct world *w, size_t k); /* the client's service is as it knows it */
void check_started(struct world *w, size_t node, const struct agent_task *task);
void check_accept(struct world *w, size_t node, const char *task_id); /* an agent obeys */
void check_forget(struct world *w, const char *task_id);
void check_end(struct world *w);
void check_done(struct world *w);
