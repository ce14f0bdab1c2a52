/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of what a process gets from the kernel beside its limits: scheduler, I/O priority, CPUs, memory nodes,
 * personality, clocks, network devices, cache classes. */
#include <linux/mempolicy.h>
#include <net/if.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/json.h"
#include "base/str.h"
#include "runtime/spec.h"
#include "runtime/spec_check.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif

#define WEIGHTED_INTERLEAVE 6 /* MPOL_WEIGHTED_INTERLEAVE, Linux 6.9 */
#define NET_DEVICES_MAX     256

struct named {
	const char *name;
	uint64_t value;
};

static const struct named *find(const struct named *table, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (str_eq(table[i].name, name))
			return &table[i];
	return NULL;
}

/* The values of all names, or'ed. */
static int take_flags(const char *field, const struct json_strings *names,
                      const struct named *table, size_t count, uint64_t *out, struct err *err)
{
	*out = 0;
	for (size_t i = 0; i < names->count; i++) {
		const struct named *found = find(table, count, names->items[i]);
		if (!found)
			return err_set(err, ERR_INVALID, "%s[%zu]: unknown '%s'", field, i,
			               names->items[i]);
		*out |= found->value;
	}
	return 0;
}

/* "0-3,7" */
static int take_set(const char *field, const char *text, struct spec_set *out, struct err *err)
{
	*out = (struct spec_set){{0}};
	for (const char *p = text; *p;) {
		char *end;
		if (*p < '0' || *p > '9')
			return err_set(err, ERR_INVALID, "%s: '%s' is not a list like 0-3,7", field,
			               text);
		unsigned long first = strtoul(p, &end, 10), last = first;
		if (*end == '-' && end[1] >= '0' && end[1] <= '9')
			last = strtoul(end + 1, &end, 10);
		if (last < first || last >= SPEC_SET_BITS || (*end && (*end != ',' || !end[1])))
			return err_set(err, ERR_INVALID, "%s: '%s' is not a list like 0-3,7", field,
			               text);
		for (unsigned long i = first; i <= last; i++)
			out->words[i / 64] |= 1ULL << (i % 64);
		p = end + (*end == ',');
	}
	return 0;
}

/* ---- process ---- */

static int check_scheduler(struct oci_scheduler *s, struct err *err)
{
	static const struct named policies[] = {
		{"SCHED_OTHER", SCHED_OTHER},
		{"SCHED_FIFO", SCHED_FIFO},
		{"SCHED_RR", SCHED_RR},
		{"SCHED_BATCH", SCHED_BATCH},
		{"SCHED_ISO", 4},
		{"SCHED_IDLE", SCHED_IDLE},
		{"SCHED_DEADLINE", 6},
	};
	static const struct named flags[] = {
		{"SCHED_FLAG_RESET_ON_FORK", 0x01},  {"SCHED_FLAG_RECLAIM", 0x02},
		{"SCHED_FLAG_DL_OVERRUN", 0x04},     {"SCHED_FLAG_KEEP_POLICY", 0x08},
		{"SCHED_FLAG_KEEP_PARAMS", 0x10},    {"SCHED_FLAG_UTIL_CLAMP_MIN", 0x20},
		{"SCHED_FLAG_UTIL_CLAMP_MAX", 0x40},
	};
	const struct named *policy = find(policies, ARRAY_LEN(policies), s->policy_name);

	if (!policy)
		return err_set(err, ERR_INVALID, "process.scheduler.policy: unknown '%s'",
		               s->policy_name);
	s->policy = (uint32_t)policy->value;
	bool real_time = s->policy == SCHED_FIFO || s->policy == SCHED_RR;
	bool deadline = s->policy == 6;
	if (take_flags("process.scheduler.flags", &s->flag_names, flags, ARRAY_LEN(flags),
	               &s->flags, err) < 0 ||
	    spec_check_range("process.scheduler.nice", s->nice, -20, 19, err) < 0 ||
	    spec_check_range("process.scheduler.priority", s->priority, real_time ? 1 : 0,
	                     real_time ? 99 : 0, err) < 0)
		return -1;
	if (!deadline && (s->runtime || s->deadline || s->period))
		return err_set(err, ERR_INVALID,
		               "process.scheduler: runtime, deadline and period belong to "
		               "SCHED_DEADLINE");
	if (deadline && (!s->runtime || !s->deadline))
		return err_set(err, ERR_INVALID,
		               "process.scheduler: SCHED_DEADLINE needs runtime and deadline");
	return 0;
}

static int check_io_priority(struct oci_io_priority *p, struct err *err)
{
	static const struct named classes[] = {
		{"IOPRIO_CLASS_RT", 1},
		{"IOPRIO_CLASS_BE", 2},
		{"IOPRIO_CLASS_IDLE", 3},
	};
	const struct named *found = find(classes, ARRAY_LEN(classes), p->class_name);

	if (!found)
		return err_set(err, ERR_INVALID, "process.ioPriority.class: unknown '%s'",
		               p->class_name);
	if (spec_check_range("process.ioPriority.priority", p->priority, 0, 7, err) < 0)
		return -1;
	p->value = (int)(found->value << 13 | (uint64_t)p->priority);
	return 0;
}

