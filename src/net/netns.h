/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * netns - network namespaces for containers, made ahead of time.
 *
 *	struct netns_pool *pool = netns_pool_create(2, true, workers, log, err);
 *	int fd = netns_pool_take(pool, &owner, err);                 // ready: lo up, sysctls set
 *	netns_bind(fd, dir_fd, container_id, err);           // a name for it in <run>/netns
 *
 * A namespace is made by a short-lived thread that leaves its own: nothing forks and the caller
 * stays where it is. Ready ones are held by descriptor alone, so that kill -9 leaves none behind.
 * Thread-safe.
 */

#include <stdbool.h>

#include "base/cleanup.h"

struct err;
struct log;
struct net_owner;
struct netns_pool;
struct pool;

/* `workers` (borrowed) refills in the background. With user_namespaces, each that is made ahead has one, which gets
 * its ids when it is taken; the others are made on the spot. */
struct netns_pool *netns_pool_create(int size, bool user_namespaces, struct pool *workers,
                                     const struct log *log, struct err *err);
/* The workers must have come to rest. */
void netns_pool_free(struct netns_pool *pool);
DEFINE_AUTO(netns_pool)

/* A namespace of which this is the only reference; made on the spot when none is ready. */
int netns_pool_take(struct netns_pool *pool, const struct net_owner *owner, struct err *err);

/* Gives the namespace a name: a file in dir_fd that it is mounted on. Replaces a stale one. */
int netns_bind(int netns_fd, int dir_fd, const char *name, struct err *err);
/* Opens it by that name. ERR_NOT_FOUND, also when a file is there but no namespace on it. */
int netns_open(int dir_fd, const char *name, struct err *err);
/* Takes the name away; missing is success. */
int netns_unbind(int dir_fd, const char *name, struct err *err);
