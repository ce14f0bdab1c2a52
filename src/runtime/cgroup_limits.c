/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/str.h"
#include "runtime/cgroup_impl.h"
#include "runtime/spec.h"

/* Limits: one set of conversions per version. */

#define VALUE_MAX   96
#define KERNEL_UNIT (64 << 10) /* limits are rounded to pages, of at most this size */

int cgroup_need(struct cgroup *cg, const char *controller, const char *field,
                struct cgroup_place **place, struct err *err)
{
	*place = cgroup_find(cg, controller);
	if (*place)
		return 0;
	return err_set(err, ERR_UNSUPPORTED, "linux.resources.%s: no %s cgroup is mounted", field,
	               controller);
}

int cgroup_write_number(struct cgroup_place *place, const char *file, int64_t value,
                        struct err *err)
{
	char text[VALUE_MAX];

	snprintf(text, sizeof(text), "%" PRId64, value);
	return cgroup_write(place, file, text, err);
}

/* v2 says "max" where v1 and the config say -1. */
static int write_limit(struct cgroup_place *place, const char *file, int64_t value, struct err *err)
{
	if (place->hierarchy.v2 && value < 0)
		return cgroup_write(place, file, "max", err);
	return cgroup_write_number(place, file, value, err);
}

/* ---- memory ---- */

static bool is_missing(const struct err *err)
{
	return err->kind == ERR_NOT_FOUND;
}

/* v1: memory+swap must never be below memory, so the order depends on the direction. Without
 * swap accounting in the kernel there is no such file and nothing to limit. */
static int write_memory_v1(struct cgroup_place *place, const struct oci_memory *m, struct err *err)
{
	struct err why = ERR_INIT;
	const char *swap_file = "memory.memsw.limit_in_bytes";
	bool first = true;

	if (m->limit != SPEC_UNSET)
		first = write_limit(place, "memory.limit_in_bytes", m->limit, &why) == 0;
	if (m->swap != SPEC_UNSET) {
		struct err swap_why = ERR_INIT;
		if (write_limit(place, swap_file, m->swap, &swap_why) < 0 &&
		    !is_missing(&swap_why)) {
			if (err)
				*err = swap_why;
			return -1;
		}
	}
	if (!first)
		return write_limit(place, "memory.limit_in_bytes", m->limit, err);
	return 0;
}

static int write_memory_v2(struct cgroup_place *place, const struct oci_memory *m, struct err *err)
{
	if (m->limit != SPEC_UNSET && write_limit(place, "memory.max", m->limit, err) < 0)
		return -1;
	if (m->swap == SPEC_UNSET)
		return 0;
	/* The config counts memory and swap together, version 2 swap alone. */
	int64_t swap = m->swap;
	if (swap > 0 && m->limit == SPEC_UNSET)
		return err_set(err, ERR_INVALID, "linux.resources.memory.swap: needs memory.limit");
	if (swap > 0 && m->limit > swap)
		return err_set(err, ERR_INVALID, "linux.resources.memory.swap: is below limit");
	if (swap > 0)
		swap = m->limit < 0 ? -1 : swap - m->limit;
	struct err why = ERR_INIT;
	if (write_limit(place, "memory.swap.max", swap, &why) < 0 && !is_missing(&why)) {
		if (err)
			*err = why;
		return -1;
	}
	return 0;
}

/* Version 1 refuses a limit below what is in use; version 2 takes it and kills. */
static int check_usage(struct cgroup_place *place, int64_t limit, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(VALUE_MAX);

	if (limit < 0 || !place->hierarchy.v2)
		return 0;
	if (cgroup_read_place(place, "memory.current", &text, err) < 0)
		return -1;
	int64_t now = strtoll(buf_str(&text), NULL, 10);
	if (now <= limit)
		return 0;
	return err_set(err, ERR_CONFLICT,
	               "linux.resources.memory.limit: %" PRId64 " is below the %" PRId64
	               " bytes that are in use",
	               limit, now);
}

/* Kernels since 5.16 do not count their own memory apart: they take a limit and forget it, so it is read
 * back. "No limit" is what there is then. */
static int write_kernel_memory(struct cgroup_place *place, const char *file, int64_t limit,
                               struct err *err)
{
	auto_buf struct buf text = BUF_INIT(VALUE_MAX);
	struct err why = ERR_INIT;

	if (limit == SPEC_UNSET || (place->hierarchy.v2 && limit < 0))
		return 0;
	if (!place->hierarchy.v2 && cgroup_write_number(place, file, limit, &why) == 0 &&
	    (limit < 0 || (cgroup_read_place(place, file, &text, &why) == 0 &&
	                   strtoll(buf_str(&text), NULL, 10) / KERNEL_UNIT <= limit / KERNEL_UNIT)))
		return 0;
	if (limit < 0 && is_missing(&why))
		return 0;
	if (place->hierarchy.v2 || why.kind == ERR_NONE || is_missing(&why) ||
	    why.sys == EOPNOTSUPP)
		return err_set(err, ERR_UNSUPPORTED, "this kernel has no such limit");
	if (err)
		*err = why;
	return -1;
}

