/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * dns - the name responder: answers containers on their network's gateway address, port 53.
 *
 * A user-defined network gets one UDP and one TCP socket, bound to its bridge, so that nobody else
 * can ask. Names and addresses come from net.db at each question. What is not ours is passed on to the resolvers that
 * the container was given, or to the machine's; internal networks pass nothing on.
 * The network "bridge" has no names, as in Docker; it gets a relay only where the machine's own
 * resolvers are on a loopback address that containers cannot reach.
 *
 * One thread, started with the first network, waits on all of it (UDP never blocks there); TCP
 * connections, rare, are served on workers. Calls may come from any thread.
 */

#include <stdbool.h>

#include "base/cleanup.h"

struct db;
struct dns;
struct err;
struct log;
struct store_network;

struct dns *dns_create(struct db *db, const struct log *log, struct err *err);
void dns_free(struct dns *dns);
DEFINE_AUTO(dns)

/* Networks that need no responder are ignored. */
int dns_network_add(struct dns *dns, const struct store_network *network, struct err *err);
void dns_network_remove(struct dns *dns, const char *network_id);

/* Whether that network has (or would have) a responder. */
bool dns_serves(const struct store_network *network);
