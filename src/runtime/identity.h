/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * identity - who the program will be: limits, ids, capabilities, working directory.
 *
 * Runs in the child, in the order of the functions here. Every set is written in full and read
 * back; nothing is inherited from the runtime by omission.
 */

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct err;
struct oci_capabilities;
struct oci_process;

/* A session keyring that is not the runtime's caller's; a kernel without keyrings has none to give. id: a container's, or NULL. */
void identity_join_keyring(const char *id);

int identity_set_rlimits(const struct oci_process *process, pid_t pid, struct err *err);

/* Drops the bounding set, then sets groups, gid, uid and umask; the permitted set is kept until
 * identity_set_capabilities(). */
int identity_set_user(const struct oci_process *process, struct err *err);

/* Makes the permitted capabilities effective again, for what still needs privilege. */
int identity_raise(struct err *err);
/* All five sets. Read back, except where a seccomp filter forbids reading. */
int identity_set_capabilities(const struct oci_capabilities *caps, struct err *err);

/* chdir, and proof that the result lies inside the root. */
int identity_enter_cwd(const char *cwd, struct err *err);
