/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * cgroup - one container's cgroup: the same path in every mounted hierarchy, be they
 * version 1, version 2 or both side by side.
 *
 *	struct cgroup_layout layout;
 *	cgroup_layout_read(&layout, err);                 // what is mounted here
 *	struct cgroup *cg = cgroup_create(&layout, "/buoy/web", err);
 *	cgroup_apply(cg, &resources, err);
 *	if (fork() == 0)
 *		cgroup_enter(cg, err);                    // the child moves itself in
 *
 * A layout is plain data, so a test points it at directories of its own.
 * Single-threaded per handle. Freezing and killing wait, for at most a few seconds.
 *
 * Version 1 and 2 differ in every file name and in some units; cgroup_limits.c and cgroup_devices.c know.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"

struct buf;
struct cgroup;
struct err;
struct oci_device;
struct oci_resources;

#define CGROUP_HIERARCHIES_MAX 24
#define CGROUP_PATH_MAX        1200

struct cgroup_hierarchy {
	char controllers[96]; /* v1: "cpu,cpuacct" or "name=systemd"; v2: "" */
	char mount[256];
	bool v2;
};

struct cgroup_layout {
	struct cgroup_hierarchy hierarchies[CGROUP_HIERARCHIES_MAX];
	size_t count;
};

/* From the text of /proc/self/mountinfo. None at all is fine. ERR_LIMIT. */
int cgroup_layout_parse(const char *mountinfo, struct cgroup_layout *out, struct err *err);
int cgroup_layout_read(struct cgroup_layout *out, struct err *err);

/* The place of a container: `cgroups_path` made absolute, or /buoy/<id> when it is NULL or "". */
int cgroup_make_path(const char *cgroups_path, const char *id, char out[CGROUP_PATH_MAX],
                     struct err *err);

/* Makes it, with parents, in every hierarchy. One that exists is taken if it is empty, else
 * ERR_CONFLICT. On failure nothing of it is left. */
struct cgroup *cgroup_create(const struct cgroup_layout *layout, const char *path, struct err *err);
/* The same where a service manager has made it already, in one hierarchy at least, and put a process in. */
struct cgroup *cgroup_adopt(const struct cgroup_layout *layout, const char *path, struct err *err);
/* NULL: ERR_NOT_FOUND if it is in no hierarchy. */
struct cgroup *cgroup_open(const struct cgroup_layout *layout, const char *path, struct err *err);
/* Goes on to a cgroup below that is there: "PATH" in every hierarchy, "CONTROLLER[,...]:PATH" in those that have one of
 * them. For an exec that is to be in a part of the container's cgroup. ERR_NOT_FOUND, ERR_INVALID. */
int cgroup_descend(struct cgroup *cg, const char *where, struct err *err);
/* Closes the handle; the cgroup stays. */
void cgroup_free(struct cgroup *cg);
DEFINE_AUTO(cgroup)

const char *cgroup_path(const struct cgroup *cg);

/* Writes the limits that are set; the rest stays as it is. ERR_UNSUPPORTED when what a limit needs is not mounted. */
int cgroup_apply(struct cgroup *cg, const struct oci_resources *resources, struct err *err);

/* Nothing but the default devices, `devices`, and what the rules allow; read back. */
int cgroup_apply_devices(struct cgroup *cg, const struct oci_resources *resources,
                         const struct oci_device *devices, size_t count, struct err *err);

/* The directory for CLONE_INTO_CGROUP, borrowed; -1 if there is no version 2. */
int cgroup_clone_fd(const struct cgroup *cg);
/* Moves the calling, single-threaded process in: cheaper than being moved, as the kernel need not
 * stop anyone. `cloned`: CLONE_INTO_CGROUP was used. The files were opened at creation, so it works also in a
 * user namespace. */
int cgroup_enter(struct cgroup *cg, bool cloned, struct err *err);
/* After a start: /proc/<pid>/cgroup says that the process is in this cgroup everywhere. ERR_INTERNAL if not. */
int cgroup_verify(const struct cgroup *cg, pid_t pid, struct err *err);

/* Members here and below. Returns how many there are, which may be more than max. */
ssize_t cgroup_pids(struct cgroup *cg, pid_t *pids, size_t max, struct err *err);
int cgroup_freeze(struct cgroup *cg, bool frozen, struct err *err); /* waits until it is so */
bool cgroup_is_frozen(struct cgroup *cg);
/* Signals every member. SIGKILL reaches them all at once and wins against forks; thaws. */
int cgroup_kill(struct cgroup *cg, int signal, struct err *err);

/* How often the kernel's OOM killer has struck in here; 0 if there is no memory controller. */
int cgroup_oom_kills(struct cgroup *cg, uint64_t *count, struct err *err);

/* Appends a file of the hierarchy with this controller ("memory"), v1_file or v2_file by its version. ERR_NOT_FOUND
 * if there is no such controller or file. */
int cgroup_read(struct cgroup *cg, const char *controller, const char *v1_file, const char *v2_file,
                struct buf *out, struct err *err);
bool cgroup_controller_is_v2(struct cgroup *cg, const char *controller);

/* Removes it from every hierarchy, with what is nested; gone is success. Waits up to
 * two seconds for dying members, then ERR_CONFLICT. */
int cgroup_remove(struct cgroup *cg, struct err *err);

/* Allows a process that is about to be confined (base/landlock.h) what the calls above need for this cgroup. */
int cgroup_allow(const struct cgroup *cg, int rules_fd, struct err *err);

/* A detached mount of what the container may see at /sys/fs/cgroup: its own part of hierarchy
 * `index`. For runtime/mounts.c; -1 with ERR_NOT_FOUND past the end. */
int cgroup_hierarchy_fd(const struct cgroup *cg, size_t index, const char **name, bool *v2);
size_t cgroup_hierarchy_count(const struct cgroup *cg);

/* Finds `key` in flat-keyed text ("low 0\nhigh 3\n"). ERR_NOT_FOUND or ERR_INVALID. */
int cgroup_parse_field(const char *text, const char *key, uint64_t *value, struct err *err);
