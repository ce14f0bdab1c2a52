/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * notify - a seccomp listener's way from the process to the agent (SCMP_ACT_NOTIFY).
 *
 * Once the filter is in force the process may not be able to make a single call that nobody answers, so it cannot send
 * the listener itself. A second process that shares its descriptors, made before and not filtered, sends it; the first one
 * waits without a system call until the agent has it.
 *
 *   process: installs  ->  helper: INIT_LISTENER over the control socket  ->  who released it: connects to
 *   listenerPath and sends the container process state  ->  INIT_GO  ->  the process goes on
 *
 * Source: config-linux.md, "Seccomp" and "The Container Process State".
 */

#include <stddef.h>
#include <sys/types.h>

struct err;
struct hooks_state;
struct json;
struct oci_spec;

/* What the agent is told, and where; for whoever releases the process. */
struct notify_agent {
	char *path;  /* owned; NULL: no agent */
	char *state; /* owned; JSON */
	pid_t pid;   /* the filtered process */
};

/* Leaves *out empty if the config notifies nobody. state: the container's; pid: the process's. */
int notify_agent_make(const struct oci_spec *spec, const struct hooks_state *state, pid_t pid,
                      struct notify_agent *out, struct err *err);
void notify_agent_done(struct notify_agent *agent);
/* Gives the listener away, over a connection of its own. */
int notify_send(const struct notify_agent *agent, int listener_fd, struct err *err);

/* In the process, single-threaded: installs the program and returns when the agent has the listener. After
 * a failure the filter may be in force. */
int notify_install(int control_fd, const void *bpf, size_t len, unsigned flags, struct err *err);
