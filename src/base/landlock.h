/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * landlock - a process gives up the files, networks and sockets that it will not need.
 *
 *	int rules = landlock_open(LANDLOCK_OPEN_SIGNALS, err);     // nothing is allowed yet
 *	landlock_allow(rules, dir_fd, LANDLOCK_READ | LANDLOCK_WRITE, err);  // dir_fd and all below it
 *	landlock_enter(rules, err);                                // from here on, for good
 *	close(rules);
 *
 * What stays: descriptors that are open, pipes, and files that the rules name. What goes, wherever it lies: opening, making,
 * removing and renaming other files, executing, TCP, abstract sockets. Only the calling thread and what it starts is
 * confined. A kernel that knows less leaves the newer parts out (landlock_abi()); one without Landlock is
 * ERR_UNSUPPORTED, and the caller goes on unconfined or not at all. Needs CAP_SYS_ADMIN or no_new_privs.
 *
 * Limits of Landlock itself: changing modes, owners and times is not covered, nor is stat(2).
 * Source: Documentation/userspace-api/landlock.rst of the kernel.
 */

#include <stdint.h>

struct err;

#define LANDLOCK_READ  UINT64_C(1) /* files, and lists of directories */
#define LANDLOCK_WRITE UINT64_C(2) /* files that are there */
#define LANDLOCK_MAKE                                                                              \
	UINT64_C(                                                                                  \
		4) /* regular files and sockets, and removing and renaming them in their directory */
#define LANDLOCK_RMDIR UINT64_C(8)
#define LANDLOCK_UNPACK                                                                            \
	UINT64_C(16) /* files of any type, directories, links, renames from one to another */

/* 0: this kernel has none, or it is switched off. */
int landlock_abi(void);

/* No signals to processes that are not confined with us (ABI 6). */
#define LANDLOCK_OPEN_SIGNALS 1u

/* A set of rules without any; the caller's descriptor. ERR_UNSUPPORTED. */
int landlock_open(unsigned flags, struct err *err);
/* fd: a file, or a directory with all below it. */
int landlock_allow(int rules_fd, int fd, uint64_t access, struct err *err);
int landlock_enter(int rules_fd, struct err *err);
