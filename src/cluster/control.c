/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/control.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/id.h"
#include "base/str.h"
#include "cluster/control_state.h"

#define ROUNDS_MAX 1000 /* of the loops in one step; more means that two loops disagree */

/* ---- identifiers and time ---- */

static uint64_t rotate(uint64_t x, int by)
{
	return (x << by) | (x >> (64 - by));
}

/* xoroshiro128+, by Blackman and Vigna. */
static uint64_t next_random(struct control *c)
{
	uint64_t a = c->random[0], b = c->random[1];
	uint64_t result = a + b;

	b ^= a;
	c->random[0] = rotate(a, 24) ^ b ^ (b << 16);
	c->random[1] = rotate(b, 37);
	return result;
}

void control_make_id(struct control *c, char *id)
{
	static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyz";

	for (size_t i = 0; i < ID_SWARM_MAX - 1; i++)
		id[i] = digits[(next_random(c) >> 11) % 36];
	id[ID_SWARM_MAX - 1] = '\0';
}

char *control_stamp(const struct control *c, char *text)
{
	return clock_format(c->now.wall_ns, text);
}

static int64_t beat_ms(const struct control *c)
{
	return c->config.heartbeat_ms > 0 ? c->config.heartbeat_ms : PROTO_HEARTBEAT_MS;
}

/* ---- steps ---- */

/* The mirror may say more than the store: read again before the next event. */
static void forget(struct control *c)
{
	mirror_done(&c->m);
	c->loaded = false;
}

static int load(struct control *c, struct err *err)
{
	if (mirror_load(&c->m, c->config.store, err) < 0)
		return -1;
	c->loaded = true;
	c->schedule = true;
	for (size_t i = 0; i < c->m.services.count; i++)
		mirror_service_at(&c->m, i)->evaluate = true;
	c->m.held = true;
	for (size_t i = 0; i < c->m.nodes.count; i++) {
		mirror_node_at(&c->m, i)->held = true; /* if not, it shows at once */
		if (c->config.unsafe & CONTROL_UNSAFE_GRACE)
			mirror_node_at(&c->m, i)->seen_ms = INT64_MIN / 2;
	}
	return 0;
}

int control_begin(struct control *c, struct control_time now, struct err *err)
{
	c->now = now;
	c->m.now_ms = now.mono_ms;
	if (c->loaded)
		health_begin(c);
	c->last_step_ms = now.mono_ms;
	return c->loaded ? 0 : load(c, err);
}

static int run_service(struct control *c, struct mirror_service *service, struct err *err)
{
	service->evaluate = false;
	service->wake_ms = INT64_MAX;
	if (restart_run(c, service, err) < 0 || orchestrator_run(c, service, err) < 0 ||
	    update_run(c, service, err) < 0 || rebalance_run(c, service, err) < 0)
		return -1;
	return reaper_run(c, service, err);
}

static int run_loops(struct control *c, struct err *err)
{
	for (int round = 0; round < ROUNDS_MAX; round++) {
		bool again = false;

		for (size_t i = 0; i < c->m.services.count; i++) {
			struct mirror_service *service = mirror_service_at(&c->m, i);

			if (!service->evaluate)
				continue;
			again = true;
			if (run_service(c, service, err) < 0)
				return err_wrap(err, "service %s", service->s->spec.name);
		}
		reaper_loose(c);
		preempt_release(c);
		if (allocator_run(c, err) < 0 || scheduler_run(c, err) < 0)
			return -1;
		if (!again && !c->schedule) /* tasks that made room have successors */
			return 0;
	}
	return err_set(err, ERR_INTERNAL, "the control loops do not come to rest");
}

static int commit(struct control *c, struct err *err)
{
	char stamp[CLOCK_TEXT_MAX];

	if (!mirror_is_dirty(&c->m))
		return 0;
	if (mirror_stamp(&c->m, control_stamp(c, stamp), err) < 0)
		return -1;
	return mirror_commit(&c->m, c->config.store, err);
}

