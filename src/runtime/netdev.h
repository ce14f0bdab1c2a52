/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * netdev - moves interfaces of the host into a container's network namespace (linux.netDevices).
 *
 * An interface keeps its attributes; its permanent addresses of global scope, which the kernel forgets on the way, are
 * given again, and it is raised. What becomes of it when the namespace ends is the kernel's affair: a
 * physical one returns, a virtual one is gone.
 *
 * Parent's side, single-threaded: it enters the namespace for a moment. Source: config-linux.md, "Network Devices".
 */

struct err;
struct oci_linux;

/* All of the config. ERR_NOT_FOUND for one that is missing; ERR_CONFLICT for a name that is taken in there. Those before it
 * stay moved. */
int netdev_move_all(const struct oci_linux *lin, int netns_fd, struct err *err);
