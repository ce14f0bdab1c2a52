/* SPDX-License-Identifier: Apache-2.0 */
/* /tasks: what runs where. */

#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "cluster/member.h"
#include "cluster/task.h"
#include "daemon/daemon.h"
#include "daemon/swarm.h"
#include "daemon/tasklogs.h"

static int write_list(struct control *c, struct http_request *req, struct buf *out, struct err *err)
{
	auto_type(json) filters = swarm_read_filters(req, err);

	return filters ? task_list(c, filters, out, err) : -1;
}

static int list(void *ctx, struct http_request *req, struct err *err)
{
	return swarm_show(ctx, req, write_list, err);
}

static int write_one(struct control *c, struct http_request *req, struct buf *out, struct err *err)
{
	return task_inspect(c, http_arg(req, 0), out, err);
}

static int inspect(void *ctx, struct http_request *req, struct err *err)
{
	return swarm_show(ctx, req, write_one, err);
}

static int logs(void *ctx, struct http_request *req, struct err *err)
{
	return tasklogs_task(ctx, req, err);
}

const struct http_route tasks_routes[] = {
	{"GET", "/tasks", list, false},
	{"GET", "/tasks/{}", inspect, false},
	{"GET", "/tasks/{}/logs", logs, false},
	{NULL, NULL, NULL, false},
};
