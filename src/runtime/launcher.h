/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * launcher - the engine's side of `buoy-runtime serve` and of the supervisors it forks.
 *
 *	struct launcher *l = launcher_start("/usr/bin/buoy-runtime", run_dir_fd, log, err);
 *	launcher_create(l, &(struct launch){.id = id, .bundle_fd = fd, ...}, err);
 *	struct supervisor *s = supervisor_connect(run_dir_fd, id, err);
 *	supervisor_start(s, err);
 *
 * launcher_start() executes the launcher (posix_spawn; seqpacket socketpair) and starts it
 * again when it has died. The launcher forks one supervisor per container, or per exec'ed
 * process, which outlives launcher and daemon. Each supervisor owns a directory
 * <run>/<id>/ with:
 *
 *   socket      seqpacket, this protocol
 *   state.json  id, pid, start time, created/running, written when it changes
 *   exit.json   exit code, time, OOM: written durably before anyone is told
 *
 * The supervisor is the truth: after a restart of the daemon, list the directories,
 * connect, ask. Where there is exit.json and no living socket, the container has ended
 * so; where there is neither a living supervisor nor exit.json, the machine went down.
 * The directory is the engine's to remove (supervisor_forget()) once the exit is in
 * its own state.
 *
 * All calls block for at most a few seconds and may come from any thread. Protocol: one JSON
 * object per packet with a "op" key; descriptors by SCM_RIGHTS; runtime/protocol.h.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"

struct err;
struct launcher;
struct log;
struct supervisor;

struct launcher *launcher_start(const char *runtime_path, int run_dir_fd, const struct log *log,
                                struct err *err);
/* Closes the connection: the launcher exits, supervisors stay. */
void launcher_stop(struct launcher *launcher);
pid_t launcher_pid(struct launcher *launcher);

/* The root file system of a container: an overlay that is mounted only inside the container's
 * mount namespace, so that the host never has a mount to leak. */
struct launch_rootfs {
	const int *lower_fds; /* O_PATH or directory descriptors, top layer first; borrowed */
	size_t lower_count;
	int upper_fd, work_fd; /* -1 both: read-only root from the lowers */
	bool is_volatile;      /* overlay "volatile": no syncs (build steps) */
};

struct launch_log {
	int dir_fd;        /* where the log goes; -1: no log kept */
	const char *name;  /* file name in dir_fd; rotated to name.1, name.2 ... */
	int64_t size_max;  /* bytes before rotation; 0: never */
	int64_t files_max; /* kept, the current one included; >= 1 */
};

struct launch {
	const char *id;                     /* directory name under <run>; [a-zA-Z0-9_.-] */
	int bundle_fd;                      /* directory with config.json (an OCI runtime config) */
	const struct launch_rootfs *rootfs; /* NULL: config's root.path below the bundle as it is */
	const struct launch_log *log;       /* NULL: no log kept */
	bool stdin_open;                    /* keep a stdin pipe; else /dev/null */
	bool stdin_once;                    /* the first attached client's EOF closes it */
	uint16_t rows, cols;                /* first size of the terminal; 0: unset */
	/* The user namespace for the container, with the maps that its config has: layers and binds keep their ids
	 * on disk; borrowed. 0: as the config says. */
	int userns_fd;
	/* For an exec'ed process: the container it goes into. bundle_fd is then -1 and process_json
	 * an OCI "process" object. */
	const char *exec_into;
	const char *process_json;
	/* Not a new process: those that launcher_checkpoint() has written. They run when the launch is over;
	 * supervisor_start() is to follow all the same. May take minutes. */
	const struct launch_images *restore;
};

struct launch_images {
	const char *images; /* absolute path of a directory: CRIU's files */
	const char *work;   /* the same, made if it is missing: its log */
};

/* Writes the processes of container id to files, with CRIU; they end unless leave_running, of which the supervisor
 * tells. Blocks as long as that takes, at most LAUNCHER_CHECKPOINT_S. ERR_UNSUPPORTED: no CRIU that works here;
 * ERR_CONFLICT: it does not run, or is paused; ERR_SYSTEM with the end of CRIU's log. */
#define LAUNCHER_CHECKPOINT_S 900
int launcher_checkpoint(struct launcher *launcher, const char *id,
                        const struct launch_images *where, bool leave_running, struct err *err);

/* Forks the supervisor, makes namespaces, cgroups, mounts: everything up to the user's program
 * (OCI create). On success the container waits for supervisor_start(). An exec'ed process likewise.
 * The supervisor outlives everyone from here on. ERR_INVALID (config, with its path), ERR_CONFLICT (id), ... */
