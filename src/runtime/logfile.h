/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * logfile - a process's output as a file of JSON lines, as Docker's json-file keeps it:
 *
 *   {"log":"one line\n","stream":"stdout","time":"2026-01-02T03:04:05.678901234Z"}
 *
 *	struct logfile log;
 *	logfile_open(&log, dir_fd, "x-json.log", 10 << 20, 3, err);
 *	logfile_add(&log, 1, data, len);   // any chunks; whole lines are written at once
 *	logfile_finish(&log);              // what has no newline yet
 *
 * A line longer than LOGFILE_LINE_MAX comes in pieces: all but the last lack the newline (never
 * cut inside a UTF-8 character). Bytes that are no UTF-8 become U+FFFD.
 *
 * When a line would take the file over size_max, name becomes name.1, name.1 becomes name.2 ..., of
 * which files_max - 1 are kept. A file is never longer than size_max (but for one line that
 * alone is longer). Nothing here fails once it is open: a process must not stop because the
 * disk is full. Lines that could not be written are counted in `lost`, and a line cut short
 * is taken back, so the file stays readable.
 */

#include <stddef.h>
#include <stdint.h>

struct err;

#define LOGFILE_LINE_MAX 16384
#define LOGFILE_NAME_MAX 200

struct logfile {
	int dir_fd, fd; /* owned */
	char name[LOGFILE_NAME_MAX];
	int64_t size, size_max, files_max;
	uint64_t lost; /* lines */
	struct logfile_part {
		char *data; /* owned; LOGFILE_LINE_MAX bytes while a line is unfinished, else NULL */
		size_t len;
	} parts[2]; /* stdout, stderr */
	char *out;  /* owned, mapped; encoded lines on their way to the file */
	size_t out_len;
};

/* Opens (appends to) or makes the file. dir_fd is borrowed (duplicated). ERR_INVALID for a name
 * with '/', negative limits. */
int logfile_open(struct logfile *log, int dir_fd, const char *name, int64_t size_max,
                 int64_t files_max, struct err *err);

/* stream: 1 stdout, 2 stderr. */
void logfile_add(struct logfile *log, int stream, const char *data, size_t len);
void logfile_finish(struct logfile *log);
/* Gives the work memory back while nothing happens. */
void logfile_idle(struct logfile *log);
void logfile_done(struct logfile *log);
