/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of linux.resources. */
#include <inttypes.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/json.h"
#include "base/str.h"
#include "runtime/spec.h"
#include "runtime/spec_check.h"

#define DEVICES_MAX 1024 /* per list */

static int check_device_rules(struct oci_resources *r, struct err *err)
{
	struct oci_device_rule *all = r->devices.items;

	for (size_t i = 0; i < r->devices.count; i++) {
		struct oci_device_rule *d = &all[i];

		if (spec_take_int("linux.resources.devices[].major", d->major_json, -1, &d->major,
		                  err) < 0 ||
		    spec_take_int("linux.resources.devices[].minor", d->minor_json, -1, &d->minor,
		                  err) < 0)
			return -1;
		if (!str_empty(d->type) && (strlen(d->type) != 1 || !strchr("abc", *d->type)))
			return err_set(err, ERR_INVALID,
			               "linux.resources.devices[%zu].type: '%s' is not a, b or c",
			               i, d->type);
		if (d->access && strspn(d->access, "rwm") != strlen(d->access))
			return err_set(err, ERR_INVALID,
			               "linux.resources.devices[%zu].access: '%s' is not made of "
			               "r, w, m",
			               i, d->access);
	}
	return 0;
}

static int check_cpu_list(const char *field, const char *list, struct err *err)
{
	if (list && strspn(list, "0123456789,-") != strlen(list))
		return err_set(err, ERR_INVALID, "%s: '%s' is not a list like 0-3,7", field, list);
	return 0;
}

static int check_memory(const struct oci_memory *m, struct err *err)
{
	const struct {
		const char *field;
		int64_t value;
	} sizes[] = {
		{"linux.resources.memory.limit", m->limit},
		{"linux.resources.memory.reservation", m->reservation},
		{"linux.resources.memory.swap", m->swap},
		{"linux.resources.memory.kernel", m->kernel},
		{"linux.resources.memory.kernelTCP", m->kernel_tcp},
	};

	for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
		if (spec_check_range(sizes[i].field, sizes[i].value, -1, INT64_MAX, err) < 0)
			return -1;
	return spec_check_range("linux.resources.memory.swappiness", m->swappiness, 0, 100, err);
}

static int check_cpu(const struct oci_cpu *c, struct err *err)
{
	if (check_cpu_list("linux.resources.cpu.cpus", c->cpus, err) < 0 ||
	    check_cpu_list("linux.resources.cpu.mems", c->mems, err) < 0 ||
	    spec_check_range("linux.resources.cpu.shares", c->shares, 0, 262144, err) < 0 ||
	    spec_check_range("linux.resources.cpu.quota", c->quota, -1, INT64_MAX, err) < 0 ||
	    spec_check_range("linux.resources.cpu.burst", c->burst, 0, INT64_MAX, err) < 0 ||
	    spec_check_range("linux.resources.cpu.period", c->period, 0, INT64_MAX, err) < 0 ||
	    spec_check_range("linux.resources.cpu.realtimeRuntime", c->realtime_runtime, -1,
	                     INT64_MAX, err) < 0 ||
	    spec_check_range("linux.resources.cpu.realtimePeriod", c->realtime_period, 0, INT64_MAX,
	                     err) < 0 ||
	    spec_check_range("linux.resources.cpu.idle", c->idle, 0, 1, err) < 0)
		return -1;
	if (c->burst > 0 && c->quota > 0 && c->burst > c->quota)
		return err_set(err, ERR_INVALID, "linux.resources.cpu.burst: is above quota");
	return 0;
}

static int check_device(const char *field, size_t i, int64_t major, int64_t minor, struct err *err)
{
	if (major >= 0 && major <= UINT32_MAX && minor >= 0 && minor <= UINT32_MAX)
		return 0;
	return err_set(err, ERR_INVALID, "%s[%zu]: %" PRId64 ":%" PRId64 " is not a device", field,
	               i, major, minor);
}

/* 10 to 1000, where 0 is "not set". */
static int check_weight(const char *field, int64_t weight, struct err *err)
{
	return weight == 0 ? 0 : spec_check_range(field, weight, 10, 1000, err);
}

static int check_block_io(const struct oci_block_io *io, struct err *err)
{
	static const char *const names[SPEC_THROTTLES] = {
		"linux.resources.blockIO.throttleReadBpsDevice",
		"linux.resources.blockIO.throttleWriteBpsDevice",
		"linux.resources.blockIO.throttleReadIOPSDevice",
		"linux.resources.blockIO.throttleWriteIOPSDevice",
	};
	const struct oci_weight_device *weights = io->weight_device.items;

	if (check_weight("linux.resources.blockIO.weight", io->weight, err) < 0 ||
	    check_weight("linux.resources.blockIO.leafWeight", io->leaf_weight, err) < 0)
		return -1;
	for (size_t i = 0; i < io->weight_device.count; i++) {
		if (check_device("linux.resources.blockIO.weightDevice", i, weights[i].major,
		                 weights[i].minor, err) < 0 ||
		    check_weight("linux.resources.blockIO.weightDevice[].weight", weights[i].weight,
		                 err) < 0 ||
		    check_weight("linux.resources.blockIO.weightDevice[].leafWeight",
		                 weights[i].leaf_weight, err) < 0)
			return -1;
		if (!weights[i].weight && !weights[i].leaf_weight)
			return err_set(err, ERR_INVALID,
			               "linux.resources.blockIO.weightDevice[%zu]: neither weight "
			               "nor leafWeight",
			               i);
	}
	for (int which = 0; which < SPEC_THROTTLES; which++) {
		const struct oci_throttle *all = io->throttle[which].items;
		for (size_t i = 0; i < io->throttle[which].count; i++)
			if (check_device(names[which], i, all[i].major, all[i].minor, err) < 0)
				return -1;
	}
	return 0;
}

