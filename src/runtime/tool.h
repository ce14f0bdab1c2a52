/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * tool - runs a program of the host and collects what it prints: ps, newuidmap, busctl, criu.
 *
 * Nothing of a container is ever run by this, and no start needs it but one that asked for what the tool does. The
 * caller is single-threaded.
 */

#include <stddef.h>

struct buf;
struct err;

/*
 * argv[0] is looked up in PATH. Its stdout is appended to `out` (NULL: dropped), its stderr is
 * kept for the message. -1: ERR_NOT_FOUND if there is no such program; ERR_SYSTEM with its last line of stderr
 * if it did not end with 0; ERR_TIMEOUT, it is killed then. Descriptors that are not close-on-exec stay open in it.
 */
int tool_run(const char *const *argv, int timeout_ms, struct buf *out, struct err *err);
