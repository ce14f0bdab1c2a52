/* SPDX-License-Identifier: Apache-2.0 */
/* /networks: make, show, connect, remove. */

#include <stdio.h>
#include <string.h>

#include "api/container.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"
#include "cluster/leader.h"
#include "cluster/member.h"
#include "cluster/network.h"
#include "daemon/daemon.h"
#include "daemon/overlays.h"
#include "daemon/reply.h"
#include "engine/container.h"
#include "engine/engine.h"
#include "engine/event.h"
#include "engine/filter.h"
#include "net/net.h"

#define NETWORK_ARENA (16u << 20) /* bytes of a list */

#define LEAVE_MS      40000 /* for tasks that are being stopped: longer than they are usually given */
#define LEAVE_STEP_MS 50

/* ---- what a network looks like ---- */

static bool is_swarm(const struct net_network *n)
{
	return str_eq(n->driver, "overlay");
}

/* One of the cluster's, as if it were here. Borrows. */
static struct net_network of_cluster(const struct network *from)
{
	struct net_network n = {
		.name = from->spec.name,
		.driver = (char *)"overlay",
		.scope = (char *)"swarm",
		.internal = from->spec.internal,
		.attachable = from->spec.attachable,
		.labels = from->spec.labels,
		.options = from->spec.driver.options,
	};

	snprintf(n.id, sizeof(n.id), "%s", from->id);
	snprintf(n.subnet, sizeof(n.subnet), "%s", from->subnet);
	snprintf(n.gateway, sizeof(n.gateway), "%s", from->gateway);
	(void)clock_parse(from->created_at, &n.created_ns, NULL);
	return n;
}

static struct json *ipam(const struct net_network *n)
{
	struct json *configs = json_array();
	struct json *doc = json_object();

	if (*n->subnet) {
		struct json *config = json_object();
		json_set(config, "Subnet", json_string(n->subnet));
		json_set(config, "Gateway", json_string(n->gateway));
		json_append(configs, config);
	}
	json_set(doc, "Driver", json_string("default"));
	json_set(doc, "Options", json_null());
	json_set(doc, "Config", configs);
	return doc;
}

static struct json *member(struct daemon *d, const struct net_member *m)
{
	auto_arena struct arena arena = ARENA_INIT(NETWORK_ARENA);
	struct container_view view;
	struct json *doc = json_object();
	char address[32];

	snprintf(address, sizeof(address), "%s/%d", m->endpoint.ip, m->endpoint.prefix_len);
	bool known = container_inspect(d->engine, m->container_id, false, &arena, &view, NULL) == 0;
	json_set(doc, "Name", json_string(known ? view.name : ""));
	json_set(doc, "EndpointID", json_string(m->endpoint.id));
	json_set(doc, "MacAddress", json_string(m->endpoint.mac));
	json_set(doc, "IPv4Address", json_string(address));
	json_set(doc, "IPv6Address", json_string(""));
	return doc;
}

static struct json *members(struct daemon *d, const char *network)
{
	auto_arena struct arena arena = ARENA_INIT(NETWORK_ARENA);
	struct net_member *list = NULL;
	struct json *doc = json_object();
	size_t count = 0;

	if (net_network_members(engine_net(d->engine), network, &arena, &list, &count, NULL) < 0)
		return doc;
	for (size_t i = 0; i < count; i++)
		json_set(doc, list[i].container_id, member(d, &list[i]));
	return doc;
}

static struct json *map_or_empty(const struct json_strmap *map)
{
	return map->present ? reply_strmap(map) : json_object();
}

/* Members are shown to whoever looks at one network, not in the list. */
static struct json *view(struct daemon *d, const struct net_network *n, bool with_members)
{
	char created[CLOCK_TEXT_MAX];
	struct json *from = json_object();
	struct json *doc = json_object();

	json_set(from, "Network", json_string(""));
	json_set(doc, "Name", json_string(n->name));
	json_set(doc, "Id", json_string(n->id));
	json_set(doc, "Created", json_string(clock_format(n->created_ns, created)));
	json_set(doc, "Scope", json_string(n->scope));
	json_set(doc, "Driver", json_string(n->driver));
	json_set(doc, "EnableIPv4", json_bool(true));
	json_set(doc, "EnableIPv6", json_bool(n->enable_ipv6));
	json_set(doc, "IPAM", ipam(n));
	json_set(doc, "Internal", json_bool(n->internal));
	json_set(doc, "Attachable", json_bool(n->attachable));
	json_set(doc, "Ingress", json_bool(false));
	json_set(doc, "ConfigFrom", from);
	json_set(doc, "ConfigOnly", json_bool(false));
	json_set(doc, "Containers", with_members ? members(d, n->id) : json_object());
	json_set(doc, "Options", map_or_empty(&n->options));
	json_set(doc, "Labels", map_or_empty(&n->labels));
	return doc;
}

