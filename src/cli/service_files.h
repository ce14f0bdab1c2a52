/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * service_files - secrets and configs in a service's spec. A part of service_spec.
 *
 *	"key"                                      the secret "key" at /run/secrets/key, mode 0444
 *	"source=key,target=/etc/key,mode=0400,uid=7,gid=7"
 */

#include "base/json.h"
#include "cli/cli.h"

struct err;

/* Append the reference that text stands for, still without an ID. ERR_INVALID names the part. */
int service_files_secret(const char *text, struct json *list, struct err *err);
int service_files_config(const char *text, struct json *list, struct err *err);

/* Looks up the IDs that are missing in a spec: asks the daemon. ERR_NOT_FOUND: there is none of that name. */
int service_files_resolve(struct cli *cli, struct json *spec, struct err *err);
