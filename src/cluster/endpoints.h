/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * endpoints - the table of published services (which port of every node leads to which tasks) and of networks.
 *
 * The leader writes it from what it knows (endpoints_write); a node reads it and looks at it from
 * where it stands (endpoints_read): tasks of its own are reached directly at their container's
 * address, those of others at the port that their node gave them.
 *
 * It also tells who is on which network of the cluster and where names lead there. A node takes of it what
 * concerns networks that it has.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cluster/proto.h"

struct arena;
struct buf;
struct control;
struct err;

/* ---- on the leader ---- */

/* Appends a struct proto_endpoints as one line of text. Only services with ports in mode ingress are
 * in it, with the tasks that run on nodes that are reached, or alive where none is. */
int endpoints_write(const struct control *c, int64_t version, struct buf *out, struct err *err);

/* Its networks, as struct proto_network. For endpoints_write(). */
int endpoints_networks(const struct control *c, struct arena *arena, struct json_array *out,
                       struct err *err);

/* ---- on a node ---- */

struct endpoint_backend {
	char *ip;
	uint16_t port;
	bool local;
};

struct endpoint_service {
	char *id;
	uint16_t port; /* published */
	char *proto;   /* tcp udp sctp */
	struct endpoint_backend *backends;
	size_t count; /* 0: nobody answers */
};

struct endpoints {
	int64_t epoch, version;
	struct endpoint_service *services;
	size_t count;
	const char *node_id; /* of this node: members with another one are elsewhere */
	const struct proto_network *networks;
	size_t network_count;
};

/* address: of a task on this node, or NULL when it has none. Everything lives in the arena. */
struct endpoints_view {
	const char *node_id;
	const char *(*address)(void *arg, const char *task_id);
	void *arg;
};
int endpoints_read(const char *text, size_t len, const struct endpoints_view *view,
                   struct arena *arena, struct endpoints *out, struct err *err);
