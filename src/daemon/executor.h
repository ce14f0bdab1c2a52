/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * executor - the cluster's tasks as containers of this machine's engine.
 *
 *	struct executor *x = executor_create(engine, run, err);
 *	options.executor = executor_vtable(x);               // for member_open()
 *	executor_watch(x, member, err);                      // what happens to containers is told to it
 *	executor_free(x);
 *
 * A container is known by its label TASKSPEC_LABEL_TASK alone. Thread-safe.
 */

#include "cluster/agent.h"

struct engine;
struct err;
struct executor;
struct member;

/* run: the path of the engine's run directory; borrowed. */
struct executor *executor_create(struct engine *engine, const char *run, struct err *err);
const struct agent_executor *executor_vtable(struct executor *x);
/* Starts a thread on the engine's events. member is borrowed until executor_free(). */
int executor_watch(struct executor *x, struct member *member, struct err *err);
/* Before the member is closed: no more pokes. */
void executor_unwatch(struct executor *x);
void executor_free(struct executor *x); /* accepts NULL */
