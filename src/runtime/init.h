/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * init - what runs in the child between clone3(2) and execve(2) of the user's program.
 *
 * The parent (runtime/spawn.c) prepares everything that needs the host's view: descriptors of
 * the root and of bind sources, the cgroup, the seccomp program. The child only follows the plan,
 * speaks over one seqpacket socket and never returns. Nothing from inside the container's root is
 * executed but the user's program.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

struct cgroup;
struct oci_process;
struct oci_spec;
struct spawn_options;

enum init_message_type {
	INIT_USERNS = 1, /* child: map my ids */
	INIT_HOOKS,      /* child: all is mounted; run the hooks of the runtime's namespaces */
	INIT_GO,         /* parent: go on */
	INIT_READY,      /* child: only the program is missing; carries the terminal's master */
	INIT_RELEASE,    /* parent: execute it */
	INIT_LISTENER, /* child, after its release: the seccomp listener, for the agent; waits for INIT_GO */
	INIT_FAILED, /* child: err says why; it is gone then */
};

struct init_message {
	int type;
	struct err err;
};

/* One message. fd: sent along, or -1. */
int init_send(int socket, const struct init_message *message, int fd, struct err *err);
/* 1: a message; 0: the other side is gone. *fd: received, the caller's, or -1; may be NULL. */
int init_receive(int socket, struct init_message *message, int *fd, struct err *err);

/* Namespace files to join, each for setns(2). */
struct init_join {
	int fd; /* owned by the plan */
	int flag;
};

#define INIT_JOINS_MAX 8

struct init_plan {
	const struct oci_spec *spec;
	const struct oci_process *process;
	const struct spawn_options *options;
	struct cgroup *cgroup;   /* to be entered; NULL: none */
	const void *seccomp_bpf; /* NULL: none */
	size_t seccomp_len;
	unsigned seccomp_flags;

	int control_fd; /* the child's end */
	int parent_fd;  /* the parent's end, to be closed in the child */
	int flags;      /* CLONE_NEW* that clone3 made */
	bool cloned_into_cgroup;
	bool map_ids;   /* wait for the id maps */
	bool in_userns; /* already in it, as nobody */
	int userns_fd;  /* that one, borrowed; for crossing.c */
	bool dev_made;  /* mount_fds has a /dev with its nodes */
	bool run_hooks; /* there are hooks of create: the parent runs its own, then the child */
	struct init_join joins[INIT_JOINS_MAX];
	size_t join_count;

	/* A new container. */
	int root_fd; /* detached mount of the root */
	/* One per mount of the spec, -1 where none: for a bind the detached clone of its source, for an id-mapped mount
	 * of another type the user namespace with the map, and /dev itself with dev_made. */
	int *mount_fds;
	int *cgroup_fds; /* detached clones of the cgroup's directories, for a cgroup mount */
	/* A process in an existing one. */
	bool is_exec;
	pid_t init_pid;
	int init_pidfd;
	int init_flags;   /* CLONE_NEW* for setns(init_pidfd) */
	int init_root_fd; /* init's root directory */
};

/* Runs in the child; the process ends in here. */
_Noreturn void init_run(struct init_plan *plan);
