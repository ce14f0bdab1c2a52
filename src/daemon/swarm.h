/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* swarm - what the rest of the daemon asks of its cluster half (daemon/swarm.c). */

struct daemon;
struct json;

/* The Swarm header of /_ping: "inactive", "active/worker", "active/manager" ... Never NULL. */
const char *swarm_ping_state(struct daemon *d);
/* The "Swarm" object of /info. The caller owns it; NULL only for lack of memory. */
struct json *swarm_info(struct daemon *d);
