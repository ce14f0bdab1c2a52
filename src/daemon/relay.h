/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* relay - bytes both ways between a hijacked client and a process's stdio. */

#include <stdbool.h>
#include <stddef.h>

#define RELAY_KEYS_MAX 16

/* The keys that make a client let go of a terminal: "ctrl-p,ctrl-q". */
struct relay_keys {
	unsigned char bytes[RELAY_KEYS_MAX];
	size_t count; /* 0: none */
};

struct err;
/* NULL or "" gives the usual two. ERR_INVALID says what is allowed. */
int relay_keys_parse(const char *text, struct relay_keys *out, struct err *err);

/* Runs until the process's side ends or the client is gone. The client's EOF is passed on as the end of stdin and
 * its output keeps coming. keys (NULL: none) typed by the client end it. Blocks; closes neither. Gives true
 * when the client detached. */
bool relay_run(int client_fd, int process_fd, const struct relay_keys *keys);
