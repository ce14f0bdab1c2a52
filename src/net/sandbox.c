/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/failpoint.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/pool.h"
#include "base/str.h"
#include "net/state.h"

#define ALIAS_MAX 64

static int check_id(const char *container_id, struct err *err)
{
	size_t len = strlen(container_id);

	if (len >= 1 && len < ID_HEX_MAX &&
	    strspn(container_id, "0123456789abcdefghijklmnopqrstuvwxyz") == len)
		return 0;
	return err_set(err, ERR_INVALID, "invalid container id \"%.70s\"", container_id);
}

static int check_sandbox(struct net *net, const char *container_id, struct err *err)
{
	if (store_sandbox_exists(net->db, container_id))
		return 0;
	return err_set(err, ERR_NOT_FOUND, "container %.12s has no network sandbox", container_id);
}

/* ---- links that go ---- */

struct reap_job {
	struct net *net;
	char host_if[LINK_NAME_MAX];
};

static void reap(void *arg)
{
	auto_free struct reap_job *job = arg;
	struct err err = ERR_INIT;
	int result;

	pthread_mutex_lock(&job->net->reaper_lock);
	result = link_remove(job->net->reaper, job->host_if, &err);
	pthread_mutex_unlock(&job->net->reaper_lock);
	if (result < 0)
		log_warn(job->net->log, "an interface was left behind", "error=\"%s\"", err.msg);
}

void net_link_reap(struct net *net, const char *host_if)
{
	struct reap_job *job = calloc(1, sizeof(*job));

	if (job) {
		job->net = net;
		snprintf(job->host_if, sizeof(job->host_if), "%s", host_if);
		if (pool_add(net->workers, reap, job, NULL) == 0)
			return;
		free(job);
	}
	(void)link_remove(net->link, host_if, NULL);
}

/* ---- sandboxes ---- */

static bool sandbox_is_whole(struct net *net, const char *container_id)
{
	auto_close int fd = netns_open(net->netns_dir, container_id, NULL);

	return fd >= 0;
}

static int make_sandbox(struct net *net, const char *container_id, const struct net_owner *owner,
                        struct err *err)
{
	auto_close int fd = -1;

	if (FAILPOINT("net.sandbox.stored", err) < 0)
		return -1;
	fd = netns_pool_take(net->ready, owner, err);
	if (fd < 0)
		return -1;
	return netns_bind(fd, net->netns_dir, container_id, err);
}

int net_sandbox_create(struct net *net, const char *container_id, const struct net_owner *owner,
                       struct err *err)
{
	if (check_id(container_id, err) < 0)
		return -1;
	net_guard(net);
	if (store_sandbox_exists(net->db, container_id)) {
		if (sandbox_is_whole(net, container_id))
			return 0;
		/* The machine was started again since: what the rows tell of is gone. */
		if (net_sandbox_take_down(net, container_id, err) < 0)
			return -1;
	}
	if (store_sandbox_insert(net->db, container_id, err) < 0)
		return -1;
	if (make_sandbox(net, container_id, owner, err) == 0)
		return 0;
	(void)store_sandbox_delete(net->db, container_id, NULL);
	return -1;
}

int net_sandbox_path(struct net *net, const char *container_id, char *path, size_t size,
                     struct err *err)
{
	int n;

	if (check_sandbox(net, container_id, err) < 0)
		return -1;
	n = snprintf(path, size, "%s/%s", net->netns_path, container_id);
	if (n < 0 || (size_t)n >= size)
		return err_set(err, ERR_LIMIT, "the path of a network sandbox is too long");
	return 0;
}

int net_sandbox_adopt(struct net *net, const char *container_id, pid_t pid, struct err *err)
{
	char path[64];

	if (check_id(container_id, err) < 0)
		return -1;
	net_guard(net);
	if (!store_sandbox_exists(net->db, container_id) || sandbox_is_whole(net, container_id))
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)pid);
	auto_close int fd = fs_trusted_open(path, O_RDONLY, 0, err);
	return fd < 0 ? -1 : netns_bind(fd, net->netns_dir, container_id, err);
}

