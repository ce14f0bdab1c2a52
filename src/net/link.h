/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * link - interfaces, addresses and routes of one network namespace. libnl-route stands behind it.
 *
 *	auto_type(link) host = link_open(err);
 *	link_bridge_ensure(host, &bridge, err);
 *	link_veth_create(host, &veth, err);        // one end in a sandbox
 *	auto_type(link) inside = link_open_in(netns_fd, err);
 *	link_address_add(inside, "eth0", ip, 16, err);
 *
 * A handle is a netlink socket and stays in the namespace where it was made, whichever thread uses
 * it. Not thread-safe: the owner's lock guards it. Calls block until the kernel has answered.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cidr.h"
#include "base/cleanup.h"

struct err;
struct link;

#define LINK_NAME_MAX 16 /* IFNAMSIZ */

/* In the calling thread's namespace. */
struct link *link_open(struct err *err);
/* In another one: a short-lived thread enters it, so the caller's stays as it is. */
struct link *link_open_in(int netns_fd, struct err *err);
void link_free(struct link *link);
DEFINE_AUTO(link)

/* Index of an interface; ERR_NOT_FOUND. */
int link_find(struct link *link, const char *name, struct err *err);
bool link_exists(struct link *link, const char *name);
int link_up(struct link *link, const char *name, struct err *err);
/* Missing is success. */
int link_remove(struct link *link, const char *name, struct err *err);

struct link_bridge {
	const char *name;
	uint32_t gateway; /* the bridge's own address */
	int prefix_len;
	int mtu;
};
/* Makes what is missing: the bridge (or an error if the name is something else), its address, up. */
int link_bridge_ensure(struct link *link, const struct link_bridge *bridge, struct err *err);

struct link_veth {
	const char *host_name; /* this end, a port of `bridge` */
	const char *bridge;
	const char *name;   /* the end in the sandbox */
	int netns_fd;       /* the sandbox */
	const uint8_t *mac; /* 6 bytes, of the sandbox's end */
	int mtu;
	bool isolated; /* the port reaches the bridge itself, not its other ports */
};
/* This end is up afterwards; the kernel lets the other one up only once both exist: link_up() in the
 * sandbox. The bridge knows where `mac` lives and lets no other port claim it. */
int link_veth_create(struct link *link, const struct link_veth *veth, struct err *err);

/* ---- overlays ---- */

struct link_vxlan {
	const char *name;
	const char *bridge; /* it becomes a port of it */
	uint32_t vni;
	int mtu;
};
#define LINK_VXLAN_PORT     4789
#define LINK_VXLAN_OVERHEAD 50 /* bytes of a packet: the headers around it */

/* Makes what is missing. The interface learns and floods nothing, and answers questions for addresses of peers
 * itself. ERR_CONFLICT when another one has that number. */
int link_vxlan_ensure(struct link *link, const struct link_vxlan *vxlan, struct err *err);

struct link_peer {
	uint32_t ip;
	const char *node; /* the machine that it is on: an address */
};
/* Adds a peer or moves it to another machine. */
int link_peer_set(struct link *link, const char *vxlan, const struct link_peer *peer,
                  struct err *err);
/* Missing is success. */
int link_peer_remove(struct link *link, const char *vxlan, const struct link_peer *peer,
                     struct err *err);

int link_address_add(struct link *link, const char *name, uint32_t ip, int prefix_len,
                     struct err *err);
int link_default_route_add(struct link *link, const char *name, uint32_t gateway, struct err *err);

/* MTU of the interface that the default route uses; 1500 if there is none. */
int link_uplink_mtu(struct link *link);

/* Destinations of all IPv4 routes but the default one, for choosing a free subnet. The caller frees *out. */
int link_route_list(struct link *link, struct cidr **out, size_t *count, struct err *err);

/* Calls fn for each interface; master is 0 or the bridge's index. fn must not use the handle. */
int link_list(struct link *link, void (*fn)(void *arg, const char *name, int index, int master),
              void *arg, struct err *err);

/* One of ours: letters, digits, '-', '_', '.'; 1 to 15; ERR_INVALID. */
int link_check_name(const char *name, struct err *err);
