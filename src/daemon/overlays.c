/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/overlays.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"
#include "cluster/endpoints.h"
#include "cluster/member.h"
#include "engine/engine.h"
#include "net/net.h"

#define TABLE_ARENA (64u << 20)
#define PATIENCE_MS 10000 /* for a leader to be found */
#define RETRY_MS    50

static struct net_overlay describe(const struct network *n)
{
	struct net_overlay out = {
		.id = n->id,
		.name = n->spec.name,
		.subnet = n->subnet,
		.gateway = n->gateway,
		.vni = (uint32_t)n->vni,
		.internal = n->spec.internal,
		.attachable = n->spec.attachable,
		.labels = n->spec.labels,
		.options = n->spec.driver.options,
		.created_ns = clock_wall_ns(),
	};

	return out;
}

int overlays_ensure(struct net *net, const struct network *n, struct err *err)
{
	struct net_overlay overlay = describe(n);

	return net_overlay_ensure(net, &overlay, err);
}

/* ---- plain containers ---- */

struct overlays {
	struct engine_granter granter;
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t changed;
	struct member *member; /* NULL before overlays_serve() */
	size_t calls;          /* that use it */
	bool stop;
};

static bool is_stopping(void *arg)
{
	struct overlays *o = arg;

	pthread_mutex_lock(&o->lock);
	bool stop = o->stop;
	pthread_mutex_unlock(&o->lock);
	return stop;
}

/* Waits, at most so long, for the cluster to be opened. True: leave() must follow. */
static bool enter(struct overlays *o, int64_t until_ms)
{
	pthread_mutex_lock(&o->lock);
	while (!o->member && !o->stop && clock_mono_ms() < until_ms) {
		pthread_mutex_unlock(&o->lock);
		clock_sleep_ms(RETRY_MS);
		pthread_mutex_lock(&o->lock);
	}
	bool in = o->member && !o->stop;
	o->calls += in;
	pthread_mutex_unlock(&o->lock);
	return in;
}

static void leave(struct overlays *o)
{
	pthread_mutex_lock(&o->lock);
	o->calls--;
	pthread_cond_broadcast(&o->changed);
	pthread_mutex_unlock(&o->lock);
}

/* A leader may be in the making, as when all machines were switched on at once. */
static int ask(struct overlays *o, const struct agent_attach *want, int64_t until_ms,
               struct arena *arena, struct agent_attached *out, struct err *err)
{
	for (;;) {
		struct err why = ERR_INIT;

		if (member_attach(o->member, want, arena, out, &why) == 0)
			return 0;
		bool refused = err_is(&why, ERR_DENIED) || err_is(&why, ERR_NOT_FOUND) ||
		               err_is(&why, ERR_INVALID) || err_is(&why, ERR_LIMIT) ||
		               err_is(&why, ERR_CONFLICT);
		if (!refused && !is_stopping(o) && clock_mono_ms() < until_ms) {
			clock_sleep_ms(RETRY_MS);
			continue;
		}
		if (err)
			*err = why;
		return -1;
	}
}

static bool is_own(const char *network)
{
	return str_empty(network) || str_eq(network, "default") || str_eq(network, "bridge") ||
	       str_eq(network, "host") || str_eq(network, "none") ||
	       str_starts(network, "container:");
}

static int check_attachable(const struct net_network *n, struct err *err)
{
	return n->attachable ? 0
	                     : err_set(err, ERR_DENIED,
	                               "Could not attach to network %s: rpc error: code = "
	                               "PermissionDenied desc = network %s not manually attachable",
	                               n->name, n->name);
}

int overlays_prepare(struct overlays *o, struct net *net, const char *network, struct err *err)
{
	auto_arena struct arena arena = ARENA_INIT(TABLE_ARENA);
	struct agent_attached got;
	struct net_network found = {0};
	struct member_view view;

	if (is_own(network))
		return 0;
	int known = net_overlay_prepare(net, network, &arena, &found, err);
	if (known != 0)
		return known < 0 ? -1 : check_attachable(&found, err);
	if (net_network_find(net, network, &arena, &found, NULL) == 0 || !enter(o, 0))
		return 0;
	/* Just made, and the table that tells of it is on its way. */
	member_look(o->member, &view);
	int rc = view.active && ask(o, &(struct agent_attach){.network = network}, 0, &arena, &got,
	                            NULL) == 0
	                 ? overlays_ensure(net, &got.network, err)
	                 : 0;
	leave(o);
	return rc;
}

static size_t count_names(const char *const *names)
{
	size_t n = 0;

	while (names[n])
		n++;
	return n;
}

static int get(struct overlays *o, const struct engine_want *want, struct engine_grant *out,
               struct err *err)
{
	auto_arena struct arena arena = ARENA_INIT(TABLE_ARENA);
	struct agent_attached got;
	struct agent_attach question = {
		.network = want->network,
		.id = out->endpoint_id,
		.container_id = want->container_id,
		.address = want->ipv4,
		.names = {.items = (char **)want->names, .count = count_names(want->names)},
		.give_up = is_stopping,
		.arg = o,
	};

	id_make_hex(out->endpoint_id);
	if (ask(o, &question, clock_mono_ms() + PATIENCE_MS, &arena, &got, err) < 0)
		return err_wrap(err, "Could not attach to network %s", want->network);
	snprintf(out->ipv4, sizeof(out->ipv4), "%.15s", got.address);
	return overlays_ensure(want->net, &got.network, err);
}

static void done(void *arg, const struct engine_grant *grant, bool attached)
{
	struct overlays *o = arg;

	member_attach_done(o->member, grant->endpoint_id);
	if (!attached)
		member_detached(o->member);
	leave(o);
}

