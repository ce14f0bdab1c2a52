/* SPDX-License-Identifier: Apache-2.0 */
/* Overlays: networks of which each machine has its own bridge, joined by VXLAN. */

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/str.h"
#include "net/conntrack.h"
#include "net/state.h"

#define TABLE_ARENA (256u << 20)
#define PINS_MAX    256
#define PIN_MS      60000 /* so long after it was made a network may be without anybody */
#define MTU_OPTION  "com.docker.network.driver.mtu"
#define MTU_MIN     576
#define MTU_MAX     65535

/* What the last table says of one network, with numbers for addresses. */
struct entry {
	struct net_network n;
	uint32_t vni;
	struct store_overlay o;
};

/* A network that was just made for somebody who is not on it yet. */
struct pin {
	char id[ID_HEX_MAX];
	int64_t until_ms;
};

struct overlays {
	struct arena arena; /* of the entries */
	struct entry *entries;
	size_t count;
	bool failed; /* the last table was not applied as a whole */
	struct pin pins[PINS_MAX];
	size_t pin_count;
};

static struct overlays *overlays_of(struct net *net, struct err *err)
{
	if (!net->overlays) {
		net->overlays = calloc(1, sizeof(*net->overlays));
		if (!net->overlays)
			err_nomem(err);
		else
			net->overlays->arena = ARENA_INIT(TABLE_ARENA);
	}
	return net->overlays;
}

void net_overlays_done(struct net *net)
{
	if (net->overlays)
		arena_done(&net->overlays->arena);
	free(net->overlays);
	net->overlays = NULL;
}

static const struct entry *find_entry(const struct overlays *all, const char *id)
{
	for (size_t i = 0; all && i < all->count; i++)
		if (str_eq(all->entries[i].n.id, id))
			return &all->entries[i];
	return NULL;
}

/* ---- networks that wait for somebody ---- */

static void unpin(struct overlays *all, size_t i)
{
	all->pins[i] = all->pins[--all->pin_count];
}

void net_overlay_used(struct net *net, const char *network_id)
{
	for (size_t i = 0; net->overlays && i < net->overlays->pin_count; i++)
		if (str_eq(net->overlays->pins[i].id, network_id)) {
			unpin(net->overlays, i);
			return;
		}
}

static void pin(struct overlays *all, const char *id)
{
	size_t i = 0;

	while (i < all->pin_count && !str_eq(all->pins[i].id, id))
		i++;
	if (i == PINS_MAX)
		return;
	if (i == all->pin_count)
		all->pin_count++;
	snprintf(all->pins[i].id, sizeof(all->pins[i].id), "%s", id);
	all->pins[i].until_ms = clock_mono_ms() + PIN_MS;
}

static bool is_pinned(struct overlays *all, const char *id)
{
	for (size_t i = all->pin_count; i-- > 0;) {
		if (all->pins[i].until_ms < clock_mono_ms())
			unpin(all, i);
		else if (str_eq(all->pins[i].id, id))
			return true;
	}
	return false;
}

/* ---- the table, read ---- */

static int by_ip(const void *a, const void *b)
{
	uint32_t x = ((const struct store_peer *)a)->ip, y = ((const struct store_peer *)b)->ip;

	return (x > y) - (x < y);
}

static int order(uint32_t a, uint32_t b)
{
	return (a > b) - (a < b);
}

static int by_pair(const void *a, const void *b)
{
	const struct store_vip *x = a, *y = b;
	int first = order(x->ip, y->ip);

	return first ? first : order(x->backend, y->backend);
}

static int read_peers(const struct net_overlay *from, struct arena *arena, struct store_overlay *to,
                      struct err *err)
{
	struct store_peer *peers = arena_array(arena, from->peer_count + 1, sizeof(*peers), err);
	struct store_name *names = arena_array(arena, from->name_count + 1, sizeof(*names), err);

	if (!peers || !names)
		return -1;
	for (size_t i = 0; i < from->peer_count; i++) {
		if (cidr_parse_ip(from->peers[i].ip, &peers[i].ip, err) < 0)
			return -1;
		snprintf(peers[i].node, sizeof(peers[i].node), "%s", from->peers[i].node);
	}
	qsort(peers, from->peer_count, sizeof(*peers), by_ip);
	for (size_t i = 0; i < from->name_count; i++) {
		names[i].name = arena_strdup(arena, from->names[i].name, err);
		if (!names[i].name || cidr_parse_ip(from->names[i].ip, &names[i].ip, err) < 0)
			return -1;
	}
	to->peers = peers;
	to->peer_count = from->peer_count;
	to->names = names;
	to->name_count = from->name_count;
	return 0;
}

