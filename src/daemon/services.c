/* SPDX-License-Identifier: Apache-2.0 */
/* /services: what shall run in the cluster. */

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "cluster/leader.h"
#include "cluster/member.h"
#include "cluster/plan.h"
#include "cluster/service.h"
#include "daemon/daemon.h"
#include "daemon/swarm.h"
#include "daemon/tasklogs.h"

static int write_list(struct control *c, struct http_request *req, struct buf *out, struct err *err)
{
	auto_type(json) filters = swarm_read_filters(req, err);
	bool status;

	if (!filters || http_query_bool(req, "status", false, &status, err) < 0)
		return -1;
	return service_list(c, filters, status, out, err);
}

static int list(void *ctx, struct http_request *req, struct err *err)
{
	return swarm_show(ctx, req, write_list, err);
}

static int write_one(struct control *c, struct http_request *req, struct buf *out, struct err *err)
{
	return service_inspect(c, http_arg(req, 0), out, err);
}

static int inspect(void *ctx, struct http_request *req, struct err *err)
{
	return swarm_show(ctx, req, write_one, err);
}

/* ---- making and changing ---- */

static int create(void *ctx, struct http_request *req, struct err *err)
{
	struct daemon *d = ctx;
	char id[ID_SWARM_MAX];
	size_t len;
	const char *text = http_body(req, &len);
	struct control *c = member_enter(d->member, err);

	if (!c)
		return -1;
	int rc = service_create(c, leader_now(), text, len, id, err);
	member_exit(d->member);
	if (rc < 0)
		return -1;
	struct json *doc = json_object();
	json_set(doc, "ID", json_string(id));
	return http_reply_json(req, 201, doc);
}

static int update(void *ctx, struct http_request *req, struct err *err)
{
	struct daemon *d = ctx;
	struct service_change change = {.ref = http_arg(req, 0)};

	change.text = http_body(req, &change.len);
	change.rollback = str_eq(http_query(req, "rollback"), "previous");
	struct control *c = member_enter(d->member, err);
	if (!c)
		return -1;
	int rc = swarm_read_version(req, "service", &change.version, err);
	if (rc == 0)
		rc = service_update(c, leader_now(), &change, err);
	member_exit(d->member);
	if (rc < 0)
		return swarm_fail(req, err);
	struct json *doc = json_object();
	json_set(doc, "Warnings", json_null());
	return http_reply_json(req, 200, doc);
}

static int drop(struct control *c, struct http_request *req, struct err *err)
{
	return service_remove(c, leader_now(), http_arg(req, 0), err);
}

static int write_reasons(struct control *c, struct http_request *req, struct buf *out,
                         struct err *err)
{
	return service_explain(c, http_arg(req, 0), out, err);
}

static int explain(void *ctx, struct http_request *req, struct err *err)
{
	return swarm_show(ctx, req, write_reasons, err);
}

/* What services would become; see cluster/plan.h. The copy is made under the lock, the plan without it. */
static int plan(void *ctx, struct http_request *req, struct err *err)
{
	struct daemon *d = ctx;
	auto_buf struct buf out = BUF_INIT(HTTP_BODY_MAX);
	auto_type(json) request = http_body_json(req, err);
	struct control *c = request ? member_enter(d->member, err) : NULL;

	if (!c)
		return -1;
	auto_type(plan) plan = plan_open(c, leader_now(), err);
	member_exit(d->member);
	if (!plan || plan_run(plan, request, &out, err) < 0)
		return -1;
	auto_type(json) doc = json_parse(buf_str(&out), out.len, err);
	return doc ? http_reply_json(req, 200, json_ref(doc)) : -1;
}

static int remove_service(void *ctx, struct http_request *req, struct err *err)
{
	return swarm_change(ctx, req, drop, err);
}

static int logs(void *ctx, struct http_request *req, struct err *err)
{
	return tasklogs_service(ctx, req, err);
}

const struct http_route services_routes[] = {
	{"GET", "/services", list, false},
	{"POST", "/services/create", create, false},
	{"GET", "/services/{}", inspect, false},
	{"POST", "/services/{}/update", update, false},
	{"DELETE", "/services/{}", remove_service, false},
	{"GET", "/services/{}/logs", logs, false},
	{"GET", "/services/{}/explain", explain, false},
	{"POST", "/buoy/v1/plan", plan, false},
	{NULL, NULL, NULL, false},
};
