/* SPDX-License-Identifier: Apache-2.0 */
/* /nodes: the machines of the cluster. */

#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "cluster/leader.h"
#include "cluster/member.h"
#include "cluster/node.h"
#include "daemon/daemon.h"
#include "daemon/swarm.h"

static int write_list(struct control *c, struct http_request *req, struct buf *out, struct err *err)
{
	auto_type(json) filters = swarm_read_filters(req, err);

	return filters ? node_list(c, filters, out, err) : -1;
}

static int list(void *ctx, struct http_request *req, struct err *err)
{
	return swarm_show(ctx, req, write_list, err);
}

static int write_one(struct control *c, struct http_request *req, struct buf *out, struct err *err)
{
	return node_inspect(c, http_arg(req, 0), out, err);
}

static int inspect(void *ctx, struct http_request *req, struct err *err)
{
	return swarm_show(ctx, req, write_one, err);
}

static int apply(struct control *c, struct http_request *req, struct err *err)
{
	struct node_change change = {.ref = http_arg(req, 0)};

	change.text = http_body(req, &change.len);
	if (swarm_read_version(req, "node", &change.version, err) < 0)
		return -1;
	return node_update(c, leader_now(), &change, err);
}

static int update(void *ctx, struct http_request *req, struct err *err)
{
	return swarm_change(ctx, req, apply, err);
}

static int drop(struct control *c, struct http_request *req, struct err *err)
{
	bool force;

	if (http_query_bool(req, "force", false, &force, err) < 0)
		return -1;
	return node_remove(c, leader_now(), http_arg(req, 0), force, err);
}

static int remove_node(void *ctx, struct http_request *req, struct err *err)
{
	return swarm_change(ctx, req, drop, err);
}

const struct http_route nodes_routes[] = {
	{"GET", "/nodes", list, false},
	{"GET", "/nodes/{}", inspect, false},
	{"POST", "/nodes/{}/update", update, false},
	{"DELETE", "/nodes/{}", remove_node, false},
	{NULL, NULL, NULL, false},
};