/* A message that could not be made must not be missed: its nodes start again from everything. */
static void dispatch(struct control *c)
{
	if (dispatcher_run(c, NULL) == 0)
		return;
	for (size_t i = 0; i < c->m.nodes.count; i++)
		mirror_node_at(&c->m, i)->session = 0;
}

int control_finish(struct control *c, struct err *err)
{
	int result = run_loops(c, err);

	if (result == 0)
		result = commit(c, err);
	if (result == 0 || (c->config.unsafe & CONTROL_UNSAFE_INTENT))
		dispatch(c);
	if (result < 0) {
		forget(c);
		return -1;
	}
	mirror_settle(&c->m);
	return 0;
}

/* ---- opening ---- */

struct control *control_open(const struct control_config *config, struct control_time now,
                             struct err *err)
{
	auto_type(control) c = calloc(1, sizeof(*c));

	if (!c) {
		err_nomem(err);
		return NULL;
	}
	c->config = *config;
	c->random[0] = config->seed[0] | 1; /* all zeros would stay so */
	c->random[1] = config->seed[1];
	mirror_init(&c->m);
	if (control_begin(c, now, err) < 0 || control_finish(c, err) < 0)
		return NULL;
	return move_ptr(c);
}

void control_free(struct control *c)
{
	struct control_message *message;

	if (!c)
		return;
	while ((message = control_take_message(c)) != NULL)
		control_message_free(message);
	mirror_done(&c->m);
	scheduler_free(c->scheduler);
	free(c);
}

/* ---- events ---- */

int control_tick(struct control *c, struct control_time now, struct err *err)
{
	if (control_begin(c, now, err) < 0)
		return -1;
	for (size_t i = 0; i < c->m.services.count; i++) {
		struct mirror_service *service = mirror_service_at(&c->m, i);

		if (service->wake_ms <= now.mono_ms)
			service->evaluate = true;
	}
	preempt_tick(c);
	if (health_run(c, err) < 0) {
		forget(c);
		return -1;
	}
	return control_finish(c, err);
}

int64_t control_next_wake(const struct control *c)
{
	int64_t next = health_next(c);
	int64_t listening = c->last_step_ms + beat_ms(c);

	if (!c->loaded)
		return listening;
	/* With nodes to watch we look every beat, to know that we were there to listen. */
	if (next != INT64_MAX && listening < next)
		next = listening;
	if (preempt_next(c) < next)
		next = preempt_next(c);
	for (size_t i = 0; i < c->m.services.count; i++)
		if (mirror_service_at(&c->m, i)->wake_ms < next)
			next = mirror_service_at(&c->m, i)->wake_ms;
	return next;
}

/* "10.0.0.1:2377" without its port; other spellings as they are. */
static void host_of(const char *addr, char *host, size_t size)
{
	const char *colon = addr ? strchr(addr, ':') : NULL;

	snprintf(host, size, "%s", addr ? addr : "");
	if (colon && !strchr(colon + 1, ':') && (size_t)(colon - addr) < size)
		host[colon - addr] = '\0';
}

static int add_node(struct control *c, const char *node_id, const char *role, const char *addr,
                    struct err *err)
{
	char stamp[CLOCK_TEXT_MAX], host[64];
	struct node_manager manager = {
		.leader = true, .reachability = (char *)"reachable", .addr = (char *)addr};
	struct node n = {
		.id = (char *)node_id,
		.spec = {.role = (char *)role, .availability = (char *)"active"},
		.status = {.state = (char *)"unknown", .addr = host},
		.manager = str_eq(role, "manager") ? &manager : NULL,
	};

	host_of(addr, host, sizeof(host));
	n.created_at = n.updated_at = control_stamp(c, stamp);
	return mirror_add_node(&c->m, &n, err) ? 0 : -1;
}

int control_node_add(struct control *c, struct control_time now, const char *node_id,
                     const char *role, const char *addr, struct err *err)
{
	if (control_begin(c, now, err) < 0)
		return -1;
	if (!mirror_find_node(&c->m, node_id) && add_node(c, node_id, role, addr, err) < 0) {
		forget(c);
		return -1;
	}
	return control_finish(c, err);
}

