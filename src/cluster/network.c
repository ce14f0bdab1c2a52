/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/network.h"

#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/id.h"
#include "base/str.h"
#include "cluster/control_state.h"

/* ---- finding ---- */

struct mirror_network *network_by_ref(const struct control *c, const char *ref)
{
	struct mirror_network *found = mirror_find_network(&c->m, ref), *n;

	for (size_t i = 0; !found && (n = mirror_network_at(&c->m, i)) != NULL; i++)
		if (str_eq(n->n->spec.name, ref))
			found = n;
	return found;
}

static struct mirror_network *find(const struct control *c, const char *ref, struct err *err)
{
	struct mirror_network *found = network_by_ref(c, ref), *n;
	size_t matches = 0;

	if (found)
		return found;
	for (size_t i = 0; *ref && (n = mirror_network_at(&c->m, i)) != NULL; i++)
		if (str_starts(n->o.id, ref)) {
			found = n;
			matches++;
		}
	if (matches == 1)
		return found;
	if (matches == 0)
		err_set(err, ERR_NOT_FOUND, "network %.128s not found", ref);
	else
		err_set(err, ERR_INVALID, "network %.128s is ambiguous (%zu matches found)", ref,
		        matches);
	return NULL;
}

const struct network *network_find(const struct control *c, const char *ref, struct err *err)
{
	const struct mirror_network *network = find(c, ref, err);

	return network ? network->n : NULL;
}

const struct network *network_next(const struct control *c, size_t *at)
{
	const struct mirror_network *network = mirror_network_at(&c->m, *at);

	++*at;
	return network ? network->n : NULL;
}

/* ---- changing ---- */

static void forget(struct control *c)
{
	mirror_done(&c->m);
	c->loaded = false;
}

int network_create(struct control *c, struct control_time now, const struct network_wish *wish,
                   char *id, struct err *err)
{
	auto_arena struct arena arena = ARENA_INIT(MODEL_ARENA_MAX);
	char made[ID_SWARM_MAX], stamp[CLOCK_TEXT_MAX];
	struct network n = {.id = made, .spec = wish->spec};

	if (id_check_name(wish->spec.name, "network name", err) < 0 ||
	    control_begin(c, now, err) < 0)
		return -1;
	if (network_by_ref(c, wish->spec.name))
		return err_set(err, ERR_CONFLICT, "network with name %s already exists",
		               wish->spec.name);
	if (allocator_network(c, wish->subnet, wish->gateway, &arena, &n, err) < 0)
		return -1;
	n.spec.driver.name = (char *)"overlay";
	control_make_id(c, made);
	n.created_at = n.updated_at = control_stamp(c, stamp);
	if (!mirror_add_network(&c->m, &n, err)) {
		forget(c);
		return -1;
	}
	if (control_finish(c, err) < 0)
		return -1;
	memcpy(id, made, sizeof(made));
	return 0;
}

static bool refers(const struct json_array *networks, const struct network *n)
{
	const struct service_network *items = networks->items;

	for (size_t i = 0; i < networks->count; i++)
		if (str_eq(items[i].target, n->id) || str_eq(items[i].target, n->spec.name))
			return true;
	return false;
}

static const struct task *find_task(const struct control *c, const struct network *n)
{
	const struct mirror_task *task;

	for (size_t i = 0; (task = mirror_task_at(&c->m, i)) != NULL; i++)
		if (allocator_holds(task->t, n->id))
			return task->t;
	return NULL;
}

int network_remove(struct control *c, struct control_time now, const char *ref, bool *leaving,
                   struct err *err)
{
	const struct mirror_service *service;

	*leaving = false;
	if (control_begin(c, now, err) < 0)
		return -1;
	struct mirror_network *network = find(c, ref, err);
	if (!network)
		return -1;
	for (size_t i = 0; (service = mirror_service_at(&c->m, i)) != NULL; i++)
		if (refers(&service->s->spec.task.networks, network->n) ||
		    refers(&service->s->spec.networks, network->n))
			return err_set(err, ERR_CONFLICT, "network %s is in use by service %s",
			               network->n->spec.name, service->s->spec.name);
	const struct task *task = find_task(c, network->n);
	*leaving = task != NULL;
	if (task)
		return err_set(err, ERR_CONFLICT, "network %s is in use by task %s",
		               network->n->spec.name, task->id);
	if (network->n->attachments.count > 0)
		return err_set(
			err, ERR_CONFLICT, "network %s is in use by container %.12s",
			network->n->spec.name,
			((struct network_attachment *)network->n->attachments.items)->container_id);
	mirror_remove_network(&c->m, network);
	return control_finish(c, err);
}

/* ---- plain containers ---- */

