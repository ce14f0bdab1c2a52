/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* service_send - a service's spec on its way to the daemon. */

#include "base/json.h"
#include "cli/args.h"

struct err;

/* POST of a spec (borrowed); with --with-registry-auth our credentials for its image go along. *reply (may be NULL)
 * is the caller's. */
int service_send(struct cli *cli, const struct args *args, const char *path,
                 const struct json *spec, struct json **reply, struct err *err);
