/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* executor_logs - a task's output as Docker's frames, for whoever asked for it somewhere in the cluster. */

#include "base/json.h"

struct engine;
struct err;

/* `options`: the query of GET /services/{}/logs as an object of strings. fd is a socket: its other side
 * closing ends a call that follows. Blocks. */
int executor_logs(struct engine *engine, const char *container_id, const struct json *options,
                  int fd, struct err *err);
