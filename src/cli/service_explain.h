/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* service_explain - `service explain SERVICE`: why tasks of it do not run, per filter of the scheduler. */

#include "cli/args.h"

struct cli;
struct err;

int service_explain_run(struct cli *cli, const struct args *args, struct err *err);
