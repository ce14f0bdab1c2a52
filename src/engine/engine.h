/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * engine - the containers, images, volumes and networks of one machine.
 *
 *	struct engine *engine = engine_open(&(struct engine_options){
 *		.root = "/var/lib/buoy", .run = "/run/buoy", .runtime_path = "/usr/bin/buoy-runtime",
 *		.log = &log}, err);
 *	container_create(engine, "web", &create, id, err);      // engine/container.h
 *	container_start(engine, "web", err);
 *	engine_close(engine);                                   // containers live on
 *
 * This header is the whole and its accessors; the parts are beside it:
 *
 *	container.h  create, start, stop, wait, attach, logs, list, inspect ...
 *	exec.h       more processes in a running container
 *	event.h      what happened, now and in the last while
 *	volume.h     directories that outlive containers
 *
 * The engine knows no HTTP. It composes image, net and the runtime's launcher, which do not know
 * each other. Its own state is engine.db (SQLite) under the root: every change is on the disk before
 * the call that made it returns. A running container is known by its supervisor, not by memory: after
 * a kill at any instruction engine_open() asks the supervisors, takes the exit records of those that
 * ended, and sweeps what was half made.
 *
 * Thread-safe: all calls may come from any thread, and block. Where a call takes `ref`, that is a
 * name, an id, or a unique prefix of an id; ERR_NOT_FOUND "No such container: x".
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/id.h"

struct arena;
struct build_runner;
struct engine;
struct err;
struct image_store;
struct log;
struct net;

/* Who gives addresses on networks that are not this machine's alone. */
struct engine_want {
	struct net *net;
	const char *network; /* name or id */
	const char *container_id;
	const char *const *names; /* NULL-terminated: what it answers to */
	const char *ipv4;         /* NULL: any */
};
struct engine_grant {
	char endpoint_id[ID_HEX_MAX];
	char ipv4[16];
};
/* Containers with it are tasks: they come with their addresses. */
#define ENGINE_TASK_LABEL "com.docker.swarm.task.id"
struct engine_granter {
	void *arg;
	/* Has the network on this machine and an address. 0: it is not one of those. 1: done() must follow.
	 * May take seconds. */
	int (*grant)(void *arg, const struct engine_want *want, struct engine_grant *out,
	             struct err *err);
	/* attached: the endpoint is there. */
	void (*done)(void *arg, const struct engine_grant *grant, bool attached);
};

struct engine_options {
	const char *root;         /* absolute; made 0700 if missing */
	const char *run;          /* absolute; made 0700 if missing; on a tmpfs */
	const char *name;         /* of this machine; NULL: its host name */
	const char *net_name;     /* suffix of bridges and rules, see net/net.h; NULL: "" */
	const char *runtime_path; /* the buoy-runtime program */
	const char *worker_path;  /* executed as `PROGRAM worker ...`; NULL: /proc/self/exe */
	bool userns_host;         /* containers have the host's ids unless they ask for their own */
	/* NULL-terminated; may be NULL: as in struct image_store_options. */
	const char *const *insecure_registries, *const *registry_mirrors, *const *registry_certs;
	const char *layers; /* "mounted", "directories"; NULL: as this machine can */
	const struct engine_granter *granter; /* borrowed; NULL: there are no such networks */
	const struct log *log;
};

/* Opens state, images and networks, starts the launcher, finds the containers again and restarts
 * those whose policy says so. ERR_CONFLICT when another daemon has the root. */
struct engine *engine_open(const struct engine_options *options, struct err *err);
/* Stops threads and closes; containers, their networks and supervisors stay. Calls in progress
 * must have returned (wait, attach, logs and events end early once engine_stop() was called). */
void engine_close(struct engine *engine);
/* From any thread: makes blocking calls return ERR_CANCELED, and begins no restarts any more. */
void engine_stop(struct engine *engine);

struct image_store *engine_images(struct engine *engine);
struct net *engine_net(struct engine *engine);
const struct log *engine_log(struct engine *engine);
const char *engine_name(struct engine *engine);
const char *engine_id(struct engine *engine); /* made once per root: Docker's info.ID */
const char *engine_root(struct engine *engine);
int engine_root_fd(struct engine *engine); /* borrowed */
int engine_run_fd(struct engine *engine);  /* borrowed */

/* RUN steps of a build: each a container of its own, under the launcher, with network, that leaves
 * nothing behind. Borrowed, lives as long as the engine. */
const struct build_runner *engine_build_runner(struct engine *engine);

struct engine_info {
	int64_t containers, running, paused, stopped;
	bool user_namespaces; /* containers have one of their own, if nothing else is asked for */
	const char *
		userns_why_not; /* what keeps them from it; NULL: nothing; lives as long as the engine */
};
void engine_info(struct engine *engine, struct engine_info *info);

/* For image_remove() and image_prune(): struct image_removed.in_use with arg = the engine. */
bool engine_image_in_use(void *engine, const char *id, bool running_only, char who[65]);
