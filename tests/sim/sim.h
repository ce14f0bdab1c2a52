/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * sim - a cluster in virtual time, from one seed: three or five managers that elect a leader by an
 * etcd, up to fifty agents, a bad network and a client, with checks after each event. Files:
 *
 *	sim.c     options, the seeds, several processes at them
 *	life.c    a seed's life: events, faults, calm, the end
 *	world.c   the queue of events, the network, clocks, chance
 *	etcd.c    leases, the leader's key, who is told when it goes
 *	master.c  a manager: its election, what it does when it leads and when it does so no longer
 *	leader.c  what a leader is asked: by agents and by the client
 *	agent.c   a node: durable assignments, containers, statuses
 *	check.c   what must hold, always and in the end
 *
 * The control plane, the messages and the election are those of src/cluster; the objects are in a memory
 * disk that compares the epoch as etcd does. Everything random comes from world_random(), so a
 * seed repeats exactly.
 */

#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/map.h"
#include "cluster/control.h"
#include "cluster/election.h"
#include "cluster/store.h"

#define SIM_NODES    50
#define SIM_MASTERS  5
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
	SIM_BREAK_EMPTY,    /* agents believe an empty set that does not say so */
	SIM_BREAK_DURABLE,  /* agents act and tell before it is on their disk */
	SIM_BREAK_LEASE,    /* a leader goes on when its time is over */
	SIM_BREAK_EARLY,    /* the leadership is given away before the old lease is over */
	SIM_BREAK_NONCE,    /* a manager takes its key of an older lease for that of its lease */
	SIM_BREAKS,
};

struct agent_task {
	char id[32];
	char service[64];
	char image[16];
	int64_t slot;
	enum task_state desired, state;
	enum task_state saved; /* on the disk: the state */
	bool kept;             /* on the disk at all */
	bool container;        /* runs now */
	int64_t changed_seq;   /* first report that carried the state; 0: none yet */
	bool acknowledged;
	int64_t stops_at_ms;
};

struct agent {
	char id[32];
	/* on its disk, once saved */
	int64_t epoch, saved_epoch;
	struct agent_task tasks[SIM_TASKS];
	size_t count;
	/* in memory */
	int64_t session, applied; /* 0: none */
	size_t master;            /* whom it talks to */
	uint64_t line;    /* the connection: what was sent on an older one does not arrive */
	int64_t heard_ms; /* it, last */
	bool up;
	int64_t paused_until_ms;
	bool connected; /* has a session's complete set */
	int64_t hello_at_ms, beat_at_ms;
	int64_t sequence;
};

enum event_kind {
	EVENT_AGENT_STEP,
	EVENT_MASTER_STEP,
	EVENT_ETCD_STEP,
	EVENT_CLIENT,
	EVENT_FAULT,
	EVENT_TO_MASTER, /* text: hello or report */
	EVENT_TO_AGENT,  /* text: assignments or reply; NULL: no leader here */
	EVENT_TO_ETCD,   /* call: a question */
	EVENT_FROM_ETCD, /* call: its answer, or that nobody leads */
};

enum call_kind {
	CALL_GRANT,
	CALL_CAMPAIGN,
	CALL_KEEP,
	CALL_REVOKE, /* not answered */
	CALL_RESIGN, /* not answered */
	CALL_VACANT, /* from a watch: nobody leads */
};

struct call {
	enum call_kind kind;
	uint64_t id;  /* an answer has its question's */
	uint64_t who; /* the process that asks */
	int64_t lease;
	int64_t epoch; /* of a campaign that was won; of who resigns */
	bool yes;
};

struct event {
	int64_t at_ms;
	uint64_t order;
	enum event_kind kind;
	size_t node, master;
	bool hello;    /* to a master: hello; to an agent: assignments */
	uint64_t line; /* the agent's connection */
	struct call call;
	char *text; /* owned */
};

struct lease {
	int64_t id, until_ms; /* 0: free */
};

#define SIM_LEASES 64

struct etcd_world {
	struct lease leases[SIM_LEASES];
	int64_t next_lease;
	int64_t revision;      /* of the leader's key; epochs are taken from it */
	int64_t epoch;         /* 0: nobody leads */
	uint64_t who;          /* leads */
	int64_t lease;         /* of the key */
	int64_t down_until_ms; /* most of its members are away */
};