static int check_affinity(const char *field, const char *text, struct spec_set **out,
                          struct arena *arena, struct err *err)
{
	if (str_empty(text))
		return 0;
	*out = arena_alloc(arena, sizeof(**out), err);
	return *out ? take_set(field, text, *out, err) : -1;
}

int spec_check_task(struct oci_process *process, struct arena *arena, struct err *err)
{
	struct oci_affinity *a = &process->exec_cpu_affinity;

	if (process->scheduler && check_scheduler(process->scheduler, err) < 0)
		return -1;
	if (process->io_priority && check_io_priority(process->io_priority, err) < 0)
		return -1;
	if (check_affinity("process.execCPUAffinity.initial", a->initial_text, &a->initial, arena,
	                   err) < 0)
		return -1;
	return check_affinity("process.execCPUAffinity.final", a->final_text, &a->final, arena,
	                      err);
}

/* ---- linux ---- */

static int check_personality(struct oci_personality *p, struct err *err)
{
	static const struct named domains[] = {{"LINUX", PER_LINUX}, {"LINUX32", PER_LINUX32}};
	const struct named *found = find(domains, ARRAY_LEN(domains), p->domain_name);

	if (!found)
		return err_set(err, ERR_INVALID,
		               "linux.personality.domain: '%s' is not LINUX or LINUX32",
		               p->domain_name);
	if (p->flags.count > 0)
		return err_set(err, ERR_INVALID, "linux.personality.flags: none is defined");
	p->value = (unsigned long)found->value;
	return 0;
}

static const struct named memory_modes[] = {
	{"MPOL_DEFAULT", MPOL_DEFAULT},       {"MPOL_BIND", MPOL_BIND},
	{"MPOL_INTERLEAVE", MPOL_INTERLEAVE}, {"MPOL_WEIGHTED_INTERLEAVE", WEIGHTED_INTERLEAVE},
	{"MPOL_PREFERRED", MPOL_PREFERRED},   {"MPOL_PREFERRED_MANY", MPOL_PREFERRED_MANY},
	{"MPOL_LOCAL", MPOL_LOCAL},
};

static const struct named memory_flags[] = {
	{"MPOL_F_NUMA_BALANCING", 1U << 13},
	{"MPOL_F_RELATIVE_NODES", 1U << 14},
	{"MPOL_F_STATIC_NODES", 1U << 15},
};

const char *spec_memory_mode_name(size_t index)
{
	return index < ARRAY_LEN(memory_modes) ? memory_modes[index].name : NULL;
}

const char *spec_memory_flag_name(size_t index)
{
	return index < ARRAY_LEN(memory_flags) ? memory_flags[index].name : NULL;
}

static int check_memory_policy(struct oci_memory_policy *p, struct err *err)
{
	const struct named *mode = find(memory_modes, ARRAY_LEN(memory_modes), p->mode_name);
	uint64_t flags;

	if (!mode)
		return err_set(err, ERR_INVALID, "linux.memoryPolicy.mode: unknown '%s'",
		               p->mode_name);
	if (take_flags("linux.memoryPolicy.flags", &p->flag_names, memory_flags,
	               ARRAY_LEN(memory_flags), &flags, err) < 0 ||
	    (p->nodes_text &&
	     take_set("linux.memoryPolicy.nodes", p->nodes_text, &p->nodes, err) < 0))
		return -1;
	bool without = mode->value == MPOL_DEFAULT || mode->value == MPOL_LOCAL;
	bool may = mode->value == MPOL_PREFERRED;
	if (without && !str_empty(p->nodes_text))
		return err_set(err, ERR_INVALID, "linux.memoryPolicy.nodes: %s takes none",
		               p->mode_name);
	if (!without && !may && str_empty(p->nodes_text))
		return err_set(err, ERR_INVALID, "linux.memoryPolicy.nodes: %s needs some",
		               p->mode_name);
	p->mode = (int)(mode->value | flags);
	return 0;
}

static const struct json_field offset_fields[] = {
	JSON_FIELD(struct oci_time_offset, secs, "secs", JSON_INT),
	JSON_FIELD(struct oci_time_offset, nanosecs, "nanosecs", JSON_INT),
	JSON_END,
};
static const struct json_table offset_table =
	JSON_TABLE_STRICT(struct oci_time_offset, offset_fields);

