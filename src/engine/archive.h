/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * archive - files into and out of containers (docker cp), and what a container has changed (docker diff).
 *
 * A container that runs may change its tree at any moment, so a path is looked up once, to descriptors, by
 * fs_..._in(): what it is swapped for afterwards is of no use. No mount is made where the container could see it.
 * One that runs is seen with its mounts; in one that does not, the volume or bind that the path as written leads
 * into is looked up from its own root.
 */

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/cleanup.h"

struct engine;
struct err;

struct archive_path {
	int dir_fd;        /* owned */
	uint32_t first_id; /* what ids in dir_fd are shifted by, see ids.h */
	char base[NAME_MAX +
	          1]; /* the thing's name in dir_fd; "." where it is the directory itself */
	char name[NAME_MAX + 1]; /* what Docker calls it: the path's last part; "/" and "." too */
	struct stat st;
	char *link_target; /* owned; absolute; NULL: no symbolic link */
};

/* ERR_NOT_FOUND "Could not find the file x in container y". A symbolic link at the end of the path is meant
 * itself, unless a "/" or "/." follows. */
int archive_open(struct engine *engine, const char *ref, const char *path, struct archive_path *out,
                 struct err *err);
void archive_path_done(struct archive_path *path);
#define auto_archive_path __attribute__((cleanup(archive_path_done), unused)) struct archive_path

/* The thing as a tar whose entries begin with its name; takes the thing as it is now. Blocks. */
int archive_write(struct engine *engine, const struct archive_path *path, int out_fd,
                  struct err *err);

/* Unpacks a tar of any compression into the directory `path`, owners as in the tar. keep_type: a directory never
 * replaces another thing, nor the reverse (ERR_INVALID). ERR_DENIED: the place is read-only.
 * ERR_NOT_FOUND, ERR_INVALID (no directory). */
int archive_extract(struct engine *engine, const char *ref, const char *path, int tar_fd,
                    bool keep_type, struct err *err);

/* Calls fn with 'C' (changed), 'A' (added) or 'D' (deleted) and the path, sorted; -1 from it ends the call. */
int archive_changes(struct engine *engine, const char *ref,
                    int (*fn)(void *arg, char kind, const char *path), void *arg, struct err *err);
