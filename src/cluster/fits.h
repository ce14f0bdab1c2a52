/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * fits - the one answer to "is there room?": for the scheduler, the applier, agents and the
 * simulator. Two copies of this question would sooner or later disagree, and a placement would
 * then be made and refused for ever.
 */

#include <stdbool.h>

#include "cluster/model.h"

/* The same of what is free. */
static inline bool fits_in(const struct model_resources *room, const struct model_resources *want)
{
	return (want->nano_cpus <= 0 || want->nano_cpus <= room->nano_cpus) &&
	       (want->memory_bytes <= 0 || want->memory_bytes <= room->memory_bytes);
}

static inline bool fits(const struct model_resources *total, const struct model_resources *used,
                        const struct model_resources *want)
{
	struct model_resources room = {.nano_cpus = total->nano_cpus - used->nano_cpus,
	                               .memory_bytes = total->memory_bytes - used->memory_bytes};

	return fits_in(&room, want);
}