static int read_vips(const struct net_overlay *from, struct arena *arena, struct store_overlay *to,
                     struct err *err)
{
	struct store_vip *vips;
	size_t most = 0;

	for (size_t i = 0; i < from->vip_count; i++)
		most += from->vips[i].count + 1;
	vips = arena_array(arena, most + 1, sizeof(*vips), err);
	if (!vips)
		return -1;
	for (size_t i = 0; i < from->vip_count; i++) {
		const struct net_overlay_vip *v = &from->vips[i];
		uint32_t ip;

		if (cidr_parse_ip(v->ip, &ip, err) < 0)
			return -1;
		for (size_t k = 0; k < v->count; k++) {
			vips[to->vip_count].ip = ip;
			if (cidr_parse_ip(v->backends[k], &vips[to->vip_count++].backend, err) < 0)
				return -1;
		}
		if (v->count == 0)
			vips[to->vip_count++].ip = ip;
	}
	qsort(vips, to->vip_count, sizeof(*vips), by_pair);
	to->vips = vips;
	return 0;
}

static int copy_map(const struct json_strmap *from, struct arena *arena, struct json_strmap *to,
                    struct err *err)
{
	*to = *from;
	to->items = arena_array(arena, from->count + 1, sizeof(*to->items), err);
	if (!to->items)
		return -1;
	for (size_t i = 0; i < from->count; i++) {
		to->items[i].key = arena_strdup(arena, from->items[i].key, err);
		to->items[i].value = arena_strdup(arena, from->items[i].value, err);
		if (!to->items[i].key || !to->items[i].value)
			return -1;
	}
	return 0;
}

static int copy_network(const struct net_network *from, struct arena *arena, struct net_network *to,
                        struct err *err)
{
	*to = *from;
	to->name = arena_strdup(arena, from->name, err);
	to->driver = to->name ? arena_strdup(arena, "overlay", err) : NULL;
	to->scope = to->driver ? arena_strdup(arena, "swarm", err) : NULL;
	if (!to->scope || copy_map(&from->labels, arena, &to->labels, err) < 0)
		return -1;
	return copy_map(&from->options, arena, &to->options, err);
}

/* All but the driver and the scope, which are what they are. */
static struct net_network describe(const struct net_overlay *overlay)
{
	struct net_network n = {
		.name = (char *)overlay->name,
		.internal = overlay->internal,
		.attachable = overlay->attachable,
		.labels = overlay->labels,
		.options = overlay->options,
		.created_ns = overlay->created_ns,
	};

	snprintf(n.id, sizeof(n.id), "%s", overlay->id);
	snprintf(n.subnet, sizeof(n.subnet), "%s", overlay->subnet);
	snprintf(n.gateway, sizeof(n.gateway), "%s", overlay->gateway);
	snprintf(n.bridge, sizeof(n.bridge), "by-%.8s", overlay->id);
	return n;
}

static int read_table(const struct net_overlay *overlays, size_t count, struct arena *arena,
                      struct entry **out, struct err *err)
{
	struct entry *entries = arena_array(arena, count + 1, sizeof(*entries), err);

	if (!entries)
		return -1;
	for (size_t i = 0; i < count; i++) {
		struct net_network n = describe(&overlays[i]);

		entries[i].vni = overlays[i].vni;
		if (copy_network(&n, arena, &entries[i].n, err) < 0 ||
		    read_peers(&overlays[i], arena, &entries[i].o, err) < 0 ||
		    read_vips(&overlays[i], arena, &entries[i].o, err) < 0)
			return err_wrap(err, "network %s", overlays[i].name);
	}
	*out = entries;
	return 0;
}

/* ---- virtual addresses, in the containers' namespaces ---- */

/* For a thread that enters the namespace and ends there. */
struct balance_job {
	int netns_fd;
	const char *text;
	struct conntrack_target *gone;
	size_t gone_count;
	struct err err;
	int result;
};

static void *balance_in_thread(void *arg)
{
	struct balance_job *job = arg;
	auto_type(rules) rules = NULL;

	job->result = -1;
	if (setns(job->netns_fd, CLONE_NEWNET) < 0)
		(void)err_sys(&job->err, "enter the network namespace");
	else if ((rules = rules_create(&job->err)) != NULL)
		job->result = rules_apply(rules, job->text, &job->err);
	/* After the rules: what is forgotten is decided anew. */
	if (job->result == 0 && job->gone_count > 0)
		(void)conntrack_forget(job->gone, job->gone_count, NULL, NULL, NULL);
	return NULL;
}