int net_sandbox_take_down(struct net *net, const char *container_id, struct err *err)
{
	auto_arena struct arena arena = ARENA_INIT(NET_ARENA_MAX);
	struct store_endpoint *endpoints;
	size_t count;

	if (net_ports_drop(net, container_id, err) < 0 ||
	    store_endpoint_list(net->db, &(struct store_filter){.container_id = container_id},
	                        &arena, &endpoints, &count, err) < 0)
		return -1;
	for (size_t i = 0; i < count; i++) {
		if (store_endpoint_delete(net->db, endpoints[i].e.id, err) < 0)
			return -1;
		net_link_reap(net, endpoints[i].host_if);
		if (FAILPOINT("net.sandbox.endpoint_gone", err) < 0)
			return -1;
	}
	if (netns_unbind(net->netns_dir, container_id, err) < 0)
		return -1;
	return store_sandbox_delete(net->db, container_id, err);
}

int net_sandbox_remove(struct net *net, const char *container_id, struct err *err)
{
	if (check_id(container_id, err) < 0)
		return -1;
	net_guard(net);
	if (!store_sandbox_exists(net->db, container_id))
		return 0;
	return net_sandbox_take_down(net, container_id, err);
}

/* ---- endpoints ---- */

static int wanted_address(const struct store_network *network, const char *text,
                          const uint32_t *taken, size_t count, uint32_t *ip, struct err *err)
{
	if (cidr_parse_ip(text, ip, err) < 0)
		return -1;
	if (!cidr_is_host(&network->subnet, *ip) || *ip == network->gateway)
		return err_set(err, ERR_INVALID,
		               "address %s cannot be used on network %s, whose subnet is %s and "
		               "gateway %s",
		               text, network->n.name, network->n.subnet, network->n.gateway);
	for (size_t i = 0; i < count; i++)
		if (taken[i] == *ip)
			return err_set(err, ERR_CONFLICT, "Address already in use: %s", text);
	return 0;
}

static int pick_address(struct net *net, const struct store_network *network, const char *wanted,
                        uint32_t *ip, struct err *err)
{
	auto_free uint32_t *taken = NULL;
	size_t count, at = 0;

	if (store_address_list(net->db, network->n.id, &taken, &count, err) < 0)
		return -1;
	if (!str_empty(wanted))
		return wanted_address(network, wanted, taken, count, ip, err);
	if (network->vni)
		return err_set(err, ERR_UNSUPPORTED,
		               "addresses on network %s are given by the cluster's leader",
		               network->n.name);
	/* There is room for one more: the gateway is taken too. */
	while (at < count && taken[at] < network->gateway)
		at++;
	memmove(taken + at + 1, taken + at, (count - at) * sizeof(*taken));
	taken[at] = network->gateway;
	return cidr_pick_address(&network->subnet, &network->range, taken, count + 1, ip, err);
}

static int pick_interface(const struct store_endpoint *others, size_t count, char name[16],
                          struct err *err)
{
	for (int i = 0; i < 64; i++) {
		bool used = false;

		snprintf(name, 16, "eth%d", i);
		for (size_t k = 0; k < count; k++)
			used = used || str_eq(others[k].e.interface, name);
		if (!used)
			return 0;
	}
	return err_set(err, ERR_LIMIT, "a container can be on at most 64 networks");
}

static int check_not_attached(const struct store_network *network,
                              const struct store_endpoint *others, size_t count, struct err *err)
{
	if (!network->n.bridge[0])
		return err_set(err, ERR_INVALID, "a container cannot be attached to network %s",
		               network->n.name);
	for (size_t i = 0; i < count; i++)
		if (str_eq(others[i].e.network_id, network->n.id))
			return err_set(err, ERR_CONFLICT,
			               "container %.12s is already attached to network %s",
			               others[i].container_id, network->n.name);
	return 0;
}

static int fill_endpoint(struct net *net, const char *container_id,
                         const struct store_network *network,
                         const struct net_attachment *attachment, struct store_endpoint *out,
                         struct err *err)
{
	struct net_endpoint *e = &out->e;

