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
#include "sim.h"

/* leader - what a manager that leads is asked, by agents and by the client. */

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

/* ---- listening to agents ---- */

static int take_hello(struct world *w, struct master *leader, const char *text, struct arena *arena,
                      struct err *err)
{
	struct proto_hello hello;
	int64_t session;

	if (proto_hello_decode(text, strlen(text), arena, &hello, err) < 0)
		world_fail(w, "unreadable hello: %s", err->msg);
	return control_agent_hello(leader->c, master_time(w, leader), &hello, &session, err);
}

static int take_report(struct world *w, struct master *leader, const struct event *event,
                       struct arena *arena, struct err *err)
{
	struct proto_report report;
	struct proto_reply reply;
	auto_buf struct buf out = BUF_INIT(4096);

	if (proto_report_decode(event->text, strlen(event->text), arena, &report, err) < 0)
		world_fail(w, "unreadable report: %s", err->msg);
	if (control_agent_report(leader->c, master_time(w, leader), &report, &reply, err) < 0)
		return -1;
	if (json_encode_text(&proto_reply_table, &reply, &out, err) < 0)
		return -1;
	world_send(w, (struct event){.kind = EVENT_TO_AGENT,
	                             .master = leader->i,
	                             .node = event->node,
	                             .line = event->line,
	                             .text = buf_take(&out, NULL)});
	return 0;
}

static void turn_away(struct world *w, const struct event *event)
{
	world_send(w, (struct event){.kind = EVENT_TO_AGENT,
	                             .master = event->master,
	                             .node = event->node,
	                             .line = event->line});
}

void leader_take(struct world *w, const struct event *event)
{
	auto_arena struct arena arena = ARENA_INIT(64 << 20);
	struct master *leader = &w->masters[event->master];
	struct err err = ERR_INIT;
	bool hurried = leader->hurried;

	leader->hurried = false;
	if (!leader->up)
		return;
	if (!leader->c || (!hurried && !master_may_lead(w, leader))) {
		turn_away(w, event);
		return;
	}
	master_before(w, leader);
	int result = event->hello ? take_hello(w, leader, event->text, &arena, &err)
	                          : take_report(w, leader, event, &arena, &err);
	if (event->hello || result < 0)
		world_log(w, "%s of node%zu to master%zu: %s", event->hello ? "hello" : "report",
		          event->node, leader->i, result == 0 ? "yes" : err.msg);
	if (result < 0)
		turn_away(w, event);
	else if (event->hello)
		leader->lines[event->node] = event->line;
	master_after(w, leader, result, &err);
	leader->heard_ms[event->node] = w->now_ms;
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

static int request(struct world *w, struct master *leader, size_t k, const struct order *order,
                   struct err *err)
{
	char text[1024], name[16], id[32];
	struct control *c = leader->c;
	struct control_time now = master_time(w, leader);

	leader_name(k, name);
	if (!order->exists)
		return service_remove(c, now, name, err);
	spec_text(w, k, order, text, sizeof(text));
	const struct service *s = service_find(c, name, NULL);
	if (!s)
		return service_create(c, now, text, strlen(text), id, err);
	struct service_change change = {
		.ref = name, .version = s->version.index, .text = text, .len = strlen(text)};
	return service_update(c, now, &change, err);
}

/* Whom a client that asks any manager is brought to: one that thinks that it leads. */
static struct master *find_leader(struct world *w)
{
	for (size_t i = 0; i < w->master_count; i++) {
		struct master *m = &w->masters[i];

		if (w->now_ms >= m->paused_until_ms && m->readable && master_may_lead(w, m))
			return m;
	}
	return NULL;
}

static void ask(struct world *w, size_t k, const struct order *order)
{
	struct wish *wish = &w->wishes[k];
	struct err err = ERR_INIT;
	struct master *leader = find_leader(w);

	if (!leader)
		return;
	if (leader == w->leader)
		check_wish(w, k);
	if (!order->exists && !wish->known.exists)
		return;
	master_before(w, leader);
	bool current = leader == w->leader;
	int result = request(w, leader, k, order, &err);
	world_log(w, "service%zu: %s, %lld of %s: %s", k, order->exists ? "there" : "gone",
	          (long long)order->replicas, images[order->image], result == 0 ? "yes" : err.msg);
	if (result == 0 && !current)
		world_fail(w, "master%zu says yes and leads no longer", leader->i);
	if (result == 0) {
		w->counts.writes++;
		wish->known = *order;
	} else if (!was_refused(&err)) {
		wish->maybe = *order;
		wish->unsure = true;
	}
	master_after(w, leader, result, &err);
}

static void set_availability(struct world *w, size_t node, const char *availability)
{
	char text[128];
	struct err err = ERR_INIT;

	struct master *leader = find_leader(w);
	if (!leader || leader != w->leader)
		return;
	const struct node *n = control_node(leader->c, w->agents[node].id);
	if (!n || str_eq(n->spec.availability, availability))
		return;
	snprintf(text, sizeof(text), "{\"Role\":\"worker\",\"Availability\":\"%s\"}", availability);
	struct node_change change = {.ref = w->agents[node].id,
	                             .version = n->version.index,
	                             .text = text,
	                             .len = strlen(text)};
	master_before(w, leader);
	int result = node_update(leader->c, master_time(w, leader), &change, &err);
	world_log(w, "node%zu: %s", node, availability);
	master_after(w, leader, result, &err);
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
	if (!w->leader || find_leader(w) != w->leader)
		world_fail(w, "nobody leads although the faults are over");
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
