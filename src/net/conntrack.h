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
#include <stddef.h>
#include <stdint.h>

struct err;

struct conntrack_target {
	uint32_t ip;   /* where answers come from; 0: any */
	uint16_t port; /* 0: any */
	bool udp_only;
	bool established; /* TCP connections beyond their handshake too: their next packet gets a reset */
};

/* Forgets the flows whose translated target is one of these, in the calling thread's network namespace.
 * Once all flows are listed, and before any is forgotten, recheck(arg, targets) may change
 * `established`. Returns how many went. Blocks while the kernel walks its table: some 20 ms on a
 * large machine, so this belongs on a worker. */
int conntrack_forget(struct conntrack_target *targets, size_t count,
                     void (*recheck)(void *arg, struct conntrack_target *targets, size_t count),
                     void *arg, struct err *err);
