/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* node - what the API does with nodes: one function per request. The rules stand in service.h. */

#include "cluster/control.h"

struct buf;

const struct node *node_find(const struct control *c, const char *ref, struct err *err);
int node_inspect(struct control *c, const char *ref, struct buf *out, struct err *err);
/* Filters: id name role membership label node.label. */
int node_list(struct control *c, const struct json *filters, struct buf *out, struct err *err);

/* A NodeSpec: name, labels, role, availability (active, pause, drain). */
struct node_change {
	const char *ref;
	uint64_t version;
	const char *text;
	size_t len;
};
int node_update(struct control *c, struct control_time now, const struct node_change *change,
                struct err *err);

/* Only a node that is down, unless forced. Its tasks are replaced elsewhere. */
int node_remove(struct control *c, struct control_time now, const char *ref, bool force,
                struct err *err);
