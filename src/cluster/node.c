/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/node.h"

#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "cluster/control_state.h"
#include "cluster/filter.h"
#include "cluster/network.h"

/* ---- finding ---- */

static struct mirror_node *find(const struct control *c, const char *ref, struct err *err)
{
	struct mirror_node *found = mirror_find_node(&c->m, ref);
	size_t matches = 0;

	if (found)
		return found;
	for (size_t i = 0; i < c->m.nodes.count; i++)
		if (str_eq(mirror_node_at(&c->m, i)->n->description.hostname, ref)) {
			found = mirror_node_at(&c->m, i);
			matches++;
		}
	for (size_t i = 0; i < c->m.nodes.count && matches == 0 && *ref; i++)
		if (str_starts(mirror_node_at(&c->m, i)->o.id, ref)) {
			found = mirror_node_at(&c->m, i);
			matches++;
			/* Two ids that begin alike in a row are two too many: ids are sorted. */
			const struct mirror_node *next = mirror_node_at(&c->m, i + 1);
			if (next && str_starts(next->o.id, ref))
				matches++;
		}
	if (matches == 1)
		return found;
	if (matches == 0)
		err_set(err, ERR_NOT_FOUND, "node %s not found", ref);
	else
		err_set(err, ERR_INVALID, "node %s is ambiguous (%zu matches found)", ref, matches);
	return NULL;
}

const struct node *node_find(const struct control *c, const char *ref, struct err *err)
{
	struct mirror_node *node = find(c, ref, err);

	return node ? node->n : NULL;
}

/* As it is shown: who leads and which managers are there is known by the leader, not by the store. */
static int show(const struct control *c, const struct mirror_node *node,
                int (*fn)(void *arg, const struct node *n, struct err *err), void *arg,
                struct err *err)
{
	struct node shown = *node->n;
	struct node_manager manager;

	if (shown.manager && c->config.self[0]) {
		bool self = str_eq(shown.id, c->config.self);

		manager = *shown.manager;
		manager.leader = self;
		manager.reachability = (char *)(self || node->alive ? "reachable" : "unreachable");
		shown.manager = &manager;
	}
	return fn(arg, &shown, err);
}

static int write_text(void *arg, const struct node *n, struct err *err)
{
	return json_encode_text(&node_table, n, arg, err);
}

static int append(void *arg, const struct node *n, struct err *err)
{
	return json_append(arg, json_encode(&node_table, n, err)) < 0 ? err_nomem(err) : 0;
}

int node_inspect(struct control *c, const char *ref, struct buf *out, struct err *err)
{
	const struct mirror_node *node = find(c, ref, err);

	return node ? show(c, node, write_text, out, err) : -1;
}

static bool matches(const struct json *filters, const struct node *n)
{
	return filter_prefix(filters, "id", n->id) &&
	       filter_prefix(filters, "name", n->description.hostname) &&
	       filter_exact(filters, "role", n->spec.role) &&
	       filter_exact(filters, "membership", "accepted") &&
	       filter_labels(filters, "node.label", &n->spec.labels) &&
	       filter_labels(filters, "label", &n->description.engine.labels);
}

int node_list(struct control *c, const struct json *filters, struct buf *out, struct err *err)
{
	static const char *const allowed[] = {"id",    "name",       "role", "membership",
	                                      "label", "node.label", NULL};
	auto_type(json) list = json_array();

	if (filter_allow(filters, allowed, err) < 0)
		return -1;
	for (size_t i = 0; i < c->m.nodes.count; i++) {
		const struct mirror_node *node = mirror_node_at(&c->m, i);

		if (matches(filters, node->n) && show(c, node, append, list, err) < 0)
			return -1;
	}
	return json_write(list, out, err);
}

/* ---- changing ---- */

static int check_spec(const struct node_spec *spec, struct err *err)
{
	if (!str_eq(spec->availability, "active") && !str_eq(spec->availability, "pause") &&
	    !str_eq(spec->availability, "drain"))
		return err_set(err, ERR_INVALID,
		               "invalid availability \"%s\": must be active, pause or drain",
		               spec->availability ? spec->availability : "");
	if (!str_eq(spec->role, "worker") && !str_eq(spec->role, "manager"))
		return err_set(err, ERR_INVALID, "invalid role \"%s\": must be worker or manager",
		               spec->role ? spec->role : "");
	return 0;
}