/* A part of a file's name: "2MB", "64KB", "1GB". */
static int check_hugepages(const struct json_array *limits, struct err *err)
{
	const struct oci_hugepage_limit *all = limits->items;

	for (size_t i = 0; i < limits->count; i++) {
		size_t digits = strspn(all[i].page_size, "0123456789");
		const char *unit = all[i].page_size + digits;
		if (digits == 0 || digits > 10 ||
		    (!str_eq(unit, "KB") && !str_eq(unit, "MB") && !str_eq(unit, "GB")))
			return err_set(err, ERR_INVALID,
			               "linux.resources.hugepageLimits[%zu].pageSize: '%s' is not "
			               "like 64KB, 2MB, 1GB",
			               i, all[i].page_size);
	}
	return 0;
}

/* One word of a line that the kernel parses. */
static bool is_word(const char *text)
{
	return !str_empty(text) && strlen(text) < 64 && !strpbrk(text, " \t\n=");
}

static int check_network(const struct oci_network *n, struct err *err)
{
	const struct oci_priority *all = n->priorities.items;

	if (spec_check_range("linux.resources.network.classID", n->class_id, 0, UINT32_MAX, err) <
	    0)
		return -1;
	for (size_t i = 0; i < n->priorities.count; i++) {
		if (!is_word(all[i].name))
			return err_set(err, ERR_INVALID,
			               "linux.resources.network.priorities[%zu].name: '%s' is not "
			               "an interface",
			               i, all[i].name);
		if (spec_check_range("linux.resources.network.priorities[].priority",
		                     all[i].priority, 0, UINT32_MAX, err) < 0)
			return -1;
	}
	return 0;
}

static const struct json_field rdma_fields[] = {
	JSON_FIELD(struct oci_rdma, hca_handles, "hcaHandles", JSON_INT),
	JSON_FIELD(struct oci_rdma, hca_objects, "hcaObjects", JSON_INT),
	JSON_END,
};
static const struct json_table rdma_table = JSON_TABLE_STRICT(struct oci_rdma, rdma_fields);

static int take_adapter(struct oci_rdma *out, const char *name, const struct json *value,
                        struct arena *arena, struct err *err)
{
	*out = (struct oci_rdma){.hca_handles = SPEC_UNSET, .hca_objects = SPEC_UNSET};
	out->name = arena_strdup(arena, name, err);
	if (!out->name)
		return -1;
	if (!is_word(name))
		return err_set(err, ERR_INVALID, "is not an adapter's name");
	if (!json_is_object(value))
		return err_set(err, ERR_INVALID, "not an object");
	if (json_decode(value, &rdma_table, arena, out, err) < 0 ||
	    spec_check_range("hcaHandles", out->hca_handles, 0, UINT32_MAX, err) < 0 ||
	    spec_check_range("hcaObjects", out->hca_objects, 0, UINT32_MAX, err) < 0)
		return -1;
	if (out->hca_handles == SPEC_UNSET && out->hca_objects == SPEC_UNSET)
		return err_set(err, ERR_INVALID, "neither hcaHandles nor hcaObjects");
	return 0;
}

static int check_rdma(struct oci_resources *r, struct arena *arena, struct err *err)
{
	size_t count = json_count(r->rdma_json);
	const char *name;
	struct json *value;
	void *iter = NULL;

	if (!r->rdma_json || json_is_null(r->rdma_json))
		return 0;
	if (!json_is_object(r->rdma_json))
		return err_set(err, ERR_INVALID, "linux.resources.rdma: not an object");
	if (count > DEVICES_MAX)
		return err_set(err, ERR_LIMIT, "linux.resources.rdma: more than %d", DEVICES_MAX);
	r->rdma = arena_array(arena, count + 1, sizeof(*r->rdma), err);
	if (!r->rdma)
		return -1;
	while (json_next(r->rdma_json, &iter, &name, &value))
		if (take_adapter(&r->rdma[r->rdma_count++], name, value, arena, err) < 0)
			return err_wrap(err, "linux.resources.rdma.%s", name);
	return 0;
}

int spec_check_resources(struct oci_resources *r, struct arena *arena, struct err *err)
{
	if (check_device_rules(r, err) < 0 || check_memory(&r->memory, err) < 0 ||
	    check_cpu(&r->cpu, err) < 0 || check_block_io(&r->block_io, err) < 0 ||
	    check_hugepages(&r->hugepage_limits, err) < 0 || check_network(&r->network, err) < 0)
		return -1;
	return check_rdma(r, arena, err);
}
