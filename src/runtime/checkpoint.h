/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * checkpoint - a container's processes written to files by CRIU, and made again from them.
 *
 * What is in a container is CRIU's to know; what reaches into it from outside is ours to name: bind sources, cgroups,
 * namespaces by path, stdio, masks. Both ends take them from the config, so a restore finds what the checkpoint had only
 * where it is run with the same config.
 *
 * In the directory of the images: CRIU's files, and descriptors.json, which says what stdio was (as other runtimes
 * have it). A restore has its own mount namespace: whenever it is killed, no mount stays on the host.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct cgroup;
struct container;
struct err;

struct checkpoint_options {
	const char *criu; /* the program; NULL: from PATH */
	const char *image_path, *work_path;
	const char *cgroups_mode; /* "soft", "full", "strict", "ignore"; NULL: soft */
	bool tcp_established, ext_unix_sk, shell_job, file_locks, auto_dedup, lazy_pages;
	bool empty_network; /* of the network namespace only that it was there */
	/* Of a checkpoint. */
	const char *parent_path; /* of a pre-dump, relative to image_path */
	const char *page_server; /* "ADDRESS:PORT" */
	int64_t status_fd;       /* 0: none */
	bool leave_running, pre_dump;
	/* Of a restore. */
	const char *lsm_profile, *lsm_mount_context;
	int root_fd; /* a detached mount (borrowed) to be the root; 0: the container's rootfs */
	const int *stdio; /* three descriptors (borrowed) for what its stdio was; NULL: our own */
	bool is_recorded; /* by the caller: container_save() is not called */
};

/* Blocks until the images are written, and the processes killed unless they are to stay. On failure the container runs
 * on. ERR_NOT_FOUND, ERR_UNSUPPORTED: no criu that works; ERR_SYSTEM with the end of its log. */
int checkpoint_dump(struct container *c, const struct checkpoint_options *options, struct err *err);

struct checkpoint_restored {
	pid_t pid;             /* a child of the caller */
	int console_fd;        /* owned: the terminal's master, or -1 */
	struct cgroup *cgroup; /* owned; NULL if there is none */
	bool hooks_begun;      /* a failure is followed by the poststop hooks */
};
#define CHECKPOINT_RESTORED_INIT ((struct checkpoint_restored){.pid = -1, .console_fd = -1})

/* Makes the cgroup, then the processes of the images in it; the container's record (container_save) is written before they
 * run. Hooks of create run when the namespaces are there. On failure *out has what is to be taken down. */
int checkpoint_restore(struct container *c, const struct checkpoint_options *options,
                       struct checkpoint_restored *out, struct err *err);
