/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * conntrack - flows that the kernel still sends to where nobody is.
 *
 * Address translation is decided once per flow. When its target goes, the flow must be forgotten, or
 * else a UDP client, or a TCP client that repeats its SYN, goes on knocking at a dead address
 * although others would answer.
 */

#include <stdbool.h>
#include <stdint.h>

struct err;

struct conntrack_target {
	uint32_t ip;
	uint16_t port; /* 0: any */
	bool established; /* TCP connections beyond their handshake too: their next packet gets a reset */
};

/* Forgets the flows whose translated target this is, in the calling thread's network namespace. Returns
 * how many. Blocks for the kernel's walk over its table (well below a millisecond as a rule). */
int conntrack_forget(const struct conntrack_target *target, struct err *err);
