/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * foreground - what a caller of `run` and `exec` sees: terminal, signals, exit status; and how others are
 * handed the terminal and told the pid.
 */

#include <stdbool.h>
#include <sys/types.h>

struct err;
struct spawned;

/* Sends the terminal's master to whoever listens on this unix stream socket. */
int foreground_send_console(const char *socket_path, int console_fd, struct err *err);
int foreground_write_pid(const char *path, pid_t pid, struct err *err);

/* Waits for the process; signals go to it, the terminal (if p->console_fd >= 0) is relayed with ours in
 * raw mode. Returns its exit status, 128 + n when signal n killed it. */
int foreground_wait(const struct spawned *p, struct err *err);
