/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* pull - fetching an image, for `pull` and for what needs one that is not there. */

#include <stdbool.h>
#include <stdio.h>

#include "cli/cli.h"

/* Shows its progress on `out` unless quiet; platform may be NULL. */
int pull_image(struct cli *cli, const char *name, const char *platform, FILE *out, bool quiet,
               struct err *err);
