/* SPDX-License-Identifier: Apache-2.0 */
#include "net/net.h"

#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/db.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/pool.h"
#include "base/str.h"
#include "net/dns.h"
#include "net/resolv.h"
#include "net/state.h"
#include "net/sysctl.h"
#include "net/watch.h"

#define READY_NAMESPACES 2
#define WORKERS          2
#define WORK_QUEUE       4096

/* ---- what a crash left behind ---- */

static int sweep_namespace(void *arg, int dir_fd, const char *name, unsigned char d_type)
{
	struct net *net = arg;

	(void)d_type;
	if (!store_sandbox_exists(net->db, name))
		(void)netns_unbind(dir_fd, name, NULL);
	return 0;
}

static bool has_link(struct net *net, const char *container_id)
{
	auto_arena struct arena arena = ARENA_INIT(NET_ARENA_MAX);
	struct store_endpoint *endpoints;
	size_t count;

	if (store_endpoint_list(net->db, &(struct store_filter){.container_id = container_id},
	                        &arena, &endpoints, &count, NULL) < 0)
		return false;
	for (size_t i = 0; i < count; i++)
		if (link_exists(net->link, endpoints[i].host_if))
			return true;
	return false;
}

/* A sandbox whose namespace is gone (the machine was started again) is only rows. One that has an
 * interface lives on, bound in a mount namespace that is not ours: net_sandbox_adopt() is for that. */
static int sweep_sandboxes(struct net *net, struct err *err)
{
	auto_arena struct arena arena = ARENA_INIT(NET_ARENA_MAX);
	size_t count;
	char **ids;

	if (store_sandbox_list(net->db, &arena, &ids, &count, err) < 0)
		return -1;
	for (size_t i = 0; i < count; i++) {
		auto_close int fd = netns_open(net->netns_dir, ids[i], NULL);

		if (fd < 0 && !has_link(net, ids[i]) && net_sandbox_take_down(net, ids[i], err) < 0)
			return -1;
	}
	return fs_list(net->netns_dir, sweep_namespace, net, err) < 0 ? -1 : 0;
}

struct sweep {
	struct net *net;
	const struct store_endpoint *endpoints;
	size_t count;
	const struct store_network *networks;
	size_t network_count;
};

static bool is_our_bridge(const struct sweep *sweep, int index)
{
	for (size_t i = 0; i < sweep->network_count; i++)
		if (sweep->networks[i].n.bridge[0] &&
		    link_find(sweep->net->reaper, sweep->networks[i].n.bridge, NULL) == index)
			return true;
	return false;
}

static void sweep_link(void *arg, const char *name, int index, int master)
{
	const struct sweep *sweep = arg;

	(void)index;
	if (!str_starts(name, "vb") || master == 0)
		return;
	for (size_t i = 0; i < sweep->count; i++)
		if (str_eq(sweep->endpoints[i].host_if, name))
			return;
	if (is_our_bridge(sweep, master))
		net_link_reap(sweep->net, name);
}

/* An endpoint is a row and an interface: what lacks the other half goes. */
static int sweep_endpoints(struct net *net, struct err *err)
{
	auto_arena struct arena arena = ARENA_INIT(NET_ARENA_MAX);
	struct store_endpoint *endpoints;
	struct store_network *networks;
	struct sweep sweep = {.net = net};
	size_t kept = 0;

	if (store_endpoint_list(net->db, &(struct store_filter){0}, &arena, &endpoints,
	                        &sweep.count, err) < 0 ||
	    store_network_list(net->db, &arena, &networks, &sweep.network_count, err) < 0)
		return -1;
	for (size_t i = 0; i < sweep.count; i++) {
		if (link_exists(net->link, endpoints[i].host_if))
			endpoints[kept++] = endpoints[i];
		else if (store_endpoint_delete(net->db, endpoints[i].e.id, err) < 0)
			return -1;
	}
	sweep.endpoints = endpoints;
	sweep.count = kept;
	sweep.networks = networks;
	return link_list(net->link, sweep_link, &sweep, err);
}

