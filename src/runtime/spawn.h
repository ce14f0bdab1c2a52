/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * spawn - a container's first process, or one more process in it, from a parsed OCI config.
 *
 * The common ground of `buoy-runtime create/run/exec` and of the supervisors that
 * `buoy-runtime serve` forks. Single-threaded callers only; the caller is the parent and reaps.
 *
 *	struct oci_spec *spec = spec_parse(text, len, arena, err);   // runtime/spec.h
 *	struct spawned p = SPAWNED_INIT;
 *	spawn_container(spec, &options, &p, err);   // everything but execve of the program
 *	spawn_release(&p, err);                     // now execve; its failure is reported here
 *
 * The child waits on a socket between the two calls (OCI create / start), and reads spec (and an exec's process) once
 * more after it: they stay until spawn_release() has returned, or the child is dead.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "runtime/notify.h"
#include "runtime/place.h"

struct birth;
struct cgroup;
struct err;
struct nursery;
struct oci_spec;

/* The overlay to be used as root instead of spec->root.path: attached inside the container's mount
 * namespace only. Descriptors are borrowed. */
struct spawn_rootfs {
	const int *lower_fds; /* top layer first */
	size_t lower_count;
	int upper_fd, work_fd; /* -1: read-only */
	bool is_volatile;
};

struct spawn_options {
	const char *id;
	int bundle_fd;
	const struct spawn_rootfs *rootfs; /* NULL: spec's root.path, relative to the bundle */
	/* Stdio of the program when it has no terminal. */
	int stdin_fd, stdout_fd, stderr_fd;
	uint16_t rows, cols;
	bool no_pivot;
	bool no_new_keyring;
	bool check_program;  /* a program that cannot be executed fails here, not at release */
	size_t preserve_fds; /* descriptors 3.. to keep */
	/* SIGKILL when the caller dies: a supervised process must not live on alone. Lost if the program changes
	 * its user later. */
	bool die_with_parent;
	/* A listening seqpacket socket (borrowed) on which spawn_release_by() of another process connects;
	 * 0 or less: released by spawn_release(). */
	int start_fd;
	/* The user namespace (borrowed) to be used for the spec's one, which has the spec's maps; 0 or less: made here.
	 * With it layers and bind sources keep their ids: they are mapped into it where their file system can. */
	int userns_fd;
	/* Where the new mount namespace is copied from, if nothing of the host's is needed there; borrowed; may be NULL. */
	const struct nursery *nursery;
	/* For hooks' state on stdin; may be NULL. */
	const char *bundle_path;
	/* Who makes the cgroup; for an exec where the container's is. */
	struct place place;
	/* An exec's place below the container's cgroup, each as cgroup_descend() takes it. */
	const char *const *cgroups;
	size_t cgroup_count;
	/* Compiled seccomp program to use instead of compiling spec's (a cache); NULL: compile. */
	const void *seccomp_bpf;
	size_t seccomp_len;
};

struct spawned {
	pid_t pid;                 /* in our pid namespace */
	int pidfd;                 /* owned */
	int control_fd;            /* owned; the child waits on it for spawn_release() */
	int console_fd;            /* owned; terminal master, or -1 */
	struct cgroup *cgroup;     /* owned; NULL if the config asks for none and for an exec */
	struct birth *birth;       /* owned; what the child works with until it executes */
	struct notify_agent agent; /* owned; who answers its system calls, if anybody */
};
/* Options with nothing asked for: stdio is the caller's own. */
#define SPAWN_OPTIONS_INIT                                                                         \
	((struct spawn_options){                                                                   \
		.bundle_fd = -1, .stdin_fd = 0, .stdout_fd = 1, .stderr_fd = 2, .start_fd = -1})
#define SPAWNED_INIT ((struct spawned){.pid = -1, .pidfd = -1, .control_fd = -1, .console_fd = -1})

/* OCI create: cgroup, namespaces, mounts, pivot_root, devices, masks, capabilities, seccomp, ... up to execve. On
 * failure nothing is left: no process, no cgroup. */
int spawn_container(const struct oci_spec *spec, const struct spawn_options *options,
                    struct spawned *out, struct err *err);

struct oci_process;
/* One more process in the container whose init is init_pid: joins its namespaces and cgroup, drops to `process`.
 * The container's spec gives defaults (seccomp, masks are inherited by namespace). */
int spawn_exec(const struct oci_spec *spec, const struct oci_process *process, pid_t init_pid,
               const struct spawn_options *options, struct spawned *out, struct err *err);

/* OCI start: lets the child execve. A failed execve is ERR_NOT_FOUND (`exec: "x": executable file not found in $PATH`),
 * ERR_DENIED (`exec: "x": permission denied`) or ERR_SYSTEM; the child is then gone with status 127 or 126. */
int spawn_release(struct spawned *p, struct err *err);

/* The same from another process, over a connection to the socket behind options->start_fd, which it closes. agent: from
 * notify_agent_make(). */
int spawn_release_by(int connection_fd, const struct notify_agent *agent, struct err *err);

/* Closes descriptors, frees the cgroup handle (the cgroup itself stays). */
void spawned_done(struct spawned *p);
