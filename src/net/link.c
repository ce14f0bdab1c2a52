/* SPDX-License-Identifier: Apache-2.0 */
#include "net/link.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <net/if.h>
#include <netlink/cache.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/link/bridge.h>
#include <netlink/route/link/veth.h>
#include <netlink/route/link/vxlan.h>
#include <netlink/route/neighbour.h>
#include <netlink/route/route.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/str.h"
#include "net/sysctl.h"

struct link {
	struct nl_sock *sock;
};

/* Releases libnl's reference-counted objects at the end of a scope. */
#define DEFINE_NL_CLEANUP(name, type, put)                                                         \
	static void name(struct type **object)                                                     \
	{                                                                                          \
		if (*object)                                                                       \
			put(*object);                                                              \
	}
DEFINE_NL_CLEANUP(put_link, rtnl_link, rtnl_link_put)
DEFINE_NL_CLEANUP(put_nl_addr, nl_addr, nl_addr_put)
DEFINE_NL_CLEANUP(put_rtnl_addr, rtnl_addr, rtnl_addr_put)
DEFINE_NL_CLEANUP(put_route, rtnl_route, rtnl_route_put)
DEFINE_NL_CLEANUP(put_neigh, rtnl_neigh, rtnl_neigh_put)
DEFINE_NL_CLEANUP(free_msg, nl_msg, nlmsg_free)
DEFINE_NL_CLEANUP(free_cache, nl_cache, nl_cache_free)
#define auto_put(cleanup_fn) __attribute__((cleanup(cleanup_fn)))

static enum err_kind kind_of(int nl_error)
{
	switch (-nl_error) {
	case NLE_EXIST:
	case NLE_BUSY:
		return ERR_CONFLICT;
	case NLE_OBJ_NOTFOUND:
	case NLE_NODEV:
		return ERR_NOT_FOUND;
	case NLE_NOMEM:
		return ERR_NOMEM;
	case NLE_PERM:
	case NLE_NOACCESS:
		return ERR_DENIED;
	case NLE_OPNOTSUPP:
		return ERR_UNSUPPORTED;
	default:
		return ERR_SYSTEM;
	}
}

