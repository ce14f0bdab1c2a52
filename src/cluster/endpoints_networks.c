/* SPDX-License-Identifier: Apache-2.0 */
/* The part of the endpoint table that is about networks: who is on each, on which machine, and where names lead. */

#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/map.h"
#include "base/str.h"
#include "cluster/control.h"
#include "cluster/endpoints.h"
#include "cluster/network.h"
#include "cluster/proto.h"

#define KEY_MAX 64 /* two ids */

/* A group while it is filled. */
struct gathering {
	struct proto_group *group;
	size_t most, reached; /* tasks that answer; those of them whose node is reached */
};

struct draft {
	const struct control *c;
	struct arena *arena;
	struct proto_network *networks;
	size_t count;
	struct map *by_id;    /* struct proto_network; owned */
	struct map *by_group; /* struct gathering by "NETWORK/SERVICE"; owned */
};

static char *group_key(const char *network_id, const char *service_id, char key[KEY_MAX])
{
	snprintf(key, KEY_MAX, "%.30s/%.30s", network_id, service_id);
	return key;
}

/* "10.0.1.7/24" without its prefix. */
static char *bare(struct arena *arena, const char *address, struct err *err)
{
	return arena_printf(arena, err, "%.*s", (int)strcspn(address, "/"), address);
}

/* ---- groups: a service on a network ---- */

static const struct json_array *networks_of(const struct service *s)
{
	return s->spec.task.networks.count > 0 ? &s->spec.task.networks : &s->spec.networks;
}

static struct proto_network *find_network(const struct draft *d, const char *ref)
{
	struct proto_network *found = map_find(d->by_id, ref);

	for (size_t i = 0; !found && i < d->count; i++)
		if (str_eq(d->networks[i].network.spec.name, ref))
			found = &d->networks[i];
	return found;
}

static int fill_group(struct draft *d, const struct service *s, const struct service_network *on,
                      const char *network_id, struct proto_group *out, struct err *err)
{
	const struct service_vip *vips = s->endpoint.virtual_ips.items;

	out->names.items = arena_array(d->arena, on->aliases.count + 2, sizeof(char *), err);
	out->tasks = arena_printf(d->arena, err, "tasks.%s", s->spec.name);
	if (!out->names.items || !out->tasks)
		return -1;
	out->names.present = true;
	out->names.items[out->names.count++] = s->spec.name;
	for (size_t i = 0; i < on->aliases.count; i++)
		out->names.items[out->names.count++] = on->aliases.items[i];
	for (size_t i = 0; i < s->endpoint.virtual_ips.count; i++)
		if (str_eq(vips[i].network_id, network_id) &&
		    !(out->address = bare(d->arena, vips[i].addr, err)))
			return -1;
	return 0;
}

static int add_group(struct draft *d, const struct service *s, const struct service_network *on,
                     struct err *err)
{
	struct proto_network *network = find_network(d, on->target);
	struct gathering *gathering;
	char key[KEY_MAX];

	if (!network || map_find(d->by_group, group_key(network->network.id, s->id, key)) != NULL)
		return 0;
	struct proto_group *groups = network->groups.items;
	struct proto_group *group = &groups[network->groups.count++];
	gathering = arena_alloc(d->arena, sizeof(*gathering), err);
	if (!gathering)
		return -1;
	*gathering = (struct gathering){.group = group};
	if (fill_group(d, s, on, network->network.id, group, err) < 0)
		return -1;
	return map_set(d->by_group, key, gathering, NULL, err);
}

/* Calls fn for each network that each service is on. */
static int each_service(struct draft *d,
                        int (*fn)(struct draft *d, const struct service *s,
                                  const struct service_network *on, struct err *err),
                        struct err *err)
{
	const struct service *s;

	for (size_t at = 0; (s = control_next_service(d->c, &at)) != NULL;) {
		const struct service_network *on = networks_of(s)->items;

		for (size_t i = 0; i < networks_of(s)->count; i++)
			if (fn(d, s, &on[i], err) < 0)
				return -1;
	}
	return 0;
}

static int count_group(struct draft *d, const struct service *s, const struct service_network *on,
                       struct err *err)
{
	struct proto_network *network = find_network(d, on->target);

	(void)s, (void)err;
	if (network)
		network->groups.count++;
	return 0;
}

static int add_groups(struct draft *d, struct err *err)
{
	if (each_service(d, count_group, err) < 0)
		return -1;
	for (size_t i = 0; i < d->count; i++) {
		struct json_array *list = &d->networks[i].groups;

		list->items =
			arena_array(d->arena, list->count + 1, sizeof(struct proto_group), err);
		if (!list->items)
			return -1;
		list->count = 0;
		list->present = true;
	}
	return each_service(d, add_group, err);
}

/* ---- members: tasks and containers with an address ---- */

/* It is on a machine, or on its way there. */
static bool is_there(const struct draft *d, const struct task *t)
{
	return t->status.state >= TASK_ASSIGNED && t->status.state <= TASK_RUNNING && t->node_id &&
	       control_node(d->c, t->node_id) != NULL;
}

static bool answers(const struct draft *d, const struct task *t)
{
	return t->status.state == TASK_RUNNING && t->desired == TASK_RUNNING &&
	       control_node_is_alive(d->c, t->node_id);
}

/* Calls fn for each network that each task on a machine is on. */
static int each_task(struct draft *d,
                     int (*fn)(struct draft *d, const struct task *t, const struct task_network *on,
                               struct err *err),
                     struct err *err)
{
	const struct task *t;

