/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/election.h"

#define RENEW_MS  (ELECTION_TTL_MS / 4)
#define MARGIN_MS 100 /* clocks of machines differ in rate, and threads are late */
#define LOOK_MS   1000
#define RETRY_MS  100

enum election_act election_step(struct election *e, int64_t now_ms)
{
	if (e->epoch && now_ms >= e->until_ms) {
		e->epoch = 0;
		e->yielding = true;
	}
	if (e->yielding) {
		e->yielding = false;
		e->next_ms = now_ms;
		return ELECTION_YIELD;
	}
	if (now_ms < e->next_ms)
		return ELECTION_REST;
	return e->epoch ? ELECTION_RENEW : ELECTION_CAMPAIGN;
}

int64_t election_next(const struct election *e)
{
	return e->epoch && e->until_ms < e->next_ms ? e->until_ms : e->next_ms;
}

void election_won(struct election *e, int64_t sent_ms, int64_t epoch)
{
	e->epoch = epoch;
	election_kept(e, sent_ms);
}

void election_lost(struct election *e, int64_t now_ms)
{
	e->next_ms = now_ms + LOOK_MS;
}

void election_kept(struct election *e, int64_t sent_ms)
{
	e->until_ms = sent_ms + ELECTION_TTL_MS - MARGIN_MS;
	e->next_ms = sent_ms + RENEW_MS;
}

void election_dropped(struct election *e, int64_t now_ms)
{
	e->yielding = e->epoch != 0;
	e->epoch = 0;
	e->next_ms = now_ms;
}

void election_stand_back(struct election *e, int64_t until_ms)
{
	e->epoch = 0;
	e->yielding = false;
	e->next_ms = until_ms;
}

void election_failed(struct election *e, int64_t now_ms)
{
	e->next_ms = now_ms + RETRY_MS;
}

void election_vacant(struct election *e, int64_t now_ms)
{
	if (!e->epoch)
		e->next_ms = now_ms;
}
