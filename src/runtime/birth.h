/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * birth - clones the child that will be the program, without a copy of our memory where that is possible.
 *
 * Copying an address space for a process that will throw it away at execve(2) is the dearest step of a start:
 * page tables, and then a fault for each page that either side writes. So the child shares our memory until it
 * executes, on a stack of its own, as vfork(2)'s does - only that we go on: it asks, we answer, over the
 * socket of init.h. What keeps the two apart:
 *
 *   They take turns. From the clone to its first message, and from each of our answers to its next, only the
 *   child runs; we wait in init_receive(). From its message to our answer only we do. Between READY and RELEASE,
 *   which may be days, it sits in recvmsg(2). So neither sees the other's half-done work, errno included, and no
 *   lock is needed. Code between clone and wait in the parent, and after READY in the child, must stay trivial.
 *   What it works with stays where it is until it has executed or is dead: the plan, the options and the filter
 *   are kept here, spec and process by the caller (spawn.h).
 *   Nobody else gets in: the child is not dumpable from its first instruction on, and the address space
 *   belongs to the host's user namespace, so a process of the container that sees it cannot trace it.
 *
 * Where taking turns is not possible the child gets a copy, as from fork(2); see `shares`.
 * The kernel takes all that share an address space for one when it is out of memory or when the OOM
 * score of one of them is written: a spec that sets the one or limits memory very tightly does not share.
 */

#include <stdbool.h>
#include <sys/types.h>

#include "runtime/init.h"
#include "runtime/spawn.h"

struct clone_args;
struct err;

struct birth {
	struct init_plan plan; /* what the child follows; only it writes here */
	struct spawn_options options;
	char *id, *bundle_path; /* owned; the options' own */
	void *bpf;              /* owned; the plan's filter, or NULL */
	char *stack;            /* owned; NULL: the child has a copy of our memory */
};

/* The plan as it is now, with its options; takes bpf over, also when it fails. shares: the child is to have no
 * memory of its own, where this machine and build can do that. */
struct birth *birth_new(const struct init_plan *plan, void *bpf, bool shares, struct err *err);
/* As clone3(2): the child runs the plan and never returns. -1 with errno. */
pid_t birth_clone(struct birth *birth, struct clone_args *args);
/* Once the child has executed its program or is dead. NULL: nothing. */
void birth_free(struct birth *birth);