static const struct network_attachment *find_attachment(const struct network *n, const char *id)
{
	const struct network_attachment *list = n->attachments.items;

	for (size_t i = 0; i < n->attachments.count; i++)
		if (str_eq(list[i].id, id))
			return &list[i];
	return NULL;
}

static int replace(struct control *c, struct mirror_network *network,
                   const struct json_array *attachments, struct err *err)
{
	struct network next = *network->n;

	next.attachments = *attachments;
	return mirror_change(&c->m, &network->o, &next, err);
}

static int add(struct control *c, struct mirror_network *network, const struct network_want *want,
               struct arena *arena, char **address, struct err *err)
{
	const struct json_array *had = &network->n->attachments;
	struct network_attachment *list = arena_array(arena, had->count + 1, sizeof(*list), err);

	if (!list || allocator_give(c, network, want->address, arena, address, err) < 0)
		return -1;
	if (had->count > 0)
		memcpy(list, had->items, had->count * sizeof(*list));
	list[had->count] = (struct network_attachment){
		.id = (char *)want->id,
		.container_id = (char *)want->container_id,
		.node_id = (char *)want->node_id,
		.address = *address,
		.names = want->names,
	};
	struct json_array next = {.items = list, .count = had->count + 1, .present = true};

	if (replace(c, network, &next, err) < 0) {
		forget(c);
		return -1;
	}
	return control_finish(c, err);
}

/* What outlives the step. */
static int copy(const struct network *from, struct arena *arena, struct network *to,
                struct err *err)
{
	auto_buf struct buf text = BUF_INIT(MODEL_TEXT_MAX);
	struct network cut = allocator_cut(from);

	if (json_encode_text(&network_table, &cut, &text, err) < 0)
		return -1;
	struct network *read = network_decode(text.data, text.len, arena, err);
	if (read)
		*to = *read;
	return read ? 0 : -1;
}

int network_attach(struct control *c, struct control_time now, const struct network_want *want,
                   struct arena *arena, struct network *n, char **address, struct err *err)
{
	if (control_begin(c, now, err) < 0)
		return -1;
	struct mirror_network *network = find(c, want->network, err);
	if (!network)
		return -1;
	if (!network->n->spec.attachable)
		return err_set(err, ERR_DENIED, "network %s not manually attachable",
		               network->n->spec.name);
	*address = (char *)"";
	if (copy(network->n, arena, n, err) < 0 || str_empty(want->id))
		return str_empty(want->id) && n->id ? 0 : -1;
	if (!mirror_find_node(&c->m, want->node_id))
		return err_set(err, ERR_DENIED, "node %s is not part of this cluster",
		               want->node_id);
	const struct network_attachment *had = find_attachment(network->n, want->id);
	if (!had)
		return add(c, network, want, arena, address, err);
	if (!str_eq(had->node_id, want->node_id))
		return err_set(err, ERR_DENIED, "endpoint %s is another node's", want->id);
	*address = arena_strdup(arena, had->address, err);
	return *address ? 0 : -1;
}

static bool is_among(const struct json_strings *ids, const char *id)
{
	for (size_t i = 0; i < ids->count; i++)
		if (str_eq(ids->items[i], id))
			return true;
	return false;
}

/* ids NULL: all of the node's. */
static int drop(struct control *c, struct mirror_network *network, const char *node_id,
                const struct json_strings *ids, struct err *err)
{
	auto_arena struct arena arena = ARENA_INIT(MODEL_ARENA_MAX);
	const struct network_attachment *had = network->n->attachments.items;
	size_t count = network->n->attachments.count;
	struct network_attachment *left = arena_array(&arena, count + 1, sizeof(*left), err);
	struct json_array next = {.items = left, .present = true};

	if (!left)
		return -1;
	for (size_t i = 0; i < count; i++)
		if (!str_eq(had[i].node_id, node_id) || (ids && !is_among(ids, had[i].id)))
			left[next.count++] = had[i];
	return next.count == count ? 0 : replace(c, network, &next, err);
}

static int drop_all(struct control *c, const char *node_id, const struct json_strings *ids,
                    struct err *err)
{
	struct mirror_network *network;

	for (size_t i = 0; (network = mirror_network_at(&c->m, i)) != NULL; i++)
		if (drop(c, network, node_id, ids, err) < 0)
			return -1;
	c->schedule = true; /* tasks may have waited for an address */
	return 0;
}

int network_detach(struct control *c, struct control_time now, const char *node_id,
                   const struct json_strings *ids, struct err *err)
{
	if (control_begin(c, now, err) < 0)
		return -1;
	if (drop_all(c, node_id, ids, err) < 0) {
		forget(c);
		return -1;
	}
	return control_finish(c, err);
}

int network_forget_node(struct control *c, const char *node_id, struct err *err)
{
	return drop_all(c, node_id, NULL, err);
}
