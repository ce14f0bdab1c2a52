/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * place - which cgroup a container gets, and from whom: made by us (cgroupfs), asked of systemd, or none.
 *
 * The limits are written by cgroup.c in any case; systemd is told of them as well.
 */

#include <stdbool.h>
#include <sys/types.h>

#include "runtime/cgroup.h"

struct err;
struct oci_spec;

enum place_manager {
	PLACE_CGROUPFS,
	PLACE_SYSTEMD,      /* of the system */
	PLACE_SYSTEMD_USER, /* of the calling user */
	PLACE_NONE,
};

/* "cgroupfs", "systemd", "systemd-user", "disabled". */
const char *place_manager_name(enum place_manager manager);
/* -1: ERR_INVALID. */
int place_parse_manager(const char *name, enum place_manager *out, struct err *err);

/* What is remembered of a container's place. */
struct place {
	enum place_manager manager;
	const char
		*path; /* borrowed: where the manager has put it; NULL or "": as the config says */
	/* In making it: who is not allowed to make one gets a container without, and a warning. */
	bool may_do_without;
};

/* The cgroup of a container that is there. NULL: ERR_NOT_FOUND, ERR_UNSUPPORTED for PLACE_NONE. */
struct cgroup *place_open(const struct place *place, const struct oci_spec *spec, const char *id,
                          struct err *err);

/* Made without limits; *out NULL: there is none to be. *holder: a process that keeps a scope alive until the
 * container's first one is in, the caller's to end with place_release(); or -1. */
int place_make(const struct place *place, const struct oci_spec *spec, const char *id,
               struct cgroup **out, pid_t *holder, struct err *err);
void place_release(pid_t *holder);

/* After cgroup_remove(): the manager forgets it, too. It would by itself, as soon as it notices that nobody is left. */
int place_forget(const struct place *place, const struct oci_spec *spec, const char *id,
                 struct err *err);

struct oci_resources;
/* After cgroup_apply(): the manager knows the limits, too. */
int place_tell(const struct place *place, const struct oci_spec *spec, const char *id,
               const struct oci_resources *resources, struct cgroup *cg, struct err *err);
