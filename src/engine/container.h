/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * container - the life of containers: create, start, stop, wait, remove; and what they look like.
 *
 * States: created -> running <-> paused -> exited, with "restarting" between an exit and
 * the next start of a restart policy, and "removing" on the way out. Calls on one container are
 * taken one at a time (its operation lock); calls on different containers do not wait for each other.
 * Reading (list, inspect, logs, wait, attach) never waits for a slow operation.
 *
 * `ref`, threads, blocking: see engine.h.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "api/container.h"
#include "base/cleanup.h"
#include "base/id.h"
#include "net/net.h"
#include "oci/digest.h"

struct arena;
struct engine;
struct err;
struct reference;

/* ---- life ---- */

/* Checks the request, merges it with the image's config, and makes the container: row, directories,
 * volumes; nothing runs. name NULL or "": one is made up. `create` is borrowed and unchanged.
 * ERR_NOT_FOUND "No such image: x" (the caller may pull and try again), ERR_CONFLICT (name in use),
 * ERR_INVALID, ERR_UNSUPPORTED. */
int container_create(struct engine *engine, const char *name,
                     const struct api_container_create *create, char id[ID_HEX_MAX],
                     struct err *err);

/* 1: it runs already, nothing was done. A program that cannot be executed is ERR_INVALID with OCI
 * words ("... executable file not found in $PATH: unknown"), and the container is left exited with 127 or 126. */
int container_start(struct engine *engine, const char *ref, struct err *err);
/* Stop signal, then SIGKILL after timeout_s (-1: the container's own, 10; no limit: INT64_MAX).
 * signal NULL: the container's own. 1: it was not running. */
int container_stop(struct engine *engine, const char *ref, int64_t timeout_s, const char *signal,
                   struct err *err);
int container_restart(struct engine *engine, const char *ref, int64_t timeout_s, const char *signal,
                      struct err *err);
/* "KILL", "SIGKILL", "9"; NULL or "": KILL. ERR_CONFLICT when not running. */
int container_kill(struct engine *engine, const char *ref, const char *signal, struct err *err);
int container_pause(struct engine *engine, const char *ref, bool pause, struct err *err);
/* ERR_CONFLICT when running, unless force. volumes: its anonymous volumes go too. */
int container_remove(struct engine *engine, const char *ref, bool force, bool volumes,
                     struct err *err);
int container_rename(struct engine *engine, const char *ref, const char *name, struct err *err);
int container_resize(struct engine *engine, const char *ref, uint16_t rows, uint16_t cols,
                     struct err *err);
/* Limits and restart policy; `doc` is Docker's body of POST .../update. */
int container_update(struct engine *engine, const char *ref, struct json *doc, struct err *err);
/* Stopped ones that pass the filters (label, until). Ids go into the arena. Returns bytes given back, or -1. */
int64_t container_prune(struct engine *engine, const struct json *filters, struct arena *arena,
                        struct json_strings *removed, struct err *err);

/* ---- networks of a container; also for one that is not running ---- */

int container_connect(struct engine *engine, const char *ref, const char *network,
                      const struct api_endpoint *endpoint, struct err *err);
int container_disconnect(struct engine *engine, const char *ref, const char *network, bool force,
                         struct err *err);

/* ---- waiting: in two steps, so that a caller can answer its peer in between ---- */

enum container_condition {
	CONTAINER_NOT_RUNNING,
	CONTAINER_NEXT_EXIT,
	CONTAINER_REMOVED,
};

struct container_exit {
	int code;
	char error[256]; /* "" */
};

struct container_wait;
struct container_wait *container_wait_begin(struct engine *engine, const char *ref,
                                            enum container_condition condition, struct err *err);
/* Blocks. ERR_CANCELED when cancel_fd (-1: none) became readable or hung up, or the engine stops. */
int container_wait_end(struct container_wait *wait, int cancel_fd, struct container_exit *out,
                       struct err *err);
void container_wait_free(struct container_wait *wait);
DEFINE_AUTO(container_wait)

/* ---- stdio: in two steps as well, because a client attaches before it starts ---- */

struct container_attach_options {
	bool in, out, err;
	bool logs; /* what was output since the start comes first */
};

struct container_attach;
struct container_attach *container_attach_begin(struct engine *engine, const char *ref,
                                                const struct container_attach_options *what,
                                                struct err *err);
bool container_attach_tty(const struct container_attach *attach);
/* Blocks until the container has been started; then a stream socket as of supervisor_attach(), which
 * the caller closes. ERR_CANCELED: cancel_fd (the client; -1: none) hung up both ways - input that waits,
 * or has ended, is no reason -, the engine stops, or the container was removed unstarted. */