static int write_balance(struct net *net, const char *container_id, struct buf *out,
                         struct err *err)
{
	auto_arena struct arena arena = ARENA_INIT(NET_ARENA_MAX);
	struct store_endpoint *endpoints;
	auto_free struct rules_vip *all = NULL;
	size_t count, total = 0;

	if (store_endpoint_list(net->db, &(struct store_filter){.container_id = container_id},
	                        &arena, &endpoints, &count, err) < 0)
		return -1;
	for (size_t i = 0; i < count; i++) {
		struct store_vip *vips;
		size_t n;

		if (store_vip_list(net->db, endpoints[i].e.network_id, &arena, &vips, &n, err) < 0)
			return -1;
		struct rules_vip *more = reallocarray(all, total + n + 1, sizeof(*more));
		if (!more)
			return err_nomem(err);
		all = more;
		for (size_t k = 0; k < n; k++)
			all[total++] = (struct rules_vip){vips[k].ip, vips[k].backend};
	}
	return rules_write_vips(all, total, out, err);
}

static int balance(struct net *net, const char *container_id, struct conntrack_target *gone,
                   size_t gone_count, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(RULES_TEXT_MAX);
	auto_close int fd = netns_open(net->netns_dir, container_id, err);
	struct balance_job job = {
		.netns_fd = fd, .gone = gone, .gone_count = gone_count, .err = ERR_INIT};
	pthread_t thread;

	if (fd < 0 || write_balance(net, container_id, &text, err) < 0)
		return -1;
	job.text = buf_str(&text);
	if (pthread_create(&thread, NULL, balance_in_thread, &job) != 0)
		return err_set(err, ERR_SYSTEM, "cannot start a thread");
	pthread_join(thread, NULL);
	if (job.result < 0 && err)
		*err = job.err;
	return job.result;
}

int net_overlay_balance(struct net *net, const char *container_id, struct err *err)
{
	return balance(net, container_id, NULL, 0, err);
}

/* ---- what changed ---- */

struct change {
	struct net *net;
	const struct store_network *network;
	const struct store_overlay *next;
	struct store_peer *peers; /* before */
	size_t peer_count;
	struct store_vip *vips; /* before */
	size_t vip_count;
	struct arena *arena;
};

static bool same_vips(const struct change *c)
{
	return c->vip_count == c->next->vip_count &&
	       (c->vip_count == 0 ||
	        memcmp(c->vips, c->next->vips, c->vip_count * sizeof(*c->vips)) == 0);
}

static int apply_peers(const struct change *c, struct err *err)
{
	const struct store_peer *next = c->next->peers;
	struct link *link = c->net->link;
	char vxlan[LINK_NAME_MAX];
	size_t i = 0, k = 0;

	net_vxlan_name(c->network, vxlan);
	while (i < c->peer_count || k < c->next->peer_count) {
		const struct store_peer *old = i < c->peer_count ? &c->peers[i] : NULL;
		const struct store_peer *new = k < c->next->peer_count ? &next[k] : NULL;

		if (old && (!new || old->ip < new->ip)) {
			struct link_peer gone = {old->ip, old->node};

			if (link_peer_remove(link, vxlan, &gone, err) < 0)
				return -1;
			i++;
			continue;
		}
		bool same = old && new && old->ip == new->ip;
		if (new && (!same || !str_eq(old->node, new->node))) {
			struct link_peer here = {new->ip, new->node};

			if (link_peer_set(link, vxlan, &here, err) < 0)
				return -1;
		}
		i += same;
		k++;
	}
	return 0;
}

static bool is_backend(const struct store_vip *vips, size_t count, uint32_t ip)
{
	for (size_t i = 0; i < count; i++)
		if (vips[i].backend == ip)
			return true;
	return false;
}

static bool has_name(const struct store_overlay *o, uint32_t ip)
{
	for (size_t i = 0; i < o->name_count; i++)
		if (o->names[i].ip == ip)
			return true;
	return false;
}

/* Backends that are none any more. One that is still there may finish what it has; of one that is gone the
 * connections are cut, or their clients would wait for long. */