static int check_time_offsets(struct oci_spec *spec, struct arena *arena, struct err *err)
{
	struct oci_linux *lin = &spec->linux_;
	const struct oci_namespace *ns = spec_namespace(spec, CLONE_NEWTIME);
	const char *clock;
	struct json *value;
	void *iter = NULL;

	if (lin->time_offsets_json && !json_is_null(lin->time_offsets_json) &&
	    !json_is_object(lin->time_offsets_json))
		return err_set(err, ERR_INVALID, "linux.timeOffsets: not an object");
	while (json_next(lin->time_offsets_json, &iter, &clock, &value)) {
		struct oci_time_offset *o = &lin->time_offsets[lin->time_offset_count];
		if (!str_eq(clock, "monotonic") && !str_eq(clock, "boottime"))
			return err_set(err, ERR_INVALID,
			               "linux.timeOffsets.%s: not monotonic or boottime", clock);
		if (!json_is_object(value))
			return err_set(err, ERR_INVALID, "linux.timeOffsets.%s: not an object",
			               clock);
		if (json_decode(value, &offset_table, arena, o, err) < 0 ||
		    spec_check_range("nanosecs", o->nanosecs, 0, 999999999, err) < 0)
			return err_wrap(err, "linux.timeOffsets.%s", clock);
		o->clock = str_eq(clock, "monotonic") ? "monotonic" : "boottime";
		lin->time_offset_count++;
	}
	if (lin->time_offset_count > 0 && (!ns || ns->path))
		return err_set(err, ERR_INVALID,
		               "linux.timeOffsets: need a new namespace of type time");
	return 0;
}

static const struct json_field net_device_fields[] = {
	JSON_FIELD(struct oci_net_device, name, "name", JSON_STRING),
	JSON_END,
};
static const struct json_table net_device_table =
	JSON_TABLE_STRICT(struct oci_net_device, net_device_fields);

/* A name as the kernel takes it; a template may end in "%d". */
static bool is_interface(const char *name, bool template)
{
	size_t len = strlen(name);

	if (template && str_ends(name, "%d"))
		len -= 2;
	return len > 0 && len < IFNAMSIZ && !str_eq(name, ".") && !str_eq(name, "..") &&
	       strcspn(name, "/: \t\n%") == len;
}

static int check_net_devices(struct oci_spec *spec, struct arena *arena, struct err *err)
{
	struct oci_linux *lin = &spec->linux_;
	size_t count = json_count(lin->net_devices_json);
	const char *host;
	struct json *value;
	void *iter = NULL;

	if (!lin->net_devices_json || json_is_null(lin->net_devices_json))
		return 0;
	if (!json_is_object(lin->net_devices_json))
		return err_set(err, ERR_INVALID, "linux.netDevices: not an object");
	if (count > NET_DEVICES_MAX)
		return err_set(err, ERR_LIMIT, "linux.netDevices: more than %d", NET_DEVICES_MAX);
	if (count > 0 && !spec_namespace(spec, CLONE_NEWNET))
		return err_set(err, ERR_INVALID,
		               "linux.netDevices: need a namespace of type network");
	lin->net_devices = arena_array(arena, count + 1, sizeof(*lin->net_devices), err);
	if (!lin->net_devices)
		return -1;
	while (json_next(lin->net_devices_json, &iter, &host, &value)) {
		struct oci_net_device *d = &lin->net_devices[lin->net_device_count++];
		if (!json_is_object(value))
			return err_set(err, ERR_INVALID, "linux.netDevices.%s: not an object",
			               host);
		if (json_decode(value, &net_device_table, arena, d, err) < 0)
			return err_wrap(err, "linux.netDevices.%s", host);
		d->host_name = arena_strdup(arena, host, err);
		if (str_empty(d->name))
			d->name = arena_strdup(arena, host, err);
		if (!d->host_name || !d->name)
			return -1;
		if (!is_interface(host, false) || !is_interface(d->name, true))
			return err_set(err, ERR_INVALID,
			               "linux.netDevices.%s: '%s' is not an interface's name", host,
			               is_interface(host, false) ? d->name : host);
	}
	return 0;
}

static int check_rdt(const struct oci_rdt *rdt, struct err *err)
{
	if (rdt->clos_id && !str_eq(rdt->clos_id, "/") &&
	    (str_empty(rdt->clos_id) || strchr(rdt->clos_id, '/') || strlen(rdt->clos_id) > 255 ||
	     *rdt->clos_id == '.'))
		return err_set(err, ERR_INVALID, "linux.intelRdt.closID: '%s' is not a name or /",
		               rdt->clos_id);
	if (rdt->l3_schema && strchr(rdt->l3_schema, '\n'))
		return err_set(err, ERR_INVALID, "linux.intelRdt.l3CacheSchema: has a newline");
	if (rdt->mb_schema && (!str_starts(rdt->mb_schema, "MB:") || strchr(rdt->mb_schema, '\n')))
		return err_set(err, ERR_INVALID,
		               "linux.intelRdt.memBwSchema: is not one line that begins with MB:");
	for (size_t i = 0; i < rdt->schemata.count; i++)
		if (strchr(rdt->schemata.items[i], '\n'))
			return err_set(err, ERR_INVALID,
			               "linux.intelRdt.schemata[%zu]: has a newline", i);
	return 0;
}

int spec_check_linux_task(struct oci_spec *spec, struct arena *arena, struct err *err)
{
	struct oci_linux *lin = &spec->linux_;

	if ((lin->personality && check_personality(lin->personality, err) < 0) ||
	    (lin->memory_policy && check_memory_policy(lin->memory_policy, err) < 0) ||
	    (lin->intel_rdt && check_rdt(lin->intel_rdt, err) < 0) ||
	    check_time_offsets(spec, arena, err) < 0)
		return -1;
	return check_net_devices(spec, arena, err);
}