static struct mirror_node *find_member(struct control *c, const char *node_id, struct err *err)
{
	struct mirror_node *node = mirror_find_node(&c->m, node_id);

	if (!node)
		err_set(err, ERR_NOT_FOUND, "node %s is not part of this cluster", node_id);
	return node;
}

static int enlist(struct control *c, struct mirror_node *node, const char *addr, struct err *err)
{
	struct node_manager manager = {
		.leader = true, .reachability = (char *)"reachable", .addr = (char *)addr};
	struct node n = *node->n;

	if (!str_eq(n.spec.role, "manager"))
		return err_set(err, ERR_CONFLICT, "node %s is to be a worker", n.id);
	if (n.manager && str_eq(n.manager->addr, addr))
		return 0;
	n.manager = &manager;
	return mirror_change_node(&c->m, node, &n, err);
}

int control_node_enlist(struct control *c, struct control_time now, const char *node_id,
                        const char *addr, struct err *err)
{
	if (control_begin(c, now, err) < 0)
		return -1;
	struct mirror_node *node = find_member(c, node_id, err);
	if (!node)
		return -1;
	if (enlist(c, node, addr, err) < 0) {
		forget(c);
		return -1;
	}
	return control_finish(c, err);
}

static bool same_description(const struct node_description *a, const struct node_description *b)
{
	auto_buf struct buf left = BUF_INIT(MODEL_TEXT_MAX), right = BUF_INIT(MODEL_TEXT_MAX);

	return json_encode_text(&node_description_table, a, &left, NULL) == 0 &&
	       json_encode_text(&node_description_table, b, &right, NULL) == 0 &&
	       str_eq(buf_str(&left), buf_str(&right));
}

/* What the node is now: ready, and as it describes itself. */
static int welcome(struct control *c, struct mirror_node *node, const struct proto_hello *hello,
                   struct err *err)
{
	struct node n = *node->n;
	bool same = str_eq(n.status.state, "ready") &&
	            (str_empty(hello->addr) || str_eq(n.status.addr, hello->addr)) &&
	            same_description(&n.description, &hello->description);

	if (same)
		return 0;
	n.status.state = (char *)"ready";
	n.status.message = NULL;
	if (!str_empty(hello->addr))
		n.status.addr = hello->addr;
	n.description = hello->description;
	c->schedule = true;
	for (size_t i = 0; i < c->m.services.count; i++)
		if (service_mode_is_global(mirror_service_at(&c->m, i)->s->spec.mode))
			mirror_service_at(&c->m, i)->evaluate = true;
	return mirror_change_node(&c->m, node, &n, err);
}

int control_agent_hello(struct control *c, struct control_time now, const struct proto_hello *hello,
                        int64_t *session, struct err *err)
{
	if (control_begin(c, now, err) < 0)
		return -1;
	struct mirror_node *node = find_member(c, hello->node_id, err);
	if (!node)
		return -1;
	if (hello->epoch > control_epoch(c))
		return err_set(err, ERR_CONFLICT,
		               "node %s has seen a newer leader (epoch %lld, ours is %lld)",
		               hello->node_id, (long long)hello->epoch,
		               (long long)control_epoch(c));

	node->alive = true;
	node->seen_ms = now.mono_ms;
	health_set_silent(c, node, false);
	node->session = ++c->next_session;
	node->sent = 0;
	node->whole = true;
	int64_t mine = node->session;
	if (welcome(c, node, hello, err) < 0 ||
	    collector_take(c, node, &hello->statuses, err) < 0) {
		forget(c);
		return -1;
	}
	if (control_finish(c, err) < 0)
		return -1;
	*session = mine;
	return 0;
}

int control_agent_report(struct control *c, struct control_time now,
                         const struct proto_report *report, struct proto_reply *reply,
                         struct err *err)
{
	struct proto_reply answer = {.epoch = control_epoch(c)};

