/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * service_lists - the flags that add to and remove from lists of a service's spec: variables, labels,
 * constraints, mounts, ports, lines of /etc/hosts, networks. A part of service_spec.
 */

#include "base/json.h"
#include "cli/args.h"

struct err;

/* Removes what the -rm flags name, then adds; what is there under the same key is replaced. */
int service_lists_apply(const struct args *args, struct json *spec, struct err *err);
/* The labels of `object` under `key`: label flags `add` and `rm` are applied. */
int service_lists_labels(const struct args *args, const char *add, const char *rm,
                         struct json *object, const char *key, struct err *err);