	if (pick_address(net, network, attachment->ipv4, &out->ip, err) < 0)
		return -1;
	if (attachment->id)
		snprintf(e->id, sizeof(e->id), "%s", attachment->id);
	else
		id_make_hex(e->id);
	snprintf(out->container_id, sizeof(out->container_id), "%s", container_id);
	snprintf(out->host_if, sizeof(out->host_if), "vb%.11s", e->id);
	snprintf(e->network_id, sizeof(e->network_id), "%s", network->n.id);
	snprintf(e->network_name, sizeof(e->network_name), "%s", network->n.name);
	snprintf(e->gateway, sizeof(e->gateway), "%s", network->n.gateway);
	cidr_format_ip(out->ip, e->ip);
	e->prefix_len = network->subnet.len;
	if (str_empty(attachment->mac))
		cidr_format_mac(out->ip, e->mac);
	else
		snprintf(e->mac, sizeof(e->mac), "%s", attachment->mac);
	return 0;
}

/* The container's own name first, then its short id and aliases. */
static void list_names(const char *container_id, const struct net_attachment *attachment,
                       char short_id[ID_SHORT + 1], const char *names[ALIAS_MAX + 3])
{
	size_t n = 0;

	snprintf(short_id, ID_SHORT + 1, "%s", container_id);
	if (!str_empty(attachment->container_name))
		names[n++] = attachment->container_name;
	names[n++] = short_id;
	for (size_t i = 0; attachment->aliases && attachment->aliases[i] && i < ALIAS_MAX; i++)
		names[n++] = attachment->aliases[i];
	names[n] = NULL;
}

/* The first endpoint on a network with a way out leads to the world. */
static int ensure_default_route(struct net *net, const char *container_id, struct link *inside,
                                struct err *err)
{
	auto_arena struct arena arena = ARENA_INIT(NET_ARENA_MAX);
	struct store_endpoint *endpoints;
	struct err why = ERR_INIT;
	uint32_t gateway;
	size_t count;

	if (store_endpoint_list(net->db, &(struct store_filter){.container_id = container_id},
	                        &arena, &endpoints, &count, err) < 0)
		return -1;
	for (size_t i = 0; i < count; i++) {
		struct store_network network = {0};

		if (store_network_find(net->db, endpoints[i].e.network_id, &arena, &network, err) <
		    0)
			return -1;
		if (network.n.internal)
			continue;
		gateway = network.gateway;
		if (link_default_route_add(inside, endpoints[i].e.interface, gateway, &why) == 0 ||
		    err_is(&why, ERR_CONFLICT))
			return 0;
		if (err)
			*err = why;
		return -1;
	}
	return 0;
}

static int plug(struct net *net, const struct store_network *network,
                const struct store_endpoint *endpoint, struct err *err)
{
	auto_close int netns_fd = netns_open(net->netns_dir, endpoint->container_id, err);
	auto_type(link) inside = NULL;
	uint8_t mac[6];
	struct link_veth veth = {
		.host_name = endpoint->host_if,
		.bridge = network->n.bridge,
		.name = endpoint->e.interface,
		.netns_fd = netns_fd,
		.mac = mac,
		.mtu = network->mtu,
		.isolated = network->isolated,
	};

	if (netns_fd < 0 || cidr_parse_mac(endpoint->e.mac, mac, err) < 0)
		return -1;
	if (FAILPOINT("net.attach.stored", err) < 0)
		return -1;
	inside = link_open_in(netns_fd, err);
	if (!inside || link_veth_create(net->link, &veth, err) < 0)
		return -1;
	if (FAILPOINT("net.attach.plugged", err) < 0)
		return -1;
	if (link_address_add(inside, endpoint->e.interface, endpoint->ip, endpoint->e.prefix_len,
	                     err) < 0 ||
	    link_up(inside, endpoint->e.interface, err) < 0)
		return -1;
	if (network->vni && net_overlay_balance(net, endpoint->container_id, err) < 0)
		return -1;
	return ensure_default_route(net, endpoint->container_id, inside, err);
}