int launcher_create(struct launcher *launcher, const struct launch *launch, struct err *err);
struct supervisor;
/* The same, and the connection over which the supervisor has answered: no way to it is shorter. *pid: the process. */
struct supervisor *launcher_open(struct launcher *launcher, const struct launch *launch, pid_t *pid,
                                 struct err *err);

enum supervised_state {
	SUPERVISED_CREATED,
	SUPERVISED_RUNNING,
	SUPERVISED_PAUSED,
	SUPERVISED_STOPPED,
};

struct supervised {
	enum supervised_state state;
	pid_t pid;           /* in the host's pid namespace; 0 when stopped */
	int64_t started_ns;  /* wall clock */
	int64_t finished_ns; /* wall clock; stopped only */
	int exit_code;       /* 128 + signal when killed; stopped only */
	bool oom_killed;
};

/* Connects to <run>/<id>/socket. NULL: ERR_NOT_FOUND when nobody listens (see
 * supervisor_read_exit()). */
struct supervisor *supervisor_connect(int run_dir_fd, const char *id, struct err *err);
void supervisor_close(struct supervisor *s);
static inline void supervisor_free(struct supervisor *s)
{
	supervisor_close(s);
}
DEFINE_AUTO(supervisor)

int supervisor_state(struct supervisor *s, struct supervised *out, struct err *err);
/* Lets the program run. An exec failure (not found 127, not executable 126) is ERR_NOT_FOUND or
 * ERR_DENIED with OCI words: `exec: "x": executable file not found in $PATH`; the exit record then says the code. */
int supervisor_start(struct supervisor *s, struct err *err);
/* supervisor_start(), and what supervisor_watch() does, in one question. */
int supervisor_start_watched(struct supervisor *s, struct err *err);
int supervisor_kill(struct supervisor *s, int signal, bool all,
                    struct err *err); /* ERR_NOT_FOUND when it has exited */
int supervisor_resize(struct supervisor *s, uint16_t rows, uint16_t cols, struct err *err);
int supervisor_pause(struct supervisor *s, bool pause, struct err *err);
/* Changed limits: an OCI linux.resources object. */
int supervisor_update(struct supervisor *s, const char *resources_json, struct err *err);
/* Pids in the container's cgroup. Returns how many (the array may be smaller), at most 4096. */
ssize_t supervisor_pids(struct supervisor *s, pid_t *pids, size_t max, struct err *err);
/* Raw counters for stats, as a JSON object {memory: {...}, cpu: {...}, pids: {...}, blkio: {...}} the
 * caller free()s; shape in runtime/protocol.h. */
char *supervisor_stats(struct supervisor *s, struct err *err);

/* A stream socket to the process's stdio, which the caller closes. Reading gives Docker's frames
 * (1 or 2, three zero bytes, big-endian length, payload), or raw bytes when there is a terminal; EOF
 * after the process ended and all output was sent. Writing goes to its stdin; shutdown(SHUT_WR) ends it.
 * `logs`: what was output since the start, as far as a 64 KiB ring holds it, comes first. For a reader that
 * lags 1 MiB is kept; beyond that the process waits, as behind any pipe; a reader that then takes nothing for 30 s is
 * cut off. At most 64 at a time (ERR_LIMIT). */
struct supervisor_attach {
	bool in, out, err, logs;
};
int supervisor_attach(struct supervisor *s, const struct supervisor_attach *what, struct err *err);

/* Turns the connection into a feed: from now on only supervisor_wait() may be used. The descriptor
 * becomes readable when there is an event. */
int supervisor_watch(struct supervisor *s, struct err *err);
int supervisor_fd(const struct supervisor *s);
/* Reads one event. 1: *out is the exit; 0: something else changed (also in *out); -1: the supervisor is gone
 * (then supervisor_read_exit()). Blocks. */
int supervisor_wait(struct supervisor *s, struct supervised *out, struct err *err);

/* The durable record, when nobody listens any more. ERR_NOT_FOUND: there is none. */
int supervisor_read_exit(int run_dir_fd, const char *id, struct supervised *out, struct err *err);
/* Removes <run>/<id> and what a supervisor that died without cleaning up has left behind (its processes
 * by cgroup, the cgroups). Idempotent. */
int supervisor_forget(int run_dir_fd, const char *id, struct err *err);
/* Removes the cgroup that containers were made below ("/buoy") where it is empty. Whoever makes the next container
 * makes it again. */
void supervisor_forget_parent(const char *cgroup);