/* What version 2 does not have is refused there, not left out. */
static int write_memory_rest(struct cgroup_place *place, const struct oci_memory *m,
                             struct err *err)
{
	bool v2 = place->hierarchy.v2;

	if (write_kernel_memory(place, "memory.kmem.limit_in_bytes", m->kernel, err) < 0)
		return err_wrap(err, "kernel");
	if (write_kernel_memory(place, "memory.kmem.tcp.limit_in_bytes", m->kernel_tcp, err) < 0)
		return err_wrap(err, "kernelTCP");
	if (v2 && m->swappiness != SPEC_UNSET)
		return err_set(err, ERR_UNSUPPORTED, "swappiness: needs cgroup version 1");
	if (v2 && m->disable_oom_killer)
		return err_set(err, ERR_UNSUPPORTED, "disableOOMKiller: needs cgroup version 1");
	if (m->swappiness != SPEC_UNSET &&
	    cgroup_write_number(place, "memory.swappiness", m->swappiness, err) < 0)
		return -1;
	if (m->disable_oom_killer && cgroup_write(place, "memory.oom_control", "1", err) < 0)
		return -1;
	/* All of today's cgroups count their children. */
	struct err why = ERR_INIT;
	if (!v2 && m->use_hierarchy && cgroup_write(place, "memory.use_hierarchy", "1", &why) < 0 &&
	    !is_missing(&why)) {
		if (err)
			*err = why;
		return -1;
	}
	return 0;
}

static int apply_memory(struct cgroup *cg, const struct oci_memory *m, struct err *err)
{
	struct cgroup_place *place;
	bool asked = m->limit != SPEC_UNSET || m->swap != SPEC_UNSET ||
	             m->reservation != SPEC_UNSET || m->swappiness != SPEC_UNSET ||
	             m->kernel != SPEC_UNSET || m->kernel_tcp != SPEC_UNSET ||
	             m->disable_oom_killer || m->use_hierarchy;

	if (!asked)
		return 0;
	if (cgroup_need(cg, "memory", "memory", &place, err) < 0)
		return -1;
	bool v2 = place->hierarchy.v2;
	if (m->check_before_update && check_usage(place, m->limit, err) < 0)
		return -1;
	if ((v2 ? write_memory_v2 : write_memory_v1)(place, m, err) < 0)
		return -1;
	if (m->reservation != SPEC_UNSET &&
	    write_limit(place, v2 ? "memory.low" : "memory.soft_limit_in_bytes", m->reservation,
	                err) < 0)
		return -1;
	return write_memory_rest(place, m, err);
}

/* ---- cpu ---- */

static int write_cpu_v1(struct cgroup_place *place, const struct oci_cpu *c, struct err *err)
{
	const struct {
		const char *file;
		int64_t value;
	} numbers[] = {
		{"cpu.shares", c->shares ? c->shares : SPEC_UNSET},
		{"cpu.cfs_period_us", c->period ? c->period : SPEC_UNSET},
		{"cpu.cfs_quota_us", c->quota ? c->quota : SPEC_UNSET},
		{"cpu.cfs_burst_us", c->burst},
		{"cpu.rt_period_us", c->realtime_period ? c->realtime_period : SPEC_UNSET},
		{"cpu.idle", c->idle},
	};

	/* A burst may not exceed the quota: one that gets smaller goes first. */
	if (c->burst != SPEC_UNSET && c->quota != SPEC_UNSET)
		(void)cgroup_write_number(place, "cpu.cfs_burst_us", c->burst, NULL);

	for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
		if (numbers[i].value != SPEC_UNSET &&
		    cgroup_write_number(place, numbers[i].file, numbers[i].value, err) < 0)
			return -1;
	if (c->realtime_runtime == SPEC_UNSET || c->realtime_runtime == 0)
		return 0;
	if (cgroup_write_number(place, "cpu.rt_runtime_us", c->realtime_runtime, err) < 0)
		return err_wrap(err, "realtimeRuntime (is there enough in cpu.rt_runtime_us of the "
		                     "cgroup above?)");
	return 0;
}

/* "150000 100000": a period alone leaves the quota as it is. */
static void read_quota(struct cgroup_place *place, char *quota, size_t size)
{
	auto_buf struct buf text = BUF_INIT(VALUE_MAX);

	snprintf(quota, size, "max");
	if (cgroup_read_place(place, "cpu.max", &text, NULL) == 0 && text.len > 0)
		snprintf(quota, size, "%.*s", (int)strcspn(buf_str(&text), " \n"), buf_str(&text));
}

