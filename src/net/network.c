/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/db.h"
#include "base/err.h"
#include "base/log.h"
#include "base/str.h"
#include "net/dns.h"
#include "net/state.h"

#define OPTION_PREFIX "com.docker.network."

/* ---- from a request to a row ---- */

static int parse_switch(const struct json_pair *option, bool *out, struct err *err)
{
	if (!str_eq(option->value, "true") && !str_eq(option->value, "false"))
		return err_set(err, ERR_INVALID, "network option %s: use true or false",
		               option->key);
	*out = str_eq(option->value, "true");
	return 0;
}

static int parse_option(const struct json_pair *option, struct store_network *out, struct err *err)
{
	const char *key = option->key + strlen(OPTION_PREFIX);
	bool icc = true;
	int64_t mtu;

	if (str_eq(key, "driver.mtu")) {
		if (id_parse_int(option->value, option->key, 576, 65535, &mtu, err) < 0)
			return -1;
		out->mtu = (int)mtu;
		return 0;
	}
	if (str_eq(key, "bridge.name")) {
		if (link_check_name(option->value, err) < 0)
			return -1;
		snprintf(out->n.bridge, sizeof(out->n.bridge), "%s", option->value);
		return 0;
	}
	if (str_eq(key, "bridge.enable_ip_masquerade"))
		return parse_switch(option, &out->masquerade, err);
	if (str_eq(key, "bridge.enable_icc")) {
		if (parse_switch(option, &icc, err) < 0)
			return -1;
		out->isolated = !icc;
		return 0;
	}
	return err_set(err, ERR_INVALID,
	               "unknown network option %.100s: known are driver.mtu, bridge.name, "
	               "bridge.enable_icc and bridge.enable_ip_masquerade after " OPTION_PREFIX,
	               option->key);
}

/* Options of others' name spaces are kept and shown; one of Docker's that we do not know would be a
 * promise that nobody keeps. */
static int parse_options(const struct json_strmap *options, struct store_network *out,
                         struct err *err)
{
	for (size_t i = 0; i < options->count; i++)
		if (str_starts(options->items[i].key, OPTION_PREFIX) &&
		    parse_option(&options->items[i], out, err) < 0)
			return -1;
	return 0;
}

struct subnet_list {
	struct cidr *items;
	size_t count;
};

static void subnet_list_done(struct subnet_list *list)
{
	free(list->items);
}

/* Subnets of our networks, and of whatever else this machine has a route to. */
static int list_taken(struct net *net, bool routes, struct arena *arena, struct subnet_list *out,
                      struct err *err)
{
	struct store_network *networks;
	struct cidr *all;
	size_t count;

	if (store_network_list(net->db, arena, &networks, &count, err) < 0)
		return -1;
	if (routes && link_route_list(net->link, &out->items, &out->count, err) < 0)
		return -1;
	all = reallocarray(out->items, out->count + count + 1, sizeof(*all));
	if (!all)
		return err_nomem(err);
	out->items = all;
	for (size_t i = 0; i < count; i++)
		if (networks[i].n.subnet[0])
			out->items[out->count++] = networks[i].subnet;
	return 0;
}

static int choose_subnet(struct net *net, struct store_network *out, struct arena *arena,
                         struct err *err)
{
	__attribute__((cleanup(subnet_list_done))) struct subnet_list taken = {0};
	const struct cidr_pool *pools = &net->pool;
	size_t count = 1;

	if (net->pool.size == 0)
		pools = cidr_default_pools(&count);
	if (list_taken(net, true, arena, &taken, err) < 0)
		return -1;
	return cidr_pick_subnet(pools, count, taken.items, taken.count, &out->subnet, err);
}

static int check_subnet(struct net *net, const char *text, struct store_network *out,
                        struct arena *arena, struct err *err)
{
	__attribute__((cleanup(subnet_list_done))) struct subnet_list taken = {0};

	if (cidr_parse(text, &out->subnet, err) < 0)
		return -1;
	if (out->subnet.len < 8 || out->subnet.len > 29)
		return err_set(err, ERR_INVALID,
		               "invalid subnet %s: its prefix may be from /8 to /29", text);
	if (list_taken(net, false, arena, &taken, err) < 0)
		return -1;
	for (size_t i = 0; i < taken.count; i++)
		if (cidr_overlaps(&out->subnet, &taken.items[i]))
			return err_set(err, ERR_DENIED,
			               "Pool overlaps with other one on this address space: %s is "
			               "used by another network",
			               text);
	return 0;
}

static int place_network(struct net *net, const struct net_spec *spec, struct store_network *out,
                         struct arena *arena, struct err *err)
{
	struct net_network *n = &out->n;

