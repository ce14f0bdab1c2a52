/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * container - what the command line remembers between two calls: <root>/<id>/ with
 *
 *   state.json   pid and its start time, bundle, when; written atomically
 *   config.json  the config as it was at creation
 *   start.sock   the first process listens here until it is started
 *   checkpoint   there while a checkpoint is made that ends it
 *
 * The directory's existence is the reservation of the id. Nothing here is durable: it lies in /run, and a
 * reboot ends containers as well.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/arena.h"
#include "base/cleanup.h"
#include "runtime/place.h"

struct err;
struct json;
struct oci_spec;

enum container_status {
	CONTAINER_CREATING,
	CONTAINER_CREATED,
	CONTAINER_RUNNING,
	CONTAINER_PAUSED,
	CONTAINER_STOPPED,
};

struct container {
	char *id;              /* owned */
	int root_fd, dir_fd;   /* owned: <root>, <root>/<id> */
	char *bundle;          /* in the arena, absolute */
	char *created;         /* in the arena, RFC 3339 */
	char *rootfs;          /* in the arena, absolute */
	int64_t pid;           /* 0: none yet */
	int64_t pid_start;     /* clock ticks since boot: tells a reused pid */
	int64_t owner;         /* uid */
	char *cgroup_manager;  /* in the arena, as place_parse_manager() takes it; NULL: cgroupfs */
	char *cgroup_path;     /* in the arena; where a manager has put the cgroup, or NULL */
	struct oci_spec *spec; /* in the arena */
	struct arena arena;
};

struct container_new {
	const char *root, *bundle;
	const char *config; /* its path; NULL: config.json in the bundle */
	enum place_manager manager;
};

/* Reserves the id and keeps the config. ERR_CONFLICT if it is taken, ERR_INVALID for the config. */
struct container *container_create(const struct container_new *new, const char *id,
                                   struct err *err);
/* ERR_NOT_FOUND. */
struct container *container_open(const char *root, const char *id, struct err *err);
void container_free(struct container *c);
DEFINE_AUTO(container)

/* Records the first process. cg: its cgroup, or NULL. */
int container_save(struct container *c, pid_t pid, const struct cgroup *cg, struct err *err);
/* Whether a checkpoint is under way that takes it down by itself. */
#define CONTAINER_CHECKPOINT_MARK "checkpoint" /* a file beside state.json */
bool container_is_taken(const struct container *c);
/* Where its cgroup is, borrowed from c. */
struct place container_place(const struct container *c);
enum container_status container_status(struct container *c);
const char *container_status_name(enum container_status status);
bool container_is_alive(const struct container *c);

/* The cgroup of a created container. NULL: ERR_NOT_FOUND. */
struct cgroup *container_cgroup(const struct container *c, struct err *err);
/* Kills what is left, removes cgroup and directory. `cg` is its cgroup where the caller has it
 * open, else NULL. */
int container_remove(struct container *c, struct cgroup *cg, struct err *err);

/* A directory that lacks state or config: its create or delete was killed, before there was a
 * process or after there was none. Takes it away; none there is success. */
int container_remove_half(const char *root, const char *id, struct err *err);

/* The state as OCI's runtime.md has it, with runc's additions. The caller owns it. */
struct json *container_state(struct container *c, struct err *err);

/* Ids below root, in no order: calls fn for each. */
int container_list(const char *root, int (*fn)(void *arg, const char *id), void *arg,
                   struct err *err);
