/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "cluster/store_driver.h"
#include "sim.h"

/* master - a manager: election.c asks, etcd answers or does not, and a control plane lives as long as the
 * mandate. The order of calls is that of leader_elect.c. */

#define CALL_MS            1000
#define FRESH_MS           1000
#define STORE_FAULT_CHANCE 1 /* percent of commits */

/* ---- clocks ---- */

int64_t master_now(const struct world *w, const struct master *m)
{
	return w->now_ms + w->now_ms * m->rate_ppm / 1000000 + 100000 * ((int64_t)m->i + 1);
}

struct control_time master_time(const struct world *w, const struct master *m)
{
	return (struct control_time){.mono_ms = master_now(w, m),
	                             .wall_ns = (1700000000000 + w->now_ms + m->wall_jump_ms) *
	                                        1000000};
}

void master_init(struct world *w, size_t i)
{
	struct master *m = &w->masters[i];

	m->i = i;
	m->up = true;
	m->who = ++w->next_who;
	m->rate_ppm = (int64_t)world_random(w, 20001) - 10000;
}

bool master_may_lead(const struct world *w, const struct master *m)
{
	return m->up && m->c && m->election.epoch &&
	       (master_now(w, m) < m->election.until_ms || w->broken == SIM_BREAK_LEASE);
}

bool master_is_current(const struct world *w, const struct master *m)
{
	return m->c && w->etcd.epoch && control_epoch(m->c) == w->etcd.epoch;
}

/* ---- asking etcd ---- */

static void ask(struct world *w, struct master *m, struct call call)
{
	bool answered = call.kind != CALL_REVOKE && call.kind != CALL_RESIGN;

	call.id = ++w->next_call;
	call.who = m->who;
	if (answered) {
		m->asked = call;
		m->asked_ms = master_now(w, m);
		m->answer_by_ms = m->asked_ms + CALL_MS;
	}
	world_send(w, (struct event){.kind = EVENT_TO_ETCD, .master = m->i, .call = call});
}

static void drop_lease(struct world *w, struct master *m)
{
	if (m->lease)
		ask(w, m, (struct call){.kind = CALL_REVOKE, .lease = m->lease});
	m->lease = 0;
}

static void campaign(struct world *w, struct master *m)
{
	int64_t now = master_now(w, m);

	if (m->lease && now - m->lease_ms <= FRESH_MS) {
		ask(w, m, (struct call){.kind = CALL_CAMPAIGN, .lease = m->lease});
		return;
	}
	drop_lease(w, m);
	m->lease_ms = now;
	ask(w, m, (struct call){.kind = CALL_GRANT});
}

/* ---- leading ---- */

void master_free(struct master *m)
{
	control_free(m->c);
	store_free(m->store);
	m->c = NULL;
	m->store = NULL;
}

static void lay_down(struct world *w, struct master *m)
{
	if (w->leader == m)
		w->leader = NULL;
	master_free(m);
}

static void refuse(struct world *w, struct master *m)
{
	ask(w, m, (struct call){.kind = CALL_RESIGN, .epoch = m->election.epoch});
	election_dropped(&m->election, master_now(w, m));
	lay_down(w, m);
}

void master_before(struct world *w, struct master *m)
{
	enum store_fault fault = STORE_FAULT_NONE;

	if (world_is_cut(w, m->i, PLACE_ETCD) || w->now_ms < w->etcd.down_until_ms)
		fault = STORE_FAULT_AWAY;
	else if (world_is_cut(w, PLACE_ETCD, m->i))
		fault = STORE_FAULT_DEAF;
	else if (!w->calm && world_chance(w, STORE_FAULT_CHANCE))
		fault = world_chance(w, 50) ? STORE_FAULT_BEFORE : STORE_FAULT_AFTER;
	store_disk_fail_next(w->disk, fault);
}

static void pump(struct world *w, struct master *m)
{
	struct control_message *message;

	while ((message = control_take_message(m->c)) != NULL) {
		struct event event = {.kind = EVENT_TO_AGENT,
		                      .master = m->i,
		                      .node = strtoul(message->node_id + 4, NULL, 10),
		                      .hello = true,
		                      .text = message->text};

		event.line = m->lines[event.node];
		message->text = NULL;
		world_send(w, event);
		control_message_free(message);
	}
}

void master_after(struct world *w, struct master *m, int result, const struct err *err)
{
	store_disk_fail_next(w->disk, STORE_FAULT_NONE);
	m->readable = result == 0;
	if (result < 0)
		m->unsure = true;
	if (result < 0 && store_is_stale(err)) {
		world_log(w, "master%zu learns that it was replaced", m->i);
		refuse(w, m);
		return;
	}
	if (result == 0 && w->leader == m)
		check_step(w);
	pump(w, m);
}

static unsigned unsafe_of(enum sim_break broken)
{
	switch ((int)broken) {
	case SIM_BREAK_STATES:
		return CONTROL_UNSAFE_STATES;
	case SIM_BREAK_GRACE:
		return CONTROL_UNSAFE_GRACE;
	case SIM_BREAK_INTENT:
		return CONTROL_UNSAFE_INTENT;
	case SIM_BREAK_HANDOVER:
		return CONTROL_UNSAFE_HANDOVER;
	default:
		return 0;
	}
}

