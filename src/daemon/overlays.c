/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/overlays.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"
#include "cluster/endpoints.h"
#include "net/net.h"

#define TABLE_ARENA (64u << 20)

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

int overlays_refuse(struct net *net, const char *network, struct err *err)
{
	auto_arena struct arena arena = ARENA_INIT(TABLE_ARENA);
	struct net_network found = {.driver = (char *)""}, *known = NULL;
	size_t count = 0;

	if (str_eq(network, "bridge") || str_eq(network, "host") || str_eq(network, "none"))
		return 0;
	bool ours = net_network_find(net, network, &arena, &found, NULL) == 0 &&
	            str_eq(found.driver, "overlay");

	if (net_overlay_list(net, &arena, &known, &count, err) < 0)
		return -1;
	for (size_t i = 0; i < count; i++)
		ours |= str_eq(known[i].name, network) || str_eq(known[i].id, network);
	return ours ? err_set(err, ERR_UNSUPPORTED,
	                      "network %.128s is the cluster's: only tasks of services can be "
	                      "on it, plain containers cannot yet",
	                      network)
	            : 0;
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