/* cpu.max, where a quota or a period is given. */
static int write_quota_v2(struct cgroup_place *place, const struct oci_cpu *c, struct err *err)
{
	bool has_quota = c->quota != SPEC_UNSET && c->quota != 0;
	bool has_period = c->period != SPEC_UNSET && c->period != 0;
	char text[VALUE_MAX], quota[32];

	if (!has_quota && !has_period)
		return 0;
	if (c->burst != SPEC_UNSET && has_quota) /* as on version 1 */
		(void)cgroup_write_number(place, "cpu.max.burst", c->burst, NULL);
	if (has_quota && c->quota > 0)
		snprintf(quota, sizeof(quota), "%" PRId64, c->quota);
	else if (has_quota)
		snprintf(quota, sizeof(quota), "max");
	else
		read_quota(place, quota, sizeof(quota));
	snprintf(text, sizeof(text), "%s %" PRId64, quota, has_period ? c->period : 100000);
	return cgroup_write(place, "cpu.max", text, err);
}

static int write_cpu_v2(struct cgroup_place *place, const struct oci_cpu *c, struct err *err)
{
	if (c->realtime_runtime > 0 || c->realtime_period > 0)
		return err_set(err, ERR_UNSUPPORTED,
		               "realtimeRuntime, realtimePeriod: need cgroup version 1");
	/* An idle cgroup takes no weight: in between it is not idle. */
	if (c->idle == 0 && cgroup_write(place, "cpu.idle", "0", err) < 0)
		return -1;
	if (c->shares != SPEC_UNSET && c->shares > 0) {
		/* 2..262144 onto 1..10000, as every runtime does */
		int64_t shares = c->shares < 2 ? 2 : c->shares;
		if (cgroup_write_number(place, "cpu.weight", 1 + (shares - 2) * 9999 / 262142,
		                        err) < 0)
			return -1;
	}
	if (write_quota_v2(place, c, err) < 0)
		return -1;
	if (c->burst != SPEC_UNSET &&
	    cgroup_write_number(place, "cpu.max.burst", c->burst, err) < 0)
		return -1;
	return c->idle == 1 ? cgroup_write(place, "cpu.idle", "1", err) : 0;
}

static int apply_cpuset(struct cgroup *cg, const struct oci_cpu *c, struct err *err)
{
	struct cgroup_place *place;

	if (str_empty(c->cpus) && str_empty(c->mems))
		return 0;
	if (cgroup_need(cg, "cpuset", "cpu.cpus", &place, err) < 0)
		return -1;
	if (!str_empty(c->cpus) && cgroup_write(place, "cpuset.cpus", c->cpus, err) < 0)
		return -1;
	if (!str_empty(c->mems) && cgroup_write(place, "cpuset.mems", c->mems, err) < 0)
		return -1;
	return 0;
}

static int apply_cpu(struct cgroup *cg, const struct oci_cpu *c, struct err *err)
{
	struct cgroup_place *place;
	const int64_t asked[] = {c->shares,           c->quota,           c->burst, c->period,
	                         c->realtime_runtime, c->realtime_period, c->idle};
	bool any = false;

	for (size_t i = 0; i < ARRAY_LEN(asked); i++)
		any |= asked[i] != SPEC_UNSET && asked[i] != 0;
	if (any) {
		if (cgroup_need(cg, "cpu", "cpu", &place, err) < 0)
			return -1;
		if ((place->hierarchy.v2 ? write_cpu_v2 : write_cpu_v1)(place, c, err) < 0)
			return -1;
	}
	return 0;
}

/* ---- the others ---- */

static int apply_pids(struct cgroup *cg, const struct oci_pids *pids, struct err *err)
{
	struct cgroup_place *place;

	if (pids->limit == SPEC_UNSET)
		return 0;
	if (cgroup_need(cg, "pids", "pids", &place, err) < 0)
		return -1;
	if (pids->limit < 0)
		return cgroup_write(place, "pids.max", "max", err);
	return cgroup_write_number(place, "pids.max", pids->limit, err);
}

/* A version 2 cgroup that lacks a controller simply has no such file. */
static int explain(struct cgroup *cg, const char *controller, const char *field, struct err *err)
{
	struct cgroup_place *place = cgroup_find(cg, controller);

	if (err && err_is(err, ERR_NOT_FOUND) && place && place->hierarchy.v2)
		return err_set(
			err, ERR_UNSUPPORTED,
			"linux.resources.%s: cgroup %s has no %s controller, or this kernel's "
			"lacks this limit",
			field, cg->path, controller);
	if (err && str_starts(err->msg, "linux."))
		return -1;
	return err_wrap(err, "linux.resources.%s", field);
}

int cgroup_apply(struct cgroup *cg, const struct oci_resources *r, struct err *err)
{
	if (apply_memory(cg, &r->memory, err) < 0)
		return explain(cg, "memory", "memory", err);
	if (apply_cpu(cg, &r->cpu, err) < 0)
		return explain(cg, "cpu", "cpu", err);
	if (apply_cpuset(cg, &r->cpu, err) < 0)
		return explain(cg, "cpuset", "cpu", err);
	if (apply_pids(cg, &r->pids, err) < 0)
		return explain(cg, "pids", "pids", err);
	return cgroup_apply_io(cg, r, err) < 0 ? -1 : cgroup_apply_unified(cg, r, err);
}
