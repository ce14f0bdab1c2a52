/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * sandbox - what the unpacker gives up before it looks at an archive.
 *
 * In this order: every descriptor but 0 to 4 is closed; core dumps, new processes and memory over a gigabyte are ruled
 * out; no new privileges; Landlock, where the kernel has it, leaves the directory alone of all files, and
 * no signal to others; the directory becomes its root; capabilities shrink to those that owners, modes, devices and
 * overlay marks need; and a seccomp filter allows the system calls of apply.c alone. There is no execve, no socket, no open or openat: paths
 * go through openat2. execve, socket, ptrace and their kin kill the process; others fail with EPERM.
 *
 * Without root (tests) the steps that need it are left out; as root each of them must succeed.
 */

struct err;

/* flags: enum apply_flags. start() is called when all but the filter is in force, which kills who starts a thread and holds for
 * those that are there; what it starts must not touch the archive yet. May be NULL. */
int sandbox_enter(int dir_fd, unsigned flags, int (*start)(void *arg, struct err *err), void *arg,
                  struct err *err);