	if (control_begin(c, now, err) < 0)
		return -1;
	struct mirror_node *node = find_member(c, report->node_id, err);
	if (!node)
		return -1;
	if (node->alive) {
		node->seen_ms = now.mono_ms;
		health_set_silent(c, node, false);
	}
	answer.session = node->session;
	if (report->epoch != answer.epoch || node->session == 0 ||
	    report->session != node->session) {
		answer.resync = true;
		*reply = answer;
		return control_finish(c, err);
	}
	if (report->applied < node->sent && now.mono_ms - node->sent_ms > 2 * beat_ms(c))
		node->whole = true;
	if (collector_take(c, node, &report->statuses, err) < 0) {
		forget(c);
		return -1;
	}
	if (control_finish(c, err) < 0)
		return -1;
	answer.acknowledged = report->sequence;
	*reply = answer;
	return 0;
}

void control_agent_gone(struct control *c, const char *node_id, int64_t session)
{
	struct mirror_node *node = mirror_find_node(&c->m, node_id);

	if (!node || node->session != session)
		return;
	node->session = 0;
	health_set_silent(c, node, true);
}

/* ---- messages ---- */

struct control_message *control_take_message(struct control *c)
{
	struct control_message *message = c->first;

	if (!message)
		return NULL;
	c->first = message->next;
	if (!c->first)
		c->last = NULL;
	message->next = NULL;
	return message;
}

void control_message_free(struct control_message *message)
{
	if (!message)
		return;
	free(message->text);
	free(message);
}

/* ---- the mirror ---- */

int64_t control_epoch(const struct control *c)
{
	return store_epoch(c->config.store);
}

int64_t control_revision(const struct control *c)
{
	return store_revision(c->config.store);
}

const struct service *control_service(const struct control *c, const char *id)
{
	const struct mirror_service *entry = mirror_find_service(&c->m, id);

	return entry ? entry->s : NULL;
}

const struct task *control_task(const struct control *c, const char *id)
{
	const struct mirror_task *entry = mirror_find_task(&c->m, id);

	return entry ? entry->t : NULL;
}

const struct node *control_node(const struct control *c, const char *id)
{
	const struct mirror_node *entry = mirror_find_node(&c->m, id);

	return entry ? entry->n : NULL;
}

const struct cluster *control_cluster(const struct control *c)
{
	return c->m.cluster_entry ? c->m.cluster : NULL;
}

const struct service *control_next_service(const struct control *c, size_t *at)
{
	const struct mirror_service *entry = mirror_service_at(&c->m, *at);

	++*at;
	return entry ? entry->s : NULL;
}

const struct task *control_next_task(const struct control *c, size_t *at)
{
	const struct mirror_task *entry = mirror_task_at(&c->m, *at);

	++*at;
	return entry ? entry->t : NULL;
}

const struct node *control_next_node(const struct control *c, size_t *at)
{
	const struct mirror_node *entry = mirror_node_at(&c->m, *at);

	++*at;
	return entry ? entry->n : NULL;
}

bool control_node_is_alive(const struct control *c, const char *id)
{
	const struct mirror_node *entry = mirror_find_node(&c->m, id);

	return entry && entry->alive;
}

bool control_node_is_reached(const struct control *c, const char *id)
{
	const struct mirror_node *entry = mirror_find_node(&c->m, id);

	return entry && entry->alive && !entry->silent;
}

uint64_t control_reach(const struct control *c)
{
	return c->reach;
}

int control_cluster_set(struct control *c, struct control_time now, const struct cluster *cluster,
                        uint64_t expected, struct err *err)
{
	if (control_begin(c, now, err) < 0)
		return -1;
	const struct cluster *current = control_cluster(c);
	if ((current ? current->version.index : 0) != expected)
		return err_set(err, ERR_CONFLICT, "update out of sequence");

	struct cluster copy = *cluster;
	char stamp[CLOCK_TEXT_MAX];
	if (current)
		copy.created_at = current->created_at;
	else if (str_empty(copy.created_at))
		copy.created_at = control_stamp(c, stamp);
	if (mirror_set_cluster(&c->m, &copy, err) < 0) {
		forget(c);
		return -1;
	}
	return control_finish(c, err);
}
