/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * rules - the packet rules of one daemon: a single nft table, written as text and applied whole.
 *
 *	struct rules_model model = {.networks = ..., .ports = ..., .services = ...};
 *	auto_buf struct buf text = BUF_INIT(RULES_TEXT_MAX);
 *	rules_write(&model, "buoy", &text, err);   // pure
 *	rules_apply(rules, buf_str(&text), err);   // one transaction
 *
 * What the table does, in the order a packet meets it:
 *   guard        127.0.0.0/8 never comes from outside (the bridges have route_localnet on)
 *   publish      DNAT of published ports and services, for the machine's own addresses only; from
 *                outside, from containers, from the machine itself
 *   input        services without a backend are refused at once
 *   forward      between networks and from outside into them nothing passes but what was published;
 *                internal networks neither way
 *   postrouting  masquerade: out of a network, back into the same one, from localhost, and to a
 *                backend on another machine
 *
 * Published ports are elements of two maps, so that one more port is one small transaction,
 * however many there are. rules_write() and kin are pure; apply blocks and wants the owner's lock.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cidr.h"
#include "base/cleanup.h"

struct buf;
struct err;
struct rules;

#define RULES_TEXT_MAX (8 << 20)

struct rules_network {
	const char *bridge; /* an interface name that passed link_check_name() */
	struct cidr subnet;
	bool internal;
	bool masquerade;
};

struct rules_port {
	char proto[5];    /* "tcp" "udp" "sctp" */
	uint32_t host_ip; /* 0: every address */
	uint16_t host_port;
	uint32_t ip; /* of the container */
	uint16_t port;
};

struct rules_backend {
	uint32_t ip;
	uint16_t port;
};

struct rules_service {
	char proto[5];
	uint16_t port;
	const struct rules_backend *backends;
	size_t count; /* 0: refuse */
};

struct rules_model {
	const struct rules_network *networks;
	size_t network_count;
	const struct rules_port *ports;
	size_t port_count;
	const struct rules_service *services;
	size_t service_count;
};

/* The whole table, replacing a former one of that name. Appends to out. */
int rules_write(const struct rules_model *model, const char *table, struct buf *out,
                struct err *err);
/* Adds ports to the table that is there, or takes them away. Appends to out. */
int rules_write_ports(const struct rules_port *ports, size_t count, const char *table, bool add,
                      struct buf *out, struct err *err);

/* ---- inside a container's namespace: virtual addresses ---- */

#define RULES_VIP_TABLE "buoy_vip"

struct rules_vip {
	uint32_t ip, backend; /* backend 0: nobody; ascending, one for each pair */
};

/* The whole table: a new connection to a virtual address goes to one of its backends, evenly and at random; where
 * there is none it is refused at once. Appends to out. */
int rules_write_vips(const struct rules_vip *vips, size_t count, struct buf *out, struct err *err);

struct rules *rules_create(struct err *err);
void rules_free(struct rules *rules);
DEFINE_AUTO(rules)

/* Applies all of it or nothing, in the calling thread's network namespace. */
int rules_apply(struct rules *rules, const char *text, struct err *err);
/* Takes the table away; missing is success. */
int rules_remove(struct rules *rules, const char *table, struct err *err);
bool rules_exist(struct rules *rules, const char *table);
