/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/endpoints.h"

#include <arpa/inet.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/map.h"
#include "base/str.h"
#include "cluster/control.h"
#include "cluster/proto.h"

#define TABLE_ARENA_MAX (64u << 20)

/* ---- writing ---- */

static bool is_ingress(const struct model_port *port)
{
	return !str_eq(port->publish_mode, "host") && port->published_port > 0;
}

/* The service's ports that every node answers on. */
static int ingress_ports(const struct service *s, struct arena *arena, struct json_array *out,
                         struct err *err)
{
	const struct model_port *all = s->endpoint.ports.items;
	struct model_port *ports =
		arena_array(arena, s->endpoint.ports.count + 1, sizeof(*ports), err);

	if (!ports)
		return -1;
	*out = (struct json_array){.items = ports, .present = true};
	for (size_t i = 0; i < s->endpoint.ports.count; i++)
		if (is_ingress(&all[i]))
			ports[out->count++] = all[i];
	return 0;
}

/* The services that go into the table, and the way from a service's id to its place. */
struct draft {
	const struct control *c;
	struct arena *arena;
	struct proto_service *services;
	size_t *reached; /* of each service: its backends on nodes that are reached */
	size_t count;
	struct map *by_id; /* struct proto_service; owned */
};

static int add_services(struct draft *d, struct err *err)
{
	const struct service *s;
	size_t most = 0;

	for (size_t at = 0; control_next_service(d->c, &at) != NULL;)
		most++;
	d->services = arena_array(d->arena, most + 1, sizeof(*d->services), err);
	d->reached = arena_array(d->arena, most + 1, sizeof(*d->reached), err);
	if (!d->services || !d->reached)
		return -1;
	for (size_t at = 0; (s = control_next_service(d->c, &at)) != NULL;) {
		struct proto_service *one = &d->services[d->count];

		if (ingress_ports(s, d->arena, &one->ports, err) < 0)
			return -1;
		if (one->ports.count == 0)
			continue;
		one->id = s->id;
		one->name = s->spec.name;
		if (map_set(d->by_id, s->id, one, NULL, err) < 0)
			return -1;
		d->count++;
	}
	return 0;
}

/* The service that connections to the task come by. NULL: none do. */
static struct proto_service *service_of(const struct draft *d, const struct task *t)
{
	if (t->status.state != TASK_RUNNING || t->desired != TASK_RUNNING || !t->service_id ||
	    !t->node_id || !control_node_is_alive(d->c, t->node_id))
		return NULL;
	return map_find(d->by_id, t->service_id);
}

static void count_backends(struct draft *d)
{
	struct proto_service *s;
	const struct task *t;

	for (size_t at = 0; (t = control_next_task(d->c, &at)) != NULL;) {
		if ((s = service_of(d, t)) == NULL)
			continue;
		s->backends.count++;
		d->reached[s - d->services] += control_node_is_reached(d->c, t->node_id);
	}
}

/* Two rounds over the tasks: how many each service has, then which. Those on nodes that went silent
 * are left out, unless that would leave none: then nothing is lost by trying them. */
static int add_backends(struct draft *d, struct err *err)
{
	struct proto_service *s;
	const struct task *t;

	count_backends(d);
	for (size_t i = 0; i < d->count; i++) {
		struct json_array *list = &d->services[i].backends;

		list->items =
			arena_array(d->arena, list->count + 1, sizeof(struct proto_backend), err);
		if (!list->items)
			return -1;
		list->count = 0;
		list->present = true;
	}
	for (size_t at = 0; (t = control_next_task(d->c, &at)) != NULL;) {
		if ((s = service_of(d, t)) == NULL ||
		    (d->reached[s - d->services] > 0 && !control_node_is_reached(d->c, t->node_id)))
			continue;
		struct proto_backend *list = s->backends.items;
		list[s->backends.count++] = (struct proto_backend){
			.task_id = t->id,
			.node_id = t->node_id,
			.address = control_node(d->c, t->node_id)->status.addr,
			.ports = t->status.ports.ports,
		};
	}
	return 0;
}