static int grant(void *arg, const struct engine_want *want, struct engine_grant *out,
                 struct err *err)
{
	auto_arena struct arena arena = ARENA_INIT(TABLE_ARENA);
	struct overlays *o = arg;
	struct net_network found;
	struct err why = ERR_INIT;
	struct member_view view;

	if (is_own(want->network))
		return 0;
	int known = net_overlay_prepare(want->net, want->network, &arena, &found, err);
	if (known < 0)
		return -1;
	if (known == 0 && net_network_find(want->net, want->network, &arena, &found, NULL) == 0)
		return 0;
	if (!enter(o, clock_mono_ms() + PATIENCE_MS))
		return err_set(err, ERR_UNAVAILABLE,
		               "Could not attach to network %s: the daemon is not ready",
		               want->network);
	member_look(o->member, &view);
	if (known == 0 && !view.active) { /* whoever looks next says that there is none */
		leave(o);
		return 0;
	}
	if (get(o, want, out, &why) == 0)
		return 1;
	done(o, out, false);
	if (known == 0 && why.kind == ERR_NOT_FOUND)
		return 0;
	if (err)
		*err = why;
	return -1;
}

/* ---- opening and closing ---- */

struct overlays *overlays_create(struct err *err)
{
	struct overlays *o = calloc(1, sizeof(*o));

	if (!o) {
		err_nomem(err);
		return NULL;
	}
	o->granter = (struct engine_granter){.arg = o, .grant = grant, .done = done};
	pthread_mutex_init(&o->lock, NULL);
	pthread_cond_init(&o->changed, NULL);
	return o;
}

void overlays_free(struct overlays *o)
{
	if (!o)
		return;
	pthread_cond_destroy(&o->changed);
	pthread_mutex_destroy(&o->lock);
	free(o);
}

const struct engine_granter *overlays_granter(struct overlays *o)
{
	return &o->granter;
}

void overlays_serve(struct overlays *o, struct member *member)
{
	pthread_mutex_lock(&o->lock);
	o->member = member;
	pthread_mutex_unlock(&o->lock);
}

void overlays_stop(struct overlays *o)
{
	pthread_mutex_lock(&o->lock);
	o->stop = true;
	while (o->calls > 0)
		pthread_cond_wait(&o->changed, &o->lock);
	pthread_mutex_unlock(&o->lock);
}

/* ---- the table ---- */

struct lists {
	struct net_overlay_peer *peers;
	struct net_overlay_name *names;
	struct net_overlay_vip *vips;
};

static int make_lists(const struct proto_network *n, struct arena *arena, struct lists *out,
                      struct err *err)
{
	const struct proto_member *members = n->members.items;
	const struct proto_group *groups = n->groups.items;
	size_t names = 1;

	for (size_t i = 0; i < n->members.count; i++)
		names += members[i].names.count;
	for (size_t i = 0; i < n->groups.count; i++)
		names += groups[i].names.count * (groups[i].backends.count + 1) +
		         groups[i].backends.count;
	out->peers = arena_array(arena, n->members.count + 1, sizeof(*out->peers), err);
	out->names = arena_array(arena, names, sizeof(*out->names), err);
	out->vips = arena_array(arena, n->groups.count + 1, sizeof(*out->vips), err);
	return out->peers && out->names && out->vips ? 0 : -1;
}

static void add_name(struct net_overlay *out, const struct lists *lists, const char *name,
                     const char *ip)
{
	lists->names[out->name_count++] = (struct net_overlay_name){name, ip};
}

static void add_members(const struct proto_network *n, const char *node_id,
                        const struct lists *lists, struct net_overlay *out)
{
	const struct proto_member *m = n->members.items;

	for (size_t i = 0; i < n->members.count; i++) {
		for (size_t k = 0; k < m[i].names.count; k++)
			add_name(out, lists, m[i].names.items[k], m[i].address);
		if (!str_eq(m[i].node_id, node_id) && !str_empty(m[i].node_address))
			lists->peers[out->peer_count++] =
				(struct net_overlay_peer){m[i].address, m[i].node_address};
	}
}

static void add_group(const struct proto_group *g, const struct lists *lists,
                      struct net_overlay *out)
{
	for (size_t k = 0; k < g->backends.count; k++)
		add_name(out, lists, g->tasks, g->backends.items[k]);
	for (size_t i = 0; i < g->names.count; i++) {
		if (g->address)
			add_name(out, lists, g->names.items[i], g->address);
		for (size_t k = 0; !g->address && k < g->backends.count; k++)
			add_name(out, lists, g->names.items[i], g->backends.items[k]);
	}
	if (g->address)
		lists->vips[out->vip_count++] = (struct net_overlay_vip){
			g->address, (const char *const *)g->backends.items, g->backends.count};
}

static int convert(const struct proto_network *n, const char *node_id, struct arena *arena,
                   struct net_overlay *out, struct err *err)
{
	const struct proto_group *groups = n->groups.items;
	struct lists lists;

	if (make_lists(n, arena, &lists, err) < 0)
		return -1;
	*out = describe(&n->network);
	add_members(n, node_id, &lists, out);
	for (size_t i = 0; i < n->groups.count; i++)
		add_group(&groups[i], &lists, out);
	out->peers = lists.peers;
	out->names = lists.names;
	out->vips = lists.vips;
	return 0;
}

int overlays_publish(struct net *net, const struct endpoints *table, struct err *err)
{
	auto_arena struct arena arena = ARENA_INIT(TABLE_ARENA);
	struct net_overlay *list =
		arena_array(&arena, table->network_count + 1, sizeof(*list), err);

	if (!list)
		return -1;
	for (size_t i = 0; i < table->network_count; i++)
		if (convert(&table->networks[i], table->node_id, &arena, &list[i], err) < 0)
			return -1;
	return net_overlays_set(net, list, table->network_count, err);
}
