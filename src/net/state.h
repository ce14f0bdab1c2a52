/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * state - what stands behind `struct net`, and what its files share.
 *
 * network.c, sandbox.c, publish.c and service.c are its public calls; each takes net->lock once, at
 * the door, and works with the functions below, which want it held. The name responder (dns.h) has
 * a thread of its own and only reads net.db. Order of locks: net->lock, then the database's, then
 * the pool's.
 */

#include <pthread.h>
#include <stdbool.h>

#include "net/link.h"
#include "net/net.h"
#include "net/netns.h"
#include "net/port.h"
#include "net/rules.h"
#include "net/store.h"

struct dns;
struct overlays;
struct pool;
struct watch;

#define NET_ARENA_MAX (64 << 20) /* for lists of everything: ports, endpoints */

struct net {
	pthread_mutex_t lock;
	struct db *db;            /* owned */
	int netns_dir;            /* owned; <run>/netns */
	char *netns_path;         /* owned; the same, absolute */
	char name[10];            /* options.name */
	char table[32];           /* of nft */
	struct cidr_pool pool;    /* what networks are cut from; all zero: the default pools */
	const struct log *log;    /* borrowed */
	struct link *link;        /* owned; guarded by lock */
	struct rules *rules;      /* owned; guarded by lock */
	struct port_table *ports; /* owned; guarded by lock; of containers */
	struct port_table *service_ports; /* owned; guarded by lock */
	struct pool *workers;             /* owned */
	bool user_namespaces;             /* of the ready ones */
	struct netns_pool *ready;         /* owned */
	struct link *reaper;              /* owned; used by the workers alone, one at a time */
	pthread_mutex_t reaper_lock;      /* guards reaper */
	struct dns *dns;                  /* owned */
	struct overlays *overlays;        /* owned; guarded by lock; NULL: no table yet */
	struct watch *watch;              /* owned */
};

static inline void net_unlock(pthread_mutex_t **lock)
{
	pthread_mutex_unlock(*lock);
}

/* Holds the lock until the end of the scope. */
#define net_guard(net)                                                                             \
	__attribute__((cleanup(net_unlock))) pthread_mutex_t *guard_ = &(net)->lock;               \
	pthread_mutex_lock(guard_)

/* Writes the whole table from net.db. */
int net_rules_rebuild(struct net *net, struct err *err);
/* Adds or takes away elements; falls back to the whole table when the small change is refused. */
int net_rules_ports(struct net *net, const struct rules_port *ports, size_t count, bool add,
                    struct err *err);

/* A network's interfaces, rules and names, from its row. */
int net_network_raise(struct net *net, const struct store_network *network, struct err *err);
/* Takes a network's interfaces and names away, not its row. */
void net_network_drop(struct net *net, const struct store_network *network);
/* The interface of an overlay that leads to the other machines. */
char *net_vxlan_name(const struct store_network *network, char name[LINK_NAME_MAX]);
/* Enters all peers of an overlay again. */
int net_overlay_restore(struct net *net, const struct store_network *network, struct err *err);
/* Virtual addresses of the networks that the sandbox is on. */
int net_overlay_balance(struct net *net, const char *container_id, struct err *err);
/* Somebody has attached: it is not made in vain. */
void net_overlay_used(struct net *net, const char *network_id);
void net_overlays_done(struct net *net);

/* Makes the bridge of a network, if it has one and it is missing. */
int net_bridge_ensure(struct net *net, const struct store_network *network, struct err *err);
/* The networks "bridge", "host" and "none", when net.db has none yet. */
int net_network_predefine(struct net *net, struct err *err);

/* Removes an interface of the machine soon, on a worker: the kernel takes its time over that. */
void net_link_reap(struct net *net, const char *host_if);

/* Takes a sandbox down with all it has. */
int net_sandbox_take_down(struct net *net, const char *container_id, struct err *err);

/* Binds every stored port and service port again; what cannot be had is logged. */
int net_ports_restore(struct net *net, struct err *err);
/* Puts route_localnet back to what it was before there were services. */
int net_localhost_restore(struct net *net, struct err *err);
/* Takes a container's ports away. */
int net_ports_drop(struct net *net, const char *container_id, struct err *err);