static bool predefined(const struct net_network *n)
{
	return strcmp(n->name, "bridge") == 0 || strcmp(n->name, "host") == 0 ||
	       strcmp(n->name, "none") == 0;
}

static bool wanted(const struct json *filters, const struct net_network *n)
{
	return filter_matches_part(filters, "name", n->name) &&
	       filter_matches_prefix(filters, "id", n->id) &&
	       filter_matches(filters, "driver", n->driver) &&
	       filter_matches(filters, "scope", n->scope) &&
	       filter_matches(filters, "type", predefined(n) ? "builtin" : "custom") &&
	       filter_matches_labels(filters, &n->labels);
}

/* ---- looking ---- */

/* Those of the cluster: exact where we lead, on other managers as of the last table. Workers show the ones
 * that they have. */
static int append_cluster(struct daemon *d, const struct json *filters, struct json *doc,
                          struct err *err)
{
	auto_arena struct arena arena = ARENA_INIT(NETWORK_ARENA);
	struct control *c = member_enter(d->member, NULL);
	struct net_network *known = NULL;
	const struct network *n;
	size_t count = 0;

	if (c) {
		for (size_t at = 0; (n = network_next(c, &at)) != NULL;) {
			struct net_network one = of_cluster(n);

			if (wanted(filters, &one))
				json_append(doc, view(d, &one, false));
		}
		member_exit(d->member);
		return 0;
	}
	if (net_overlay_list(engine_net(d->engine), &arena, &known, &count, err) < 0)
		return -1;
	for (size_t i = 0; i < count; i++)
		if (wanted(filters, &known[i]))
			json_append(doc, view(d, &known[i], false));
	return 0;
}

static bool is_manager(struct daemon *d)
{
	struct member_view view;

	member_look(d->member, &view);
	return view.active && view.manager;
}

static int list(void *ctx, struct http_request *req, struct err *err)
{
	static const char *const allowed[] = {"dangling", "driver", "id",   "label", "label!",
	                                      "name",     "scope",  "type", NULL};
	struct daemon *d = ctx;
	auto_arena struct arena arena = ARENA_INIT(NETWORK_ARENA);
	auto_type(json) filters = filter_parse(http_query(req, "filters"), err);
	struct net_network *networks = NULL;
	bool manager = is_manager(d);
	size_t count = 0;

	if (!filters || filter_check(filters, allowed, err) < 0 ||
	    net_network_list(engine_net(d->engine), &arena, &networks, &count, err) < 0)
		return -1;
	struct json *doc = json_array();
	for (size_t i = 0; i < count; i++)
		if (wanted(filters, &networks[i]) && !(manager && is_swarm(&networks[i])))
			json_append(doc, view(d, &networks[i], false));
	if (manager && append_cluster(d, filters, doc, err) < 0) {
		json_free(doc);
		return -1;
	}
	return http_reply_json(req, 200, doc);
}

/* 1: a network of this machine alone. 0: not, so that the cluster must be asked, if there is one. */
static int find_local(struct daemon *d, const char *ref, struct arena *arena,
                      struct net_network *network, struct err *err)
{
	struct err why = ERR_INIT;

	if (net_network_find(engine_net(d->engine), ref, arena, network, &why) == 0)
		return !is_swarm(network) || !is_manager(d);
	if (why.kind == ERR_NOT_FOUND && is_manager(d))
		return 0;
	if (err)
		*err = why;
	return -1;
}

static int inspect_cluster(void *ctx, struct http_request *req, struct err *err)
{
	struct daemon *d = ctx;
	struct control *c = member_enter(d->member, err);

	if (!c)
		return -1;
	const struct network *n = network_find(c, http_arg(req, 0), err);
	struct net_network one = n ? of_cluster(n) : (struct net_network){0};
	struct json *doc = n ? view(d, &one, true) : NULL;
	member_exit(d->member);
	return doc ? http_reply_json(req, 200, doc) : -1;
}

