/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* cluster_snapshots - `cluster snapshots`: how often the leader backs the cluster up, and what it has. */

#include "cli/commands.h"

extern const struct flag cluster_snapshots_flags[];
int cluster_snapshots_run(struct cli *cli, const struct args *args, struct err *err);