/* ---- opening ---- */

static int enable_forwarding(struct net *net, struct err *err)
{
	int64_t now, before;

	if (sysctl_get("ipv4/ip_forward", &now, err) < 0)
		return -1;
	if (now == 1)
		return 0;
	if (store_setting_get(net->db, "ip_forward", &before, err) < 0 ||
	    store_setting_put(net->db, "ip_forward", now, err) < 0)
		return -1;
	return sysctl_set("ipv4/ip_forward", 1, err);
}

static int raise_networks(struct net *net, struct err *err)
{
	auto_arena struct arena arena = ARENA_INIT(NET_ARENA_MAX);
	struct store_network *networks;
	size_t count;

	if (store_network_list(net->db, &arena, &networks, &count, err) < 0)
		return -1;
	for (size_t i = 0; i < count; i++) {
		struct err why = ERR_INIT;

		if (net_bridge_ensure(net, &networks[i], &why) == 0)
			continue;
		/* An overlay can be made again when a task needs it. */
		if (networks[i].vni == 0)
			return err_set(err, why.kind, "network %s: %.400s", networks[i].n.name,
			               why.msg);
		log_warn(net->log, "no way to other machines on a network",
		         "network=%s error=\"%s\"", networks[i].n.name, why.msg);
	}
	if (sweep_sandboxes(net, err) < 0 || sweep_endpoints(net, err) < 0 ||
	    net_ports_restore(net, err) < 0 || net_rules_rebuild(net, err) < 0)
		return -1;
	for (size_t i = 0; i < count; i++) {
		struct err why = ERR_INIT;

		/* Somebody else's port 53 costs the names, not the daemon. */
		if (dns_network_add(net->dns, &networks[i], &why) < 0)
			log_warn(net->log, "no names on a network", "network=%s error=\"%s\"",
			         networks[i].n.name, why.msg);
	}
	return 0;
}

static int open_run_dir(struct net *net, int run_dir_fd, struct err *err)
{
	auto_buf struct buf path = BUF_INIT(4096);
	auto_close int proc = fs_trusted_open_dir("/proc/self/fd", false, err);
	char number[16];

	net->netns_dir = fs_mkdir_all(run_dir_fd, "netns", 0700, err);
	if (net->netns_dir < 0 || proc < 0)
		return -1;
	snprintf(number, sizeof(number), "%d", net->netns_dir);
	if (fs_readlink(proc, number, &path, err) < 0)
		return -1;
	net->netns_path = buf_take(&path, err);
	return net->netns_path ? 0 : -1;
}

static int set_options(struct net *net, const struct net_options *options, struct err *err)
{
	const char *name = options->name ? options->name : "";
	struct cidr range;

	if (strlen(name) >= sizeof(net->name) ||
	    strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") !=
	            strlen(name))
		return err_set(err, ERR_INVALID,
		               "invalid network name suffix \"%.40s\": up to 9 letters and digits",
		               name);
	snprintf(net->name, sizeof(net->name), "%s", name);
	snprintf(net->table, sizeof(net->table), "buoy%s%s", name[0] ? "_" : "", name);
	net->log = options->log;
	net->user_namespaces = options->user_namespaces;
	if (!options->default_pool)
		return 0;
	if (cidr_parse(options->default_pool, &range, err) < 0)
		return err_wrap(err, "default address pool");
	net->pool = cidr_make_pool(&range);
	return 0;
}