int endpoints_write(const struct control *c, int64_t version, struct buf *out, struct err *err)
{
	auto_arena struct arena arena = ARENA_INIT(TABLE_ARENA_MAX);
	auto_type(map) by_id = map_create(err);
	struct draft d = {.c = c, .arena = &arena, .by_id = by_id};

	if (!by_id || add_services(&d, err) < 0 || add_backends(&d, err) < 0)
		return -1;
	struct proto_endpoints table = {
		.type = (char *)PROTO_ENDPOINTS,
		.epoch = control_epoch(c),
		.version = version,
		.services = {.items = d.services, .count = d.count, .present = true},
	};

	if (endpoints_networks(c, &arena, &table.networks, err) < 0)
		return -1;
	return json_encode_text(&proto_endpoints_table, &table, out, err);
}

/* ---- reading ---- */

/* A number that a port can have. */
static bool is_port(int64_t port)
{
	return port > 0 && port <= UINT16_MAX;
}

static bool is_address(const char *text)
{
	struct in6_addr any;

	return text &&
	       (inet_pton(AF_INET, text, &any) == 1 || inet_pton(AF_INET6, text, &any) == 1);
}

static bool same_target(const struct model_port *a, const struct model_port *b)
{
	return a->target_port == b->target_port && str_eq(a->protocol, b->protocol);
}

/* Where this node goes to reach the backend. False: it cannot. */
static bool resolve(const struct endpoints_view *view, const struct proto_backend *from,
                    const struct model_port *port, struct endpoint_backend *to)
{
	const struct model_port *given = from->ports.items;

	if (str_eq(from->node_id, view->node_id)) {
		*to = (struct endpoint_backend){
			.ip = (char *)view->address(view->arg, from->task_id),
			.port = (uint16_t)port->target_port,
			.local = true};
		return is_address(to->ip) && is_port(port->target_port);
	}
	for (size_t i = 0; i < from->ports.count; i++) {
		if (!same_target(&given[i], port) || !is_port(given[i].published_port))
			continue;
		*to = (struct endpoint_backend){.ip = from->address,
		                                .port = (uint16_t)given[i].published_port};
		return is_address(to->ip);
	}
	return false;
}

static int read_port(const struct endpoints_view *view, const struct proto_service *from,
                     const struct model_port *port, struct arena *arena,
                     struct endpoint_service *to, struct err *err)
{
	const struct proto_backend *backends = from->backends.items;

	*to = (struct endpoint_service){.id = from->id,
	                                .port = (uint16_t)port->published_port,
	                                .proto = port->protocol ? port->protocol : (char *)"tcp"};
	to->backends = arena_array(arena, from->backends.count + 1, sizeof(*to->backends), err);
	if (!to->backends)
		return -1;
	for (size_t i = 0; i < from->backends.count; i++) {
		struct endpoint_backend *next = &to->backends[to->count];

		if (!resolve(view, &backends[i], port, next))
			continue;
		next->ip = arena_strdup(arena, next->ip, err);
		if (!next->ip)
			return -1;
		to->count++;
	}
	return 0;
}

int endpoints_read(const char *text, size_t len, const struct endpoints_view *view,
                   struct arena *arena, struct endpoints *out, struct err *err)
{
	struct proto_endpoints table = {0};
	size_t count = 0;

	*out = (struct endpoints){0};
	if (json_decode_text(text, len, &proto_endpoints_table, arena, &table, err) < 0)
		return -1;
	const struct proto_service *services = table.services.items;
	for (size_t i = 0; i < table.services.count; i++)
		count += services[i].ports.count;
	out->services = arena_array(arena, count + 1, sizeof(*out->services), err);
	if (!out->services)
		return -1;
	out->node_id = view->node_id;
	out->networks = table.networks.items;
	out->network_count = table.networks.count;
	out->epoch = table.epoch;
	out->version = table.version;
	for (size_t i = 0; i < table.services.count; i++) {
		const struct model_port *ports = services[i].ports.items;

		for (size_t j = 0; j < services[i].ports.count; j++) {
			if (!is_port(ports[j].published_port))
				return err_set(err, ERR_INVALID, "service %s: bad port",
				               services[i].id);
			if (read_port(view, &services[i], &ports[j], arena,
			              &out->services[out->count], err) < 0)
				return -1;
			out->count++;
		}
	}
	return 0;
}
