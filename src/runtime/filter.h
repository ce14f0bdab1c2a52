/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * filter - a seccomp profile as a BPF program for seccomp(2).
 *
 * The program is written here, not by libseccomp, which needs some 25 ms for the usual
 * profile of 400 system calls; a binary search over ranges of numbers takes well under one.
 * libseccomp gives what it is best at: the numbers of system calls on each architecture.
 * The unit test compares the two filters call by call.
 *
 * Meaning of a profile:
 *   - a rule without arguments beats rules with arguments for the same call; among equals the first wins
 *   - arguments of a rule must all match; if one argument is named twice, any one of them may match
 *   - calls that the profile cannot know, being newer than all it names, give ENOSYS when
 *     the default is an errno, so that programs fall back
 *   - names that an architecture does not have are skipped
 *   - architectures: the native one, and those listed. A call through another ABI kills.
 *   - SCMP_ACT_NOTIFY: the filter has a listener, which runtime/notify.h takes to the agent
 */

#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct oci_seccomp;

/* *bpf gets *len bytes of struct sock_filter, which the caller free()s. ERR_INVALID, ERR_UNSUPPORTED. */
int filter_compile(const struct oci_seccomp *profile, struct sock_filter **bpf, size_t *len,
                   struct err *err);

/* SECCOMP_FILTER_FLAG_* of the profile's flags. */
int filter_parse_flags(const struct oci_seccomp *profile, unsigned *flags, struct err *err);

/* Whether any call is SCMP_ACT_NOTIFY; filter_parse_flags() asks for a listener then. */
bool filter_notifies(const struct oci_seccomp *profile);

/* Installs it for this process, for good. Needs no_new_privs or CAP_SYS_ADMIN. Returns the listener with
 * SECCOMP_FILTER_FLAG_NEW_LISTENER, else 0. */
int filter_install(const void *bpf, size_t len, unsigned flags, struct err *err);

/* What the program returns for one call: an interpreter for the tests. */
uint32_t filter_simulate(const struct sock_filter *bpf, size_t len, uint32_t arch, uint32_t nr,
                         const uint64_t args[6]);

/* Names known, for `features`; NULL past the end. */
const char *filter_action_name(size_t index);
const char *filter_operator_name(size_t index);
const char *filter_arch_name(size_t index);
const char *filter_flag_name(size_t index);
/* Whether this kernel takes the flag of that name. */
bool filter_flag_works(size_t index);
