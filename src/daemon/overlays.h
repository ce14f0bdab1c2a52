/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * overlays - the cluster's networks, as the machine's room for networks wants to hear of them.
 *
 *	struct overlays *o = overlays_create(err);
 *	options.granter = overlays_granter(o);   // for engine_open()
 *	overlays_serve(o, member);               // from now on the cluster can be asked for addresses
 *	overlays_stop(o);                        // before the member is closed; waits for calls under way
 *	overlays_free(o);                        // after the engine is closed
 *
 * Thread-safe.
 */

#include "base/cleanup.h"

struct endpoints;
struct engine_granter;
struct err;
struct member;
struct net;
struct network;
struct overlays;

struct overlays *overlays_create(struct err *err);
void overlays_free(struct overlays *o); /* accepts NULL */
DEFINE_AUTO(overlays)
const struct engine_granter *overlays_granter(struct overlays *o);
void overlays_serve(struct overlays *o, struct member *member);
void overlays_stop(struct overlays *o);

/* A plain container shall be on the network (name or id): if it is the cluster's, makes it on this machine. In
 * Docker's words ERR_DENIED when only tasks may be on it. Anything else is none of our business: 0. */
int overlays_prepare(struct overlays *o, struct net *net, const char *network, struct err *err);

/* Makes one of the cluster's networks on this machine, if it is not there. */
int overlays_ensure(struct net *net, const struct network *n, struct err *err);
/* What the table of endpoints says of networks. */
int overlays_publish(struct net *net, const struct endpoints *table, struct err *err);
