/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * log - one line per event, for people and for journald.
 *
 *	log_info(log, "container started", "id=%s pid=%d", id, pid);
 *	2026-01-02T03:04:05.678Z info  container started id=4f53cda1 pid=812
 *
 * A logger is passed in, never global. Library code does not log an error that
 * it returns; main, the HTTP layer and background loops do. Control characters
 * in values are escaped. A line is one write(2), so threads do not mix.
 */

#include <stdarg.h>
#include <stdbool.h>

struct err;

enum log_level {
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARN,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG,
};

struct log {
	int fd;               /* borrowed, usually 2 */
	enum log_level level; /* lines above it are dropped */
	bool journal;         /* "<N>" prefixes and no time: stderr is the journal */
	bool json;            /* one JSON object a line: OCI runtimes' --log-format json */
};

/* fd 2, level info, journal if JOURNAL_STREAM says that fd 2 is it. */
void log_init(struct log *log, enum log_level level);

/* "error" "warn" "info" "debug"; ERR_INVALID names them. */
int log_parse_level(const char *text, enum log_level *level, struct err *err);

/* `event` is a short phrase; `fmt` gives key=value pairs and may be "". log may be NULL. */
void log_write(const struct log *log, enum log_level level, const char *event, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

#define log_error(log, event, ...) log_write(log, LOG_LEVEL_ERROR, event, __VA_ARGS__)
#define log_warn(log, event, ...)  log_write(log, LOG_LEVEL_WARN, event, __VA_ARGS__)
#define log_info(log, event, ...)  log_write(log, LOG_LEVEL_INFO, event, __VA_ARGS__)
#define log_debug(log, event, ...) log_write(log, LOG_LEVEL_DEBUG, event, __VA_ARGS__)
