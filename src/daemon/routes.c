/* SPDX-License-Identifier: Apache-2.0 */
/* The one list of all routes. */

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "daemon/daemon.h"
#include "daemon/swarm.h"

static const struct http_route *const tables[] = {
	system_routes,  events_routes,      containers_routes,   streams_routes, exec_routes,
	archive_routes, images_routes,      transfer_routes,     build_routes,   networks_routes,
	volumes_routes, checkpoints_routes, system_check_routes,
};

static const struct http_route *const cluster_tables[] = {
	swarm_routes, nodes_routes, services_routes, tasks_routes, secrets_routes, backup_routes,
};

/* What managers answer for each other: the cluster's routes, and the part of a machine's own that concerns both. */
static const struct http_route *const shared_tables[] = {
	swarm_routes,   nodes_routes,  services_routes,        tasks_routes,
	secrets_routes, backup_routes, networks_shared_routes,
};

static size_t count(const struct http_route *table)
{
	size_t n = 0;

	while (table[n].method)
		n++;
	return n;
}

/* About this machine's own part. */
static bool is_local(const struct http_route *route)
{
	static const char *const patterns[] = {"/swarm/init",
	                                       "/swarm/join",
	                                       "/swarm/leave",
	                                       "/swarm/unlockkey",
	                                       "/swarm/unlock",
	                                       "/distribution/{*}/json",
	                                       "/buoy/v1/cluster/migrate",
	                                       "/buoy/v1/cluster/restore"};

	for (size_t i = 0; i < ARRAY_LEN(patterns); i++)
		if (str_eq(route->pattern, patterns[i]))
			return true;
	return false;
}

static struct http_route *join(const struct http_route *const *list, size_t tables_count,
                               size_t more, struct err *err)
{
	size_t total = 1 + more, used = 0;

	for (size_t i = 0; i < tables_count; i++)
		total += count(list[i]);
	struct http_route *all = calloc(total, sizeof(*all));
	if (!all) {
		err_nomem(err);
		return NULL;
	}
	for (size_t i = 0; i < tables_count; i++) {
		size_t n = count(list[i]);
		memcpy(all + used, list[i], n * sizeof(*all));
		used += n;
	}
	return all;
}

struct http_route *daemon_cluster_routes(struct err *err)
{
	struct http_route *all = join(shared_tables, ARRAY_LEN(shared_tables), 0, err);
	size_t kept = 0;

	for (size_t i = 0; all && all[i].method; i++)
		if (!is_local(&all[i]))
			all[kept++] = all[i];
	if (all)
		all[kept] = (struct http_route){0};
	return all;
}

struct http_route *daemon_routes(struct err *err)
{
	auto_free struct http_route *cluster =
		join(cluster_tables, ARRAY_LEN(cluster_tables), 0, err);
	size_t more = cluster ? count(cluster) : 0;
	struct http_route *all = cluster ? join(tables, ARRAY_LEN(tables), more, err) : NULL;

	for (size_t i = 0, used = all ? count(all) : 0; all && i < more; i++) {
		all[used + i] = cluster[i];
		if (!is_local(&cluster[i]))
			all[used + i].fn = swarm_dispatch;
	}
	return all;
}