struct master {
	size_t i;
	bool up;
	int64_t paused_until_ms, back_ms;
	uint64_t who; /* the process: rises with each */
	/* Its clock: monotonic at its own rate; the wall's jumps. */
	int64_t rate_ppm, wall_jump_ms;
	struct election election;
	struct call asked; /* waits for the answer until then; id 0: for none */
	int64_t asked_ms, answer_by_ms;
	int64_t lease, lease_ms;
	bool hurried; /* was stopped between looking at its mandate and acting: acts once more */
	/* While it leads: */
	struct store *store;
	struct control *c; /* NULL: does not lead */
	int64_t opened_ms; /* listens since */
	int64_t heard_ms[SIM_NODES];
	uint64_t lines[SIM_NODES]; /* of their sessions */
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

struct world_counts {
	uint64_t messages, steps, deaths, elections, writes, cuts, ms;
};

#define SIM_STORY 60 /* lines told of a seed that fails */

/* Places in the network: masters, then nodes, then etcd. */
#define PLACE_NODE(i) (SIM_MASTERS + (i))
#define PLACE_ETCD    (SIM_MASTERS + SIM_NODES)
#define SIM_PLACES    (SIM_MASTERS + SIM_NODES + 1)

struct world {
	uint64_t random[2];
	int64_t now_ms;
	struct event *queue; /* a heap */
	size_t queued, queue_cap;
	uint64_t next_order, next_call, next_who;
	struct store_disk *disk;
	struct etcd_world etcd;
	struct master masters[SIM_MASTERS];
	size_t master_count;
	struct master *leader;                        /* whose epoch is etcd's; NULL: none */
	int64_t cut_until_ms[SIM_PLACES][SIM_PLACES]; /* from, to */
	int64_t unsafe_until_ms;                      /* etcd lost leases before their time */
	uint64_t lives;                               /* of leaders, for their seeds */
	struct agent agents[SIM_NODES];
	size_t nodes;
	/* Some worlds are worse: */
	unsigned loss_percent; /* of messages */
	unsigned slow_percent; /* of containers that are stopped */
	uint64_t pause_ms;     /* nodes pause for so long at most */
	struct wish wishes[SIM_SERVICES];
	bool calm; /* faults are over */
	enum sim_break broken;
	bool verbose;
	/* check.c */
	struct map *seen; /* task id -> struct seen */
	int64_t revision;
	uint64_t scan;
	bool was_down[SIM_NODES];
	jmp_buf failed;
	char complaint[512];
	char story[SIM_STORY][200];
	uint64_t told;
	struct world_counts counts;
};

/* world.c */
uint64_t world_random(struct world *w, uint64_t below);
bool world_chance(struct world *w, unsigned percent);
void world_init(struct world *w, uint64_t seed);
void world_done(struct world *w);
void world_schedule(struct world *w, struct event event);
bool world_next(struct world *w, struct event *event);
/* Through the network: lost, twice, late, out of order. Takes the event's text. */
void world_send(struct world *w, struct event event);
bool world_is_cut(const struct world *w, size_t from, size_t to);
void world_fail(struct world *w, const char *fmt, ...)
	__attribute__((format(printf, 2, 3), noreturn));
void world_log(struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void world_tell(const struct world *w); /* the story's end */

/* life.c */
void life_run(struct world *w, int64_t faults_ms);

/* etcd.c */
void etcd_step(struct world *w);
void etcd_take(struct world *w, size_t master, const struct call *question);
void etcd_lose_leases(struct world *w);

/* master.c */
void master_init(struct world *w, size_t i);
void master_step(struct world *w, size_t i);
void master_hear(struct world *w, size_t i, const struct call *answer);
void master_crash(struct world *w, size_t i);
void master_hand_over(struct world *w, size_t i);
int64_t master_now(const struct world *w, const struct master *m); /* its monotonic clock */
struct control_time master_time(const struct world *w, const struct master *m);
bool master_may_lead(const struct world *w, const struct master *m);
bool master_is_current(const struct world *w, const struct master *m);
/* Around each step of its control plane: what happens to its commit, and what becomes of what it said. */
void master_before(struct world *w, struct master *m);
void master_after(struct world *w, struct master *m, int result, const struct err *err);
void master_free(struct master *m);

/* agent.c */
void agent_init(struct world *w, size_t i);
void agent_step(struct world *w, size_t i);
void agent_take(struct world *w, const struct event *event);
void agent_crash(struct world *w, size_t i);   /* the machine */
void agent_restart(struct world *w, size_t i); /* its daemon alone, containers live on */

/* leader.c */
void leader_take(struct world *w, const struct event *event);
void leader_client(struct world *w);
void leader_heal(struct world *w);         /* good images, nodes active */
void leader_name(size_t k, char name[16]); /* of the client's k-th service */
int64_t leader_image(const char *image);
#define SIM_BAD_IMAGE 3

/* check.c */
void check_event(struct world *w);          /* after each */
void check_step(struct world *w);           /* after a step of the leader that worked */
void check_wish(struct world *w, size_t k); /* the client's service is as it knows it */
void check_started(struct world *w, size_t node, const struct agent_task *task);
void check_accept(struct world *w, size_t node, const char *task_id); /* an agent obeys */
void check_forget(struct world *w, size_t node, const char *task_id);
void check_end(struct world *w);
void check_done(struct world *w);
