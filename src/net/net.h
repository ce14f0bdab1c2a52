/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * net - networks of one machine: bridges, addresses, NAT, published ports, names.
 *
 *	struct net *net = net_open(root_dir_fd, run_dir_fd, &options, err);
 *	net_network_create(net, &spec, &network, err);
 *	net_sandbox_create(net, container_id, err);            // a network namespace
 *	net_attach(net, container_id, &attachment, &endpoint, err);
 *	... the runtime joins net_sandbox_path() ...
 *	net_sandbox_remove(net, container_id, err);
 *
 * Owned on the machine, all found again after a restart and swept when stale:
 *   bridge  buoy0 for the network "bridge", by-<8 hex> for others; veth pairs vb<11 hex>
 *   nft     one table `inet buoy`, replaced in one transaction
 *   netns   <run>/netns/<container id>, bind mounts of namespaces
 *   net.db  networks, addresses, ports (SQLite)
 * All of it lives in the network namespace that the daemon runs in. The nft table's name carries
 * options.name, so that several daemons in one namespace do not collide.
 *
 * Thread-safe; calls block (netlink, nftables).
 */

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"
#include "base/id.h"
#include "base/json.h"

struct arena;
struct err;
struct log;
struct buf;
struct net;

struct net_options {
	const char *name; /* suffix of bridge and table names; "" for the default daemon */
	const char *
		default_pool; /* CIDR that networks are cut from; NULL: "172.17.0.0/12"-like default */
	bool user_namespaces; /* sandboxes made ahead have a user namespace of their own */
	struct log *log;
};

struct net *net_open(int root_dir_fd, int run_dir_fd, const struct net_options *options,
                     struct err *err);
/* keep: leave everything standing for the containers that live on; else remove bridges, rules, namespaces. */
void net_close(struct net *net, bool keep);
/* Removes sandboxes whose container is not in `ids` (after a restart), and checks bridges and rules. */
int net_reconcile(struct net *net, const char *const *ids, size_t count, struct err *err);

/* ---- networks ---- */

struct net_spec {
	const char *name;
	const char *driver; /* "bridge"; "none" and "host" exist from the start */
	const char *subnet, *gateway, *ip_range; /* NULL: chosen */
	bool internal;                           /* no way out */
	bool attachable, enable_ipv6;
	struct json_strmap labels, options;
};

struct net_network {
	char id[ID_HEX_MAX];
	char *name, *driver, *scope;              /* scope: "local" */
	char subnet[24], gateway[16], bridge[16]; /* text; "" for none and host */
	bool internal, attachable, enable_ipv6;
	struct json_strmap labels, options;
	int64_t created_ns;
};

/* Lists live in the caller's arena. `name` may be a name, an id or a unique prefix of an id.
 * ERR_NOT_FOUND "network x not found". */
int net_network_create(struct net *net, const struct net_spec *spec, char id[ID_HEX_MAX],
                       struct err *err);
int net_network_find(struct net *net, const char *name, struct arena *arena,
                     struct net_network *out, struct err *err);
int net_network_list(struct net *net, struct arena *arena, struct net_network **out, size_t *count,
                     struct err *err);
/* ERR_DENIED for the three predefined ones, ERR_CONFLICT while endpoints are on it. */
int net_network_remove(struct net *net, const char *name, struct err *err);

/* ---- sandboxes and endpoints ---- */

struct net_port { /* publishing */
	uint16_t container_port;
	uint16_t host_port;     /* 0: any free one */
	uint16_t host_port_end; /* range to choose from; 0: only host_port */
	char proto[5];          /* "tcp" "udp" "sctp" */
	char host_ip[46];       /* "" or "0.0.0.0": all; "127.0.0.1" ... */
};

struct net_attachment {
	const char *network;        /* name or id; not "none", "host" */
	const char *container_name; /* answers DNS on this network, with the short id and aliases */
	const char *const *aliases; /* NULL-terminated or NULL */
	const char *ipv4;           /* wanted address or NULL */
	const char *mac;            /* wanted address or NULL */
	const char *id;             /* of the endpoint, 64 hex digits; NULL: made */
};

struct net_endpoint {
	char id[ID_HEX_MAX];
	char network_id[ID_HEX_MAX];
	char network_name[129];
	char ip[16], gateway[16], mac[18];
	int prefix_len;
	char interface[16]; /* in the sandbox: eth0, eth1 */
};

/* Whose a sandbox is: its user namespace, with caps in which one may change it. */
struct net_owner {
	int userns_fd;               /* borrowed; -1: a new one, with these ids: */
	uint32_t first_id, id_count; /* 0, 1, ... inside are first_id, ... on the host */
};

/* A network namespace with lo up. Ready ones come from a small pool. Idempotent per id. owner NULL: the host's
 * root; else userns_owner() of the namespace is the user namespace for the container's processes. */
int net_sandbox_create(struct net *net, const char *container_id, const struct net_owner *owner,
                       struct err *err);
