/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "cluster/control_state.h"

/* allocator - published ports: the ones asked for if nobody has them, else a free one. */

#define PORT_FIRST 30000
#define PORT_LAST  32767

static bool is_ingress(const struct model_port *port)
{
	return !str_eq(port->publish_mode, "host");
}

static const char *protocol_of(const struct model_port *port)
{
	return str_empty(port->protocol) ? "tcp" : port->protocol;
}

/* Ingress ports collide with every service's; host ports with ingress ports only (two services may
 * use one host port on different nodes, which is the scheduler's business). */
static bool collide(const struct model_port *a, const struct model_port *b)
{
	return a->published_port == b->published_port && str_eq(protocol_of(a), protocol_of(b)) &&
	       (is_ingress(a) || is_ingress(b));
}

static const struct service *holder(const struct control *c, const char *own_id,
                                    const struct model_port *wanted)
{
	for (size_t i = 0; i < c->m.services.count; i++) {
		const struct service *s = mirror_service_at(&c->m, i)->s;
		const struct model_port *ports = s->endpoint.ports.items;

		for (size_t k = 0; k < s->endpoint.ports.count && !str_eq(s->id, own_id); k++)
			if (collide(&ports[k], wanted))
				return s;
	}
	return NULL;
}

static bool is_among(const struct json_array *ports, size_t before, const struct model_port *wanted)
{
	const struct model_port *items = ports->items;

	for (size_t i = 0; i < before; i++)
		if (items[i].published_port != 0 && collide(&items[i], wanted))
			return true;
	return false;
}

/* The number this service had for the same target, so that an update does not move it. */
static int64_t former(const struct control *c, const char *own_id, const struct model_port *port)
{
	const struct mirror_service *service = mirror_find_service(&c->m, own_id);
	const struct json_array *ports = service ? &service->s->endpoint.ports : NULL;

	for (size_t i = 0; ports && i < ports->count; i++) {
		const struct model_port *old = &((const struct model_port *)ports->items)[i];

		if (old->target_port == port->target_port &&
		    str_eq(protocol_of(old), protocol_of(port)) && is_ingress(old))
			return old->published_port;
	}
	return 0;
}

static int choose(const struct control *c, const char *own_id, const struct json_array *ports,
                  struct model_port *port, struct err *err)
{
	struct model_port wanted = *port;

	wanted.published_port = former(c, own_id, port);
	if (wanted.published_port == 0 || wanted.published_port > PORT_LAST ||
	    holder(c, own_id, &wanted) || is_among(ports, ports->count, &wanted))
		wanted.published_port = PORT_FIRST;
	for (; wanted.published_port <= PORT_LAST; wanted.published_port++)
		if (!holder(c, own_id, &wanted) && !is_among(ports, ports->count, &wanted)) {
			port->published_port = wanted.published_port;
			return 0;
		}
	return err_set(err, ERR_LIMIT, "no free port to publish: %d-%d are all in use", PORT_FIRST,
	               PORT_LAST);
}

static int check_asked(const struct control *c, const char *own_id, const struct json_array *ports,
                       size_t i, struct err *err)
{
	const struct model_port *port = &((const struct model_port *)ports->items)[i];
	const struct service *other = holder(c, own_id, port);

	if (port->published_port == 0)
		return 0;
	if (is_among(ports, i, port))
		return err_set(err, ERR_INVALID, "port '%lld' is published twice",
		               (long long)port->published_port);
	if (other)
		return err_set(err, ERR_CONFLICT,
		               "port '%lld' is already in use by service '%s' (%s)",
		               (long long)port->published_port, other->spec.name, other->id);
	return 0;
}

int allocator_assign(struct control *c, const char *own_id, const struct service_spec *spec,
                     struct arena *arena, struct service_endpoint *endpoint, struct err *err)
{
	const struct json_array *asked = &spec->endpoint.ports;
	struct service_endpoint made = {.spec = json_get(spec->raw, "EndpointSpec")};
	struct model_port *ports =
		arena_memdup(arena, asked->items, asked->count * sizeof(*ports), err);

	if (!ports)
		return -1;
	made.ports = (struct json_array){.items = ports, .count = asked->count, .present = true};
	for (size_t i = 0; i < asked->count; i++) {
		if (str_empty(ports[i].protocol))
			ports[i].protocol = (char *)"tcp";
		if (str_empty(ports[i].publish_mode))
			ports[i].publish_mode = (char *)"ingress";
		if (check_asked(c, own_id, &made.ports, i, err) < 0)
			return -1;
	}
	for (size_t i = 0; i < asked->count; i++)
		if (ports[i].published_port == 0 && is_ingress(&ports[i]) &&
		    choose(c, own_id, &made.ports, &ports[i], err) < 0)
			return -1;
	*endpoint = made;
	return allocator_vips(c, own_id, spec, arena, endpoint, err);
}
