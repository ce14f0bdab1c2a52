/* SPDX-License-Identifier: Apache-2.0 */
/* /services: what shall run in the cluster. */

#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "cluster/leader.h"
#include "cluster/member.h"
#include "cluster/plan.h"
#include "cluster/service.h"
#include "daemon/daemon.h"
#include "daemon/networks.h"
#include "daemon/swarm.h"
#include "daemon/tasklogs.h"
#include "engine/engine.h"
#include "net/net.h"

#define FIND_ARENA (1u << 20)

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

/* A spec as it came, with what this machine has to say about it. */
struct given {
	struct buf text;
	struct json *warnings; /* an array, or NULL */
};

static void given_done(struct given *given)
{
	buf_free(&given->text);
	json_free(given->warnings);
}

#define auto_given __attribute__((cleanup(given_done)))

/* Is one of these a network that only this machine has? Its name. */
static const char *find_local(struct daemon *d, const struct json *networks, struct arena *arena)
{
	for (size_t i = 0; i < json_count(networks); i++) {
		const char *target = json_get_string(json_at(networks, i), "Target");
		struct net_network n;

		if (target &&
		    net_network_find(engine_net(d->engine), target, arena, &n, NULL) == 0 &&
		    networks_is_swarm(&n))
			return n.name;
	}
	return NULL;
}

static struct json *part(struct json *object, const char *key, bool list)
{
	struct json *inner = json_get(object, key);

	if (list ? json_is_array(inner) : json_is_object(inner))
		return inner;
	(void)json_set(object, key, list ? json_array() : json_object());
	return json_get(object, key);
}

/* Networks do not reach over machines yet: tasks that are on one stay where it is. */
static int keep_here(struct daemon *d, struct json *spec, struct given *given, struct err *err)
{
	auto_arena struct arena arena = ARENA_INIT(FIND_ARENA);
	struct json *task = json_get(spec, "TaskTemplate");
	const char *network = find_local(d, json_get(task, "Networks"), &arena);
	struct member_view view;
	char rule[64], warning[300];

	if (!network)
		network = find_local(d, json_get(spec, "Networks"), &arena);
	if (!network || !json_is_object(task))
		return 0;
	member_look(d->member, &view);
	snprintf(rule, sizeof(rule), "node.id==%s", view.node_id);
	struct json *rules = part(part(task, "Placement", false), "Constraints", true);
	for (size_t i = 0; i < json_count(rules); i++)
		if (str_eq(json_str(json_at(rules, i)), rule))
			return 0;
	snprintf(warning, sizeof(warning),
	         "network %.100s is on this machine alone: the service's tasks stay on it",
	         network);
	given->warnings = json_array();
	if (json_append(rules, json_string(rule)) < 0 ||
	    json_append(given->warnings, json_string(warning)) < 0)
		return err_nomem(err);
	return 0;
}

static int read_given(struct daemon *d, struct http_request *req, struct given *given,
                      struct err *err)
{
	size_t len;
	const char *text = http_body(req, &len);

	*given = (struct given){.text = BUF_INIT(HTTP_BODY_MAX)};
	if (len == 0) /* a rollback needs none */
		return 0;
	auto_type(json) spec = json_parse(text, len, err);
	if (!spec || keep_here(d, spec, given, err) < 0)
		return -1;
	return json_write(spec, &given->text, err);
}

static int create(void *ctx, struct http_request *req, struct err *err)
{
	struct daemon *d = ctx;
	auto_given struct given given;
	char id[ID_SWARM_MAX];
	struct control *c =
		read_given(d, req, &given, err) < 0 ? NULL : member_enter(d->member, err);

	if (!c)
		return -1;
	int rc = service_create(c, leader_now(), buf_str(&given.text), given.text.len, id, err);
	member_exit(d->member);
	if (rc < 0)
		return -1;
	struct json *doc = json_object();
	json_set(doc, "ID", json_string(id));
	if (given.warnings)
		json_set(doc, "Warnings", json_ref(given.warnings));
	return http_reply_json(req, 201, doc);
}

static int update(void *ctx, struct http_request *req, struct err *err)
{
	struct daemon *d = ctx;
	struct service_change change = {.ref = http_arg(req, 0)};
	auto_given struct given given;

	if (read_given(d, req, &given, err) < 0)
		return -1;
	change.text = buf_str(&given.text);
	change.len = given.text.len;
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
	json_set(doc, "Warnings", given.warnings ? json_ref(given.warnings) : json_null());
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