/* Absolute path for the OCI config's linux.namespaces[].path. Borrowed text written to path. */
int net_sandbox_path(struct net *net, const char *container_id, char *path, size_t size,
                     struct err *err);
/* After a restart of the daemon, for a container that lives: binds the namespace of its process `pid` again if
 * the path does not lead there, as when the mount namespace of the daemon before is gone. A container
 * without a sandbox is left alone. */
int net_sandbox_adopt(struct net *net, const char *container_id, pid_t pid, struct err *err);
/* Takes down its endpoints and ports too. Missing is success. */
int net_sandbox_remove(struct net *net, const char *container_id, struct err *err);

int net_attach(struct net *net, const char *container_id, const struct net_attachment *attachment,
               struct net_endpoint *out, struct err *err);
int net_detach(struct net *net, const char *container_id, const char *network, struct err *err);
int net_endpoint_list(struct net *net, const char *container_id, struct arena *arena,
                      struct net_endpoint **out, size_t *count, struct err *err);
/* Who is on a network: container ids with their endpoints. */
struct net_member {
	char container_id[ID_HEX_MAX];
	struct net_endpoint endpoint;
};
int net_network_members(struct net *net, const char *network, struct arena *arena,
                        struct net_member **out, size_t *count, struct err *err);

/* Publishes ports on the sandbox's first endpoint: reachable by localhost, by the machine's addresses
 * and from other machines. Fills in chosen host ports. All or none. ERR_CONFLICT
 * "Bind for 0.0.0.0:80 failed: port is already allocated". */
int net_publish(struct net *net, const char *container_id, struct net_port *ports, size_t count,
                struct err *err);
int net_unpublish(struct net *net, const char *container_id, struct err *err);

/* ---- names ---- */

/* DNS: each network with names has a responder on its gateway address, port 53, which answers for the
 * network's containers and forwards the rest to the host's resolvers (not on internal networks).
 * What the container's resolv.conf should say: */
struct net_dns { /* what the container asked for; each NULL-terminated, or NULL: the machine's */
	const char *const *servers;
	const char *const *search;
	const char *const *options;
};
int net_resolv_conf(struct net *net, const char *container_id, const struct net_dns *dns,
                    struct buf *out, struct err *err);

/* ---- services (cluster): a port on every node ---- */

struct net_backend {
	char ip[46];
	uint16_t port;
	bool local; /* an address on one of our bridges: no masquerade */
};
struct net_service {
	const char *id; /* service id; one call replaces all services */
	uint16_t port;  /* published, on every address of this node */
	char proto[5];
	const struct net_backend *backends;
	size_t count; /* 0: connections are refused at once */
};
/* Replaces the whole table of published services in one nft transaction; new connections are spread
 * evenly and at random over the backends, established ones are left alone. Persisted, so that it is restored at start. */
int net_services_set(struct net *net, const struct net_service *services, size_t count,
                     struct err *err);

/* ---- overlays (cluster): one network over several machines ---- */

/* Every machine that has a task or container on one makes a bridge, as for any network, and a VXLAN interface
 * on it. Nothing is flooded or learned: where an address is, the table of the cluster says. On each machine the
 * bridge has the network's gateway address, for names and for the way out. */

struct net_overlay_peer { /* an address on another machine */
	const char *ip, *node;
};
struct net_overlay_name {
	const char *name, *ip;
};
/* An address that nobody has: connections to it are spread over the backends, inside the caller's namespace, so
 * that the backend sees who calls. */
struct net_overlay_vip {
	const char *ip;
	const char *const *backends;
	size_t count; /* 0: refused at once */
};
struct net_overlay {
	const char *id, *name, *subnet, *gateway;
	uint32_t vni;
	bool internal, attachable;
	struct json_strmap labels, options;
	int64_t created_ns;
	const struct net_overlay_peer *peers;
	size_t peer_count;
	const struct net_overlay_name *names; /* of services, tasks and containers everywhere */
	size_t name_count;
	const struct net_overlay_vip *vips;
	size_t vip_count;
};
/* Makes the network on this machine, if it is not there, with what the last table says of it. One that nobody
 * attaches to within a minute may go again. Idempotent. */
int net_overlay_ensure(struct net *net, const struct net_overlay *overlay, struct err *err);
/* Replaces the whole table. Networks that are not in it, or that nobody here is on, go from this machine. What
 * concerns networks that are here is persisted. */
int net_overlays_set(struct net *net, const struct net_overlay *overlays, size_t count,
                     struct err *err);
/* The network (name or id) of the last table, made on this machine as by net_overlay_ensure(). 0: there is none
 * such, nor one here; 1: *out is it, in the arena. */
int net_overlay_prepare(struct net *net, const char *ref, struct arena *arena,
                        struct net_network *out, struct err *err);
/* Ids of all endpoints on overlays that are here. In the arena. */
int net_overlay_endpoints(struct net *net, struct arena *arena, struct json_strings *ids,
                          struct err *err);
/* All networks of the last table, whether they are on this machine or not. In the arena. */
int net_overlay_list(struct net *net, struct arena *arena, struct net_network **out, size_t *count,
                     struct err *err);
