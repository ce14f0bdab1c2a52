/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * snapshots - backups (backup.h) that are kept in a directory, by the time they were made.
 *
 *	snapshots_write(dir_fd, wall_ns, &text, name, err);
 *	snapshots_prune(dir_fd, 10, err);                    // the ten newest stay
 *	snapshots_due_ms(dir_fd, 3600, wall_ns);             // until the next
 *
 * A file is called 2026-01-02T030405Z.backup, in UTC, and is complete or not there. Others are not touched. The caller
 * gives the time; thread-safe as far as the directory is.
 */

#include <stddef.h>
#include <stdint.h>

struct buf;
struct err;
struct json;

#define SNAPSHOTS_NAME_MAX 32
#define SNAPSHOTS_KEEP_MAX 1000
#define SNAPSHOTS_KEEP     24 /* where nothing else is said */

struct snapshots_settings {
	int64_t interval_s; /* 0: none are taken */
	int64_t keep;
};
/* ERR_INVALID: less than a second, more than SNAPSHOTS_KEEP_MAX, ... */
int snapshots_check(const struct snapshots_settings *settings, struct err *err);

int snapshots_write(int dir_fd, int64_t wall_ns, const struct buf *text,
                    char name[SNAPSHOTS_NAME_MAX], struct err *err);
/* How many were removed. */
int snapshots_prune(int dir_fd, int64_t keep, struct err *err);
/* 0: now. One whose time has not come yet (the clock was set back) is as good as none. */
int64_t snapshots_due_ms(int dir_fd, int64_t interval_s, int64_t wall_ns);
/* [{"Name", "Created", "Size"}], the newest first; owned. */
struct json *snapshots_list(int dir_fd, struct err *err);
/* Appends it to out. ERR_NOT_FOUND for one that there is not, ERR_INVALID for what is none's name. */
int snapshots_read(int dir_fd, const char *name, struct buf *out, struct err *err);
