/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * posture - what the kernel says of a running container's first process, and where that is not what its
 * config says.
 *
 *	struct json *doc = container_posture(engine, "web", err);
 *
 * Everything is read from /proc/PID and the cgroup's files at the time of the call; the config (the bundle's
 * config.json) only serves for the comparison. Shape: docs/design/011-defaults.md.
 */

struct engine;
struct err;
struct json;

/* The caller owns the result. ERR_NOT_FOUND; ERR_CONFLICT when it does not run. */
struct json *container_posture(struct engine *engine, const char *ref, struct err *err);
