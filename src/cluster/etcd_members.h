/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * etcd_members - who is in an etcd that the managers run themselves (etcd_run.h).
 *
 * A member that is taken in begins as a learner: it gets everything, and has no vote until it has caught
 * up. etcd takes one at a time, and none while not all are connected for five seconds: these calls
 * fail with ERR_UNAVAILABLE then, and are made again. Blocking; see etcd.h.
 */

#include <stdbool.h>
#include <stddef.h>

#include "cluster/address.h"

struct err;
struct etcd;

#define ETCD_MEMBERS_MAX 16
#define ETCD_URL_MAX     (ADDRESS_MAX + 16)

struct etcd_member {
	char id[24];
	char name[40]; /* our node's id; "": it has not started yet */
	char peer[ETCD_URL_MAX];
	bool learner;
};

struct etcd_members {
	size_t count;
	struct etcd_member items[ETCD_MEMBERS_MAX];
};

/* "IP:PORT" of a manager -> where its etcd member speaks with the others. */
int etcd_peer_url(const char *addr, char out[ETCD_URL_MAX], struct err *err);

int etcd_members(struct etcd *etcd, struct etcd_members *out, struct err *err);
const struct etcd_member *etcd_members_find(const struct etcd_members *members, const char *peer);
int etcd_member_add(struct etcd *etcd, const char *peer, struct err *err);
int etcd_member_promote(struct etcd *etcd, const char *id, struct err *err);
/* Before it goes: if the member that we speak to leads the others, another does from now on. One that is
 * taken out while it leads costs them an election, and what they were asked meanwhile. */
int etcd_member_yield(struct etcd *etcd, struct err *err);
int etcd_member_remove(struct etcd *etcd, const char *id, struct err *err);
