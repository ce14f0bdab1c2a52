/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * cgroup_stats - one reading of a cgroup's counters, the same shape for version 1 and 2.
 *
 *   {"memory": {"version": 1, "usage": N, "limit": N, "max_usage": N, "failcnt": N,
 *               "stat": {"cache": N, ...}},
 *    "cpu": {"total_ns": N, "user_ns": N, "system_ns": N, "percpu_ns": [N, ...],
 *            "periods": N, "throttled_periods": N, "throttled_ns": N},
 *    "pids": {"current": N, "limit": N},
 *    "blkio": {"service_bytes": [{"major": N, "minor": N, "op": "Read", "value": N}, ...],
 *              "serviced": [...]}}
 *
 * Bytes, nanoseconds since the cgroup was made, counts. "limit" 0 is no limit. memory.stat has the
 * kernel's own keys, which differ by "version". A counter that this kernel does not keep is absent.
 */

struct cgroup;
struct err;
struct json;

/* The caller owns the result. NULL: no memory. */
struct json *cgroup_stats(struct cgroup *cg, struct err *err);

/*
 * What `events` shows beyond that, under the names that runc's events have:
 *
 *   {"percpu_kernel": [N, ...], "percpu_user": [N, ...],
 *    "cpuset": {"cpus": [N, ...], "mems": [N, ...], "cpu_exclusive": 0, ...},
 *    "swap", "kernel", "kernelTCP": {"limit": N, "usage": N, "max": N, "failcnt": N},
 *    "hugetlb": {"2MB": {"usage": N, "max": N, "failcnt": N}, ...}}
 */
struct json *cgroup_stats_more(struct cgroup *cg, struct err *err);

/* "0-2,7" as [0, 1, 2, 7]. Here for tests. */
struct json *cgroup_stats_list(const char *text);
/* "cache 1\nrss 2\n" as an object; lines of another form are left out. Here for tests. */
struct json *cgroup_stats_flat(const char *text);
/* "8:0 Read 12\n" (v1) or "8:0 rbytes=12 rios=1 ...\n" (v2, then `ios` chooses operations
 * instead of bytes) as an array of entries. */
struct json *cgroup_stats_blkio(const char *text, int ios);
