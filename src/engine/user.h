/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * user - who a process in a container is: "", "app", "1000", "app:staff", "1000:100".
 *
 * Names are looked up in the container's own /etc/passwd and /etc/group by a bounded parser (no NSS, nothing of the
 * image is loaded). All digits is a number, from 0 to 2^32-2, and never a name; everything else must start with a
 * non-digit. What cannot be resolved is an error, never root.
 */

#include <stddef.h>
#include <stdint.h>

struct err;
struct json_strings;

#define USER_GROUPS_MAX 256

struct user {
	uint32_t uid, gid;
	uint32_t groups[USER_GROUPS_MAX]; /* supplementary */
	size_t group_count;
	char home[256]; /* "/" when unknown */
};

/* Texts of the two files (may be ""); group_add: --group-add. */
int user_resolve(const char *wanted, const char *passwd, const char *group,
                 const struct json_strings *group_add, struct user *out, struct err *err);

/* The same, reading the files from a layer stack (top first) where that is possible without a mount,
 * or from a root directory descriptor. */
struct container;
int user_resolve_in_layers(const char *wanted, const int *layer_fds, size_t count,
                           const struct json_strings *group_add, struct user *out, struct err *err);
int user_resolve_in_root(const char *wanted, int root_fd, const struct json_strings *group_add,
                         struct user *out, struct err *err);
