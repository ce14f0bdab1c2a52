/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* volumes - what the engine does with volumes beside volume.h. */

#include "engine/volume.h"

/* Copies what root_fd has at `path` into the volume, if the volume is empty: the first use of a
 * volume shows the image's files. A path that is missing or no directory is success. */
int volumes_fill(struct engine *engine, const char *name, int root_fd, const char *path,
                 struct err *err);
/* Of a container that is going: its anonymous volumes that nobody else has. */
struct config;
void volumes_drop(struct engine *engine, const struct config *config);
/* Directories without a row, left by a creation that was cut off. */
int volumes_sweep(struct engine *engine, struct err *err);
