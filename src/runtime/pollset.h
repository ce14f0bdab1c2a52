/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * pollset - the descriptors of one poll(2), gathered anew for each round.
 *
 *	struct pollset set = {0};
 *	int slot = pollset_add(&set, fd, POLLIN);
 *	poll(set.fds, set.count, -1);
 *	if (pollset_seen(&set, slot) & POLLIN) ...
 *
 * A supervisor has few descriptors and must be small; so it keeps no registrations, and one that
 * went away in the same round cannot be called back.
 */

#include <poll.h>
#include <stddef.h>

#define POLLSET_MAX 160

struct pollset {
	struct pollfd fds[POLLSET_MAX];
	size_t count;
};

/* -1 when full (nothing is waited for then) or for fd -1. */
static inline int pollset_add(struct pollset *set, int fd, short events)
{
	if (fd < 0 || set->count == POLLSET_MAX)
		return -1;
	set->fds[set->count] = (struct pollfd){.fd = fd, .events = events};
	return (int)set->count++;
}

static inline int pollset_seen(const struct pollset *set, int slot)
{
	return slot < 0 ? 0 : set->fds[slot].revents;
}