/* Whoever is to be a worker is a manager no longer. Enough of the others must be there to go on. */
static int check_demotion(const struct control *c, const struct mirror_node *node, struct err *err)
{
	size_t others = 0, there = 0;

	for (size_t i = 0; i < c->m.nodes.count; i++) {
		const struct mirror_node *other = mirror_node_at(&c->m, i);

		if (other == node || !other->n->manager)
			continue;
		others++;
		there += other->alive || str_eq(other->o.id, c->config.self);
	}
	if (others == 0)
		return err_set(err, ERR_INVALID,
		               "attempting to demote the last manager of the swarm");
	if (there == 0 || (c->config.voting && there <= others / 2))
		return err_set(err, ERR_INVALID,
		               "can't remove member from the raft: this would result in a loss of "
		               "quorum (%zu of the %zu other managers can be reached)",
		               there, others);
	return 0;
}

/* A worker that is promoted becomes a manager when it has what it needs: control_node_enlist(). */
static int check_role(const struct control *c, const struct mirror_node *node,
                      const struct node_spec *spec, struct err *err)
{
	if (str_eq(spec->role, node->n->spec.role))
		return 0;
	if (str_eq(spec->role, "worker"))
		return node->n->manager ? check_demotion(c, node, err) : 0;
	if (!c->config.shared)
		return err_set(err, ERR_UNSUPPORTED,
		               "this cluster keeps its state in a file on one machine and cannot "
		               "have a second manager: move it first, by buoy cluster "
		               "migrate-store etcd");
	return 0;
}

static void evaluate_all(struct control *c)
{
	for (size_t i = 0; i < c->m.services.count; i++)
		mirror_service_at(&c->m, i)->evaluate = true;
	c->schedule = true;
}

static void forget(struct control *c)
{
	mirror_done(&c->m);
	c->loaded = false;
}

int node_update(struct control *c, struct control_time now, const struct node_change *change,
                struct err *err)
{
	auto_arena struct arena arena = ARENA_INIT(MODEL_ARENA_MAX);
	struct node_spec spec = {0};

	if (control_begin(c, now, err) < 0)
		return -1;
	struct mirror_node *node = find(c, change->ref, err);
	if (!node)
		return -1;
	if (node->n->version.index != change->version)
		return err_set(err, ERR_CONFLICT, "update out of sequence");
	if (json_decode_text(change->text, change->len, &node_spec_table, &arena, &spec, err) < 0 ||
	    check_spec(&spec, err) < 0 || check_role(c, node, &spec, err) < 0)
		return -1;

	struct node next = *node->n;
	next.spec = spec;
	if (str_eq(spec.role, "worker"))
		next.manager = NULL;
	if (mirror_change_node(&c->m, node, &next, err) < 0) {
		forget(c);
		return -1;
	}
	evaluate_all(c);
	return control_finish(c, err);
}

int node_remove(struct control *c, struct control_time now, const char *ref, bool force,
                struct err *err)
{
	if (control_begin(c, now, err) < 0)
		return -1;
	struct mirror_node *node = find(c, ref, err);
	if (!node)
		return -1;
	if (node->n->manager && (!force || node->alive || str_eq(node->o.id, c->config.self)))
		return err_set(err, ERR_CONFLICT,
		               "node %s is a cluster manager and is a member of the raft cluster. "
		               "It must be demoted to worker before removal; one that is down "
		               "can be removed by force",
		               node->o.id);
	if (!force && node->alive)
		return err_set(err, ERR_CONFLICT, "node %s is not down and can't be removed",
		               node->o.id);
	if (health_node_lost(c, node, "node was removed", err) < 0 ||
	    network_forget_node(c, node->o.id, err) < 0) {
		forget(c);
		return -1;
	}
	mirror_remove_node(&c->m, node);
	evaluate_all(c);
	return control_finish(c, err);
}
