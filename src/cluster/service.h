/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * service - what the API does with services: one function per request. node.h and task.h are
 * its siblings.
 *
 * All take text and give text in Docker's shape, so the routes only carry it. Each write
 * is one acknowledged commit: when it returns 0 the change survives a crash, and the loops
 * have taken their first step with it. Threads and blocking as in control.h.
 *
 * `ref` is an id, a name, or an id's unique beginning. ERR_NOT_FOUND "service REF not found";
 * ERR_INVALID "service REF is ambiguous (2 matches found)".
 * `filters` is Docker's filters document or NULL: {"name":{"web":true}} or {"name":["web"]}.
 * An unknown filter is ERR_INVALID "invalid filter 'x'".
 * `version` is the Version.Index the client read; anything else is ERR_CONFLICT "update out of
 * sequence".
 */

#include "cluster/control.h"

struct buf;

/* *id gets the new service's id (ID_SWARM_MAX bytes). ERR_INVALID: what service_spec_check says;
 * ERR_CONFLICT: the name or a published port is taken. */
int service_create(struct control *c, struct control_time now, const char *text, size_t len,
                   char *id, struct err *err);

/* rollback: the spec that was there before the last update comes back; text is ignored. */
struct service_change {
	const char *ref;
	uint64_t version;
	bool rollback;
	const char *text;
	size_t len;
};
int service_update(struct control *c, struct control_time now, const struct service_change *change,
                   struct err *err);

/* Its tasks are stopped, then forgotten; the name is free at once. */
int service_remove(struct control *c, struct control_time now, const char *ref, struct err *err);

/* Appends one object, or an array of them. `status` adds ServiceStatus (RunningTasks, DesiredTasks).
 * Filters: id name label mode. */
int service_inspect(struct control *c, const char *ref, struct buf *out, struct err *err);
int service_list(struct control *c, const struct json *filters, bool status, struct buf *out,
                 struct err *err);

/* Why tasks of it do not run yet: appends an object {ID, Name, Running, Tasks: [{ID, Slot, State, Why, Filters,
 * Nodes}]} with each task that shall run and does not. Filters and Nodes (scheduler_explain) for those without a
 * node. */
int service_explain(struct control *c, const char *ref, struct buf *out, struct err *err);

const struct service *service_find(const struct control *c, const char *ref, struct err *err);
