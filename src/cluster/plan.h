/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * plan - what the cluster would do, before it does it.
 *
 *	struct plan *p = plan_open(c, now, err);   // a copy of the cluster in memory: under the lock
 *	plan_run(p, request, out, err);            // without it
 *	plan_free(p);
 *
 * It is no second scheduler: the control plane itself runs on the copy, in virtual time, with agents on the
 * nodes that are alive now which do at once what they are told. What a real machine does otherwise (an image
 * that is not found, a program that ends) a plan cannot know.
 */

#include "base/cleanup.h"
#include "cluster/control.h"

struct buf;
struct json;
struct plan;

#define PLAN_SERVICES_MAX 1000
#define PLAN_SECONDS_MAX                                                                           \
	3600 /* of virtual time: a roll-out that takes longer is shown as it is then */

/* NULL: the store's failure, or no memory. `c` is not needed afterwards. */
struct plan *plan_open(struct control *c, struct control_time now, struct err *err);
void plan_free(struct plan *plan);
DEFINE_AUTO(plan)

/*
 * request: {"Services": [spec, ...], "Remove": [name, ...], "Secrets": [name, ...], "Configs": [...]}: services to be
 * made, or changed where the name is there; those to be removed; secrets and configs that will be there by
 * then. A spec names its secrets; identifiers are filled in.
 *
 * Appends {"Seconds": virtual time until it rests, "Ended": does it rest?, "Services": [{"Name", "Action":
 * create|update|remove, "Kept", "Stopped", "Started", "Waiting": tasks, "Why": of one that waits,
 * "Nodes": [{"ID", "Hostname", "Before", "After"}]}]}.
 *
 * ERR_INVALID, ERR_NOT_FOUND, ERR_CONFLICT: what service_create or service_update says, with the service's name.
 */
int plan_run(struct plan *plan, const struct json *request, struct buf *out, struct err *err);
