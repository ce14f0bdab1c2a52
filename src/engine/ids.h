/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * ids - which host ids the users in a container have.
 *
 * A container has a user namespace with IDS_COUNT ids of its own: 0 in there is first_id out here. On disk nothing
 * else is so: layers and volumes keep their ids and are mapped when they are mounted; a container's upper
 * directory has shifted ids and is seen through ids_view(), which maps them back. first_id 0 stands for
 * "the host's own ids" (--userns host).
 *
 * Ranges come from blocks of 256; which blocks are this daemon's, locks on bytes of /run/buoy.ids say, so
 * that several daemons of one machine keep apart while they run. A container's first_id is in its row; containers
 * that share a namespace share the range. docs/design/011-defaults.md.
 *
 * Thread-safe.
 */

#include <stdbool.h>
#include <stdint.h>

struct config;
struct container;
struct engine;
struct err;

#define IDS_COUNT 65536u

struct ids;

/* Tries whether this kernel and the file system of scratch_fd can do it. */
struct ids *ids_open(int scratch_fd, struct err *err);
void ids_free(struct ids *ids);
/* NULL: containers get ranges; else why not. */
const char *ids_why_not(const struct ids *ids);

/* A free range, with one user. ERR_LIMIT when there is none. */
int ids_take(struct ids *ids, uint32_t *first, struct err *err);
/* One more user of a range that is in use: of another container, or of a row that was read. */
void ids_share(struct ids *ids, uint32_t first);
void ids_give(struct ids *ids, uint32_t first);

/* What the container is to have, from its config and the containers that it joins. ERR_INVALID when these
 * contradict one another. Takes the range. */
int ids_choose(struct container *c, const struct config *config, struct err *err);

/* ERR_INVALID when the user is not among the ids of a container with its own. */
struct user;
int ids_check_user(uint32_t first, const struct user *user, struct err *err);

/* The upper directory as "/" of the container's root user. */
int ids_own(int dir_fd, uint32_t first, struct err *err);
/* dir_fd's tree with the ids that users in the container see: a detached mount (O_PATH), which can be a layer of an
 * overlay, and a directory of it to read from. */
int ids_mount(int dir_fd, uint32_t first, struct err *err);
int ids_view(int dir_fd, uint32_t first, struct err *err);
/* Gives a tree for good the ids that ids_view() shows. */
int ids_settle(int dir_fd, uint32_t first, struct err *err);
