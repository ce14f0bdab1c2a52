/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * rootless - containers of an ordinary user.
 *
 * What makes a container needs rights that a user has only over namespaces of his own. So the runtime goes into a user
 * namespace first, where the user is root and his subordinate ids (subuid(5), by way of newuidmap and
 * newgidmap; without them he is alone there) are 1, 2, ..., and into a mount namespace that belongs to it. From there
 * everything is as for root, but for what no user may: cgroups that are not his, device nodes, other users' ids.
 *
 * Ids in a config are those of the host, as in any other; they are put in terms of the namespace before use.
 */

#include <stdbool.h>
#include <sys/types.h>

struct err;
struct oci_spec;

/* Where an ordinary user's containers are kept: below XDG_RUNTIME_DIR, or /run/user/<uid>. ERR_LIMIT. */
int rootless_default_root(char *path, size_t size, struct err *err);

/* For a new container: a new user namespace. The calling, single-threaded process is root of it from then on. */
int rootless_enter(struct err *err);
/* For a process in a container: the user namespace that its runtime was in. */
int rootless_join(pid_t container_pid, struct err *err);

/* Does the process run in a user namespace that is not the machine's? */
bool rootless_is_inside(void);

/* uidMappings and gidMappings in terms of our own user namespace. ERR_DENIED: an id is not the user's. */
int rootless_translate(struct oci_spec *spec, struct err *err);

/* The same for one id. maps: text of a uid_map. -1: not in it, with all `count` of them. Here for tests. */
long long rootless_find_id(const char *maps, long long host_id, long long count);
/* "name:start:count" or "uid:start:count" of a subuid(5); false: there is none. Here for tests. */
bool rootless_find_range(const char *text, const char *name, unsigned uid, unsigned *start,
                         unsigned *count);
