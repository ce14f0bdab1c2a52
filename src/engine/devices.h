/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * devices - which device nodes a container has, and which it may use.
 *
 * The cgroup's list is closed but for those every program expects (null, zero, full, random, urandom, tty, console,
 * ptmx, pts), mknod of anything (harmless without access), and --device. --privileged opens it and brings
 * all of the host's nodes.
 */

struct api_host_config;
struct err;
struct json;

/* Adds "devices" to both the linux object and its resources. */
int devices_spec(const struct api_host_config *host, struct json *linux_json,
                 struct json *resources, struct err *err);
