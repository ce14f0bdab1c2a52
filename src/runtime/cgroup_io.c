/* SPDX-License-Identifier: Apache-2.0 */
/* Limits that name a device: block I/O, huge pages, network interfaces, RDMA adapters. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/json.h"
#include "base/str.h"
#include "runtime/cgroup_impl.h"
#include "runtime/spec.h"

#define VALUE_MAX 160

/* Writes to the first of two files that is there: 0; or ERR_UNSUPPORTED. */
static int write_either(struct cgroup_place *place, const char *file, const char *other,
                        const char *text, struct err *err)
{
	struct err why = ERR_INIT;

	if (cgroup_write(place, file, text, &why) == 0)
		return 0;
	if (err_is(&why, ERR_NOT_FOUND) && other) {
		why = ERR_INIT;
		if (cgroup_write(place, other, text, &why) == 0)
			return 0;
	}
	if (err_is(&why, ERR_NOT_FOUND))
		return err_set(err, ERR_UNSUPPORTED, "this kernel's cgroup has no %s",
		               other ? other : file);
	if (err)
		*err = why;
	return -1;
}

/* ---- block I/O ---- */

/* 10..1000 onto 1..10000 */
static int64_t weight_v2(int64_t weight)
{
	return 1 + (weight - 10) * 9999 / 990;
}

/* dev: "8:0 " or "". Only the BFQ scheduler takes weights on version 1 today; on version 2 there is the cost
 * model as well, which has a scale of its own. */
static int write_weight(struct cgroup_place *place, const char *dev, int64_t weight,
                        struct err *err)
{
	char text[VALUE_MAX];
	struct err why = ERR_INIT;
	bool v2 = place->hierarchy.v2;

	snprintf(text, sizeof(text), "%s%" PRId64, dev, weight);
	if (!v2)
		return *dev ? write_either(place, "blkio.bfq.weight_device", "blkio.weight_device",
		                           text, err)
		            : write_either(place, "blkio.bfq.weight", "blkio.weight", text, err);
	if (cgroup_write(place, "io.bfq.weight", text, &why) == 0)
		return 0;
	snprintf(text, sizeof(text), "%s%" PRId64, dev, weight_v2(weight));
	return write_either(place, "io.weight", NULL, text, err);
}

static int write_leaf_weight(struct cgroup_place *place, const char *dev, int64_t weight,
                             struct err *err)
{
	char text[VALUE_MAX];

	if (place->hierarchy.v2)
		return err_set(err, ERR_UNSUPPORTED, "leafWeight: needs cgroup version 1");
	snprintf(text, sizeof(text), "%s%" PRId64, dev, weight);
	return write_either(place, *dev ? "blkio.leaf_weight_device" : "blkio.leaf_weight", NULL,
	                    text, err);
}

static int write_weights(struct cgroup_place *place, const struct oci_block_io *io, struct err *err)
{
	const struct oci_weight_device *all = io->weight_device.items;

	if (io->weight > 0 && write_weight(place, "", io->weight, err) < 0)
		return err_wrap(err, "weight");
	if (io->leaf_weight > 0 && write_leaf_weight(place, "", io->leaf_weight, err) < 0)
		return -1;
	for (size_t i = 0; i < io->weight_device.count; i++) {
		char dev[48];
		snprintf(dev, sizeof(dev), "%" PRId64 ":%" PRId64 " ", all[i].major, all[i].minor);
		if ((all[i].weight && write_weight(place, dev, all[i].weight, err) < 0) ||
		    (all[i].leaf_weight &&
		     write_leaf_weight(place, dev, all[i].leaf_weight, err) < 0))
			return err_wrap(err, "weightDevice[%zu]", i);
	}
	return 0;
}

static int write_throttles(struct cgroup_place *place, const struct oci_block_io *io,
                           struct err *err)
{
	static const struct {
		const char *field, *v1_file, *v2_key;
	} kinds[SPEC_THROTTLES] = {
		{"throttleReadBpsDevice", "blkio.throttle.read_bps_device", "rbps"},
		{"throttleWriteBpsDevice", "blkio.throttle.write_bps_device", "wbps"},
		{"throttleReadIOPSDevice", "blkio.throttle.read_iops_device", "riops"},
		{"throttleWriteIOPSDevice", "blkio.throttle.write_iops_device", "wiops"},
	};
	bool v2 = place->hierarchy.v2;

	for (int k = 0; k < SPEC_THROTTLES; k++) {
		const struct oci_throttle *all = io->throttle[k].items;
		for (size_t i = 0; i < io->throttle[k].count; i++) {
			char rate[24] = "max", text[VALUE_MAX];
			/* 0 lifts the limit on version 1, and means the same here. */
			if (!v2 || all[i].rate)
				snprintf(rate, sizeof(rate), "%" PRIu64, all[i].rate);
			snprintf(text, sizeof(text), "%" PRId64 ":%" PRId64 " %s%s%s", all[i].major,
			         all[i].minor, v2 ? kinds[k].v2_key : "", v2 ? "=" : "", rate);
			if (write_either(place, v2 ? "io.max" : kinds[k].v1_file, NULL, text, err) <
			    0)
				return err_wrap(err, "%s[%zu]", kinds[k].field, i);
		}
	}
	return 0;
}