#define nl_fail(err, result, fmt, ...)                                                             \
	err_set(err, kind_of(result), fmt ": %s", ##__VA_ARGS__, nl_geterror(result))

/* ---- handles ---- */

struct link *link_open(struct err *err)
{
	auto_type(link) link = calloc(1, sizeof(*link));
	int result;

	if (!link || !(link->sock = nl_socket_alloc())) {
		(void)err_nomem(err);
		return NULL;
	}
	result = nl_connect(link->sock, NETLINK_ROUTE);
	if (result < 0) {
		(void)nl_fail(err, result, "open a netlink socket");
		return NULL;
	}
	return move_ptr(link);
}

struct open_job {
	int netns_fd;
	struct link *link;
	struct err *err;
};

static void *open_in_thread(void *arg)
{
	struct open_job *job = arg;

	if (setns(job->netns_fd, CLONE_NEWNET) < 0)
		(void)err_sys(job->err, "enter the network namespace");
	else
		job->link = link_open(job->err);
	return NULL;
}

struct link *link_open_in(int netns_fd, struct err *err)
{
	struct open_job job = {.netns_fd = netns_fd, .err = err};
	pthread_t thread;

	errno = pthread_create(&thread, NULL, open_in_thread, &job);
	if (errno) {
		(void)err_sys(err, "start a thread");
		return NULL;
	}
	pthread_join(thread, NULL);
	return job.link;
}

void link_free(struct link *link)
{
	if (!link)
		return;
	nl_socket_free(link->sock);
	free(link);
}

/* ---- interfaces ---- */

int link_check_name(const char *name, struct err *err)
{
	size_t len = strlen(name);
	bool good = len > 0 && len < LINK_NAME_MAX && !str_eq(name, ".") && !str_eq(name, "..");

	for (size_t i = 0; good && i < len; i++)
		good = isalnum((unsigned char)name[i]) || strchr("-_.", name[i]);
	if (good)
		return 0;
	return err_set(err, ERR_INVALID,
	               "invalid interface name \"%.40s\": 1 to 15 of letters, digits, - _ .", name);
}

static struct rtnl_link *get_link(struct link *link, const char *name, struct err *err)
{
	struct rtnl_link *found = NULL;
	int result = rtnl_link_get_kernel(link->sock, 0, name, &found);

	if (result == 0)
		return found;
	(void)nl_fail(err, result, "interface %s", name);
	return NULL;
}

int link_find(struct link *link, const char *name, struct err *err)
{
	auto_put(put_link) struct rtnl_link *found = get_link(link, name, err);

	return found ? rtnl_link_get_ifindex(found) : -1;
}

bool link_exists(struct link *link, const char *name)
{
	return link_find(link, name, NULL) >= 0;
}

int link_up(struct link *link, const char *name, struct err *err)
{
	auto_put(put_link) struct rtnl_link *found = get_link(link, name, err);
	auto_put(put_link) struct rtnl_link *change = rtnl_link_alloc();
	int result;

	if (!found)
		return -1;
	if (!change)
		return err_nomem(err);
	rtnl_link_set_flags(change, IFF_UP);
	result = rtnl_link_change(link->sock, found, change, 0);
	if (result < 0)
		return nl_fail(err, result, "set interface %s up", name);
	return 0;
}

int link_remove(struct link *link, const char *name, struct err *err)
{
	auto_put(put_link) struct rtnl_link *gone = rtnl_link_alloc();
	int result;

	if (!gone)
		return err_nomem(err);
	rtnl_link_set_name(gone, name);
	result = rtnl_link_delete(link->sock, gone);
	if (result < 0 && kind_of(result) != ERR_NOT_FOUND)
		return nl_fail(err, result, "remove interface %s", name);
	return 0;
}

int link_list(struct link *link, void (*fn)(void *arg, const char *name, int index, int master),
              void *arg, struct err *err)
{
	auto_put(free_cache) struct nl_cache *cache = NULL;
	int result = rtnl_link_alloc_cache(link->sock, AF_UNSPEC, &cache);

	if (result < 0)
		return nl_fail(err, result, "list interfaces");
	for (struct nl_object *o = nl_cache_get_first(cache); o; o = nl_cache_get_next(o)) {
		struct rtnl_link *one = (struct rtnl_link *)o;

		fn(arg, rtnl_link_get_name(one), rtnl_link_get_ifindex(one),
		   rtnl_link_get_master(one));
	}
	return 0;
}

/* ---- addresses and routes ---- */

static struct nl_addr *make_addr(uint32_t ip, int prefix_len)
{
	uint32_t wire = htonl(ip);
	struct nl_addr *addr = nl_addr_build(AF_INET, &wire, sizeof(wire));

	if (addr)
		nl_addr_set_prefixlen(addr, prefix_len);
	return addr;
}

static int add_address(struct link *link, int index, uint32_t ip, int prefix_len, struct err *err)
{
	auto_put(put_rtnl_addr) struct rtnl_addr *addr = rtnl_addr_alloc();
	auto_put(put_nl_addr) struct nl_addr *local = make_addr(ip, prefix_len);
	char text[CIDR_IP_MAX];
	int result;

	if (!addr || !local)
		return err_nomem(err);
	rtnl_addr_set_ifindex(addr, index);
	rtnl_addr_set_prefixlen(addr, prefix_len);
	result = rtnl_addr_set_local(addr, local);
	if (result == 0)
		result = rtnl_addr_add(link->sock, addr, NLM_F_CREATE | NLM_F_EXCL);
	if (result < 0)
		return nl_fail(err, result, "add address %s/%d", cidr_format_ip(ip, text),
		               prefix_len);
	return 0;
}

int link_address_add(struct link *link, const char *name, uint32_t ip, int prefix_len,
                     struct err *err)
{
	int index = link_find(link, name, err);

	return index < 0 ? -1 : add_address(link, index, ip, prefix_len, err);
}

int link_default_route_add(struct link *link, const char *name, uint32_t gateway, struct err *err)
{
	auto_put(put_route) struct rtnl_route *route = rtnl_route_alloc();
	auto_put(put_nl_addr) struct nl_addr *to = make_addr(0, 0), *via = make_addr(gateway, 32);
	struct rtnl_nexthop *hop = rtnl_route_nh_alloc();
	int index = link_find(link, name, err);
	char text[CIDR_IP_MAX];
	int result;

	if (!route || !to || !via || !hop || index < 0) {
		if (hop)
			rtnl_route_nh_free(hop);
		return index < 0 ? -1 : err_nomem(err);
	}
	rtnl_route_nh_set_ifindex(hop, index);
	rtnl_route_nh_set_gateway(hop, via);
	rtnl_route_add_nexthop(route, hop); /* takes ownership */
	result = rtnl_route_set_dst(route, to);
	if (result == 0)
		result = rtnl_route_add(link->sock, route, NLM_F_CREATE | NLM_F_EXCL);
	if (result < 0)
		return nl_fail(err, result, "add default route by %s",
		               cidr_format_ip(gateway, text));
	return 0;
}

static struct nl_cache *list_routes(struct link *link, struct err *err)
{
	struct nl_cache *cache = NULL;
	int result = rtnl_route_alloc_cache(link->sock, AF_INET, 0, &cache);

	if (result < 0)
		(void)nl_fail(err, result, "list routes");
	return result < 0 ? NULL : cache;
}

static bool route_dest(struct nl_object *object, struct cidr *out)
{
	struct nl_addr *dst = rtnl_route_get_dst((struct rtnl_route *)object);
	uint32_t wire = 0;

	if (!dst)
		return false;
	if (nl_addr_get_len(dst) == sizeof(wire))
		memcpy(&wire, nl_addr_get_binary_addr(dst), sizeof(wire));
	*out = (struct cidr){.base = ntohl(wire), .len = (int)nl_addr_get_prefixlen(dst)};
	return true;
}

int link_route_list(struct link *link, struct cidr **out, size_t *count, struct err *err)
{
	auto_put(free_cache) struct nl_cache *cache = list_routes(link, err);
	struct cidr *list;
	size_t n = 0;

	if (!cache)
		return -1;
	list = calloc((size_t)nl_cache_nitems(cache) + 1, sizeof(*list));
	if (!list)
		return err_nomem(err);
	for (struct nl_object *o = nl_cache_get_first(cache); o; o = nl_cache_get_next(o))
		if (route_dest(o, &list[n]) && list[n].len > 0)
			n++;
	*out = list;
	*count = n;
	return 0;
}

int link_uplink_mtu(struct link *link)
{
	auto_put(free_cache) struct nl_cache *cache = list_routes(link, NULL);
	struct cidr dest;
	int mtu = 0;

	if (!cache)
		return 1500;
	for (struct nl_object *o = nl_cache_get_first(cache); o && !mtu; o = nl_cache_get_next(o)) {
		auto_put(put_link) struct rtnl_link *uplink = NULL;
		struct rtnl_nexthop *hop = rtnl_route_nexthop_n((struct rtnl_route *)o, 0);

		if (!hop || !route_dest(o, &dest) || dest.len > 0)
			continue;
		if (rtnl_link_get_kernel(link->sock, rtnl_route_nh_get_ifindex(hop), NULL,
		                         &uplink) == 0)
			mtu = (int)rtnl_link_get_mtu(uplink);
	}
	return mtu >= 576 && mtu <= 65535 ? mtu : 1500;
}

/* ---- bridges ---- */

static int make_bridge(struct link *link, const struct link_bridge *bridge, struct err *err)
{
	auto_put(put_link) struct rtnl_link *made = rtnl_link_bridge_alloc();
	auto_put(put_nl_addr) struct nl_addr *hw = NULL;
	char mac_text[CIDR_MAC_MAX];
	uint8_t mac[6];
	int result;

	/* Without an address of its own a bridge takes its ports', and then changes it with them. */
	if (cidr_parse_mac(cidr_format_mac(bridge->gateway, mac_text), mac, err) < 0)
		return -1;
	hw = nl_addr_build(AF_LLC, mac, sizeof(mac));
	if (!made || !hw)
		return err_nomem(err);
	rtnl_link_set_name(made, bridge->name);
	rtnl_link_set_addr(made, hw);
	rtnl_link_set_mtu(made, (unsigned)bridge->mtu);
	result = rtnl_link_add(link->sock, made, NLM_F_CREATE | NLM_F_EXCL);
	if (result < 0)
		return nl_fail(err, result, "create bridge %s", bridge->name);
	return 0;
}

static int check_bridge(struct link *link, const char *name, bool *exists, struct err *err)
{
	struct err why = ERR_INIT;
	auto_put(put_link) struct rtnl_link *found = get_link(link, name, &why);

	*exists = found != NULL;
	if (!found && !err_is(&why, ERR_NOT_FOUND)) {
		if (err)
			*err = why;
		return -1;
	}
	if (found && !str_eq(rtnl_link_get_type(found), "bridge"))
		return err_set(err, ERR_CONFLICT, "interface %s exists already and is not a bridge",
		               name);
	return 0;
}

int link_bridge_ensure(struct link *link, const struct link_bridge *bridge, struct err *err)
{
	struct err why = ERR_INIT;
	bool exists;

	if (check_bridge(link, bridge->name, &exists, err) < 0)
		return -1;
	if (!exists && make_bridge(link, bridge, err) < 0)
		return -1;
	/* localhost:port reaches containers by way of the bridge; rules.c drops the same from outside. */
	if (sysctl_set_interface("ipv4", bridge->name, "route_localnet", 1, err) < 0)
		return -1;
	/* Absent where the kernel runs without IPv6. */
	(void)sysctl_set_interface("ipv6", bridge->name, "disable_ipv6", 1, NULL);
	(void)sysctl_set_interface("ipv6", bridge->name, "accept_ra", 0, NULL);
	if (link_address_add(link, bridge->name, bridge->gateway, bridge->prefix_len, &why) < 0 &&
	    !err_is(&why, ERR_CONFLICT)) {
		if (err)
			*err = why;
		return err_wrap(err, "bridge %s", bridge->name);
	}
	return link_up(link, bridge->name, err);
}

/* ---- veth pairs ---- */

/* Other ports' frames cannot make the bridge believe that this address moved to them. */
static int pin_mac(struct link *link, int index, struct nl_addr *hw, struct err *err)
{
	auto_put(put_neigh) struct rtnl_neigh *neigh = rtnl_neigh_alloc();
	int result;

	if (!neigh)
		return err_nomem(err);
	rtnl_neigh_set_family(neigh, AF_BRIDGE);
	rtnl_neigh_set_ifindex(neigh, index);
	rtnl_neigh_set_lladdr(neigh, hw);
	rtnl_neigh_set_state(neigh, NUD_NOARP);
	rtnl_neigh_set_flags(neigh, NTF_MASTER | NTF_STICKY);
	result = rtnl_neigh_add(link->sock, neigh, NLM_F_CREATE | NLM_F_REPLACE);
	if (result < 0)
		return nl_fail(err, result, "pin a MAC address to its bridge port");
	return 0;
}

/* Hairpin: where br_netfilter is loaded, a container's call to its own published port turns round
 * inside the bridge, and must be let out by the port that it came in by. (RTM_SETLINK would ignore
 * all this without a word.) */
static int configure_port(struct link *link, int index, bool isolated, struct err *err)
{
	auto_put(free_msg) struct nl_msg *msg = nlmsg_alloc_simple(RTM_NEWLINK, NLM_F_REQUEST);
	struct ifinfomsg info = {.ifi_family = AF_UNSPEC, .ifi_index = index};
	struct nlattr *link_info, *data;
	int result;

	if (!msg || nlmsg_append(msg, &info, sizeof(info), NLMSG_ALIGNTO) < 0)
		return err_nomem(err);
	link_info = nla_nest_start(msg, IFLA_LINKINFO);
	if (!link_info || nla_put_string(msg, IFLA_INFO_SLAVE_KIND, "bridge") < 0)
		return err_nomem(err);
	data = nla_nest_start(msg, IFLA_INFO_SLAVE_DATA);
	if (!data || nla_put_u8(msg, IFLA_BRPORT_MODE, BRIDGE_MODE_HAIRPIN) < 0 ||
	    (isolated && nla_put_u8(msg, IFLA_BRPORT_ISOLATED, 1) < 0))
		return err_nomem(err);
	nla_nest_end(msg, data);
	nla_nest_end(msg, link_info);
	result = nl_send_auto(link->sock, msg);
	if (result >= 0)
		result = nl_wait_for_ack(link->sock);
	if (result < 0)
		return nl_fail(err, result, "set up a bridge port");
	return 0;
}

static int make_veth(struct link *link, const struct link_veth *veth, struct nl_addr *hw,
                     struct err *err)
{
	int master = link_find(link, veth->bridge, err);
	auto_put(put_link) struct rtnl_link *host = NULL, *peer = NULL;
	int result;

	if (master < 0)
		return -1;
	host = rtnl_link_veth_alloc();
	peer = host ? rtnl_link_veth_get_peer(host) : NULL; /* a reference of our own */
	if (!peer)
		return err_nomem(err);
	rtnl_link_set_name(host, veth->host_name);
	rtnl_link_set_master(host, master);
	rtnl_link_set_mtu(host, (unsigned)veth->mtu);
	rtnl_link_set_flags(host, IFF_UP);
	rtnl_link_set_name(peer, veth->name);
	rtnl_link_set_ns_fd(peer, veth->netns_fd);
	rtnl_link_set_addr(peer, hw);
	rtnl_link_set_mtu(peer, (unsigned)veth->mtu);
	result = rtnl_link_add(link->sock, host, NLM_F_CREATE | NLM_F_EXCL);
	if (result < 0)
		return nl_fail(err, result, "create the interface pair %s", veth->host_name);
	return 0;
}

int link_veth_create(struct link *link, const struct link_veth *veth, struct err *err)
{
	auto_put(put_nl_addr) struct nl_addr *hw = nl_addr_build(AF_LLC, veth->mac, 6);
	int index;

	if (!hw)
		return err_nomem(err);
	if (make_veth(link, veth, hw, err) < 0)
		return -1;
	index = link_find(link, veth->host_name, err);
	if (index >= 0)
		(void)sysctl_set_interface("ipv6", veth->host_name, "disable_ipv6", 1, NULL);
	if (index >= 0 && pin_mac(link, index, hw, err) == 0 &&
	    configure_port(link, index, veth->isolated, err) == 0)
		return 0;
	(void)link_remove(link, veth->host_name, NULL);
	return -1;
}

/* ---- overlays ---- */

static int make_vxlan(struct link *link, const struct link_vxlan *vxlan, struct err *err)
{
	auto_put(put_link) struct rtnl_link *made = rtnl_link_vxlan_alloc();
	int master = link_find(link, vxlan->bridge, err);
	int result;

	if (master < 0)
		return -1;
	if (!made)
		return err_nomem(err);
	rtnl_link_set_name(made, vxlan->name);
	rtnl_link_set_master(made, master);
	rtnl_link_set_mtu(made, (unsigned)vxlan->mtu);
	rtnl_link_set_flags(made, IFF_UP);
	rtnl_link_vxlan_set_id(made, vxlan->vni);
	rtnl_link_vxlan_set_port(made, LINK_VXLAN_PORT);
	rtnl_link_vxlan_disable_learning(made);
	rtnl_link_vxlan_enable_proxy(made);
	result = rtnl_link_add(link->sock, made, NLM_F_CREATE | NLM_F_EXCL);
	if (result < 0)
		return nl_fail(err, result, "create the interface %s for VXLAN %u", vxlan->name,
		               vxlan->vni);
	return 0;
}

int link_vxlan_ensure(struct link *link, const struct link_vxlan *vxlan, struct err *err)
{
	if (link_exists(link, vxlan->name))
		return link_up(link, vxlan->name, err);
	if (make_vxlan(link, vxlan, err) < 0)
		return -1;
	(void)sysctl_set_interface("ipv6", vxlan->name, "disable_ipv6", 1, NULL);
	return link_up(link, vxlan->name, err);
}

/* What one entry of one of the kernel's three tables says. */
struct entry {
	int family, state, flags, index;
	struct nl_addr *dst, *hw; /* borrowed; NULL: none */
};

static struct rtnl_neigh *make_entry(const struct entry *entry)
{
	struct rtnl_neigh *neigh = rtnl_neigh_alloc();

	if (!neigh)
		return NULL;
	if (entry->dst)
		(void)rtnl_neigh_set_dst(neigh, entry->dst);
	/* After the address: a bridge's entry may lead to an address of another family. */
	rtnl_neigh_set_family(neigh, entry->family);
	rtnl_neigh_set_ifindex(neigh, entry->index);
	if (entry->hw)
		rtnl_neigh_set_lladdr(neigh, entry->hw);
	rtnl_neigh_set_state(neigh, entry->state);
	if (entry->flags)
		rtnl_neigh_set_flags(neigh, (unsigned)entry->flags);
	return neigh;
}

/* Where the MAC address is: which machine (the VXLAN interface's table), behind which port (the bridge's, so that
 * nobody on this machine can claim it); and which MAC address the IP has (what the interface answers). */
struct peer_entries {
	struct entry list[3];
	struct nl_addr *ip, *hw, *node; /* owned */
};

static void peer_entries_done(struct peer_entries *e)
{
	put_nl_addr(&e->ip);
	put_nl_addr(&e->hw);
	put_nl_addr(&e->node);
}

static int peer_entries_init(struct peer_entries *e, int index, const struct link_peer *peer,
                             struct err *err)
{
	char text[CIDR_MAC_MAX];
	uint8_t mac[6];

	*e = (struct peer_entries){0};
	if (cidr_parse_mac(cidr_format_mac(peer->ip, text), mac, err) < 0)
		return -1;
	e->ip = make_addr(peer->ip, 32);
	e->hw = nl_addr_build(AF_LLC, mac, sizeof(mac));
	if (!e->ip || !e->hw)
		return err_nomem(err);
	if (nl_addr_parse(peer->node, AF_UNSPEC, &e->node) < 0)
		return err_set(err, ERR_INVALID, "\"%.45s\" is not a machine's address",
		               peer->node);
	e->list[0] = (struct entry){AF_BRIDGE, NUD_PERMANENT | NUD_NOARP, NTF_SELF, index, e->node,
	                            e->hw};
	e->list[1] =
		(struct entry){AF_BRIDGE, NUD_NOARP, NTF_MASTER | NTF_STICKY, index, NULL, e->hw};
	e->list[2] = (struct entry){AF_INET, NUD_PERMANENT, 0, index, e->ip, e->hw};
	return 0;
}

int link_peer_set(struct link *link, const char *vxlan, const struct link_peer *peer,
                  struct err *err)
{
	__attribute__((cleanup(peer_entries_done))) struct peer_entries e;
	int index = link_find(link, vxlan, err), result = 0;

	if (peer_entries_init(&e, index, peer, err) < 0 || index < 0)
		return -1;
	for (size_t i = 0; result >= 0 && i < ARRAY_LEN(e.list); i++) {
		auto_put(put_neigh) struct rtnl_neigh *neigh = make_entry(&e.list[i]);

		if (!neigh)
			return err_nomem(err);
		result = rtnl_neigh_add(link->sock, neigh, NLM_F_CREATE | NLM_F_REPLACE);
	}
	return result < 0 ? nl_fail(err, result, "enter a peer of %s", vxlan) : 0;
}

int link_peer_remove(struct link *link, const char *vxlan, const struct link_peer *peer,
                     struct err *err)
{
	__attribute__((cleanup(peer_entries_done))) struct peer_entries e;
	int index = link_find(link, vxlan, err);

	if (peer_entries_init(&e, index, peer, err) < 0 || index < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_LEN(e.list); i++) {
		auto_put(put_neigh) struct rtnl_neigh *neigh = make_entry(&e.list[i]);

		if (!neigh)
			return err_nomem(err);
		(void)rtnl_neigh_delete(link->sock, neigh, 0);
	}
	return 0;
}
