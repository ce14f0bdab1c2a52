/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * task - what a process gets from the kernel beside its limits and ids: scheduler, I/O priority, CPUs, memory
 * policy, personality, clocks.
 *
 * Each function costs no system call where the config says nothing.
 */

#include <sys/types.h>

struct err;
struct oci_affinity;
struct oci_process;
struct oci_spec;

/* From the parent, which has the privileges: scheduler, ioPriority. */
int task_set_priority(const struct oci_process *process, pid_t pid, struct err *err);

/* From the process itself, before its filter: personality, memoryPolicy, and of an exec the final CPUs. */
int task_set_own(const struct oci_spec *spec, const struct oci_affinity *affinity, struct err *err);

/* What the parent puts on for a moment, so that the child is born with it. */
struct task_birth {
	struct spec_set *cpus; /* owned: what to return to; NULL: nothing was changed */
	int time_ns;           /* owned: the same; -1 */
};
#define TASK_BIRTH_INIT ((struct task_birth){.time_ns = -1})

/* affinity: of an exec, or NULL. task_birth_end() follows, also after a failure. */
int task_birth_begin(const struct oci_spec *spec, const struct oci_affinity *affinity,
                     struct task_birth *birth, struct err *err);
int task_birth_end(struct task_birth *birth, struct err *err);
