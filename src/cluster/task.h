/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* task - what the API does with tasks: one function per request. The rules stand in service.h. */

#include "cluster/control.h"

struct buf;

const struct task *task_find(const struct control *c, const char *ref, struct err *err);
int task_inspect(struct control *c, const char *ref, struct buf *out, struct err *err);
/* Filters: id name service node label desired-state _up-to-date. */
int task_list(struct control *c, const struct json *filters, struct buf *out, struct err *err);
