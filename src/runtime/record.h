/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * record - what a supervisor says and writes about its process.
 *
 * One JSON object, the same in a "state" reply, in a watcher's event and in the files
 * <run>/<id>/state.json (replaced at each change) and exit.json (written once, durably,
 * before anyone is told):
 *
 *   {"id": "4f53...", "state": "running", "pid": 812, "pid_started": 90210,
 *    "supervisor": 810, "supervisor_started": 90207, "started": NS, "finished": NS,
 *    "exit_code": 0, "oom_killed": false, "oom_kills": 0, "cgroup": "/buoy/4f53..."}
 *
 * NS is wall-clock nanoseconds since 1970. "pid_started" is field 22 of /proc/<pid>/stat: a
 * pid whose start differs has been reused by another process.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "runtime/launcher.h"

struct err;
struct json;

#define RECORD_STATE "state.json"
#define RECORD_EXIT  "exit.json"
/* A symlink whose target is the cgroup's path. It is there before the cgroup: what a supervisor was
 * making when it was killed is found by it. */
#define RECORD_CGROUP "cgroup"

#define RECORD_CGROUP_MAX 1200 /* bytes, NUL included; as CGROUP_PATH_MAX */

struct record {
	struct supervised seen;
	uint64_t pid_started; /* clock ticks since boot; 0: unknown */
	pid_t supervisor;
	uint64_t supervisor_started;
	uint64_t oom_kills;             /* in the whole container since its start */
	char cgroup[RECORD_CGROUP_MAX]; /* "" : none, or not ours (an exec) */
};

/* The caller owns the result. NULL: no memory. */
struct json *record_encode(const char *id, const struct record *record);
/* ERR_INVALID for a document without a known state. */
int record_decode(const struct json *doc, struct record *out, struct err *err);

/* Replaces `name` in dir_fd. RECORD_EXIT is synced to the disk, RECORD_STATE is not: what it
 * tells does not survive a reboot anyway. */
int record_write(int dir_fd, const char *name, const char *id, const struct record *record,
                 struct err *err);
/* ERR_NOT_FOUND; ERR_INVALID. */
int record_read(int dir_fd, const char *name, struct record *out, struct err *err);

/* Start time of a process in clock ticks since boot. 0: there is no such process. */
uint64_t record_process_start(pid_t pid);
