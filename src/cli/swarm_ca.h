/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* swarm_ca - `swarm ca`: shows the cluster's root certificate, or has another take its place and waits for it. */

#include "cli/commands.h"

extern const struct flag swarm_ca_flags[];
int swarm_ca_run(struct cli *cli, const struct args *args, struct err *err);
