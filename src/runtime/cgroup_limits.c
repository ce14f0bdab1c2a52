/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/str.h"
#include "runtime/cgroup_impl.h"
#include "runtime/spec.h"

/* Limits: one set of conversions per version. */

#define VALUE_MAX 96

static int need(struct cgroup *cg, const char *controller, const char *field,
                struct cgroup_place **place, struct err *err)
{
	*place = cgroup_find(cg, controller);
	if (*place)
		return 0;
	return err_set(err, ERR_UNSUPPORTED, "linux.resources.%s: no %s cgroup is mounted", field,
	               controller);
}

static int write_number(struct cgroup_place *place, const char *file, int64_t value,
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
	return write_number(place, file, value, err);
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

static int apply_memory(struct cgroup *cg, const struct oci_memory *m, struct err *err)
{
	struct cgroup_place *place;
	bool asked = m->limit != SPEC_UNSET || m->swap != SPEC_UNSET ||
	             m->reservation != SPEC_UNSET || m->swappiness != SPEC_UNSET ||
	             m->disable_oom_killer;

	if (!asked) /* kernel and kernelTCP limits are gone from the kernel */
		return 0;
	if (need(cg, "memory", "memory", &place, err) < 0)
		return -1;
	bool v2 = place->hierarchy.v2;
	if ((v2 ? write_memory_v2 : write_memory_v1)(place, m, err) < 0)
		return -1;
	if (m->reservation != SPEC_UNSET &&
	    write_limit(place, v2 ? "memory.low" : "memory.soft_limit_in_bytes", m->reservation,
	                err) < 0)
		return -1;
	/* Version 2 has neither; the spec lets them be left out there. */
	if (!v2 && m->swappiness != SPEC_UNSET &&
	    write_number(place, "memory.swappiness", m->swappiness, err) < 0)
		return -1;
	if (!v2 && m->disable_oom_killer && cgroup_write(place, "memory.oom_control", "1", err) < 0)
		return -1;
	return 0;
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
		{"cpu.rt_runtime_us", c->realtime_runtime ? c->realtime_runtime : SPEC_UNSET},
		{"cpu.idle", c->idle},
	};

	for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
		if (numbers[i].value != SPEC_UNSET &&
		    write_number(place, numbers[i].file, numbers[i].value, err) < 0)
			return -1;
	return 0;
}

static int write_cpu_v2(struct cgroup_place *place, const struct oci_cpu *c, struct err *err)
{
	char text[VALUE_MAX];

	if (c->idle != SPEC_UNSET && write_number(place, "cpu.idle", c->idle, err) < 0)
		return -1;
	if (c->shares != SPEC_UNSET && c->shares > 0) {
		/* 2..262144 onto 1..10000, as every runtime does */
		int64_t shares = c->shares < 2 ? 2 : c->shares;
		if (write_number(place, "cpu.weight", 1 + (shares - 2) * 9999 / 262142, err) < 0)
			return -1;
	}
	bool has_quota = c->quota != SPEC_UNSET && c->quota != 0;
	bool has_period = c->period != SPEC_UNSET && c->period != 0;
	if (has_quota || has_period) {
		int64_t period = has_period ? c->period : 100000;
		if (has_quota && c->quota > 0)
			snprintf(text, sizeof(text), "%" PRId64 " %" PRId64, c->quota, period);
		else
			snprintf(text, sizeof(text), "max %" PRId64, period);
		if (cgroup_write(place, "cpu.max", text, err) < 0)
			return -1;
	}
	if (c->burst != SPEC_UNSET && write_number(place, "cpu.max.burst", c->burst, err) < 0)
		return -1;
	return 0;
}

static int apply_cpuset(struct cgroup *cg, const struct oci_cpu *c, struct err *err)
{
	struct cgroup_place *place;

	if (str_empty(c->cpus) && str_empty(c->mems))
		return 0;
	if (need(cg, "cpuset", "cpu.cpus", &place, err) < 0)
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
		if (need(cg, "cpu", "cpu", &place, err) < 0)
			return -1;
		if ((place->hierarchy.v2 ? write_cpu_v2 : write_cpu_v1)(place, c, err) < 0)
			return -1;
	}
	return apply_cpuset(cg, c, err);
}

/* ---- the others ---- */

static int apply_pids(struct cgroup *cg, const struct oci_pids *pids, struct err *err)
{
	struct cgroup_place *place;

	if (pids->limit == SPEC_UNSET)
		return 0;
	if (need(cg, "pids", "pids", &place, err) < 0)
		return -1;
	if (pids->limit < 0)
		return cgroup_write(place, "pids.max", "max", err);
	return write_number(place, "pids.max", pids->limit, err);
}

static int apply_block_io(struct cgroup *cg, const struct oci_block_io *io, struct err *err)
{
	struct cgroup_place *place;

	if (io->weight == SPEC_UNSET || io->weight == 0)
		return 0;
	if (need(cg, "blkio", "blockIO", &place, err) < 0)
		return -1;
	if (place->hierarchy.v2) {
		/* 10..1000 onto 1..10000 */
		int64_t weight = 1 + (io->weight - 10) * 9999 / 990;
		return write_number(place, "io.weight", weight < 1 ? 1 : weight, err);
	}
	struct err why = ERR_INIT;
	if (write_number(place, "blkio.bfq.weight", io->weight, &why) == 0)
		return 0;
	return write_number(place, "blkio.weight", io->weight, err);
}

static int apply_unified(struct cgroup *cg, const struct json_strmap *files, struct err *err)
{
	struct cgroup_place *place = cgroup_find(cg, "");

	for (size_t i = 0; i < files->count; i++) {
		if (!place || !place->hierarchy.v2)
			return err_set(err, ERR_UNSUPPORTED,
			               "linux.resources.unified: needs cgroup version 2");
		if (strchr(files->items[i].key, '/') || str_starts(files->items[i].key, "cgroup."))
			return err_set(err, ERR_INVALID,
			               "linux.resources.unified: '%s' is not a controller's file",
			               files->items[i].key);
		if (cgroup_write(place, files->items[i].key, files->items[i].value, err) < 0)
			return -1;
	}
	return 0;
}

int cgroup_apply(struct cgroup *cg, const struct oci_resources *r, struct err *err)
{
	if (apply_memory(cg, &r->memory, err) < 0 || apply_cpu(cg, &r->cpu, err) < 0 ||
	    apply_pids(cg, &r->pids, err) < 0 || apply_block_io(cg, &r->block_io, err) < 0)
		return -1;
	return apply_unified(cg, &r->unified, err);
}