static void take_over(struct world *w, struct master *m)
{
	struct err err = ERR_INIT;
	struct control_config config = {.unsafe = unsafe_of(w->broken), .shared = true};

	w->counts.elections++;
	config.store = store_memory_open_as(w->disk, m->election.epoch, &err);
	config.seed[0] = ++w->lives * 7919;
	config.seed[1] = world_random(w, UINT64_MAX);
	master_before(w, m);
	m->store = config.store;
	m->opened_ms = w->now_ms;
	m->unsure = true;
	m->c = control_open(&config, master_time(w, m), &err);
	if (!m->c) {
		world_log(w, "master%zu does not take up its leadership: %s", m->i, err.msg);
		if (w->calm && !store_is_stale(&err))
			world_fail(w, "a new leader cannot open: %s", err.msg);
		store_disk_fail_next(w->disk, STORE_FAULT_NONE);
		refuse(w, m);
		return;
	}
	world_log(w, "master%zu leads, epoch %lld", m->i, (long long)control_epoch(m->c));
	if (master_is_current(w, m))
		w->leader = m;
	master_after(w, m, 0, NULL);
}

/* ---- steps ---- */

static void on_campaign(struct world *w, struct master *m, const struct call *call)
{
	int64_t now = master_now(w, m);

	if (!call->yes) {
		drop_lease(w, m);
		election_lost(&m->election, now);
		return;
	}
	election_won(&m->election, m->lease_ms, call->epoch);
	if (m->c && control_epoch(m->c) != call->epoch)
		lay_down(w, m);
	if (!m->c && now < m->election.until_ms)
		take_over(w, m);
}

static void on_keep(struct world *w, struct master *m, const struct call *call)
{
	if (call->yes) {
		election_kept(&m->election, m->asked_ms);
		return;
	}
	m->lease = 0;
	election_dropped(&m->election, master_now(w, m));
}

void master_hear(struct world *w, size_t i, const struct call *answer)
{
	struct master *m = &w->masters[i];

	if (!m->up)
		return;
	if (answer->kind == CALL_VACANT) {
		if (m->asked.id == 0)
			election_vacant(&m->election, master_now(w, m));
		return;
	}
	if (answer->id != m->asked.id || answer->who != m->who)
		return;
	m->asked = (struct call){0};
	if (answer->kind == CALL_GRANT) {
		m->lease = answer->lease;
		campaign(w, m);
	} else if (answer->kind == CALL_CAMPAIGN) {
		on_campaign(w, m, answer);
	} else {
		on_keep(w, m, answer);
	}
}

/* False: an answer is waited for, or something has been asked. */
static void elect(struct world *w, struct master *m)
{
	int64_t now = master_now(w, m);

	if (m->asked.id) {
		if (now < m->answer_by_ms)
			return;
		if (m->asked.kind != CALL_KEEP)
			m->lease_ms = 0; /* it may be the lease's fault */
		m->asked = (struct call){0};
		election_failed(&m->election, now);
	}
	switch (election_step(&m->election, now)) {
	case ELECTION_CAMPAIGN:
		campaign(w, m);
		break;
	case ELECTION_RENEW:
		ask(w, m, (struct call){.kind = CALL_KEEP, .lease = m->lease});
		break;
	case ELECTION_YIELD:
		world_log(w, "master%zu leads no longer", m->i);
		lay_down(w, m);
		break;
	case ELECTION_REST:
		break;
	}
}

static void tick(struct world *w, struct master *m)
{
	struct err err = ERR_INIT;
	struct control_time now = master_time(w, m);
	bool hurried = m->hurried;

	m->hurried = false;
	if (!m->c || (!hurried && !master_may_lead(w, m)) || now.mono_ms < control_next_wake(m->c))
		return;
	master_before(w, m);
	int result = control_tick(m->c, now, &err);
	master_after(w, m, result, &err);
}

void master_step(struct world *w, size_t i)
{
	struct master *m = &w->masters[i];

	if (!m->up && w->now_ms >= m->back_ms) {
		m->up = true;
		m->who = ++w->next_who;
		m->election = (struct election){.next_ms = master_now(w, m)};
	}
	if (!m->up || w->now_ms < m->paused_until_ms)
		return;
	if (m->hurried)
		tick(w, m);
	if (w->broken == SIM_BREAK_LEASE && m->c && m->election.epoch)
		m->election.until_ms = INT64_MAX / 2;
	elect(w, m);
	tick(w, m);
}

void master_crash(struct world *w, size_t i)
{
	struct master *m = &w->masters[i];

	world_log(w, "master%zu crashes", i);
	lay_down(w, m);
	m->up = false;
	m->back_ms = w->now_ms + (int64_t)world_random(w, 5000);
	m->election = (struct election){0};
	m->asked = (struct call){0};
	m->lease = 0;
	m->hurried = false;
}

void master_hand_over(struct world *w, size_t i)
{
	struct master *m = &w->masters[i];

	if (!m->c || m->asked.id)
		return;
	world_log(w, "master%zu hands over", i);
	lay_down(w, m);
	ask(w, m, (struct call){.kind = CALL_RESIGN, .epoch = m->election.epoch});
	drop_lease(w, m);
	election_stand_back(&m->election, master_now(w, m) + 3000);
}
