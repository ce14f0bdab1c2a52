/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * optout - which of the defaults (docs/design/011-defaults.md) a container does without, in the words that take
 * them away: "userns=host", "privileged", "cap-add=NET_ADMIN". `ps` and `inspect` show them.
 */

#include <stdint.h>

struct api_host_config;
struct arena;
struct err;

/* NULL-terminated, in the arena. first_id as in ids.h. */
char **optout_list(const struct api_host_config *host, uint32_t first_id, struct arena *arena,
                   struct err *err);
