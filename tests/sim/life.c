/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "sim.h"

/* life - what happens to a cluster: from the first election, through its faults, to the calm in which all must come
 * right. */

#define STEP_MS   100
#define CALM_MS   60000 /* after the last fault everything must have come right by then */
#define SETTLE_MS 15000
#define CLIENT_MS 400
#define FAULT_MS  700

/* ---- faults ---- */

static void break_node(struct world *w)
{
	size_t i = world_random(w, w->nodes);
	struct agent *a = &w->agents[i];

	if (!a->up) {
		world_log(w, "node%zu is back", i);
		a->up = true;
		return;
	}
	switch (world_random(w, 3)) {
	case 0:
		world_log(w, "node%zu crashes", i);
		agent_crash(w, i);
		break;
	case 1:
		world_log(w, "node%zu: its agent restarts", i);
		agent_restart(w, i);
		break;
	default:
		a->paused_until_ms = w->now_ms + 500 + (int64_t)world_random(w, w->pause_ms);
		world_log(w, "node%zu pauses until %.3f", i, (double)a->paused_until_ms / 1000);
	}
}

static void pause_master(struct world *w, struct master *m)
{
	bool lasting = world_chance(w, 50); /* long enough for it to be replaced */
	int64_t pause_ms =
		lasting ? 2200 + (int64_t)world_random(w, 6000) : (int64_t)world_random(w, 1500);

	m->paused_until_ms = w->now_ms + pause_ms;
	if (lasting)
		m->opened_ms = m->paused_until_ms;
	m->hurried = world_chance(w, 50);
	world_log(w, "master%zu pauses until %.3f", m->i, (double)m->paused_until_ms / 1000);
}

/* Mostly the one that leads. */
static void break_master(struct world *w)
{
	struct master *m = &w->masters[world_random(w, w->master_count)];

	if (w->leader && world_chance(w, 70))
		m = w->leader;
	if (!m->up || w->now_ms < m->paused_until_ms)
		return;
	switch (world_random(w, 4)) {
	case 0:
		master_crash(w, m->i);
		break;
	case 1:
		master_hand_over(w, m->i);
		break;
	case 2:
		m->wall_jump_ms = (int64_t)world_random(w, 7200001) - 3600000;
		world_log(w, "master%zu: its clock is set to %lld ms", m->i,
		          (long long)m->wall_jump_ms);
		break;
	default:
		pause_master(w, m);
	}
}

static void break_etcd(struct world *w)
{
	if (world_chance(w, 20)) {
		etcd_lose_leases(w);
		return;
	}
	w->etcd.down_until_ms = w->now_ms + 300 + (int64_t)world_random(w, 7000);
	world_log(w, "etcd is away until %.3f", (double)w->etcd.down_until_ms / 1000);
}

static void cut(struct world *w, size_t a, size_t b, int64_t until_ms)
{
	bool both = world_chance(w, 50);

	w->cut_until_ms[a][b] = until_ms;
	if (both)
		w->cut_until_ms[b][a] = until_ms;
	w->counts.cuts++;
	world_log(w, "cut: place %zu %s %zu until %.3f", a, both ? "and" : "to", b,
	          (double)until_ms / 1000);
}

static size_t any_place(struct world *w, size_t *other)
{
	size_t master = world_random(w, w->master_count);
	uint64_t what = world_random(w, 3);

	if (w->leader && world_chance(w, 60))
		master = w->leader->i;
	*other = what == 0 ? PLACE_ETCD : PLACE_NODE(world_random(w, w->nodes));
	return master;
}

/* A link, or all of a manager's or a node's. */
static void break_network(struct world *w)
{
	size_t other, master = any_place(w, &other), swap = master;
	int64_t until_ms = w->now_ms + 300 + (int64_t)world_random(w, 9000);

	if (world_chance(w, 50)) {
		bool from = world_chance(w, 50);

		cut(w, from ? other : master, from ? master : other, until_ms);
		return;
	}
	if (world_chance(w, 50)) {
		for (size_t i = 0; i < w->nodes; i++)
			w->cut_until_ms[PLACE_NODE(i)][swap] =
				w->cut_until_ms[swap][PLACE_NODE(i)] = until_ms;
		cut(w, swap, PLACE_ETCD, until_ms);
		return;
	}
	size_t node = PLACE_NODE(world_random(w, w->nodes));
	for (size_t i = 0; i < w->master_count; i++)
		cut(w, node, i, until_ms);
}

static void fault(struct world *w)
{
	uint64_t what = world_random(w, 10);

	if (what < 2)
		break_master(w);
	else if (what == 2)
		break_etcd(w);
	else if (what < 6)
		break_network(w);
	else
		break_node(w);
}

