/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * dns_zone - what one network's responder says to one question. Shared by dns.c (UDP) and
 * dns_tcp.c; reads net.db, touches no socket.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/cidr.h"
#include "base/id.h"
#include "net/resolv.h"

struct db;

struct dns_zone { /* plain data: may be copied for another thread */
	struct db *db;
	char network_id[ID_HEX_MAX];
	char network_name[129];
	struct cidr subnet;
	uint32_t gateway;
	bool internal;
	bool relay_only;
};

enum dns_verdict {
	DNS_DROP,    /* not a question, or not from this network */
	DNS_REPLY,   /* out holds the answer */
	DNS_FORWARD, /* ask `upstream` */
};

struct dns_reply {
	uint8_t *out;
	size_t max; /* by TCP; by UDP the asker's limit counts too */
	size_t len;
	struct resolv upstream;
};

enum dns_verdict dns_zone_decide(const struct dns_zone *zone, uint32_t asking, const uint8_t *query,
                                 size_t len, bool udp, struct dns_reply *reply);

/* Serves one TCP connection to its end, on the calling thread; closes fd. */
void dns_tcp_serve(const struct dns_zone *zone, int fd, uint32_t asking);
/* A numeric address and port 53 as a socket address; its length, 0 if it is none. */
struct sockaddr_storage;
unsigned dns_server_address(const char *server, struct sockaddr_storage *out);
