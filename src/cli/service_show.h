/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* service_show - what `service ls`, `inspect` and `logs` print; the commands are in cmd_service.c. */

#include "cli/args.h"

struct err;

int service_show_list(struct cli *cli, const struct args *args, struct err *err);
/* Only those with a label, "KEY=VALUE" (NULL: all). */
int service_show_labelled(struct cli *cli, const struct args *args, const char *label,
                          struct err *err);
int service_show_pretty(struct cli *cli, const struct args *args, struct err *err);
/* Each line with the task and node that it is from, unless --raw. */
int service_logs_run(struct cli *cli, const struct args *args, struct err *err);