/* Pauses end by themselves: what has arrived waits for it. */
static void heal(struct world *w)
{
	world_log(w, "faults end");
	w->calm = true;
	w->etcd.down_until_ms = 0;
	for (size_t i = 0; i < SIM_PLACES; i++)
		for (size_t k = 0; k < SIM_PLACES; k++)
			w->cut_until_ms[i][k] = 0;
	for (size_t i = 0; i < w->master_count; i++)
		w->masters[i].back_ms = 0;
	for (size_t i = 0; i < w->nodes; i++)
		w->agents[i].up = true;
}

/* ---- events ---- */

static void again(struct world *w, struct event event, int64_t in_ms)
{
	event.at_ms = w->now_ms + in_ms;
	event.text = NULL;
	world_schedule(w, event);
}

/* What has arrived waits for one that was stopped. True: it is put off. */
static bool waits(struct world *w, struct event *event)
{
	bool to_agent = event->kind == EVENT_TO_AGENT;
	bool to_master = event->kind == EVENT_TO_MASTER || event->kind == EVENT_FROM_ETCD;
	int64_t until = 0;

	if (to_agent)
		until = w->agents[event->node].paused_until_ms;
	else if (to_master)
		until = w->masters[event->master].paused_until_ms;
	if (w->now_ms >= until)
		return false;
	event->at_ms = until;
	world_schedule(w, *event);
	event->text = NULL; /* the queue's */
	return true;
}

static void handle(struct world *w, struct event *event)
{
	if (waits(w, event))
		return;
	switch (event->kind) {
	case EVENT_AGENT_STEP:
		agent_step(w, event->node);
		again(w, *event, STEP_MS + (int64_t)world_random(w, 10));
		break;
	case EVENT_MASTER_STEP:
		master_step(w, event->master);
		again(w, *event, STEP_MS / 2 + (int64_t)world_random(w, STEP_MS / 2));
		break;
	case EVENT_ETCD_STEP:
		etcd_step(w);
		again(w, *event, STEP_MS);
		break;
	case EVENT_CLIENT:
		if (w->calm)
			break;
		leader_client(w);
		again(w, *event, 1 + (int64_t)world_random(w, 2 * CLIENT_MS));
		break;
	case EVENT_FAULT:
		if (w->calm)
			break;
		fault(w);
		again(w, *event, 1 + (int64_t)world_random(w, 2 * FAULT_MS));
		break;
	case EVENT_TO_MASTER:
		leader_take(w, event);
		break;
	case EVENT_TO_AGENT:
		agent_take(w, event);
		break;
	case EVENT_TO_ETCD:
		etcd_take(w, event->master, &event->call);
		break;
	case EVENT_FROM_ETCD:
		master_hear(w, event->master, &event->call);
		break;
	}
	check_event(w);
}

static void run_until(struct world *w, int64_t end_ms)
{
	struct event event;

	while (w->queued > 0 && w->queue[0].at_ms <= end_ms && world_next(w, &event)) {
		/* Freed by hand: a failed check leaves by longjmp, and loses this one text. */
		handle(w, &event);
		free(event.text);
	}
}

/* ---- a life ---- */

static void begin_masters(struct world *w)
{
	w->calm = true;
	w->master_count = world_chance(w, 50) ? 3 : 5;
	for (size_t i = 0; i < w->master_count; i++) {
		master_init(w, i);
		world_schedule(w, (struct event){.at_ms = w->now_ms + (int64_t)i,
		                                 .kind = EVENT_MASTER_STEP,
		                                 .master = i});
	}
	world_schedule(w, (struct event){.at_ms = w->now_ms, .kind = EVENT_ETCD_STEP});
	run_until(w, w->now_ms + 3000);
	if (!w->leader)
		world_fail(w, "nobody is elected although nothing is wrong");
}

static void begin_nodes(struct world *w)
{
	/* Mostly few: then faults meet. */
	w->nodes =
		world_chance(w, 90) ? 2 + world_random(w, 7) : 9 + world_random(w, SIM_NODES - 8);
	for (size_t i = 0; i < w->nodes; i++) {
		agent_init(w, i);
		if (control_node_add(w->leader->c, master_time(w, w->leader), w->agents[i].id,
		                     "worker", "", NULL) < 0)
			world_fail(w, "cannot add a node");
		world_schedule(w, (struct event){.at_ms = w->now_ms + (int64_t)i,
		                                 .kind = EVENT_AGENT_STEP,
		                                 .node = i});
	}
	world_schedule(w, (struct event){.at_ms = w->now_ms + 500, .kind = EVENT_CLIENT});
	world_schedule(w, (struct event){.at_ms = w->now_ms + 3000, .kind = EVENT_FAULT});
	w->calm = false;
}

void life_run(struct world *w, int64_t faults_ms)
{
	begin_masters(w);
	begin_nodes(w);
	run_until(w, w->now_ms + faults_ms);
	heal(w);
	run_until(w, w->now_ms + SETTLE_MS); /* a leader is there, agents have come back */
	leader_heal(w);
	run_until(w, w->now_ms + CALM_MS);
	check_end(w);
}