	for (size_t at = 0; (t = control_next_task(d->c, &at)) != NULL;) {
		const struct task_network *on = t->networks.items;

		if (t->networks.count == 0 || !is_there(d, t))
			continue;
		for (size_t i = 0; i < t->networks.count; i++)
			if (on[i].addresses.count > 0 && fn(d, t, &on[i], err) < 0)
				return -1;
	}
	return 0;
}

static struct gathering *gathering_of(const struct draft *d, const struct task *t,
                                      const struct task_network *on)
{
	char key[KEY_MAX];

	return t->service_id ? map_find(d->by_group, group_key(on->network.id, t->service_id, key))
	                     : NULL;
}

static int count_member(struct draft *d, const struct task *t, const struct task_network *on,
                        struct err *err)
{
	struct proto_network *network = map_find(d->by_id, on->network.id);
	struct gathering *gathering = gathering_of(d, t, on);

	(void)err;
	if (network)
		network->members.count++;
	if (gathering && answers(d, t)) {
		gathering->most++;
		gathering->reached += control_node_is_reached(d->c, t->node_id);
	}
	return 0;
}

static int add_backend(struct draft *d, const struct task *t, struct gathering *gathering,
                       char *address, struct err *err)
{
	struct json_strings *list = &gathering->group->backends;

	if (!answers(d, t) ||
	    (gathering->reached > 0 && !control_node_is_reached(d->c, t->node_id)))
		return 0;
	if (!list->items)
		list->items = arena_array(d->arena, gathering->most + 1, sizeof(char *), err);
	if (!list->items)
		return -1;
	list->present = true;
	list->items[list->count++] = address;
	return 0;
}

static struct proto_member *next_member(struct proto_network *network)
{
	struct proto_member *members = network->members.items;

	return &members[network->members.count++];
}

static int name_task(struct draft *d, const struct task *t, struct proto_member *m, struct err *err)
{
	char **names = arena_array(d->arena, 2, sizeof(*names), err);

	if (!names)
		return -1;
	names[0] = t->slot > 0 ? arena_printf(d->arena, err, "%s.%lld.%s", t->service_name,
	                                      (long long)t->slot, t->id)
	                       : arena_printf(d->arena, err, "%s.%s.%s", t->service_name,
	                                      t->node_id, t->id);
	m->names = (struct json_strings){.items = names, .count = 1, .present = true};
	return names[0] ? 0 : -1;
}

static int add_member(struct draft *d, const struct task *t, const struct task_network *on,
                      struct err *err)
{
	struct proto_network *network = map_find(d->by_id, on->network.id);
	struct gathering *gathering = gathering_of(d, t, on);
	char *address = bare(d->arena, on->addresses.items[0], err);

	if (!address)
		return -1;
	if (gathering && add_backend(d, t, gathering, address, err) < 0)
		return -1;
	if (!network)
		return 0;
	struct proto_member *m = next_member(network);
	*m = (struct proto_member){.address = address,
	                           .node_id = t->node_id,
	                           .node_address = control_node(d->c, t->node_id)->status.addr};
	return name_task(d, t, m, err);
}

static void add_containers(struct draft *d, struct proto_network *network)
{
	const struct network_attachment *list = network->network.attachments.items;

	for (size_t i = 0; i < network->network.attachments.count; i++) {
		const struct node *n = control_node(d->c, list[i].node_id);

		if (n)
			*next_member(network) =
				(struct proto_member){.address = list[i].address,
			                              .node_id = list[i].node_id,
			                              .node_address = n->status.addr,
			                              .names = list[i].names,
			                              .attachment = list[i].id};
	}
	network->network.attachments = (struct json_array){0};
}

static int add_members(struct draft *d, struct err *err)
{
	if (each_task(d, count_member, err) < 0)
		return -1;
	for (size_t i = 0; i < d->count; i++) {
		struct json_array *list = &d->networks[i].members;

		list->items = arena_array(
			d->arena, list->count + d->networks[i].network.attachments.count + 1,
			sizeof(struct proto_member), err);
		if (!list->items)
			return -1;
		list->count = 0;
		list->present = true;
	}
	if (each_task(d, add_member, err) < 0)
		return -1;
	for (size_t i = 0; i < d->count; i++)
		add_containers(d, &d->networks[i]);
	return 0;
}

/* ---- the whole ---- */

static int add_networks(struct draft *d, struct err *err)
{
	const struct network *n;
	size_t most = 0;

	for (size_t at = 0; network_next(d->c, &at) != NULL;)
		most++;
	d->networks = arena_array(d->arena, most + 1, sizeof(*d->networks), err);
	if (!d->networks)
		return -1;
	for (size_t at = 0; (n = network_next(d->c, &at)) != NULL;) {
		struct proto_network *network = &d->networks[d->count++];

		network->network = *n;
		if (map_set(d->by_id, n->id, network, NULL, err) < 0)
			return -1;
	}
	return 0;
}

int endpoints_networks(const struct control *c, struct arena *arena, struct json_array *out,
                       struct err *err)
{
	auto_type(map) by_id = map_create(err);
	auto_type(map) by_group = map_create(err);
	struct draft d = {.c = c, .arena = arena, .by_id = by_id, .by_group = by_group};

	if (!by_id || !by_group || add_networks(&d, err) < 0 || add_groups(&d, err) < 0 ||
	    add_members(&d, err) < 0)
		return -1;
	*out = (struct json_array){.items = d.networks, .count = d.count, .present = d.count > 0};
	return 0;
}
