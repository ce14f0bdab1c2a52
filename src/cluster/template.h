/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * template - the places in a service's spec that are filled in per task: "{{.Task.Slot}}" in
 * environment, host name, mounts.
 *
 * Known: .Service.ID .Service.Name .Service.Labels.KEY (and index .Service.Labels "KEY"),
 * .Node.ID .Node.Hostname .Node.Platform.Architecture .Node.Platform.OS, .Task.ID .Task.Name
 * .Task.Slot. Anything else between the braces is ERR_INVALID: a typing error shall show as a
 * rejected task, not as an odd host name.
 */

#include "base/json.h"

struct arena;
struct err;

struct template_values {
	const char *service_id, *service_name;
	const struct json_strmap *service_labels; /* may be NULL */
	const char *node_id, *node_hostname, *node_architecture, *node_os;
	const char *task_id, *task_name,
		*task_slot; /* the slot of a global service is the node's id */
};

/* The text with its places filled in, in the arena; text itself when there are none. */
char *template_expand(const char *text, const struct template_values *values, struct arena *arena,
                      struct err *err);