static size_t list_gone(const struct change *c, struct conntrack_target **out)
{
	struct conntrack_target *gone = calloc(c->vip_count + 1, sizeof(*gone));
	size_t count = 0;

	for (size_t i = 0; gone && i < c->vip_count; i++) {
		uint32_t ip = c->vips[i].backend;

		if (ip != 0 && !is_backend(c->next->vips, c->next->vip_count, ip))
			gone[count++] = (struct conntrack_target){
				.ip = ip, .established = !has_name(c->next, ip)};
	}
	*out = gone;
	return count;
}

static int apply_vips(const struct change *c, struct err *err)
{
	auto_free struct conntrack_target *gone = NULL;
	struct store_endpoint *endpoints;
	size_t count, gone_count;

	if (same_vips(c))
		return 0;
	if (store_endpoint_list(c->net->db, &(struct store_filter){.network_id = c->network->n.id},
	                        c->arena, &endpoints, &count, err) < 0)
		return -1;
	gone_count = list_gone(c, &gone);
	for (size_t i = 0; i < count; i++) {
		struct err why = ERR_INIT;

		/* A container that is just ending takes nobody else's names away. */
		if (balance(c->net, endpoints[i].container_id, gone, gone_count, &why) < 0)
			log_warn(c->net->log, "virtual addresses not entered",
			         "container=%.12s error=\"%s\"", endpoints[i].container_id,
			         why.msg);
	}
	return 0;
}

static int apply_entry(struct net *net, const struct store_network *network,
                       const struct store_overlay *next, struct err *err)
{
	auto_arena struct arena arena = ARENA_INIT(NET_ARENA_MAX);
	struct change c = {.net = net, .network = network, .next = next, .arena = &arena};

	if (store_peer_list(net->db, network->n.id, &arena, &c.peers, &c.peer_count, err) < 0 ||
	    store_vip_list(net->db, network->n.id, &arena, &c.vips, &c.vip_count, err) < 0 ||
	    store_overlay_replace(net->db, network->n.id, next, err) < 0)
		return -1;
	if (apply_peers(&c, err) < 0 || apply_vips(&c, err) < 0) {
		/* As if it had not been: the next table makes good for all of it. */
		const struct store_overlay before = {.peers = NULL};

		(void)store_overlay_replace(net->db, network->n.id, &before, NULL);
		return -1;
	}
	return 0;
}

int net_overlay_restore(struct net *net, const struct store_network *network, struct err *err)
{
	auto_arena struct arena arena = ARENA_INIT(NET_ARENA_MAX);
	struct store_peer *peers;
	char vxlan[LINK_NAME_MAX];
	size_t count;

	if (store_peer_list(net->db, network->n.id, &arena, &peers, &count, err) < 0)
		return -1;
	net_vxlan_name(network, vxlan);
	for (size_t i = 0; i < count; i++)
		if (link_peer_set(net->link, vxlan, &(struct link_peer){peers[i].ip, peers[i].node},
		                  err) < 0)
			return -1;
	return 0;
}

/* ---- networks here ---- */

static int choose_mtu(struct net *net, const struct net_overlay *overlay, int *mtu, struct err *err)
{
	int64_t wanted;

	*mtu = link_uplink_mtu(net->link) - LINK_VXLAN_OVERHEAD;
	if (*mtu < MTU_MIN)
		*mtu = MTU_MIN;
	for (size_t i = 0; i < overlay->options.count; i++) {
		if (!str_eq(overlay->options.items[i].key, MTU_OPTION))
			continue;
		if (id_parse_int(overlay->options.items[i].value, MTU_OPTION, MTU_MIN, MTU_MAX,
		                 &wanted, err) < 0)
			return -1;
		*mtu = (int)wanted;
	}
	return 0;
}

static int fill(struct net *net, const struct net_overlay *overlay, struct store_network *out,
                struct err *err)
{
	struct net_network *n = &out->n;

	*out = (struct store_network){
		.n = describe(overlay), .vni = overlay->vni, .masquerade = true};
	n->driver = (char *)"overlay";
	if (id_check_name(overlay->name, "network name", err) < 0 ||
	    link_check_name(n->bridge, err) < 0 ||
	    cidr_parse(overlay->subnet, &out->subnet, err) < 0 ||
	    cidr_parse_ip(overlay->gateway, &out->gateway, err) < 0 ||
	    choose_mtu(net, overlay, &out->mtu, err) < 0)
		return -1;
	out->range = out->subnet;
	cidr_format(&out->subnet, n->subnet);
	cidr_format_ip(out->gateway, n->gateway);
	return 0;
}

