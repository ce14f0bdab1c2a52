/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * network - the cluster's networks: overlays, on which tasks meet over all machines.
 *
 * One function per API request. What a network is made of (subnet, number, addresses) comes from the
 * allocator; the machines make it out of what their tasks' assignments and the endpoint table say.
 */

#include <stddef.h>
#include <stdint.h>

#include "cluster/control.h"

struct json;

#define NETWORK_ENCRYPTED "encrypted" /* the driver option */

struct network_wish {
	struct network_spec spec;
	const char *subnet, *gateway; /* NULL: chosen */
};
/* ERR_CONFLICT for a name that is taken, ERR_DENIED for a subnet that is. */
int network_create(struct control *c, struct control_time now, const struct network_wish *wish,
                   char *id, struct err *err);
/* By name, id or a unique beginning of an id. NULL: ERR_NOT_FOUND, ERR_INVALID. */
const struct network *network_find(const struct control *c, const char *ref, struct err *err);
/* In id order. Start with *at = 0; NULL at the end. */
const struct network *network_next(const struct control *c, size_t *at);
/* ---- plain containers on attachable networks ---- */

struct network_want {
	const char *network; /* name or id */
	const char *node_id;
	const char *
		id; /* of the endpoint, made by the node; "": nothing is given, only the network looked up */
	const char *container_id;
	const char *address; /* NULL, "": any */
	struct json_strings names;
};
/* *n: as far as a node must know it; in the arena, with *address. The same id gets the same address again.
 * ERR_NOT_FOUND; ERR_DENIED when the network is not attachable or the address is taken; ERR_LIMIT when all are. */
int network_attach(struct control *c, struct control_time now, const struct network_want *want,
                   struct arena *arena, struct network *n, char **address, struct err *err);
/* Those of the node's with one of the ids. What is not there is gone. */
int network_detach(struct control *c, struct control_time now, const char *node_id,
                   const struct json_strings *ids, struct err *err);
/* All of the node's, within a step. */
int network_forget_node(struct control *c, const char *node_id, struct err *err);

/* ERR_CONFLICT while a service, a task or a container is on it; of the latter two *leaving tells that they are
 * being stopped: it may be tried again. */
int network_remove(struct control *c, struct control_time now, const char *ref, bool *leaving,
                   struct err *err);
