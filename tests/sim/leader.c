/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "cluster/node.h"
#include "cluster/service.h"
#include "cluster/store_driver.h"
#include "sim.h"

/* leader - the lives of leaders on one disk, and the client. */

#define DISK_FAULT_PERCENT 1

static const char *const images[] = {"i0", "i1", "i2", "bad"};

int64_t leader_image(const char *image)
{
	for (size_t i = 0; i < ARRAY_LEN(images); i++)
		if (str_eq(images[i], image))
			return (int64_t)i;
	return -1;
}

void leader_name(size_t k, char name[16])
{
	snprintf(name, 16, "service%zu", k);
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

/* ---- lives ---- */

static void pump(struct world *w, struct leader *leader)
{
	struct control_message *m;

	while ((m = control_take_message(leader->c)) != NULL) {
		char *text = m->text;

		m->text = NULL;
		world_send(w, EVENT_TO_AGENT, (size_t)(m->node_id[4] - '0'), true, text);
		control_message_free(m);
	}
}

static void bury(struct leader *leader)
{
	control_free(leader->c);
	store_free(leader->store);
	*leader = (struct leader){0};
}

/* After each step: what it said goes out; one that was replaced is gone. */
static void after(struct world *w, struct leader *leader, int result, const struct err *err)
{
	store_disk_fail_next(w->disk, STORE_FAULT_NONE);
	leader->readable = result == 0;
	if (result < 0)
		leader->unsure = true;
	if (result < 0 && store_is_stale(err)) {
		world_log(w, "a leader learns that it was replaced");
		bury(leader);
		return;
	}
	if (result == 0 && leader == &w->leader)
		check_step(w);
	pump(w, leader);
}

static void before(struct world *w)
{
	if (!w->calm && world_chance(w, DISK_FAULT_PERCENT))
		store_disk_fail_next(w->disk,
		                     world_chance(w, 50) ? STORE_FAULT_BEFORE : STORE_FAULT_AFTER);
}

void leader_open(struct world *w)
{
	struct err err = ERR_INIT;
	struct control_config config = {.unsafe = unsafe_of(w->broken)};

	w->elections++;
	config.store = store_memory_open(w->disk, NULL);
	config.seed[0] = ++w->lives * 7919;
	config.seed[1] = world_random(w, UINT64_MAX);
	w->leader = (struct leader){.store = config.store, .opened_ms = w->now_ms, .unsure = true};
	w->leader.c = control_open(&config, world_time(w), &err);
	if (!w->leader.c)
		world_fail(w, "a new leader cannot open: %s", err.msg);
	world_log(w, "leader of epoch %lld", (long long)control_epoch(w->leader.c));
	after(w, &w->leader, 0, NULL);
}

void leader_zombie_end(struct world *w)
{
	if (w->zombie.c)
		bury(&w->zombie);
}

/* Another takes over while this one lives on. */
static void replace(struct world *w)
{
	world_log(w, "leader is replaced, and does not know it");
	leader_zombie_end(w);
	w->zombie = w->leader;
	w->zombie_until_ms = w->now_ms + 2000 + (int64_t)world_random(w, 6000);
	leader_open(w);
}

void leader_crash(struct world *w, bool zombie)
{
	if (!w->leader.c)
		return;
	if (zombie) {
		replace(w);
		return;
	}
	world_log(w, "leader crashes");
	leader_zombie_end(w);
	bury(&w->leader);
	w->leader_back_ms = w->now_ms + (int64_t)world_random(w, 3000);
}

static void tick(struct world *w, struct leader *leader)
{
	struct err err = ERR_INIT;

	if (w->now_ms < control_next_wake(leader->c))
		return;
	before(w);
	int result = control_tick(leader->c, world_time(w), &err);
	after(w, leader, result, &err);
}

void leader_step(struct world *w)
{
	if (w->zombie.c && (w->calm || w->now_ms >= w->zombie_until_ms))
		leader_zombie_end(w);
	if (!w->leader.c && w->now_ms >= w->leader_back_ms)
		leader_open(w);
	if (w->leader.c && w->now_ms >= w->leader.paused_until_ms)
		tick(w, &w->leader);
	if (w->zombie.c)
		tick(w, &w->zombie);
}

/* ---- listening to agents ---- */

static int take_hello(struct world *w, struct leader *leader, const char *text, struct arena *arena,
                      struct err *err)
{
	struct proto_hello hello;
	int64_t session;

	if (proto_hello_decode(text, strlen(text), arena, &hello, err) < 0)
		world_fail(w, "unreadable hello: %s", err->msg);
	return control_agent_hello(leader->c, world_time(w), &hello, &session, err);
}

static int take_report(struct world *w, struct leader *leader, size_t node, const char *text,
                       struct arena *arena, struct err *err)
{
	struct proto_report report;
	struct proto_reply reply;
	auto_buf struct buf out = BUF_INIT(4096);

	if (proto_report_decode(text, strlen(text), arena, &report, err) < 0)
		world_fail(w, "unreadable report: %s", err->msg);
	if (control_agent_report(leader->c, world_time(w), &report, &reply, err) < 0)
		return -1;
	if (json_encode_text(&proto_reply_table, &reply, &out, err) < 0)
		return -1;
	world_send(w, EVENT_TO_AGENT, node, false, buf_take(&out, NULL));
	return 0;
}

void leader_take(struct world *w, size_t node, bool hello, const char *text)
{
	auto_arena struct arena arena = ARENA_INIT(64 << 20);
	struct leader *leader = &w->leader;
	struct err err = ERR_INIT;

	if (w->zombie.c && world_chance(w, 40))
		leader = &w->zombie;
	if (!leader->c || w->now_ms < leader->paused_until_ms)
		return;
	bool current = leader == &w->leader;
	before(w);
	int result = hello ? take_hello(w, leader, text, &arena, &err)
	                   : take_report(w, leader, node, text, &arena, &err);
	if (hello || result < 0)
		world_log(w, "%s of node%zu: %s", hello ? "hello" : "report", node,
		          result == 0 ? "yes" : err.msg);
	after(w, leader, result, &err);
	if (current)
		w->heard_ms[node] = w->now_ms;
}

/* ---- the client ---- */

static void spec_text(struct world *w, size_t k, const struct order *order, char *text, size_t size)
{
	char name[16];

	leader_name(k, name);
	snprintf(text, size,
	         "{\"Name\":\"%s\",\"TaskTemplate\":{\"ContainerSpec\":{\"Image\":\"%s\"},"
	         "\"RestartPolicy\":{\"Delay\":%d},\"Resources\":{\"Reservations\":{\"NanoCPUs\":"
	         "250000000}}},\"Mode\":{\"Replicated\":{\"Replicas\":%lld}},\"UpdateConfig\":{"
	         "\"Parallelism\":%llu,\"Monitor\":500000000,\"FailureAction\":\"%s\","
	         "\"Order\":\"%s\"}}",
	         name, images[order->image], k % 2 ? 500000000 : 0, (long long)order->replicas,
	         (unsigned long long)world_random(w, 3),
	         k == 1 ? "rollback" : (k == 2 ? "continue" : "pause"),
	         k == 3 ? "start-first" : "stop-first");
}

/* Did the request certainly do nothing? */
static bool was_refused(const struct err *err)
{
	return err->kind == ERR_INVALID || err->kind == ERR_CONFLICT ||
	       err->kind == ERR_NOT_FOUND || err->kind == ERR_DENIED ||
	       err->kind == ERR_UNSUPPORTED;
}

static int request(struct world *w, size_t k, const struct order *order, struct err *err)
{
	char text[1024], name[16], id[32];
	struct control *c = w->leader.c;

	leader_name(k, name);
	if (!order->exists)
		return service_remove(c, world_time(w), name, err);
	spec_text(w, k, order, text, sizeof(text));
	const struct service *s = service_find(c, name, NULL);
	if (!s)
		return service_create(c, world_time(w), text, strlen(text), id, err);
	struct service_change change = {
		.ref = name, .version = s->version.index, .text = text, .len = strlen(text)};
	return service_update(c, world_time(w), &change, err);
}

static void ask(struct world *w, size_t k, const struct order *order)
{
	struct wish *wish = &w->wishes[k];
	struct err err = ERR_INIT;

	if (!w->leader.c || !w->leader.readable || w->now_ms < w->leader.paused_until_ms)
		return;
	check_wish(w, k);
	if (!order->exists && !wish->known.exists)
		return;
	before(w);
	int result = request(w, k, order, &err);
	world_log(w, "service%zu: %s, %lld of %s: %s", k, order->exists ? "there" : "gone",
	          (long long)order->replicas, images[order->image], result == 0 ? "yes" : err.msg);
	if (result == 0) {
		w->writes++;
		wish->known = *order;
	} else if (!was_refused(&err)) {
		wish->maybe = *order;
		wish->unsure = true;
	}
	after(w, &w->leader, result, &err);
}

static void set_availability(struct world *w, size_t node, const char *availability)
{
	char text[128];
	struct err err = ERR_INIT;

	if (!w->leader.c || !w->leader.readable || w->now_ms < w->leader.paused_until_ms)
		return;
	const struct node *n = control_node(w->leader.c, w->agents[node].id);
	if (!n || str_eq(n->spec.availability, availability))
		return;
	snprintf(text, sizeof(text), "{\"Role\":\"worker\",\"Availability\":\"%s\"}", availability);
	struct node_change change = {.ref = w->agents[node].id,
	                             .version = n->version.index,
	                             .text = text,
	                             .len = strlen(text)};
	before(w);
	int result = node_update(w->leader.c, world_time(w), &change, &err);
	world_log(w, "node%zu: %s", node, availability);
	after(w, &w->leader, result, &err);
}

void leader_client(struct world *w)
{
	static const char *const availabilities[] = {"active", "active", "pause", "drain"};
	size_t k = world_random(w, SIM_SERVICES);
	struct order order = {.exists = !world_chance(w, 10),
	                      .replicas = (int64_t)world_random(w, 7),
	                      .image = (int64_t)world_random(w, 3)};

	if (world_chance(w, 10))
		order.image = SIM_BAD_IMAGE;
	if (w->wishes[k].known.exists && world_chance(w, 50))
		order.image = w->wishes[k].known.image; /* only scaled */
	if (world_chance(w, 10))
		set_availability(w, world_random(w, w->nodes), availabilities[world_random(w, 4)]);
	else
		ask(w, k, &order);
}

void leader_heal(struct world *w)
{
	for (size_t i = 0; i < w->nodes; i++)
		set_availability(w, i, "active");
	for (size_t k = 0; k < SIM_SERVICES; k++) {
		struct order order = w->wishes[k].known;

		check_wish(w, k);
		order = w->wishes[k].known;
		if (!order.exists)
			continue;
		if (order.image == SIM_BAD_IMAGE)
			order.image = 0;
		else if (order.replicas > 0)
			order.image = (order.image + 1) % 3; /* revives paused updates */
		ask(w, k, &order);
	}
}
