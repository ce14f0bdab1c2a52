/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* networks - which of this machine's networks are a cluster's. */

#include <stdbool.h>

struct net_network;

/* Made with the overlay driver: shown as one of scope "swarm", and on this machine alone for now. */
bool networks_is_swarm(const struct net_network *n);
