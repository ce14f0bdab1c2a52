/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * private - what the engine's own files share. Nobody outside src/engine includes it.
 *
 * Locks, in the order in which they may be taken:
 *   container.op    one operation on the container at a time (start, settle, remove, rename ...); the only
 *                   lock that is held while something blocks
 *   engine.lock     the tables of containers and names, and the list of execs
 *   container.lock  the fields of one container
 *   events.lock     inside event.c
 * Whoever changes what is stored holds op. Threads: the loop thread watches supervisors and timers and
 * never blocks; the pool does what follows; callers bring their own.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "api/container.h"
#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/id.h"
#include "build/build.h"
#include "engine/container.h"
#include "engine/engine.h"
#include "net/net.h"
#include "oci/digest.h"
#include "runtime/launcher.h"

#define ENGINE_CGROUP "/buoy" /* containers are below, unless they ask for another parent */

struct db;
struct events;
struct exec;
struct health;
struct ids;
struct image_store;
struct launcher;
struct loop;
struct loop_source;
struct map;
struct pool;

struct engine {
	char *root, *name, *worker_path;
	char id[ID_HEX_MAX];
	const struct log *log;
	int root_fd, run_fd; /* <root>, <run> */
	int lock_fd;         /* <root>/lock, held */
	int containers_fd;   /* <root>/containers */
	int volumes_fd;      /* <root>/volumes */
	int builds_fd;       /* <root>/builds: bundles of RUN steps; emptied at open */
	int supervisors_fd;  /* <run>/containers: one directory per supervisor */
	int stop_fd;         /* eventfd: readable for good once the engine stops */
	atomic_bool stopping;
	struct db *db;
	struct ids *ids;
	bool memory_v2;   /* spec.h */
	bool userns_host; /* the host's ids, unless a container asks for its own */
	struct image_store *images;
	struct net *net;
	struct launcher *launcher;
	struct loop *loop;
	pthread_t loop_thread;
	bool loop_running;
	struct pool *pool;
	struct events *events;
	struct build_runner build_runner;
	const struct engine_granter *granter; /* or NULL */
	pthread_mutex_t lock;
	struct map *by_id, *by_name;    /* struct container; guarded by lock */
	struct map *execs;              /* struct exec; guarded by lock */
	struct exec_watch *ended_execs; /* those of them that have ended, oldest first; loop only */
	size_t ended_exec_count;
	pthread_mutex_t volume_lock; /* one volume operation at a time */
};

/* ---- config: what was asked for, merged with the image; never changes once made ---- */

struct config {
	atomic_int refs;
	struct arena arena;
	struct api_container_create create;
	struct container_mount *mounts; /* resolved: sources are absolute paths */
	size_t mount_count;
	char **argv; /* NULL-terminated */
};

struct config *config_create(struct err *err);
struct config *config_ref(struct config *config);
void config_free(struct config *config); /* drops one reference */
DEFINE_AUTO(config)
/* From what config_write() made of it. */
struct config *config_parse(const char *request, const char *mounts, struct err *err);
/* argv from entrypoint and cmd. */
int config_set_argv(struct config *config, struct err *err);
struct buf;
int config_write_mounts(const struct config *config, struct buf *out, struct err *err);

/* ---- netinfo: the networks that a container is on right now; never changes once made ---- */

struct netinfo {
	atomic_int refs;
	struct arena arena;
	struct container_network *networks;
	size_t network_count;
	struct net_port *ports;
	size_t port_count;
};

struct netinfo *netinfo_create(struct err *err);
struct netinfo *netinfo_ref(struct netinfo *info);
void netinfo_free(struct netinfo *info);
DEFINE_AUTO(netinfo)

/* ---- container ---- */

enum container_status {
	STATUS_CREATED,
	STATUS_RUNNING,
	STATUS_PAUSED,
	STATUS_RESTARTING,
	STATUS_REMOVING,
	STATUS_EXITED,
	STATUS_DEAD,
};

struct container {
	atomic_int refs;
	struct engine *engine; /* borrowed */
	char id[ID_HEX_MAX];
	int64_t created_ns;
	char image_id[DIGEST_TEXT_MAX];
	uint32_t first_id; /* see ids.h; never changes once it is created */
	pthread_mutex_t op;
	pthread_mutex_t lock;
	pthread_cond_t changed; /* broadcast with every change of status or exit_seen */

	/* guarded by lock; written only by holders of op, but for exit, exit_seen, health */
	char *name;
	struct config *config;
	struct netinfo *netinfo;
	enum container_status status;
	uint64_t run; /* counts starts */
	pid_t pid;
	int exit_code;
	bool oom_killed;
	bool manually_stopped;
	bool gone; /* removed: out of the tables */
	char error[256];
	int64_t started_ns, finished_ns;
	int64_t restart_count;
	int64_t backoff_ms;
	bool exit_seen;
	struct supervised exit;
	struct container_wait *waits;
	struct container_attach *attaches;
	struct health *health; /* NULL without a check */
};

const char *status_text(enum container_status status);
bool status_parse(const char *text, enum container_status *status);

struct container *container_new(struct engine *engine, const char *id, struct err *err);
struct container *container_ref(struct container *c);
void container_free(struct container *c); /* drops one reference */
DEFINE_AUTO(container)