static int inspect(void *ctx, struct http_request *req, struct err *err)
{
	struct daemon *d = ctx;
	auto_arena struct arena arena = ARENA_INIT(NETWORK_ARENA);
	struct net_network network;
	int local = find_local(d, http_arg(req, 0), &arena, &network, err);

	if (local < 0)
		return -1;
	if (local > 0)
		return http_reply_json(req, 200, view(d, &network, true));
	int rc = member_relay(d->member, req, err);
	return rc <= 0 ? rc : inspect_cluster(ctx, req, err);
}

/* ---- making ---- */

struct create_body {
	char *name, *driver;
	bool internal, attachable, ingress, config_only, enable_ipv6;
	struct json *ipam, *config_from;
	struct json_strmap options, labels;
};

static const struct json_field create_fields[] = {
	JSON_FIELD(struct create_body, name, "Name", JSON_STRING, .required = true),
	JSON_FIELD(struct create_body, driver, "Driver", JSON_STRING),
	JSON_FIELD(struct create_body, internal, "Internal", JSON_BOOL),
	JSON_FIELD(struct create_body, attachable, "Attachable", JSON_BOOL),
	JSON_FIELD(struct create_body, ingress, "Ingress", JSON_BOOL),
	JSON_FIELD(struct create_body, config_only, "ConfigOnly", JSON_BOOL),
	JSON_FIELD(struct create_body, enable_ipv6, "EnableIPv6", JSON_BOOL),
	JSON_FIELD(struct create_body, ipam, "IPAM", JSON_RAW),
	JSON_FIELD(struct create_body, config_from, "ConfigFrom", JSON_RAW),
	JSON_FIELD(struct create_body, options, "Options", JSON_STRMAP),
	JSON_FIELD(struct create_body, labels, "Labels", JSON_STRMAP),
	JSON_END,
};
static const struct json_table create_table = JSON_TABLE(struct create_body, create_fields);

static void drop_document(void *doc)
{
	json_free(doc);
}

static int fill_spec(const struct create_body *body, struct net_spec *spec, struct err *err)
{
	const struct json *config = json_at(json_get(body->ipam, "Config"), 0);

	if (body->ingress || body->config_only)
		return err_set(err, ERR_UNSUPPORTED, "network %s: %s networks are not supported",
		               body->name, body->ingress ? "ingress" : "config-only");
	if (!str_empty(body->driver) && !str_eq(body->driver, "bridge") &&
	    !str_eq(body->driver, "overlay"))
		return err_set(err, ERR_NOT_FOUND,
		               "network %s: driver \"%s\" not found (there are: bridge, overlay)",
		               body->name, body->driver);
	if (json_count(json_get(body->ipam, "Config")) > 1)
		return err_set(err, ERR_UNSUPPORTED, "network %s: one subnet is supported",
		               body->name);
	*spec = (struct net_spec){
		.name = body->name,
		.driver = "bridge",
		.subnet = json_get_string(config, "Subnet"),
		.gateway = json_get_string(config, "Gateway"),
		.ip_range = json_get_string(config, "IPRange"),
		.internal = body->internal,
		.attachable = body->attachable,
		.enable_ipv6 = body->enable_ipv6,
		.labels = body->labels,
		.options = body->options,
	};
	return 0;
}

static int reply_id(struct http_request *req, const char *id)
{
	struct json *answer = json_object();

	json_set(answer, "Id", json_string(id));
	json_set(answer, "Warning", json_string(""));
	return http_reply_json(req, 201, answer);
}

static int read_body(struct http_request *req, struct arena *arena, struct create_body *body,
                     struct net_spec *spec, struct err *err)
{
	auto_type(json) doc = http_body_json(req, err);

	*body = (struct create_body){0};
	if (!doc)
		return -1;
	struct json *kept = json_ref(doc);
	if (arena_later(arena, drop_document, kept, err) < 0 ||
	    json_decode(kept, &create_table, arena, body, err) < 0 ||
	    id_check_name(body->name, "network name", err) < 0)
		return -1;
	return fill_spec(body, spec, err);
}

