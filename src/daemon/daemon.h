/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * daemon - buoyd: what all routes share, and the tables they are in.
 *
 * One file per resource: containers.c, exec.c, images.c, build.c, networks.c, volumes.c, system.c,
 * events.c ... each with one table that ends with {NULL}. daemon_routes() joins them at the start; the
 * first match wins only by the server's rule (the most literal pattern), so order does not matter.
 *
 * A route turns a request into one struct, calls the engine, and answers. It gets `struct daemon *` as ctx.
 */

#include <stdint.h>

#include "base/id.h"
#include "http/server.h"

struct executor;
struct engine;
struct log;
struct member;
struct overlays;
struct swarm_self;

#define DAEMON_API_VERSION     144 /* what we say, and the newest that we take */
#define DAEMON_API_VERSION_MIN 124

struct daemon {
	struct engine *engine;
	const struct log *log;
	const char *root, *run, *name;
	const char *listen_addr;    /* "IP:PORT" for the cluster; NULL: the default */
	const char *advertise_addr; /* or NULL */
	const char *const *insecure_registries, *const *registry_mirrors; /* as given */
	int64_t started_ns;
	struct member *member;     /* our part in a cluster; by swarm_open() */
	struct executor *executor; /* the same */
	struct overlays *overlays; /* addresses on the cluster's networks */
	struct http_route *shared; /* the same; owned: daemon_cluster_routes() */
	const char *store;         /* "etcd://...": for `swarm init`; NULL: a file of our own */
	const char *store_ca, *store_cert, *store_key; /* files, for "etcds://..." */
	int64_t store_compaction_ms;
	struct swarm_self *self; /* the same: how this machine describes itself to others */
};

extern const struct http_route containers_routes[], checkpoints_routes[], streams_routes[],
	exec_routes[], archive_routes[], images_routes[], transfer_routes[], build_routes[],
	networks_routes[], volumes_routes[], system_routes[], system_check_routes[],
	events_routes[], swarm_routes[], nodes_routes[], services_routes[], tasks_routes[],
	secrets_routes[], backup_routes[], networks_shared_routes[];

/* Those of one cluster, whichever manager is asked; joined; the caller free()s it. */
struct http_route *daemon_cluster_routes(struct err *err);
/* All tables, joined; the caller free()s it. Those of the cluster go through swarm_dispatch(). */
struct http_route *daemon_routes(struct err *err);