static int make(struct net *net, const struct net_overlay *overlay, struct err *err)
{
	const struct entry *entry = find_entry(net->overlays, overlay->id);
	struct store_network network;
	struct err why = ERR_INIT;

	if (fill(net, overlay, &network, err) < 0)
		return -1;
	if (store_network_insert(net->db, &network, &why) < 0) {
		if (err_is(&why, ERR_CONFLICT))
			return err_set(err, ERR_CONFLICT,
			               "this machine has a network of its own that is called %s",
			               overlay->name);
		if (err)
			*err = why;
		return -1;
	}
	if (net_network_raise(net, &network, err) == 0 &&
	    (!entry || apply_entry(net, &network, &entry->o, err) == 0)) {
		(void)store_sync(net->db, NULL);
		return 0;
	}
	net_network_drop(net, &network);
	(void)store_overlay_replace(net->db, overlay->id, NULL, NULL);
	(void)store_network_delete(net->db, overlay->id, NULL);
	(void)net_rules_rebuild(net, NULL);
	return err_wrap(err, "network %s", overlay->name);
}

int net_overlay_ensure(struct net *net, const struct net_overlay *overlay, struct err *err)
{
	auto_arena struct arena arena = ARENA_INIT(NET_ARENA_MAX);
	struct store_network found = {0};
	struct err why = ERR_INIT;

	net_guard(net);
	struct overlays *all = overlays_of(net, err);
	if (!all)
		return -1;
	pin(all, overlay->id);
	if (store_network_find(net->db, overlay->id, &arena, &found, &why) == 0)
		return 0;
	if (err_is(&why, ERR_NOT_FOUND))
		return make(net, overlay, err);
	if (err)
		*err = why;
	return -1;
}

static const struct entry *find_ref(const struct overlays *all, const char *ref)
{
	const struct entry *found = find_entry(all, ref);

	for (size_t i = 0; all && !found && i < all->count; i++)
		if (str_eq(all->entries[i].n.name, ref))
			found = &all->entries[i];
	return found;
}

/* As it came with the table; borrows. */
static struct net_overlay again(const struct entry *entry)
{
	struct net_overlay out = {
		.id = entry->n.id,
		.name = entry->n.name,
		.subnet = entry->n.subnet,
		.gateway = entry->n.gateway,
		.vni = entry->vni,
		.internal = entry->n.internal,
		.attachable = entry->n.attachable,
		.labels = entry->n.labels,
		.options = entry->n.options,
		.created_ns = entry->n.created_ns,
	};

	return out;
}

int net_overlay_prepare(struct net *net, const char *ref, struct arena *arena,
                        struct net_network *out, struct err *err)
{
	struct store_network found = {0};

	net_guard(net);
	struct overlays *all = overlays_of(net, err);
	if (!all)
		return -1;
	const struct entry *entry = find_ref(all, ref);
	bool here = store_network_find(net->db, ref, arena, &found, NULL) == 0;
	bool exact = here && (str_eq(found.n.name, ref) || str_eq(found.n.id, ref));

	/* One of this machine's own goes first; the beginning of an id goes last. */
	if (here && found.vni == 0 && (exact || !entry))
		return 0;
	if (entry && (!here || !str_eq(found.n.id, entry->n.id)))
		here = store_network_find(net->db, entry->n.id, arena, &found, NULL) == 0;
	if (!entry && !here)
		return 0;
	pin(all, entry ? entry->n.id : found.n.id);
	if (!here) {
		struct net_overlay overlay = again(entry);

		if (make(net, &overlay, err) < 0 ||
		    store_network_find(net->db, overlay.id, arena, &found, err) < 0)
			return -1;
	}
	*out = found.n;
	return 1;
}

int net_overlay_endpoints(struct net *net, struct arena *arena, struct json_strings *ids,
                          struct err *err)
{
	struct store_network *networks;
	struct store_endpoint *all;
	size_t network_count, count;

	*ids = (struct json_strings){.present = true};
	if (store_network_list(net->db, arena, &networks, &network_count, err) < 0 ||
	    store_endpoint_list(net->db, &(struct store_filter){0}, arena, &all, &count, err) < 0)
		return -1;
	ids->items = arena_array(arena, count + 1, sizeof(char *), err);
	if (!ids->items)
		return -1;
	for (size_t i = 0; i < count; i++)
		for (size_t k = 0; k < network_count; k++)
			if (networks[k].vni && str_eq(networks[k].n.id, all[i].e.network_id))
				ids->items[ids->count++] = all[i].e.id;
	return 0;
}