static int apply_block_io(struct cgroup *cg, const struct oci_block_io *io, struct err *err)
{
	struct cgroup_place *place;
	bool asked = io->weight > 0 || io->leaf_weight > 0 || io->weight_device.count > 0;

	for (int k = 0; k < SPEC_THROTTLES; k++)
		asked |= io->throttle[k].count > 0;
	if (!asked)
		return 0;
	if (cgroup_need(cg, "blkio", "blockIO", &place, err) < 0)
		return -1;
	if (cgroup_require(cg, place, "io", err) < 0 || write_weights(place, io, err) < 0 ||
	    write_throttles(place, io, err) < 0)
		return err_wrap(err, "linux.resources.blockIO");
	return 0;
}

/* ---- the others ---- */

/* A limit on reservations refuses an mmap() in time; one on faults, for kernels without the other, kills. */
static int write_hugepages(struct cgroup_place *place, const struct oci_hugepage_limit *h,
                           struct err *err)
{
	const char *suffix = place->hierarchy.v2 ? "max" : "limit_in_bytes";
	char reserved[64], used[64], text[VALUE_MAX];

	snprintf(reserved, sizeof(reserved), "hugetlb.%s.rsvd.%s", h->page_size, suffix);
	snprintf(used, sizeof(used), "hugetlb.%s.%s", h->page_size, suffix);
	snprintf(text, sizeof(text), "%" PRIu64, h->limit);
	return write_either(place, reserved, used, text, err);
}

static int apply_hugepages(struct cgroup *cg, const struct json_array *limits, struct err *err)
{
	const struct oci_hugepage_limit *all = limits->items;
	struct cgroup_place *place;

	if (limits->count == 0)
		return 0;
	if (cgroup_need(cg, "hugetlb", "hugepageLimits", &place, err) < 0)
		return -1;
	if (cgroup_require(cg, place, "hugetlb", err) < 0)
		return err_wrap(err, "linux.resources.hugepageLimits");
	for (size_t i = 0; i < limits->count; i++)
		if (write_hugepages(place, &all[i], err) < 0)
			return err_wrap(err, "linux.resources.hugepageLimits[%zu] (%s)", i,
			                all[i].page_size);
	return 0;
}

static int need_v1(struct cgroup *cg, const char *controller, const char *field,
                   struct cgroup_place **place, struct err *err)
{
	if (cgroup_need(cg, controller, field, place, err) < 0)
		return -1;
	if (!(*place)->hierarchy.v2)
		return 0;
	return err_set(err, ERR_UNSUPPORTED,
	               "linux.resources.%s: needs the %s cgroup of version 1, which is not mounted",
	               field, controller);
}

static int apply_network(struct cgroup *cg, const struct oci_network *n, struct err *err)
{
	const struct oci_priority *all = n->priorities.items;
	struct cgroup_place *place;

	if (n->class_id != SPEC_UNSET && n->class_id != 0 &&
	    (need_v1(cg, "net_cls", "network.classID", &place, err) < 0 ||
	     cgroup_write_number(place, "net_cls.classid", n->class_id, err) < 0))
		return -1;
	for (size_t i = 0; i < n->priorities.count; i++) {
		char text[VALUE_MAX];
		snprintf(text, sizeof(text), "%s %" PRId64, all[i].name, all[i].priority);
		if (need_v1(cg, "net_prio", "network.priorities", &place, err) < 0)
			return -1;
		if (cgroup_write(place, "net_prio.ifpriomap", text, err) < 0)
			return err_wrap(err, "linux.resources.network.priorities[%zu]", i);
	}
	return 0;
}

static int apply_rdma(struct cgroup *cg, const struct oci_resources *r, struct err *err)
{
	struct cgroup_place *place;

	if (r->rdma_count == 0)
		return 0;
	if (cgroup_need(cg, "rdma", "rdma", &place, err) < 0)
		return -1;
	if (cgroup_require(cg, place, "rdma", err) < 0)
		return err_wrap(err, "linux.resources.rdma");
	for (size_t i = 0; i < r->rdma_count; i++) {
		char text[VALUE_MAX];
		int n = snprintf(text, sizeof(text), "%s", r->rdma[i].name);
		if (r->rdma[i].hca_handles != SPEC_UNSET)
			n += snprintf(text + n, sizeof(text) - (size_t)n, " hca_handle=%" PRId64,
			              r->rdma[i].hca_handles);
		if (r->rdma[i].hca_objects != SPEC_UNSET)
			snprintf(text + n, sizeof(text) - (size_t)n, " hca_object=%" PRId64,
			         r->rdma[i].hca_objects);
		if (write_either(place, "rdma.max", NULL, text, err) < 0)
			return err_wrap(err, "linux.resources.rdma.%s", r->rdma[i].name);
	}
	return 0;
}

int cgroup_apply_io(struct cgroup *cg, const struct oci_resources *r, struct err *err)
{
	if (apply_block_io(cg, &r->block_io, err) < 0 ||
	    apply_hugepages(cg, &r->hugepage_limits, err) < 0 ||
	    apply_network(cg, &r->network, err) < 0)
		return -1;
	return apply_rdma(cg, r, err);
}
