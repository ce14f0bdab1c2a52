/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * nursery - a mount namespace with next to nothing in it, from which containers are born.
 *
 *	struct nursery n;
 *	nursery_make(&n, err);               // once; we are back where we were
 *	bool inside = nursery_enter(&n);     // then clone3(CLONE_NEWNS): a copy of the nursery's few mounts
 *	if (inside)
 *		nursery_leave(&n, err);
 *
 * A new mount namespace starts as a copy of its parent's, and takes all of that down when the old root is left. A
 * host with a thousand containers has a thousand network namespaces mounted, which each start would copy, and
 * drop, for nothing. The nursery has /proc, /sys and /dev as they were seen when it was made, with what is mounted
 * below them, and above them an empty read-only root: what a container is made of comes as descriptors. Nothing
 * propagates to it or from it. Single-threaded callers only, who share their root and directory with nobody.
 */

#include <stdbool.h>

struct err;
struct init_plan;

struct nursery {
	int fd;     /* owned; -1: there is none */
	int own_fd; /* owned; the caller's mount namespace */
};
#define NURSERY_NONE ((struct nursery){.fd = -1, .own_fd = -1})

/* Where there can be none *out is NURSERY_NONE, which is no error: it is only for speed. -1: we are not back, and must
 * not go on. */
int nursery_make(struct nursery *out, struct err *err);
void nursery_close(struct nursery *n);

/* Whether the child needs nothing below "/" but /proc, /sys and /dev: hooks may, and a root that hears of the
 * host's later mounts is on them. */
bool nursery_suits(const struct init_plan *plan);
/* Whether we are in it now; n may be NULL. */
bool nursery_enter(const struct nursery *n);
/* Back; the working directory is "/" then. Who cannot come back must not go on. */
int nursery_leave(const struct nursery *n, struct err *err);
