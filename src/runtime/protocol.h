/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * protocol - the packets between the engine, the launcher and the supervisors.
 *
 * One packet of a SOCK_SEQPACKET socket is one JSON object, with descriptors beside it
 * (SCM_RIGHTS). A request has an "op"; every request has one reply. A reply with "error"
 * failed: {"error": {"kind": "not found", "sys": 2, "message": "..."}}; any other succeeded.
 * Kinds go by name, because a supervisor may be older than the engine that asks it.
 *
 * Engine to launcher (the launcher's descriptor PROTOCOL_LAUNCHER_FD; the run directory is
 * PROTOCOL_RUN_DIR_FD). The launcher says {"ready": true} once, then only reads:
 *
 *   {"op": "launch", "id", "reply": N, "stdin_open", "stdin_once", "rows", "cols",
 *    "bundle": N, "log": {"dir": N, "name", "size_max", "files_max"},
 *    "rootfs": {"upper": N, "work": N, "lowers": N, "lower_count", "volatile"},
 *    "exec_into", "process": N, "restore"}
 *
 *   N is an index into the packet's descriptors; absent: none. "lowers" is the first of
 *   lower_count in a row. "reply" is a seqpacket socket on which the supervisor answers
 *   {"pid": N} or the error; after {"pid"} it is the supervisor's first connection, and takes the requests below.
 *   "process" is a memory file with an OCI process object. "restore": {"images", "work"}: absolute
 *   paths of directories, of the checkpoint that the processes come from and for CRIU's log. They run when the answer is
 *   there, and "start" only says that somebody knows it.
 *
 *   {"op": "checkpoint", "id", "reply": N, "into": {"images", "work"}, "leave_running"}
 *
 *   A process of its own writes the processes of container "id" there and answers {} or the error, as long as that may
 *   take. Unless they are left running they are killed then, of which the supervisor tells as of any other end.
 *
 * Engine to supervisor (<run>/<id>/socket):
 *
 *   {"op": "state"}                 -> the state (record.h)
 *   {"op": "start", "watch"}        -> {}, and with "watch" what that op says
 *   {"op": "kill", "signal", "all"} -> {}
 *   {"op": "resize", "rows", "cols"}, {"op": "pause", "pause"} -> {}
 *   {"op": "update", "resources": {OCI linux.resources}} -> {}
 *   {"op": "pids"}                  -> {"pids": [...]}, at most PROTOCOL_PIDS_MAX
 *   {"op": "stats"}                 -> {"memory": ..., ...} (cgroup_stats.h)
 *   {"op": "attach", "in", "out", "err", "logs"} -> {} and a stream socket
 *   {"op": "watch"}                 -> {}, then a state packet at each change; "stopped" is the last
 *   {"op": "config"}                -> the state and the open config.json (for an exec's supervisor)
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/json.h"

struct err;

#define PROTOCOL_LAUNCHER_FD 3
#define PROTOCOL_RUN_DIR_FD  4

#define PROTOCOL_PACKET_MAX (64 * 1024) /* bytes of JSON */
#define PROTOCOL_FDS_MAX    253         /* the kernel's SCM_MAX_FD */
#define PROTOCOL_LOWERS_MAX 240
#define PROTOCOL_PIDS_MAX   4096
#define PROTOCOL_CONFIG_MAX (8 * 1024 * 1024) /* config.json, process object */

struct protocol_packet {
	struct json *body;         /* owned */
	int fds[PROTOCOL_FDS_MAX]; /* owned; -1 once taken */
	size_t fd_count;
};
#define PROTOCOL_PACKET_INIT ((struct protocol_packet){.fd_count = 0})

void protocol_packet_done(struct protocol_packet *packet);
#define auto_packet __attribute__((cleanup(protocol_packet_done)))

/* The descriptor at the index that body[key] gives, still owned by the packet. -1: no such key, or
 * out of range. */
int protocol_fd(const struct protocol_packet *packet, const struct json *body, const char *key);

/* Sends one packet; descriptors are borrowed. Takes ownership of body, also on failure (NULL is
 * ERR_NOMEM). Blocks as the socket does. ERR_LIMIT for a body above PROTOCOL_PACKET_MAX,
 * ERR_UNAVAILABLE when the peer is gone, ERR_TIMEOUT when it does not read. */
int protocol_send(int fd, struct json *body, const int *fds, size_t fd_count, struct err *err);

/* Receives one packet into *out (initialised, empty). 1: there it is; 0: the peer closed;
 * -1: ERR_TIMEOUT (also: nothing there on a non-blocking socket), ERR_INVALID, ERR_LIMIT, ... */
int protocol_recv(int fd, struct protocol_packet *out, struct err *err);

/* An error as a reply, and back: 0 if `reply` is not one, else -1 with *err filled. */
struct json *protocol_error(const struct err *failure);
int protocol_check(const struct json *reply, struct err *err);
