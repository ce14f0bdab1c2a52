/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * port - the machine's ports, held so that nobody else takes them.
 *
 * A published port is bound by a socket of ours that never listens: other programs get "address
 * already in use", as they would from a server, and so do we if one of them was first. No packet
 * reaches the socket, because the rules send them to a container; should the rules be missing for a
 * moment, a client gets a reset at once instead of a connection to nowhere.
 * Not thread-safe: the owner's lock guards it.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

struct err;
struct port_table;

struct port_table *port_table_create(struct err *err);
void port_table_free(struct port_table *table); /* gives all ports back */
DEFINE_AUTO(port_table)

struct port_wish {
	const char *proto; /* "tcp" "udp" "sctp" */
	uint32_t ip;       /* 0: every address */
	uint16_t first;    /* 0: any that is free */
	uint16_t last;
};

/* Holds one port of the wish; *port tells which. ERR_CONFLICT "Bind for 0.0.0.0:80 failed: port is
 * already allocated"; ERR_INVALID for an address that this machine does not have. */
int port_hold(struct port_table *table, const struct port_wish *wish, uint16_t *port,
              struct err *err);
void port_release(struct port_table *table, const char *proto, uint32_t ip, uint16_t port);
bool port_is_held(const struct port_table *table, const char *proto, uint32_t ip, uint16_t port);

/* "tcp", "udp" or "sctp"; ERR_INVALID. */
int port_check_proto(const char *proto, struct err *err);
