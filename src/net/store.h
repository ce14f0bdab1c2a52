/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * store - net.db: networks, sandboxes, endpoints, names, ports, services.
 *
 * The truth about what the machine should have; bridges, rules and sockets are made from it. A row is
 * written before the kernel is touched and goes after it, so that after a crash every leftover has a
 * row that names it. Lists live in the caller's arena. Thread-safe, as base/db.h is.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cidr.h"
#include "net/net.h"
#include "net/rules.h"

struct db;

struct db *store_open(int dir_fd, const char *name, struct err *err);
/* Puts what was committed on the disk: for what must outlive a power cut. */
int store_sync(struct db *db, struct err *err);

/* ---- networks ---- */

struct store_network {
	struct net_network n;
	struct cidr subnet; /* all zero for "none" and "host" */
	struct cidr range;  /* addresses are chosen from it */
	uint32_t gateway;
	int mtu;
	bool masquerade, isolated; /* isolated: its members do not reach each other */
	uint32_t vni;              /* of an overlay; 0: none */
};

int store_network_insert(struct db *db, const struct store_network *network, struct err *err);
int store_network_find(struct db *db, const char *name, struct arena *arena,
                       struct store_network *out, struct err *err);
int store_network_list(struct db *db, struct arena *arena, struct store_network **out,
                       size_t *count, struct err *err);
int store_network_delete(struct db *db, const char *id, struct err *err);

/* ---- sandboxes and endpoints ---- */

struct store_endpoint {
	struct net_endpoint e;
	char container_id[ID_HEX_MAX];
	char host_if[16];
	uint32_t ip;
};

int store_sandbox_insert(struct db *db, const char *container_id, struct err *err);
bool store_sandbox_exists(struct db *db, const char *container_id);
int store_sandbox_delete(struct db *db, const char *container_id, struct err *err);
int store_sandbox_list(struct db *db, struct arena *arena, char ***ids, size_t *count,
                       struct err *err);
/* Resolvers that the container asked for, separated by spaces; "" when none. */
int store_sandbox_set_dns(struct db *db, const char *container_id, const char *dns,
                          struct err *err);

/* `names` is NULL-terminated: what the endpoint answers to on its network; the first is its own. */
int store_endpoint_insert(struct db *db, const struct store_endpoint *endpoint,
                          const char *const *names, struct err *err);
int store_endpoint_delete(struct db *db, const char *id, struct err *err);
struct store_filter { /* NULL: any */
	const char *container_id;
	const char *network_id;
};
/* In order of attachment. */
int store_endpoint_list(struct db *db, const struct store_filter *filter, struct arena *arena,
                        struct store_endpoint **out, size_t *count, struct err *err);
/* Addresses in use on a network, ascending. The caller frees *out. */
int store_address_list(struct db *db, const char *network_id, uint32_t **out, size_t *count,
                       struct err *err);

/* ---- names ---- */

struct store_asker { /* an endpoint, as the responder sees it */
	const char *network_id;
	uint32_t ip;
};

/* Addresses of a name, at most max, on the networks that the asking endpoint's container is on, but
 * for "bridge", which has no names; how many, 0 if nobody has it. */
int store_name_resolve(struct db *db, const struct store_asker *asker, const char *name,
                       uint32_t *ips, size_t max, struct err *err);
/* The name of the endpoint; 1 found, 0 not. */
int store_name_of(struct db *db, const struct store_asker *asker, char *name, size_t size,
                  struct err *err);
/* The resolvers of the endpoint's container, as stored; "" when none. */
int store_dns_of(struct db *db, const struct store_asker *asker, char *dns, size_t size,
                 struct err *err);

/* ---- ports ---- */

/* container_id NULL: all. Only those whose sandbox has an endpoint to send packets to. */
int store_port_list(struct db *db, const char *container_id, struct arena *arena,
                    struct rules_port **out, size_t *count, struct err *err);
int store_port_insert(struct db *db, const char *container_id, const struct rules_port *port,
                      struct err *err);
int store_port_delete(struct db *db, const char *container_id, struct err *err);
/* Every published port, with or without an endpoint; `ip` is 0. */
int store_port_held(struct db *db, const char *container_id, struct arena *arena,
                    struct rules_port **out, size_t *count, struct err *err);

/* ---- services ---- */

int store_service_replace(struct db *db, const struct rules_service *services, size_t count,
                          struct err *err);
int store_service_list(struct db *db, struct arena *arena, struct rules_service **out,
                       size_t *count, struct err *err);

/* ---- overlays: what the cluster's table says of a network that is here ---- */

struct store_peer { /* an address on another machine */
	uint32_t ip;
	char node[46];
};
struct store_vip {
	uint32_t ip, backend; /* backend 0: nobody; one row each */
};
struct store_name {
	const char *name;
	uint32_t ip;
};
struct store_overlay {
	const struct store_peer *peers;
	size_t peer_count;
	const struct store_name *names;
	size_t name_count;
	const struct store_vip *vips;
	size_t vip_count;
};

/* NULL: nothing any more. */
int store_overlay_replace(struct db *db, const char *network_id, const struct store_overlay *o,
                          struct err *err);
/* Both in ascending order. */
int store_peer_list(struct db *db, const char *network_id, struct arena *arena,
                    struct store_peer **out, size_t *count, struct err *err);
int store_vip_list(struct db *db, const char *network_id, struct arena *arena,
                   struct store_vip **out, size_t *count, struct err *err);

/* ---- numbers to remember ---- */

int store_setting_put(struct db *db, const char *key, int64_t value, struct err *err);
int store_setting_get(struct db *db, const char *key, int64_t *value, struct err *err); /* 1, 0 */
int store_setting_delete(struct db *db, const char *key, struct err *err);