	if (!spec->subnet && (spec->gateway || spec->ip_range))
		return err_set(err, ERR_INVALID,
		               "a gateway or an address range needs a subnet as well");
	if ((spec->subnet ? check_subnet(net, spec->subnet, out, arena, err)
	                  : choose_subnet(net, out, arena, err)) < 0)
		return -1;
	out->range = out->subnet;
	if (spec->ip_range && cidr_parse(spec->ip_range, &out->range, err) < 0)
		return -1;
	if (!cidr_covers(&out->subnet, &out->range))
		return err_set(err, ERR_INVALID, "the address range %s is not inside the subnet %s",
		               spec->ip_range, cidr_format(&out->subnet, n->subnet));
	out->gateway = out->subnet.base + 1;
	if (spec->gateway && cidr_parse_ip(spec->gateway, &out->gateway, err) < 0)
		return -1;
	if (!cidr_is_host(&out->subnet, out->gateway))
		return err_set(err, ERR_INVALID,
		               "the gateway %s is not an address of the subnet %s", spec->gateway,
		               cidr_format(&out->subnet, n->subnet));
	cidr_format(&out->subnet, n->subnet);
	cidr_format_ip(out->gateway, n->gateway);
	return 0;
}

static int fill_bridge(struct net *net, const struct net_spec *spec, struct store_network *out,
                       struct arena *arena, struct err *err)
{
	struct net_network *n = &out->n;

	out->masquerade = true;
	out->mtu = link_uplink_mtu(net->link);
	snprintf(n->bridge, sizeof(n->bridge), "by-%.8s", n->id);
	if (str_eq(spec->name, "bridge"))
		snprintf(n->bridge, sizeof(n->bridge), "buoy0%s%s", net->name[0] ? "-" : "",
		         net->name);
	if (parse_options(&spec->options, out, err) < 0)
		return -1;
	return place_network(net, spec, out, arena, err);
}

static int fill_network(struct net *net, const struct net_spec *spec, struct store_network *out,
                        struct arena *arena, struct err *err)
{
	struct net_network *n = &out->n;
	const char *driver = str_empty(spec->driver) ? "bridge" : spec->driver;

	id_make_hex(n->id);
	n->created_ns = clock_wall_ns();
	n->name = arena_strdup(arena, spec->name, err);
	n->driver = arena_strdup(arena, driver, err);
	if (!n->name || !n->driver)
		return -1;
	n->internal = spec->internal;
	n->attachable = spec->attachable;
	n->labels = spec->labels;
	n->options = spec->options;
	return str_eq(driver, "bridge") ? fill_bridge(net, spec, out, arena, err) : 0;
}

static int check_spec(const struct net_spec *spec, struct err *err)
{
	if (id_check_name(spec->name, "network name", err) < 0)
		return -1;
	if (!str_empty(spec->driver) && !str_eq(spec->driver, "bridge"))
		return err_set(err, ERR_INVALID,
		               "network driver \"%.60s\" is not supported: use \"bridge\"",
		               spec->driver);
	if (spec->enable_ipv6)
		return err_set(err, ERR_UNSUPPORTED, "IPv6 networks are not supported yet");
	return 0;
}

/* ---- bridges ---- */

char *net_vxlan_name(const struct store_network *network, char name[LINK_NAME_MAX])
{
	snprintf(name, LINK_NAME_MAX, "vx-%.8s", network->n.id);
	return name;
}

int net_bridge_ensure(struct net *net, const struct store_network *network, struct err *err)
{
	struct link_bridge bridge = {
		.name = network->n.bridge,
		.gateway = network->gateway,
		.prefix_len = network->subnet.len,
		.mtu = network->mtu,
	};
	char name[LINK_NAME_MAX];
	struct link_vxlan vxlan = {
		.name = name,
		.bridge = network->n.bridge,
		.vni = network->vni,
		.mtu = network->mtu,
	};

	if (!network->n.bridge[0])
		return 0;
	if (link_bridge_ensure(net->link, &bridge, err) < 0)
		return -1;
	if (network->vni == 0)
		return 0;
	net_vxlan_name(network, name);
	if (link_vxlan_ensure(net->link, &vxlan, err) < 0)
		return -1;
	return net_overlay_restore(net, network, err);
}

static int insert_network(struct net *net, const struct store_network *network, struct err *err)
{
	struct err why = ERR_INIT;

	if (store_network_insert(net->db, network, &why) == 0)
		return 0;
	if (err_is(&why, ERR_CONFLICT))
		return err_set(err, ERR_CONFLICT, "network with name %s already exists",
		               network->n.name);
	if (err)
		*err = why;
	return -1;
}

int net_network_raise(struct net *net, const struct store_network *network, struct err *err)
{
	if (net_bridge_ensure(net, network, err) < 0 || net_rules_rebuild(net, err) < 0)
		return -1;
	return dns_network_add(net->dns, network, err);
}

void net_network_drop(struct net *net, const struct store_network *network)
{
	char vxlan[LINK_NAME_MAX];

	dns_network_remove(net->dns, network->n.id);
	if (network->vni)
		(void)link_remove(net->link, net_vxlan_name(network, vxlan), NULL);
	if (network->n.bridge[0])
		(void)link_remove(net->link, network->n.bridge, NULL);
}

int net_network_create(struct net *net, const struct net_spec *spec, char id[ID_HEX_MAX],
                       struct err *err)
{
	auto_arena struct arena arena = ARENA_INIT(NET_ARENA_MAX);
	struct store_network network = {0};