static int open_parts(struct net *net, int root_dir_fd, struct err *err)
{
	net->db = store_open(root_dir_fd, "net.db", err);
	if (!net->db)
		return -1;
	net->link = link_open(err);
	net->reaper = net->link ? link_open(err) : NULL;
	net->rules = net->reaper ? rules_create(err) : NULL;
	net->ports = net->rules ? port_table_create(err) : NULL;
	net->service_ports = net->ports ? port_table_create(err) : NULL;
	net->workers = net->service_ports ? pool_create(WORKERS, WORK_QUEUE, err) : NULL;
	net->ready = net->workers ? netns_pool_create(READY_NAMESPACES, net->user_namespaces,
	                                              net->workers, net->log, err)
	                          : NULL;
	net->dns = net->ready ? dns_create(net->db, net->log, err) : NULL;
	return net->dns ? 0 : -1;
}

/* On the watcher's thread. */
static void restore_rules(void *arg)
{
	struct err err = ERR_INIT;
	struct net *net = arg;

	net_guard(net);
	if (rules_exist(net->rules, net->table))
		return;
	if (net_rules_rebuild(net, &err) < 0)
		log_error(net->log, "the packet rules are gone", "error=\"%s\"", err.msg);
	else
		log_warn(net->log, "the packet rules were taken away and are back", "table=%s",
		         net->table);
}

static void net_free(struct net *net)
{
	watch_free(net->watch);
	net_overlays_done(net);
	dns_free(net->dns);
	pool_free(net->workers);
	netns_pool_free(net->ready);
	port_table_free(net->service_ports);
	port_table_free(net->ports);
	rules_free(net->rules);
	link_free(net->reaper);
	link_free(net->link);
	db_free(net->db);
	if (net->netns_dir >= 0)
		close(net->netns_dir);
	free(net->netns_path);
	pthread_mutex_destroy(&net->reaper_lock);
	pthread_mutex_destroy(&net->lock);
	free(net);
}

struct net *net_open(int root_dir_fd, int run_dir_fd, const struct net_options *options,
                     struct err *err)
{
	struct net *net = calloc(1, sizeof(*net));

	if (!net) {
		(void)err_nomem(err);
		return NULL;
	}
	net->netns_dir = -1;
	pthread_mutex_init(&net->lock, NULL);
	pthread_mutex_init(&net->reaper_lock, NULL);
	if (set_options(net, options, err) == 0 && open_run_dir(net, run_dir_fd, err) == 0 &&
	    open_parts(net, root_dir_fd, err) == 0 && net_network_predefine(net, err) == 0 &&
	    enable_forwarding(net, err) == 0 && raise_networks(net, err) == 0 &&
	    (net->watch = watch_start(net->table, restore_rules, net, err)) != NULL)
		return net;
	net_free(net);
	return NULL;
}

/* ---- closing ---- */

static void take_down(struct net *net)
{
	auto_arena struct arena arena = ARENA_INIT(NET_ARENA_MAX);
	struct store_network *networks;
	size_t count = 0, network_count = 0;
	int64_t before;
	char **ids;

	if (store_sandbox_list(net->db, &arena, &ids, &count, NULL) < 0 ||
	    store_network_list(net->db, &arena, &networks, &network_count, NULL) < 0)
		return;
	for (size_t i = 0; i < count; i++)
		(void)net_sandbox_take_down(net, ids[i], NULL);
	for (size_t i = 0; i < network_count; i++) {
		net_network_drop(net, &networks[i]);
	}
	(void)net_localhost_restore(net, NULL);
	(void)rules_remove(net->rules, net->table, NULL);
	if (store_setting_get(net->db, "ip_forward", &before, NULL) == 1 &&
	    sysctl_set("ipv4/ip_forward", before, NULL) == 0)
		(void)store_setting_delete(net->db, "ip_forward", NULL);
}

void net_close(struct net *net, bool keep)
{
	if (!net)
		return;
	watch_free(move_ptr(net->watch));
	if (!keep)
		take_down(net);
	net_free(net);
}

/* ---- after a restart ---- */

static bool is_known(const char *id, const char *const *ids, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (str_eq(id, ids[i]))
			return true;
	return false;
}