/* The container that `ref` means, with a reference for the caller. */
struct container *container_get(struct engine *engine, const char *ref, struct err *err);
/* All of them, each with a reference; free with container_free() and free(). */
struct container **container_all(struct engine *engine, size_t *count, struct err *err);
/* Takes the name for the id: ERR_CONFLICT in Docker's words. */
int container_name_take(struct engine *engine, const char *name, struct container *c,
                        struct err *err);
void container_name_drop(struct engine *engine, const char *name);

static inline bool container_is_up(const struct container *c) /* lock held */
{
	return c->status == STATUS_RUNNING || c->status == STATUS_PAUSED;
}
struct config *container_config(struct container *c);   /* a reference */
struct netinfo *container_netinfo(struct container *c); /* a reference or NULL */
/* Its directory <root>/containers/<id>. */
int container_dir(struct container *c, struct err *err);
/* The connection to its supervisor. ERR_CONFLICT "Container x is not running". */
struct supervisor *container_supervisor(struct container *c, struct err *err);
/* event_add() for a container: image, name and labels are attributes. */
void container_event(struct container *c, const char *action, const char *key, const char *value);

/* ---- parts (each in the file of its name) ---- */

/* state.c */
extern const char *const state_schema[];
int state_insert(struct container *c, struct err *err);
int state_save(struct container *c, struct err *err); /* all that may change; op held */
int state_save_config(struct container *c, const struct config *config, struct err *err);
int state_delete(struct container *c, struct err *err);
int state_load(struct engine *engine, struct err *err);
int state_engine_id(struct engine *engine, struct err *err);

/* start.c, settle.c, remove.c: op held */
int start_locked(struct container *c, struct err *err);
/* container_start() of the processes in a checkpoint; NULL: of its program. Takes op itself. */
int start_from(struct container *c, const struct launch_images *from, struct err *err);
int settle_locked(struct container *c, struct err *err);
/* After an exit: removes (--rm), plans the restart, or nothing. */
void settle_after(struct container *c);
int remove_locked(struct container *c, bool volumes, struct err *err);
/* The same for one that ends by itself (--rm): its files go a little later, when whoever waits has been told. */
int remove_ended(struct container *c, struct err *err);
/* Watches its supervisor from the loop thread. */
int watch_container(struct container *c, struct supervisor *s, struct err *err);
void restart_later(struct container *c, int64_t delay_ms);
int64_t restart_backoff(int64_t before_ms, int64_t uptime_ms);
bool restart_wanted(const struct api_restart_policy *policy, int exit_code, bool manually_stopped,
                    int64_t restart_count);
/* Blocks until the run'th run has been settled; timeout -1: no limit. ERR_TIMEOUT, ERR_CANCELED. */
int settle_wait(struct container *c, uint64_t run, int64_t timeout_ms, struct err *err);

/* wait.c: op not needed */
/* what: exit or removal; run: which one's end it is, WAIT_ANY_RUN: there will be none. */
#define WAIT_ANY_RUN UINT64_MAX
void wait_tell(struct container *c, enum container_condition what, uint64_t run);
struct container_wait;
int wait_fd(const struct container_wait *wait); /* readable when it is over; borrowed */
void attach_tell(struct container *c, struct supervisor *s); /* NULL: it will not start */

/* endpoints.c: op held */
int endpoints_up(struct container *c, const struct config *config, struct err *err);
void endpoints_down(struct container *c);
int endpoints_reload(struct container *c, const struct net_port *ports, size_t count,
                     struct err *err);
/* "" or default -> bridge; else the network's name. */
const char *endpoints_mode(const struct api_host_config *host);
bool endpoints_is_network(const char *mode); /* not none, host, container:x */

/* supervise.c */
/* Kills what runs under that name, if anything does, and removes what is left of it. Blocks for seconds at most. */
int supervise_end(struct engine *engine, const char *id, struct err *err);
/* What went wrong, without the supervisor's own name in front. */
const char *supervise_reason(const struct err *why, const char *id);

/* reconcile.c */
int reconcile_run(struct engine *engine, struct err *err);

/* health.c */
void health_start(struct container *c);
void health_stop(struct container *c);
void health_free(struct health *health);
int health_view(struct container *c, struct arena *arena, struct container_view *out,
                struct err *err); /* lock held */

/* exec.c */
void exec_drop_all(struct engine *engine, const char *container_id); /* container is gone */
void exec_forget_all(struct engine *engine);                         /* engine closes */
int exec_ids(struct engine *engine, const char *container_id, struct arena *arena, char ***out,
             struct err *err);

/* event.c */
struct events *events_create(struct err *err);
void events_free(struct events *events);

/* buildrun.c */
int buildrun_run(void *ctx, const struct build_step *step, struct err *err);
int buildrun_resolve_user(void *ctx, const char *user, int root_fd, uint32_t *uid, uint32_t *gid,
                          struct err *err);

/* Runs fn(arg) on the pool; on failure (queue full) it is tried again a little later. */
void engine_later(struct engine *engine, void (*fn)(void *arg), void *arg);
/* Waits for fd (-1: none), cancel_fd (-1: none) or the end of the engine. 1: fd; 0: time; -1 ERR_CANCELED. */
int engine_poll(struct engine *engine, int fd, int cancel_fd, int64_t timeout_ms, struct err *err);