static int attach(struct net *net, const char *container_id,
                  const struct net_attachment *attachment, struct store_endpoint *endpoint,
                  struct err *err)
{
	auto_arena struct arena arena = ARENA_INIT(NET_ARENA_MAX);
	const char *names[ALIAS_MAX + 3];
	struct store_network network = {0};
	struct store_endpoint *others;
	char short_id[ID_SHORT + 1];
	size_t count;

	if (check_sandbox(net, container_id, err) < 0 ||
	    store_network_find(net->db, attachment->network, &arena, &network, err) < 0 ||
	    store_endpoint_list(net->db, &(struct store_filter){.container_id = container_id},
	                        &arena, &others, &count, err) < 0 ||
	    check_not_attached(&network, others, count, err) < 0 ||
	    fill_endpoint(net, container_id, &network, attachment, endpoint, err) < 0 ||
	    pick_interface(others, count, endpoint->e.interface, err) < 0)
		return -1;
	list_names(container_id, attachment, short_id, names);
	if (store_endpoint_insert(net->db, endpoint, names, err) < 0)
		return -1;
	if (plug(net, &network, endpoint, err) == 0) {
		net_overlay_used(net, network.n.id);
		return 0;
	}
	(void)link_remove(net->link, endpoint->host_if, NULL);
	(void)store_endpoint_delete(net->db, endpoint->e.id, NULL);
	return err_wrap(err, "attach container %.12s to network %s", container_id, network.n.name);
}

int net_attach(struct net *net, const char *container_id, const struct net_attachment *attachment,
               struct net_endpoint *out, struct err *err)
{
	struct store_endpoint endpoint = {0};
	uint8_t mac[6];

	if (!str_empty(attachment->mac) && cidr_parse_mac(attachment->mac, mac, err) < 0)
		return -1;
	net_guard(net);
	if (attach(net, container_id, attachment, &endpoint, err) < 0)
		return -1;
	*out = endpoint.e;
	return 0;
}

static int detach(struct net *net, const struct store_endpoint *endpoint, struct err *err)
{
	auto_close int netns_fd = netns_open(net->netns_dir, endpoint->container_id, NULL);
	auto_type(link) inside = NULL;

	if (link_remove(net->link, endpoint->host_if, err) < 0 ||
	    store_endpoint_delete(net->db, endpoint->e.id, err) < 0)
		return -1;
	/* Its ports, if any, now lead to the next endpoint. */
	if (net_rules_rebuild(net, err) < 0)
		return -1;
	if (netns_fd < 0)
		return 0;
	inside = link_open_in(netns_fd, err);
	return inside ? ensure_default_route(net, endpoint->container_id, inside, err) : -1;
}

int net_detach(struct net *net, const char *container_id, const char *network, struct err *err)
{
	auto_arena struct arena arena = ARENA_INIT(NET_ARENA_MAX);
	struct store_endpoint *endpoints;
	struct store_network found = {0};
	size_t count;

	net_guard(net);
	if (store_network_find(net->db, network, &arena, &found, err) < 0 ||
	    store_endpoint_list(
		    net->db,
		    &(struct store_filter){.container_id = container_id, .network_id = found.n.id},
		    &arena, &endpoints, &count, err) < 0)
		return -1;
	if (count == 0)
		return err_set(err, ERR_NOT_FOUND, "container %.12s is not connected to network %s",
		               container_id, found.n.name);
	return detach(net, &endpoints[0], err);
}

int net_endpoint_list(struct net *net, const char *container_id, struct arena *arena,
                      struct net_endpoint **out, size_t *count, struct err *err)
{
	struct store_endpoint *endpoints;
	struct net_endpoint *list;
	size_t n;

	if (store_endpoint_list(net->db, &(struct store_filter){.container_id = container_id},
	                        arena, &endpoints, &n, err) < 0)
		return -1;
	list = arena_array(arena, n + 1, sizeof(*list), err);
	if (!list)
		return -1;
	for (size_t i = 0; i < n; i++)
		list[i] = endpoints[i].e;
	*out = list;
	*count = n;
	return 0;
}