int net_reconcile(struct net *net, const char *const *ids, size_t count, struct err *err)
{
	auto_arena struct arena arena = ARENA_INIT(NET_ARENA_MAX);
	struct store_network *networks;
	size_t sandbox_count, network_count;
	char **sandboxes;

	net_guard(net);
	if (store_sandbox_list(net->db, &arena, &sandboxes, &sandbox_count, err) < 0 ||
	    store_network_list(net->db, &arena, &networks, &network_count, err) < 0)
		return -1;
	for (size_t i = 0; i < sandbox_count; i++)
		if (!is_known(sandboxes[i], ids, count) &&
		    net_sandbox_take_down(net, sandboxes[i], err) < 0)
			return -1;
	for (size_t i = 0; i < network_count; i++)
		if (net_bridge_ensure(net, &networks[i], err) < 0)
			return -1;
	return net_rules_rebuild(net, err);
}

/* ---- resolv.conf ---- */

/* The responder to ask: on a network with a way out if there is one, as it passes questions on. */
static int find_responder(struct net *net, const struct store_endpoint *endpoints, size_t count,
                          struct arena *arena, char gateway[16], struct err *err)
{
	bool found_internal = false;

	gateway[0] = '\0';
	for (size_t i = 0; i < count; i++) {
		struct store_network network = {0};

		if (store_network_find(net->db, endpoints[i].e.network_id, arena, &network, err) <
		    0)
			return -1;
		if (!dns_serves(&network) || (gateway[0] && !found_internal))
			continue;
		if (gateway[0] && network.n.internal)
			continue;
		snprintf(gateway, 16, "%s", network.n.gateway);
		found_internal = network.n.internal;
	}
	return 0;
}

static int remember_dns(struct net *net, const char *container_id, const char *const *dns,
                        struct err *err)
{
	auto_buf struct buf list = BUF_INIT(255);

	for (size_t i = 0; dns && dns[i] && i < RESOLV_SERVER_MAX; i++)
		buf_addf(&list, "%s%s", i ? " " : "", dns[i]);
	if (buf_check(&list, err) < 0)
		return -1;
	return store_sandbox_set_dns(net->db, container_id, buf_str(&list), err);
}

static int apply_wishes(struct resolv *r, const struct net_dns *dns, struct err *err)
{
	if (dns->servers && dns->servers[0] && resolv_set_servers(r, dns->servers, err) < 0)
		return -1;
	if (dns->search && dns->search[0] &&
	    resolv_set_words(r->search, sizeof(r->search), dns->search, "search domain", err) < 0)
		return -1;
	if (dns->options && dns->options[0] &&
	    resolv_set_words(r->options, sizeof(r->options), dns->options, "option", err) < 0)
		return -1;
	return 0;
}

int net_resolv_conf(struct net *net, const char *container_id, const struct net_dns *dns,
                    struct buf *out, struct err *err)
{
	auto_arena struct arena arena = ARENA_INIT(NET_ARENA_MAX);
	struct store_endpoint *endpoints;
	struct resolv r;
	char gateway[16];
	size_t count;

	if (resolv_read_host(&r, err) < 0 ||
	    store_endpoint_list(net->db, &(struct store_filter){.container_id = container_id},
	                        &arena, &endpoints, &count, err) < 0 ||
	    find_responder(net, endpoints, count, &arena, gateway, err) < 0)
		return -1;
	if (count > 0) /* with a network of its own the machine's loopback is out of reach */
		resolv_drop_loopback(&r);
	if (apply_wishes(&r, dns, err) < 0)
		return -1;
	if (!gateway[0])
		return resolv_write(&r, out, err);
	if (remember_dns(net, container_id, dns->servers, err) < 0)
		return -1;
	if (!dns->options || !dns->options[0])
		snprintf(r.options, sizeof(r.options), "ndots:0");
	snprintf(r.servers[0], sizeof(r.servers[0]), "%s", gateway);
	r.server_count = 1;
	return resolv_write(&r, out, err);
}
