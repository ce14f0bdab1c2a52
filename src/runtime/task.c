/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/task.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/personality.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/fs.h"
#include "runtime/spec.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif

#define IOPRIO_WHO_PGRP 2
#define CLAMP_MAX       0x40 /* SCHED_FLAG_UTIL_CLAMP_MAX */

/* sched_setattr(2); its header and <sched.h> do not go together. */
struct scheduler_attr {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
	uint32_t util_min, util_max;
};

int task_set_priority(const struct oci_process *process, pid_t pid, struct err *err)
{
	const struct oci_scheduler *s = process->scheduler;
	const struct oci_io_priority *io = process->io_priority;

	if (s) {
		struct scheduler_attr attr = {
			.size = sizeof(attr),
			.policy = s->policy,
			.flags = s->flags,
			.nice = (int32_t)s->nice,
			.priority = (uint32_t)s->priority,
			.runtime = s->runtime,
			.deadline = s->deadline,
			.period = s->period,
			/* An older kernel takes no clamps; unclamped is what is asked for without a value. */
			.util_max = s->flags & CLAMP_MAX ? 1024 : 0,
		};
		if (syscall(SYS_sched_setattr, pid, &attr, 0) < 0)
			return err_sys(err, "process.scheduler: set %s%s", s->policy_name,
			               errno == EPERM ? " (a cgroup of version 1 needs "
			                                "cpu.realtimeRuntime for real time)"
			                              : "");
	}
	/* It leads a group of its own. */
	if (io && syscall(SYS_ioprio_set, IOPRIO_WHO_PGRP, pid, io->value) < 0)
		return err_sys(err, "process.ioPriority: set %s %lld", io->class_name,
		               (long long)io->priority);
	return 0;
}

int task_set_own(const struct oci_spec *spec, const struct oci_affinity *affinity, struct err *err)
{
	const struct oci_memory_policy *policy = spec->linux_.memory_policy;

	if (spec->linux_.personality && personality(spec->linux_.personality->value) < 0)
		return err_sys(err, "linux.personality: %s", spec->linux_.personality->domain_name);
	if (policy) {
		bool any = policy->nodes_text && *policy->nodes_text;
		if (syscall(SYS_set_mempolicy, policy->mode, any ? policy->nodes.words : NULL,
		            any ? (unsigned long)SPEC_SET_BITS + 1 : 0UL) < 0)
			return err_sys(err, "linux.memoryPolicy: set %s", policy->mode_name);
	}
	if (affinity && affinity->final &&
	    syscall(SYS_sched_setaffinity, 0, sizeof(*affinity->final), affinity->final) < 0)
		return err_sys(err, "process.execCPUAffinity.final: CPUs %s", affinity->final_text);
	return 0;
}

/* ---- at birth ---- */

/* An exec begins on these CPUs before it enters the container's cgroup. */
static int put_on_cpus(const struct oci_affinity *a, struct task_birth *birth, struct err *err)
{
	birth->cpus = calloc(1, sizeof(*birth->cpus));
	if (!birth->cpus)
		return err_nomem(err);
	if (syscall(SYS_sched_getaffinity, 0, sizeof(*birth->cpus), birth->cpus) < 0 ||
	    syscall(SYS_sched_setaffinity, 0, sizeof(*a->initial), a->initial) < 0) {
		free(birth->cpus);
		birth->cpus = NULL;
		return err_sys(err, "process.execCPUAffinity.initial: CPUs %s", a->initial_text);
	}
	return 0;
}

/* Offsets are fixed once a process is in the namespace: it is made for the children, set, and then
 * the child is born into it. */
static int put_on_clocks(const struct oci_linux *lin, struct task_birth *birth, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(256);

	birth->time_ns = fs_trusted_open("/proc/self/ns/time", O_RDONLY, 0, err);
	if (birth->time_ns < 0)
		return -1;
	if (unshare(CLONE_NEWTIME) < 0)
		return err_sys(err, "new time namespace");
	for (size_t i = 0; i < lin->time_offset_count; i++)
		buf_addf(&text, "%s %lld %lld\n", lin->time_offsets[i].clock,
		         (long long)lin->time_offsets[i].secs,
		         (long long)lin->time_offsets[i].nanosecs);
	auto_close int fd = fs_trusted_open("/proc/self/timens_offsets", O_WRONLY, 0, err);
	if (fd < 0 || buf_check(&text, err) < 0)
		return -1;
	if (fs_write_all(fd, text.data, text.len, err) < 0)
		return err_wrap(err, "linux.timeOffsets");
	return 0;
}

int task_birth_begin(const struct oci_spec *spec, const struct oci_affinity *affinity,
                     struct task_birth *birth, struct err *err)
{
	if (affinity) /* an exec: it joins the container's clocks */
		return affinity->initial ? put_on_cpus(affinity, birth, err) : 0;
	return spec->linux_.time_offset_count > 0 ? put_on_clocks(&spec->linux_, birth, err) : 0;
}

int task_birth_end(struct task_birth *birth, struct err *err)
{
	int rc = 0;

	if (birth->cpus && syscall(SYS_sched_setaffinity, 0, sizeof(*birth->cpus), birth->cpus) < 0)
		rc = err_sys(err, "return to the CPUs of before");
	if (birth->time_ns >= 0 && setns(birth->time_ns, CLONE_NEWTIME) < 0)
		rc = err_sys(err, "return to the clocks of before");
	free(birth->cpus);
	cleanup_close(&birth->time_ns);
	*birth = TASK_BIRTH_INIT;
	return rc;
}
