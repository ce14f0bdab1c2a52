/* SPDX-License-Identifier: Apache-2.0 */
/* /networks: make, show, connect, remove. */

#include "daemon/networks.h"

#include <stdio.h>
#include <string.h>

#include "api/container.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"
#include "cluster/member.h"
#include "daemon/daemon.h"
#include "daemon/reply.h"
#include "engine/container.h"
#include "engine/engine.h"
#include "engine/event.h"
#include "engine/filter.h"
#include "net/net.h"

#define NETWORK_ARENA (16u << 20) /* bytes of a list */

/* A cluster's network, which is on this machine alone for now: a bridge with this label. */
#define SWARM_LABEL   "io.buoy.network.scope"
#define LEAVE_MS      40000 /* for tasks that are being stopped: longer than they are usually given */
#define LEAVE_STEP_MS 50

/* ---- what a network looks like ---- */

bool networks_is_swarm(const struct net_network *n)
{
	for (size_t i = 0; i < n->labels.count; i++)
		if (str_eq(n->labels.items[i].key, SWARM_LABEL))
			return str_eq(n->labels.items[i].value, "swarm");
	return false;
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
	bool swarm = networks_is_swarm(n);

	json_set(from, "Network", json_string(""));
	json_set(doc, "Name", json_string(n->name));
	json_set(doc, "Id", json_string(n->id));
	json_set(doc, "Created", json_string(clock_format(n->created_ns, created)));
	json_set(doc, "Scope", json_string(swarm ? "swarm" : n->scope));
	json_set(doc, "Driver", json_string(swarm ? "overlay" : n->driver));
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
	       filter_matches(filters, "driver", networks_is_swarm(n) ? "overlay" : n->driver) &&
	       filter_matches(filters, "scope", networks_is_swarm(n) ? "swarm" : n->scope) &&
	       filter_matches(filters, "type", predefined(n) ? "builtin" : "custom") &&
	       filter_matches_labels(filters, &n->labels);
}

static int list(void *ctx, struct http_request *req, struct err *err)
{
	static const char *const allowed[] = {"dangling", "driver", "id",   "label", "label!",
	                                      "name",     "scope",  "type", NULL};
	struct daemon *d = ctx;
	auto_arena struct arena arena = ARENA_INIT(NETWORK_ARENA);
	auto_type(json) filters = filter_parse(http_query(req, "filters"), err);
	struct net_network *networks = NULL;
	size_t count = 0;

	if (!filters || filter_check(filters, allowed, err) < 0 ||
	    net_network_list(engine_net(d->engine), &arena, &networks, &count, err) < 0)
		return -1;
	struct json *doc = json_array();
	for (size_t i = 0; i < count; i++)
		if (wanted(filters, &networks[i]))
			json_append(doc, view(d, &networks[i], false));
	return http_reply_json(req, 200, doc);
}