	if (check_spec(spec, err) < 0)
		return -1;
	net_guard(net);
	if (fill_network(net, spec, &network, &arena, err) < 0)
		return -1;
	if (link_exists(net->link, network.n.bridge))
		return err_set(err, ERR_CONFLICT, "an interface named %s exists already",
		               network.n.bridge);
	if (insert_network(net, &network, err) < 0)
		return -1;
	if (net_network_raise(net, &network, err) < 0) {
		net_network_drop(net, &network);
		(void)store_network_delete(net->db, network.n.id, NULL);
		(void)net_rules_rebuild(net, NULL);
		return err_wrap(err, "create network %s", spec->name);
	}
	(void)store_sync(net->db, NULL);
	snprintf(id, ID_HEX_MAX, "%s", network.n.id);
	return 0;
}

static int predefine(struct net *net, const struct net_spec *spec, struct err *err)
{
	auto_arena struct arena arena = ARENA_INIT(NET_ARENA_MAX);
	struct store_network network = {0};

	if (fill_network(net, spec, &network, &arena, err) < 0)
		return -1;
	return insert_network(net, &network, err);
}

int net_network_predefine(struct net *net, struct err *err)
{
	static const struct net_spec specs[] = {
		{.name = "bridge", .driver = "bridge"},
		{.name = "host", .driver = "host"},
		{.name = "none", .driver = "null"},
	};
	int64_t one;

	for (size_t i = 0; i < ARRAY_LEN(specs); i++) {
		int found = db_query_int(net->db, err, &one, "select 1 from network where name = ?",
		                         "t", specs[i].name);

		if (found < 0 || (found == 0 && predefine(net, &specs[i], err) < 0))
			return err_wrap(err, "network %s", specs[i].name);
	}
	return 0;
}

/* ---- public ---- */

int net_network_find(struct net *net, const char *name, struct arena *arena,
                     struct net_network *out, struct err *err)
{
	struct store_network found = {0};

	if (store_network_find(net->db, name, arena, &found, err) < 0)
		return -1;
	*out = found.n;
	return 0;
}

int net_network_list(struct net *net, struct arena *arena, struct net_network **out, size_t *count,
                     struct err *err)
{
	struct store_network *all;
	struct net_network *list;
	size_t n;

	if (store_network_list(net->db, arena, &all, &n, err) < 0)
		return -1;
	list = arena_array(arena, n + 1, sizeof(*list), err);
	if (!list)
		return -1;
	for (size_t i = 0; i < n; i++)
		list[i] = all[i].n;
	*out = list;
	*count = n;
	return 0;
}

static int check_removable(struct net *net, const struct store_network *network,
                           struct arena *arena, struct err *err)
{
	const struct net_network *n = &network->n;
	struct store_endpoint *endpoints;
	size_t count;

	if (str_eq(n->name, "bridge") || str_eq(n->name, "host") || str_eq(n->name, "none"))
		return err_set(err, ERR_DENIED, "%s is a pre-defined network and cannot be removed",
		               n->name);
	if (store_endpoint_list(net->db, &(struct store_filter){.network_id = n->id}, arena,
	                        &endpoints, &count, err) < 0)
		return -1;
	if (count == 0)
		return 0;
	return err_set(err, ERR_CONFLICT,
	               "error while removing network: network %s id %s has active endpoints "
	               "(%zu, the first of container %.12s)",
	               n->name, n->id, count, endpoints[0].container_id);
}

int net_network_remove(struct net *net, const char *name, struct err *err)
{
	auto_arena struct arena arena = ARENA_INIT(NET_ARENA_MAX);
	struct store_network network = {0};

	net_guard(net);
	if (store_network_find(net->db, name, &arena, &network, err) < 0 ||
	    check_removable(net, &network, &arena, err) < 0)
		return -1;
	net_network_drop(net, &network);
	if (store_overlay_replace(net->db, network.n.id, NULL, err) < 0 ||
	    store_network_delete(net->db, network.n.id, err) < 0)
		return -1;
	(void)store_sync(net->db, NULL);
	return net_rules_rebuild(net, err);
}

int net_network_members(struct net *net, const char *network, struct arena *arena,
                        struct net_member **out, size_t *count, struct err *err)
{
	struct store_network found = {0};
	struct store_endpoint *endpoints;
	struct net_member *list;
	size_t n;

	if (store_network_find(net->db, network, arena, &found, err) < 0 ||
	    store_endpoint_list(net->db, &(struct store_filter){.network_id = found.n.id}, arena,
	                        &endpoints, &n, err) < 0)
		return -1;
	list = arena_array(arena, n + 1, sizeof(*list), err);
	if (!list)
		return -1;
	for (size_t i = 0; i < n; i++) {
		snprintf(list[i].container_id, sizeof(list[i].container_id), "%s",
		         endpoints[i].container_id);
		list[i].endpoint = endpoints[i].e;
	}
	*out = list;
	*count = n;
	return 0;
}