/* What an overlay cannot be, or not yet. */
static int check_overlay(const struct net_spec *spec, struct err *err)
{
	for (size_t i = 0; i < spec->options.count; i++)
		if (str_eq(spec->options.items[i].key, NETWORK_ENCRYPTED))
			return err_set(err, ERR_UNSUPPORTED,
			               "network %s: encrypted networks are not supported yet",
			               spec->name);
	if (spec->enable_ipv6)
		return err_set(err, ERR_UNSUPPORTED, "IPv6 networks are not supported yet");
	if (!str_empty(spec->ip_range))
		return err_set(err, ERR_UNSUPPORTED,
		               "network %s: an overlay's addresses come from its whole subnet",
		               spec->name);
	return 0;
}

static int create_cluster(void *ctx, struct http_request *req, struct err *err)
{
	struct daemon *d = ctx;
	auto_arena struct arena arena = ARENA_INIT(NETWORK_ARENA);
	struct create_body body;
	struct net_spec spec;
	char id[ID_SWARM_MAX];

	if (read_body(req, &arena, &body, &spec, err) < 0 || check_overlay(&spec, err) < 0)
		return -1;
	struct network_wish wish = {
		.spec = {.name = body.name,
	                 .labels = body.labels,
	                 .driver = {.options = body.options},
	                 .internal = body.internal,
	                 .attachable = body.attachable},
		.subnet = spec.subnet,
		.gateway = spec.gateway,
	};
	struct control *c = member_enter(d->member, err);
	if (!c)
		return -1;
	int rc = network_create(c, leader_now(), &wish, id, err);
	member_exit(d->member);
	if (rc < 0)
		return -1;
	event_add(d->engine, "network", "create", id, "name", body.name, "type", "overlay", NULL);
	return reply_id(req, id);
}

static int create(void *ctx, struct http_request *req, struct err *err)
{
	struct daemon *d = ctx;
	auto_arena struct arena arena = ARENA_INIT(NETWORK_ARENA);
	struct create_body body;
	struct net_spec spec;
	char id[ID_HEX_MAX];

	if (read_body(req, &arena, &body, &spec, err) < 0)
		return -1;
	if (str_eq(body.driver, "overlay")) {
		int rc = member_relay(d->member, req, err);

		return rc <= 0 ? rc : create_cluster(ctx, req, err);
	}
	if (net_network_create(engine_net(d->engine), &spec, id, err) < 0)
		return -1;
	event_add(d->engine, "network", "create", id, "name", body.name, "type", "bridge", NULL);
	return reply_id(req, id);
}

/* ---- removing ---- */

/* Docker says 403 for a network that is in use as well. */
static int refuse(struct http_request *req, const struct err *err)
{
	return err->kind == ERR_CONFLICT ? http_reply_error(req, 403, err->msg) : -1;
}

static int try_remove(struct daemon *d, const char *ref, bool *leaving, struct err *err)
{
	struct control *c = member_enter(d->member, err);

	*leaving = false;
	if (!c)
		return -1;
	int rc = network_remove(c, leader_now(), ref, leaving, err);
	member_exit(d->member);
	return rc;
}

/* Tasks whose service was removed a moment ago are still being stopped: their last one lets it go. */
static int delete_cluster(void *ctx, struct http_request *req, struct err *err)
{
	int64_t until = clock_mono_ms() + LEAVE_MS;
	struct daemon *d = ctx;
	const char *ref = http_arg(req, 0);
	bool leaving;

	while (try_remove(d, ref, &leaving, err) < 0) {
		if (!leaving || clock_mono_ms() > until)
			return refuse(req, err);
		clock_sleep_ms(LEAVE_STEP_MS);
	}
	event_add(d->engine, "network", "destroy", ref, "name", ref, "type", "overlay", NULL);
	return http_reply_empty(req, 204);
}

static int delete (void *ctx, struct http_request *req, struct err *err)
{
	struct daemon *d = ctx;
	auto_arena struct arena arena = ARENA_INIT(NETWORK_ARENA);
	struct net_network network;
	int local = find_local(d, http_arg(req, 0), &arena, &network, err);

	if (local < 0)
		return -1;
	if (local == 0) {
		int rc = member_relay(d->member, req, err);

		return rc <= 0 ? rc : delete_cluster(ctx, req, err);
	}
	if (net_network_remove(engine_net(d->engine), network.id, err) < 0)
		return refuse(req, err);
	event_add(d->engine, "network", "destroy", network.id, "name", network.name, "type",
	          "bridge", NULL);
	return http_reply_empty(req, 204);
}

