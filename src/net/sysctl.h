/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* sysctl - numbers under /proc/sys/net, of the network namespace of the calling thread. */

#include <stdint.h>

struct err;

/* path: below /proc/sys/net, as "ipv4/ip_forward". */
int sysctl_get(const char *path, int64_t *value, struct err *err);
int sysctl_set(const char *path, int64_t value, struct err *err);
int sysctl_set_text(const char *path, const char *value, struct err *err);
/* family "ipv4" or "ipv6": <family>/conf/<interface>/<key> */
int sysctl_set_interface(const char *family, const char *interface, const char *key, int64_t value,
                         struct err *err);
