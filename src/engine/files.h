/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * files - /etc/hosts, /etc/hostname and /etc/resolv.conf, written anew at each start into the
 * container's directory and bind-mounted from there.
 */

#include "engine/private.h"

struct files {
	char hosts[512], hostname[512], resolv_conf[512]; /* absolute paths */
};

/* op held; the networks are up. The paths of container:x are x's. */
int files_write(struct container *c, const struct config *config, struct files *out,
                struct err *err);
void files_paths(struct container *c, struct files *out);
