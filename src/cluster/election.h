/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * election - when a manager may lead, as a state machine without a clock.
 *
 *	switch (election_step(&e, now)) {
 *	case ELECTION_CAMPAIGN: ask for the leadership, say election_won() / _lost() / _failed()
 *	case ELECTION_RENEW:    keep the lease alive, say election_kept() / _dropped() / _failed()
 *	case ELECTION_YIELD:    stop leading, now
 *	case ELECTION_REST:     nothing until election_next()
 *	}
 *
 * The lease's holder counts for itself, on its own monotonic clock and from before the request was
 * sent, how long it may lead at most: so it has stepped down when others may begin, also if
 * nobody answers it. That keeps two from leading; what keeps two from writing is the epoch, which
 * every commit compares (store.h).
 */

#include <stdbool.h>
#include <stdint.h>

#define ELECTION_TTL_MS 2000 /* the shortest lease that etcd gives */

struct election {
	int64_t epoch;    /* 0: we do not lead */
	int64_t until_ms; /* and not longer than this */
	int64_t next_ms;  /* to do something */
	bool yielding;
};

enum election_act {
	ELECTION_REST,
	ELECTION_CAMPAIGN,
	ELECTION_RENEW,
	ELECTION_YIELD
};

enum election_act election_step(struct election *election, int64_t now_ms);
int64_t election_next(const struct election *election); /* mono_ms */

/* sent_ms: before the request (for a campaign, before its lease was asked for). */
void election_won(struct election *election, int64_t sent_ms, int64_t epoch);
void election_lost(struct election *election, int64_t now_ms); /* somebody else leads */
void election_kept(struct election *election, int64_t sent_ms);
void election_dropped(struct election *election, int64_t now_ms); /* the lease is gone */
/* We lead no longer, by our own will, and do not try before then. */
void election_stand_back(struct election *election, int64_t until_ms);
void election_failed(struct election *election, int64_t now_ms); /* nobody answered */
void election_vacant(struct election *election, int64_t now_ms); /* nobody leads: try at once */
