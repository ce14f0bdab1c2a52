/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * idmap - the id maps of a user namespace, and namespaces that are only there for their maps.
 *
 * The kernel takes the map of an id-mapped mount from a user namespace: idmap_open() makes one with a process that
 * does nothing, and ends the process; the descriptor keeps the namespace. Parent's side, single-threaded.
 */

#include <sys/types.h>

struct err;
struct json_array;

/* Writes uid_map and gid_map of the process. Arrays of struct oci_idmap. */
int idmap_write(pid_t pid, const struct json_array *uids, const struct json_array *gids,
                struct err *err);
/* A descriptor of a new user namespace with these maps; the caller's. */
int idmap_open(const struct json_array *uids, const struct json_array *gids, struct err *err);