static int inspect(void *ctx, struct http_request *req, struct err *err)
{
	struct daemon *d = ctx;
	auto_arena struct arena arena = ARENA_INIT(NETWORK_ARENA);
	struct net_network network;

	if (net_network_find(engine_net(d->engine), http_arg(req, 0), &arena, &network, err) < 0)
		return -1;
	return http_reply_json(req, 200, view(d, &network, true));
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

static int add_swarm_label(struct daemon *d, struct net_spec *spec, struct arena *arena,
                           struct err *err)
{
	struct member_view view;
	size_t count = spec->labels.count;
	struct json_pair *labels = arena_array(arena, count + 1, sizeof(*labels), err);

	member_look(d->member, &view);
	if (!view.manager)
		return err_set(
			err, ERR_UNAVAILABLE,
			"This node is not a swarm manager. Use \"docker swarm init\" or "
			"\"docker swarm join\" to connect this node to swarm and try again.");
	if (!labels)
		return -1;
	for (size_t i = 0; i < count; i++)
		labels[i] = spec->labels.items[i];
	labels[count] = (struct json_pair){(char *)SWARM_LABEL, (char *)"swarm"};
	spec->labels = (struct json_strmap){.items = labels, .count = count + 1, .present = true};
	return 0;
}

static int create(void *ctx, struct http_request *req, struct err *err)
{
	struct daemon *d = ctx;
	auto_arena struct arena arena = ARENA_INIT(NETWORK_ARENA);
	auto_type(json) doc = http_body_json(req, err);
	struct create_body body = {0};
	struct net_spec spec;
	char id[ID_HEX_MAX];

	if (!doc || json_decode(doc, &create_table, &arena, &body, err) < 0)
		return -1;
	if (id_check_name(body.name, "network name", err) < 0 || fill_spec(&body, &spec, err) < 0)
		return -1;
	if (str_eq(body.driver, "overlay") && add_swarm_label(d, &spec, &arena, err) < 0)
		return -1;
	if (net_network_create(engine_net(d->engine), &spec, id, err) < 0)
		return -1;
	event_add(d->engine, "network", "create", id, "name", body.name, "type", "bridge", NULL);

	struct json *answer = json_object();
	json_set(answer, "Id", json_string(id));
	json_set(answer, "Warning", json_string(""));
	return http_reply_json(req, 201, answer);
}

static bool refers(const struct json_array *networks, const struct net_network *n)
{
	const struct service_network *items = networks->items;

	for (size_t i = 0; i < networks->count; i++)
		if (str_eq(items[i].target, n->id) || str_eq(items[i].target, n->name))
			return true;
	return false;
}

/* ERR_CONFLICT while a service is on it. */
static int check_unused(struct daemon *d, const struct net_network *n, struct err *err)
{
	struct control *c = member_enter(d->member, NULL);
	const struct service *s;
	int rc = 0;

	if (!c)
		return 0; /* no manager any more: the containers alone say */
	for (size_t at = 0; rc == 0 && (s = control_next_service(c, &at)) != NULL;)
		if (refers(&s->spec.task.networks, n) || refers(&s->spec.networks, n))
			rc = err_set(err, ERR_CONFLICT, "network %s is in use by service %s",
			             n->name, s->spec.name);
	member_exit(d->member);
	return rc;
}

/* Tasks whose service was removed a moment ago are still being stopped: their last one lets it go. */
static int remove_network(struct daemon *d, const struct net_network *n, struct err *err)
{
	int64_t until = clock_mono_ms() + LEAVE_MS;
	int rc;

	if (!networks_is_swarm(n))
		return net_network_remove(engine_net(d->engine), n->id, err);
	if (check_unused(d, n, err) < 0)
		return -1;
	while ((rc = net_network_remove(engine_net(d->engine), n->id, err)) < 0 &&
	       err->kind == ERR_CONFLICT && clock_mono_ms() < until)
		clock_sleep_ms(LEAVE_STEP_MS);
	return rc;
}

static int delete (void *ctx, struct http_request *req, struct err *err)
{
	struct daemon *d = ctx;
	auto_arena struct arena arena = ARENA_INIT(NETWORK_ARENA);
	struct net *net = engine_net(d->engine);
	struct net_network network;

	if (net_network_find(net, http_arg(req, 0), &arena, &network, err) < 0)
		return -1;
	if (remove_network(d, &network, err) < 0) {
		/* Docker says 403 for a network that is in use as well. */
		if (err->kind == ERR_CONFLICT)
			return http_reply_error(req, 403, err->msg);
		return -1;
	}
	event_add(d->engine, "network", "destroy", network.id, "name", network.name, "type",
	          "bridge", NULL);
	return http_reply_empty(req, 204);
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
		if (!predefined(&networks[i]) &&
		    filter_matches_labels(filters, &networks[i].labels) &&
		    net_network_remove(net, networks[i].id, NULL) == 0)
			json_append(removed, json_string(networks[i].name));
	}
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
	if (container_connect(d->engine, container, http_arg(req, 0), &endpoint, err) < 0)
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
