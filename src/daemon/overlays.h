/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* overlays - the cluster's networks, as the machine's room for networks wants to hear of them. */

struct endpoints;
struct err;
struct net;
struct network;

/* Makes one of the cluster's networks on this machine, if it is not there. */
int overlays_ensure(struct net *net, const struct network *n, struct err *err);
/* ERR_UNSUPPORTED when the network (name or id) is the cluster's: only tasks get addresses there. */
int overlays_refuse(struct net *net, const char *network, struct err *err);
/* What the table of endpoints says of networks. */
int overlays_publish(struct net *net, const struct endpoints *table, struct err *err);
