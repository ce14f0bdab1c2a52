/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * merge - a container's config is the request's, and the image's where the request says nothing.
 *
 * Docker's rules: an entrypoint of the request drops the image's cmd; [""] means none; variables, labels,
 * ports and volumes add up, the request wins. What is added lives in the arena.
 */

#include "api/container.h"
#include "oci/image.h"

struct arena;
struct err;

/* ERR_INVALID "no command specified". */
int merge_image(struct arena *arena, const struct oci_run_config *image, struct api_config *config,
                struct err *err);