/* Those of the cluster that nobody is on, where we lead. */
static void prune_cluster(struct daemon *d, const struct json *filters, struct json *removed)
{
	struct control *c = member_enter(d->member, NULL);
	const struct network *n;
	bool leaving;

	for (size_t at = 0; c && (n = network_next(c, &at)) != NULL;) {
		struct json *name = json_string(n->spec.name);

		if (filter_matches_labels(filters, &n->spec.labels) &&
		    network_remove(c, leader_now(), n->id, &leaving, NULL) == 0) {
			json_append(removed, name);
			at--;
		} else {
			json_free(name);
		}
	}
	if (c)
		member_exit(d->member);
}

static int prune(void *ctx, struct http_request *req, struct err *err)
{
	static const char *const allowed[] = {"label", "label!", "until", NULL};
	struct daemon *d = ctx;
	auto_arena struct arena arena = ARENA_INIT(NETWORK_ARENA);
	auto_type(json) filters = filter_parse(http_query(req, "filters"), err);
	struct net *net = engine_net(d->engine);
	struct net_network *networks = NULL;
	size_t count = 0;

	if (!filters || filter_check(filters, allowed, err) < 0 ||
	    net_network_list(net, &arena, &networks, &count, err) < 0)
		return -1;
	struct json *removed = json_array();
	for (size_t i = 0; i < count; i++) {
		/* One that is in use refuses, which is the test. */
		if (!predefined(&networks[i]) && !is_swarm(&networks[i]) &&
		    filter_matches_labels(filters, &networks[i].labels) &&
		    net_network_remove(net, networks[i].id, NULL) == 0)
			json_append(removed, json_string(networks[i].name));
	}
	prune_cluster(d, filters, removed);
	struct json *doc = json_object();
	if (json_count(removed) > 0) {
		json_set(doc, "NetworksDeleted", removed);
	} else {
		json_free(removed);
		json_set(doc, "NetworksDeleted", json_null());
	}
	return http_reply_json(req, 200, doc);
}

/* ---- containers on a network ---- */

static int attach_container(void *ctx, struct http_request *req, struct err *err)
{
	struct daemon *d = ctx;
	auto_arena struct arena arena = ARENA_INIT(NETWORK_ARENA);
	auto_type(json) doc = http_body_json(req, err);
	struct api_endpoint endpoint = {0};

	if (!doc)
		return -1;
	const char *container = json_get_string(doc, "Container");
	const struct json *config = json_get(doc, "EndpointConfig");
	if (str_empty(container))
		return err_set(err, ERR_INVALID, "Container: name the container to connect");
	if (json_is_object(config) &&
	    json_decode(config, &api_endpoint_table, &arena, &endpoint, err) < 0)
		return -1;
	if (overlays_prepare(d->overlays, engine_net(d->engine), http_arg(req, 0), err) < 0 ||
	    container_connect(d->engine, container, http_arg(req, 0), &endpoint, err) < 0)
		return -1;
	return http_reply_empty(req, 200);
}

static int detach_container(void *ctx, struct http_request *req, struct err *err)
{
	struct daemon *d = ctx;
	auto_type(json) doc = http_body_json(req, err);

	if (!doc)
		return -1;
	const char *container = json_get_string(doc, "Container");
	if (str_empty(container))
		return err_set(err, ERR_INVALID, "Container: name the container to disconnect");
	if (container_disconnect(d->engine, container, http_arg(req, 0),
	                         json_get_bool(doc, "Force", false), err) < 0)
		return -1;
	return http_reply_empty(req, 200);
}

const struct http_route networks_routes[] = {
	{"GET", "/networks", list, false},
	{"POST", "/networks/create", create, false},
	{"POST", "/networks/prune", prune, false},
	{"GET", "/networks/{}", inspect, false},
	{"DELETE", "/networks/{}", delete, false},
	{"POST", "/networks/{}/connect", attach_container, false},
	{"POST", "/networks/{}/disconnect", detach_container, false},
	{NULL, NULL, NULL, false},
};

/* What managers answer for each other. */
const struct http_route networks_shared_routes[] = {
	{"POST", "/networks/create", create_cluster, false},
	{"GET", "/networks/{}", inspect_cluster, false},
	{"DELETE", "/networks/{}", delete_cluster, false},
	{NULL, NULL, NULL, false},
};
