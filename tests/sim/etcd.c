/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/store_driver.h"
#include "sim.h"

/* etcd - as much of it as an election uses: leases that end late but never early (unless it loses them), a key
 * that lives as long as its lease, transactions that compare its create_revision, and a watch. What its members
 * agree on is taken for granted: it answers, or it does not. */

#define LATE_MS 500 /* leases may be kept for so much longer */

static struct lease *find_lease(struct world *w, int64_t id)
{
	for (size_t i = 0; i < SIM_LEASES; i++)
		if (id && w->etcd.leases[i].id == id)
			return &w->etcd.leases[i];
	return NULL;
}

static void refresh(struct world *w, struct lease *lease)
{
	lease->until_ms = w->now_ms + ELECTION_TTL_MS + (int64_t)world_random(w, LATE_MS);
}

/* Commits of the leader so far are refused from now on. */
static void drop_key(struct world *w)
{
	struct etcd_world *e = &w->etcd;

	world_log(w, "etcd: nobody leads after epoch %lld", (long long)e->epoch);
	e->epoch = 0;
	e->who = 0;
	e->lease = 0;
	e->revision++;
	store_disk_set_epoch(w->disk, 0);
	w->leader = NULL;
	for (size_t i = 0; i < w->master_count; i++)
		world_send(w, (struct event){.kind = EVENT_FROM_ETCD,
		                             .master = i,
		                             .call = {.kind = CALL_VACANT}});
}

static void end_lease(struct world *w, struct lease *lease)
{
	if (w->etcd.epoch && w->etcd.lease == lease->id)
		drop_key(w);
	*lease = (struct lease){0};
}

void etcd_step(struct world *w)
{
	if (w->now_ms < w->etcd.down_until_ms) /* leases live as long as nobody can end them */
		return;
	for (size_t i = 0; i < SIM_LEASES; i++)
		if (w->etcd.leases[i].id && w->now_ms >= w->etcd.leases[i].until_ms)
			end_lease(w, &w->etcd.leases[i]);
}

void etcd_lose_leases(struct world *w)
{
	world_log(w, "etcd loses all leases");
	w->unsafe_until_ms = w->now_ms + 2 * ELECTION_TTL_MS;
	for (size_t i = 0; i < SIM_LEASES; i++)
		if (w->etcd.leases[i].id)
			end_lease(w, &w->etcd.leases[i]);
}

static void grant(struct world *w, struct call *call)
{
	struct lease *lease = w->etcd.leases;

	while (lease->id)
		if (++lease == w->etcd.leases + SIM_LEASES)
			world_fail(w, "more than %d leases live", SIM_LEASES);
	lease->id = ++w->etcd.next_lease;
	refresh(w, lease);
	call->lease = lease->id;
	call->yes = true;
}

static void campaign(struct world *w, struct call *call)
{
	struct etcd_world *e = &w->etcd;
	bool early = w->broken == SIM_BREAK_EARLY && e->epoch && e->who != call->who;

	if (!find_lease(w, call->lease))
		return;
	if (early && world_chance(w, 5))
		drop_key(w);
	if (e->epoch) {
		/* An attempt whose answer was lost; of another lease it ends by itself. */
		call->yes = e->who == call->who &&
		            (e->lease == call->lease || w->broken == SIM_BREAK_NONCE);
		call->epoch = e->epoch;
		return;
	}
	e->epoch = ++e->revision;
	e->who = call->who;
	e->lease = call->lease;
	call->epoch = e->epoch;
	call->yes = true;
	store_disk_set_epoch(w->disk, e->epoch);
}

static void keep(struct world *w, struct call *call)
{
	struct lease *lease = find_lease(w, call->lease);

	call->yes = lease != NULL;
	if (lease)
		refresh(w, lease);
}

void etcd_take(struct world *w, size_t master, const struct call *question)
{
	struct call call = *question;
	struct lease *lease = find_lease(w, call.lease);

	if (w->now_ms < w->etcd.down_until_ms)
		return;
	switch (call.kind) {
	case CALL_GRANT:
		grant(w, &call);
		break;
	case CALL_CAMPAIGN:
		campaign(w, &call);
		break;
	case CALL_KEEP:
		keep(w, &call);
		break;
	case CALL_REVOKE:
		if (lease)
			end_lease(w, lease);
		return;
	case CALL_RESIGN:
		if (w->etcd.epoch && w->etcd.epoch == call.epoch)
			drop_key(w);
		return;
	case CALL_VACANT:
		return;
	}
	world_send(w, (struct event){.kind = EVENT_FROM_ETCD, .master = master, .call = call});
}
