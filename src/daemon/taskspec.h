/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * taskspec - a task's ContainerSpec as a request for a container.
 *
 * Templates are filled in; the labels say which task it is, so that its container is found again after
 * a restart of the daemon. Everything lives in the arena or is borrowed from the work.
 */

#include "api/container.h"

struct agent_work;
struct arena;
struct engine;
struct err;

#define TASKSPEC_LABEL_TASK ENGINE_TASK_LABEL
#define TASKSPEC_NAME_MAX   160

/* NAME.SLOT.ID, or NAME.NODE.ID in a global service. */
char *taskspec_name(const struct agent_work *work, char name[TASKSPEC_NAME_MAX]);

/* A text of the task with its places filled in: a templated secret or config. The arena's. */
char *taskspec_expand(const struct agent_work *work, const char *text, struct arena *arena,
                      struct err *err);

/* `more`: mounts beside those of the spec. ERR_INVALID, ERR_UNSUPPORTED: what this machine cannot do as asked. */
int taskspec_create(struct engine *engine, const struct agent_work *work,
                    const struct json_array *more, struct arena *arena,
                    struct api_container_create *out, struct err *err);
