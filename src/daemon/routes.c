/* SPDX-License-Identifier: Apache-2.0 */
/* The one list of all routes. */

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/str.h"
#include "daemon/daemon.h"

static const struct http_route *const tables[] = {
	system_routes,  events_routes, containers_routes, streams_routes,  exec_routes,
	archive_routes, images_routes, transfer_routes,   build_routes,    networks_routes,
	volumes_routes, swarm_routes,  nodes_routes,      services_routes, tasks_routes,
};

static size_t count(const struct http_route *table)
{
	size_t n = 0;

	while (table[n].method)
		n++;
	return n;
}

struct http_route *daemon_routes(struct err *err)
{
	size_t total = 1, used = 0;

	for (size_t i = 0; i < ARRAY_LEN(tables); i++)
		total += count(tables[i]);
	struct http_route *all = calloc(total, sizeof(*all));
	if (!all) {
		err_nomem(err);
		return NULL;
	}
	for (size_t i = 0; i < ARRAY_LEN(tables); i++) {
		size_t n = count(tables[i]);
		memcpy(all + used, tables[i], n * sizeof(*all));
		used += n;
	}
	return all;
}