static int drop(struct net *net, const struct store_network *network, struct err *err)
{
	net_network_drop(net, network);
	if (store_overlay_replace(net->db, network->n.id, NULL, err) < 0)
		return -1;
	return store_network_delete(net->db, network->n.id, err);
}

/* 1: nobody here needs it. */
static int is_idle(struct net *net, const struct store_network *network, struct arena *arena,
                   struct err *err)
{
	struct store_endpoint *endpoints;
	size_t count;

	if (store_endpoint_list(net->db, &(struct store_filter){.network_id = network->n.id}, arena,
	                        &endpoints, &count, err) < 0)
		return -1;
	return count == 0 && !is_pinned(net->overlays, network->n.id);
}

static bool same_names(const struct store_overlay *a, const struct store_overlay *b)
{
	if (a->name_count != b->name_count)
		return false;
	for (size_t i = 0; i < a->name_count; i++)
		if (a->names[i].ip != b->names[i].ip || !str_eq(a->names[i].name, b->names[i].name))
			return false;
	return true;
}

static bool same_overlay(const struct store_overlay *a, const struct store_overlay *b)
{
	if (a->peer_count != b->peer_count || a->vip_count != b->vip_count || !same_names(a, b))
		return false;
	for (size_t i = 0; i < a->peer_count; i++)
		if (a->peers[i].ip != b->peers[i].ip || !str_eq(a->peers[i].node, b->peers[i].node))
			return false;
	for (size_t i = 0; i < a->vip_count; i++)
		if (by_pair(&a->vips[i], &b->vips[i]) != 0)
			return false;
	return true;
}

/* 1: the network went. */
static int apply_network(struct net *net, const struct store_network *network,
                         const struct overlays *before, struct arena *arena, struct err *err)
{
	static const struct store_overlay nothing = {0};
	const struct entry *entry = find_entry(net->overlays, network->n.id);
	const struct entry *old = find_entry(before, network->n.id);
	int idle = is_idle(net, network, arena, err);

	if (idle != 0)
		return idle < 0 || drop(net, network, err) < 0 ? -1 : 1;
	if (entry && old && !before->failed && same_overlay(&entry->o, &old->o))
		return 0;
	if (apply_entry(net, network, entry ? &entry->o : &nothing, err) < 0)
		return err_wrap(err, "network %s", network->n.name);
	return 0;
}

static int apply_table(struct net *net, const struct overlays *before, struct err *err)
{
	auto_arena struct arena arena = ARENA_INIT(NET_ARENA_MAX);
	struct store_network *networks;
	size_t count, gone = 0;

	if (store_network_list(net->db, &arena, &networks, &count, err) < 0)
		return -1;
	for (size_t i = 0; i < count; i++) {
		int went =
			networks[i].vni ? apply_network(net, &networks[i], before, &arena, err) : 0;

		if (went < 0)
			return -1;
		gone += (size_t)went;
	}
	return gone > 0 ? net_rules_rebuild(net, err) : 0;
}

int net_overlays_set(struct net *net, const struct net_overlay *overlays, size_t count,
                     struct err *err)
{
	struct arena arena = ARENA_INIT(TABLE_ARENA);
	struct entry *entries;

	if (read_table(overlays, count, &arena, &entries, err) < 0) {
		arena_done(&arena);
		return -1;
	}
	net_guard(net);
	struct overlays *all = overlays_of(net, err);
	if (!all) {
		arena_done(&arena);
		return -1;
	}
	struct overlays before = *all;
	all->arena = arena;
	all->entries = entries;
	all->count = count;
	int rc = apply_table(net, &before, err);
	all->failed = rc < 0;
	arena_done(&before.arena);
	return rc;
}

int net_overlay_list(struct net *net, struct arena *arena, struct net_network **out, size_t *count,
                     struct err *err)
{
	net_guard(net);
	size_t n = net->overlays ? net->overlays->count : 0;
	struct net_network *list = arena_array(arena, n + 1, sizeof(*list), err);

	if (!list)
		return -1;
	for (size_t i = 0; i < n; i++)
		if (copy_network(&net->overlays->entries[i].n, arena, &list[i], err) < 0)
			return -1;
	*out = list;
	*count = n;
	return 0;
}
