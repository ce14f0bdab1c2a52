/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * hooks - programs that a config wants run at six points of a container's life.
 *
 *   point            path resolved in   runs in      by               when it fails
 *   prestart         the host           the host     spawn.c          the container is destroyed
 *   createRuntime    the host           the host     spawn.c          the same
 *   createContainer  the host           container    init.c           the same
 *   startContainer   container          container    init.c           the start fails, the process ends
 *   poststart        the host           the host     the command      the container is stopped
 *   poststop         the host           the host     who removed it   a warning; the next one runs
 *
 * The first three run when namespaces and mounts are made, before the old root is left. A
 * startContainer hook is a program from inside: it runs as confined as the user's program (its
 * ids, capabilities, no_new_privs, filter). Source: config.md "POSIX-platform Hooks", runtime.md "Lifecycle".
 *
 * Every call blocks until its hooks have ended; single-threaded callers only, as it forks.
 */

#include <sys/types.h>

#include "runtime/spec.h"

struct err;
struct json;

struct hooks_state {
	const char *id;
	const char *status; /* "creating", "created", "running", "stopped" */
	const char *bundle;
	pid_t pid; /* as whoever runs the hook sees it; 0 when stopped */
};

bool hooks_any(const struct oci_spec *spec, enum spec_hook point);

/* Runs all hooks of a point, one after the other, each with the state on its stdin. The first
 * that fails ends it: ERR_SYSTEM with its status; ERR_TIMEOUT. */
int hooks_run(const struct oci_spec *spec, enum spec_hook point, const struct hooks_state *state,
              struct err *err);

/* Runs all poststop hooks, whatever becomes of each; warn() hears of those that fail. */
void hooks_run_poststop(const struct oci_spec *spec, const struct hooks_state *state,
                        void (*warn)(const struct err *why));

/* The state as runtime.md has it. The caller owns it; NULL: ERR_NOMEM. */
struct json *hooks_state_json(const struct oci_spec *spec, const struct hooks_state *state,
                              struct err *err);
