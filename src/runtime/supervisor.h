/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * supervisor - the process that stands behind one container or one exec'ed process.
 *
 * Forked by the launcher (serve.h); the engine's view of it is launcher.h, what is said between them
 * protocol.h, what it writes record.h. Its life:
 *
 *   supervisor_launch.c  reads the request, makes <run>/<id>, pipes, log; spawns; answers
 *   supervisor_confine.c gives up all other files, TCP and abstract sockets (Landlock)
 *   supervisor.c         one poll loop: stdio (streams.h), requests, the end of the process
 *   supervisor_ops.c     the requests
 *   supervisor_checkpoint.c  a process that comes from a checkpoint; and making one, which is not the supervisor's work
 *
 * At the end: kills what the process left in its cgroup, drains its output, reads the OOM counter,
 * removes the cgroup, writes exit.json, and only then tells watchers; stays until attached
 * clients have their output. Single-threaded, kept below 200 kB of its own memory: work memory
 * is mapped when needed and given back when nothing happens.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "runtime/logfile.h"
#include "runtime/nursery.h"
#include "runtime/record.h"
#include "runtime/spawn.h"
#include "runtime/streams.h"

struct oci_spec;
struct protocol_packet;

#define SUPERVISOR_CONNECTIONS_MAX 64
#define SUPERVISOR_SOCKET          "socket"
#define SUPERVISOR_ID_MAX          129

struct supervision_connection {
	int fd;     /* owned; -1: free */
	bool watch; /* gets every change */
	int slot;
};

struct supervision {
	char id[SUPERVISOR_ID_MAX];
	bool is_exec;
	int dir_fd;             /* owned; <run>/<id> */
	int listen_fd;          /* owned */
	int signal_fd;          /* owned; SIGCHLD */
	int config_fd;          /* owned; the container's config.json; -1 for an exec */
	struct nursery nursery; /* owned; until the launch is over */
	int note_fd; /* owned; open while the launcher is to do nothing beside our launch (serve.c) */
	struct spawned spawned;
	struct arena
		arena; /* the config that the process is made from, until it executes its program */
	struct record record;
	uint64_t oom_base; /* the counter before the program ran, or when we last killed */
	bool ended;        /* the process has been reaped */
	/* It comes from a checkpoint and runs before "start": its end is told after that, as any other one's. */
	bool awaits_start;
	bool has_log;
	struct logfile log;
	struct streams streams;
	struct supervision_connection connections[SUPERVISOR_CONNECTIONS_MAX];
};

/* What a forked supervisor does for all its life: takes over the request, whose descriptors it
 * closes, note_fd and the nursery, and returns the exit status for _exit(). run_dir_fd is borrowed. */
int supervisor_run(struct protocol_packet *request, int run_dir_fd, int note_fd,
                   struct nursery nursery);

/* Likewise for a request to make a checkpoint, whose reply socket hears how it went. */
int supervisor_checkpoint(struct protocol_packet *request, int run_dir_fd, int note_fd,
                          struct nursery nursery);
struct json;
/* In place of spawn_container(): the processes that are in from's files become s's. options' rootfs is needed. */
int supervisor_restore(struct supervision *s, struct oci_spec *spec,
                       const struct spawn_options *options, const struct json *from,
                       struct err *err);

/* State and config of a running container, from its supervisor. *config_fd: the caller's. ERR_CONFLICT if it does not run. */
int supervisor_ask(int run_dir_fd, const char *id, struct record *record, int *config_fd,
                   struct err *err);
/* From the config's first byte on. */
struct oci_spec *supervisor_read_spec(int config_fd, struct arena *arena, struct err *err);

/* Sets up from the request: on success the process waits for "start" and s is complete. On
 * failure nothing is left, neither process nor directory. */
int supervisor_launch(struct supervision *s, struct protocol_packet *request, int run_dir_fd,
                      struct err *err);

/* Rules for landlock_enter(): the run directory, the log's, the container's own cgroups, and to read /proc. Signals stay,
 * for killing is what a supervisor is for. *rules_fd: the caller's; untouched where the kernel has no Landlock. */
int supervisor_confine(const struct supervision *s, int *rules_fd, struct err *err);

/* Reads one request from a connection and answers it. -1: the connection is to be closed. */
int supervisor_answer(struct supervision *s, struct supervision_connection *connection);
/* Writes state.json and tells the watchers. */
void supervisor_changed(struct supervision *s);
/* The program runs, or will not for a while: the launcher may go on. */
void supervisor_launched(struct supervision *s);
/* Tells the watchers only. */
void supervisor_notify(struct supervision *s);
