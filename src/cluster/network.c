/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/network.h"

#include <string.h>

#include "base/arena.h"
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