int container_attach_end(struct container_attach *attach, int cancel_fd, struct err *err);
void container_attach_free(struct container_attach *attach);
DEFINE_AUTO(container_attach)

struct container_logs_options {
	bool out, err, follow;
	int64_t since_ns, until_ns; /* wall clock; 0: none */
	int64_t tail;               /* last lines; -1: all */
	int cancel_fd;              /* ends a follow when it speaks; -1: none */
};
/* Calls fn for every record, oldest first; -1 from it ends the call (ERR_CANCELED). With follow,
 * blocks until the container ends, cancel_fd speaks, or the engine stops. ERR_UNSUPPORTED for driver "none". */
int container_logs(struct engine *engine, const char *ref,
                   const struct container_logs_options *options,
                   int (*fn)(void *arg, int stream, int64_t time_ns, const char *data, size_t len),
                   void *arg, struct err *err);

/* ---- looking ---- */

struct container_network {
	char *name;
	struct api_endpoint endpoint; /* as asked for, with what the network gave */
};

struct container_mount {
	char *type; /* bind volume tmpfs */
	char *name, *source, *destination, *driver, *mode, *propagation;
	bool rw;
};

struct container_health_probe {
	int64_t start_ns, end_ns;
	int exit_code;
	char *output;
};

struct container_view {
	char id[ID_HEX_MAX];
	char *name; /* without "/" */
	char *image_id;
	int64_t created_ns, started_ns, finished_ns;
	const char *status; /* created running paused restarting removing exited dead */
	char *error;        /* of the last start; "" */
	pid_t pid;          /* 0 when not running */
	int exit_code;
	bool running, paused, restarting, oom_killed, dead;
	int64_t restart_count;
	const char *health; /* NULL: no check; "starting" "healthy" "unhealthy" */
	int64_t health_failing_streak;
	struct container_health_probe *health_log;
	size_t health_log_count;
	struct api_container_create *create; /* effective: merged with the image's config */
	char **argv;                         /* entrypoint and command; NULL-terminated */
	struct container_network *networks;
	size_t network_count;
	struct net_port *ports; /* published, with the chosen host ports */
	size_t port_count;
	struct container_mount *mounts;
	size_t mount_count;
	char **exec_ids; /* NULL-terminated */
	char **opt_outs; /* defaults that it does without, see optout.h; NULL-terminated */
	char *log_path, *hosts_path, *hostname_path, *resolv_conf_path, *upper_path, *netns_path;
	int64_t size_rw, size_root_fs; /* -1 unless asked for */
};

/* In the caller's arena (give it a few MiB). */
int container_inspect(struct engine *engine, const char *ref, bool size, struct arena *arena,
                      struct container_view *out, struct err *err);

struct container_list_options {
	bool all;      /* also those that do not run */
	int64_t limit; /* newest n, whatever their state; <= 0: no limit */
	bool size;
	const struct json
		*filters; /* id name label status ancestor before since exited volume network
	                             * health publish expose is-task; NULL: none */
};
/* Newest first. */
int container_list(struct engine *engine, const struct container_list_options *options,
                   struct arena *arena, struct container_view **out, size_t *count,
                   struct err *err);
/* Id of what `ref` means, without reading more. */
int container_find(struct engine *engine, const char *ref, char id[ID_HEX_MAX], struct err *err);

/* Processes, as {"Titles": [...], "Processes": [[...]]}. ERR_CONFLICT when not running. */
struct json *container_top(struct engine *engine, const char *ref, const char *ps_args,
                           struct err *err);
/* One reading as Docker's stats object, without precpu_stats (the reader of a stream has the one
 * before). A container that does not run gives zeros. */
struct json *container_stats(struct engine *engine, const char *ref, struct err *err);

/* ---- its files ---- */

/* The root file system as the container sees it (running: with its mounts; else a private overlay mount that
 * goes away with the descriptor). For fs_..._in(). The caller closes it. */
int container_rootfs_open(struct engine *engine, const char *ref, struct err *err);

/* Its layers with its own changes, read-only, without volumes and other mounts: what an image of it would have. */
int container_layers_open(struct engine *engine, const char *ref, struct err *err);

struct container_commit {
	const struct reference *name; /* or NULL */
	const char *author, *comment;
	const char *const *changes;      /* Dockerfile instructions, NULL-terminated, or NULL */
	const struct api_config *config; /* replaces the container's; or NULL */
	bool pause;
};
int container_commit(struct engine *engine, const char *ref, const struct container_commit *commit,
                     char id[DIGEST_TEXT_MAX], struct err *err);
