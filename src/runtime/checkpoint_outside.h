/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * checkpoint_outside - what reaches into a container from outside, in CRIU's words: "external" things that it leaves out
 * of its images, and gets back by name when it restores.
 */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct buf;
struct cgroup;
struct container;
struct err;
struct oci_spec;

/* What descriptor `fd` of the process is: "pipe:[7]", "/dev/null", or "file[MOUNT:INODE]" for a file that no mount of the
 * container shows. external: CRIU is to be told of it. */
int outside_describe_fd(pid_t pid, int fd, char *key, size_t size, bool *external, struct err *err);
/* Whether a restore hands its own descriptor over for one that was this. */
bool outside_is_inherited(const char *key);

/* Network and pid namespaces that the config has by path: external. */
int outside_add_namespaces(const struct oci_spec *spec, pid_t pid, struct buf *options,
                           struct err *err);
/* What a restore calls such a namespace; NULL: one that CRIU joins by file, as this kind. */
const char *outside_namespace_key(int flag);
const char *outside_namespace_file(int flag);

/* Mounts whose source is the host's: where they are, or with `restore` what is to be mounted there. cg may be NULL. */
void outside_add_mounts(const struct container *c, const struct cgroup *cg, bool restore,
                        struct buf *options);
/* Where the container's cgroups are now, for those below them. */
void outside_add_cgroup_roots(const struct cgroup *cg, struct buf *options);
/* The directory by which CRIU stops the processes. false: there is none. */
bool outside_freezer(const struct cgroup *cg, char *path, size_t size);

/* Mount points that the root lacks, made: a restore may get a root that never ran. root_fd: 0 is the container's rootfs. */
int outside_make_targets(const struct container *c, int root_fd, struct err *err);

/* Appends the path of an open directory. */
int outside_path(int fd, struct buf *out, struct err *err);
