/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * hooks - programs of the host that a config wants run at points of a container's life.
 *
 * prestart, createRuntime, poststart and poststop run here, in the runtime's namespaces. The two that
 * run inside (createContainer, startContainer) are refused: hooks_check().
 */

#include <sys/types.h>

#include "runtime/spec.h"

struct err;

struct hooks_state {
	const char *id;
	const char *status; /* "creating", "running", "stopped" */
	const char *bundle;
	pid_t pid;
};

/* ERR_UNSUPPORTED for a point that cannot be served. */
int hooks_check(const struct oci_spec *spec, struct err *err);
bool hooks_any(const struct oci_spec *spec, enum spec_hook point);

/* Runs all hooks of a point, one after the other, each with the state on its stdin. The first
 * that fails ends it: ERR_SYSTEM with its status; ERR_TIMEOUT. Blocks. */
int hooks_run(const struct oci_spec *spec, enum spec_hook point, const struct hooks_state *state,
              struct err *err);
