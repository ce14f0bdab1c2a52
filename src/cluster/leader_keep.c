/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The housekeeping of a shared store. etcd keeps every revision of every key until it is told
 * to forget, keeps the room on its disk until it is told to give it back, and takes no more writes once
 * its quota is used up. One manager sees to it: the leader, or whoever finds that there is none, for
 * a full etcd lets nobody be elected.
 */

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"
#include "cluster/etcd.h"
#include "cluster/leader_state.h"

#define LOOK_MS 5000
#define TEND_MS 1000
#define CALL_MS 3000

struct keeper {
	struct leader *leader;
	struct etcd *etcd;
	int64_t due_ms;   /* for the next compaction */
	int64_t revision; /* that was the newest at the last one: what it drops next time */
};

/* False: the end. */
static bool rest(struct keeper *k, int64_t ms)
{
	struct mandate *m = &k->leader->mandate;
	int64_t until = clock_mono_ms() + ms;
	struct timespec when = {.tv_sec = until / 1000, .tv_nsec = (until % 1000) * 1000000};

	pthread_mutex_lock(&m->lock);
	while (!m->stop && clock_mono_ms() < until)
		pthread_cond_timedwait(&m->changed, &m->lock, &when);
	bool goes_on = !m->stop;
	pthread_mutex_unlock(&m->lock);
	return goes_on;
}

static bool is_ours_to_do(struct keeper *k)
{
	struct mandate *m = &k->leader->mandate;

	pthread_mutex_lock(&m->lock);
	bool ours = m->epoch != 0 || !m->holder[0];
	pthread_mutex_unlock(&m->lock);
	return ours;
}

/* Says so in the log when it changes. */
static void note(struct keeper *k, const char *text)
{
	struct mandate *m = &k->leader->mandate;

	pthread_mutex_lock(&m->lock);
	bool changed = !str_eq(m->note, text);
	snprintf(m->note, sizeof(m->note), "%s", text);
	pthread_mutex_unlock(&m->lock);
	if (!changed)
		return;
	if (*text)
		log_warn(&k->leader->log, "the cluster's store needs attention", "store=%s", text);
	else
		log_info(&k->leader->log, "the cluster's store is well again", "%s", "");
}

void leader_store_note(struct leader *leader, char *out, size_t size)
{
	pthread_mutex_lock(&leader->mandate.lock);
	snprintf(out, size, "%s", leader->mandate.note);
	pthread_mutex_unlock(&leader->mandate.lock);
}

/* How it is, for people. */
static void judge(struct keeper *k, const struct etcd_health *health)
{
	char text[200] = "";

	if (health->full)
		snprintf(text, sizeof(text), "%s", ETCD_FULL);
	else if (health->answering * 2 <= health->members)
		snprintf(text, sizeof(text),
		         "etcd: %zu of %zu endpoints answer: without a majority nothing can be "
		         "changed; containers go on",
		         health->answering, health->members);
	else if (health->answering < health->members)
		snprintf(text, sizeof(text),
		         "etcd: %zu of %zu endpoints answer; the cluster goes on",
		         health->answering, health->members);
	note(k, text);
}

static void compact(struct keeper *k, int64_t revision, bool full)
{
	struct err err = ERR_INIT;
	int64_t began = clock_mono_ms();

	if (revision > 1 && etcd_compact(k->etcd, revision, full, &err) < 0)
		log_warn(&k->leader->log, "compaction failed", "revision=%lld error=%s",
		         (long long)revision, err.msg);
	else if (revision > 1)
		log_debug(&k->leader->log, "store compacted", "revision=%lld ms=%lld",
		          (long long)revision, (long long)(clock_mono_ms() - began));
}

static void look(struct keeper *k)
{
	struct etcd_health health;
	struct err err = ERR_INIT;

	if (etcd_look(k->etcd, &health, &err) < 0) {
		note(k, "etcd: no endpoint answers, nothing can be changed; containers go on");
		return;
	}
	judge(k, &health);
	if (!is_ours_to_do(k))
		return;
	if (health.full) {
		compact(k, health.revision, true);
		k->revision = 0;
		if (etcd_look(k->etcd, &health, NULL) == 0)
			judge(k, &health);
	} else if (clock_mono_ms() >= k->due_ms) {
		compact(k, k->revision, false);
		k->revision = health.revision;
		k->due_ms = clock_mono_ms() + k->leader->compact_ms;
	}
}

void *leader_keep(void *arg)
{
	struct keeper k = {.leader = arg};
	struct err err = ERR_INIT;
	int64_t pause = k.leader->compact_ms < LOOK_MS ? k.leader->compact_ms : LOOK_MS;

	k.etcd = leader_etcd(k.leader, CALL_MS, &err);
	if (!k.etcd)
		log_error(&k.leader->log, "no housekeeping of the store", "error=%s", err.msg);
	if (k.leader->socket && pause > TEND_MS)
		pause = TEND_MS;
	for (int64_t due = 0; k.etcd && rest(&k, pause);) {
		if (k.leader->socket)
			leader_tend_members(k.leader, k.etcd);
		if (clock_mono_ms() < due)
			continue;
		look(&k);
		due = clock_mono_ms() +
		      (k.leader->compact_ms < LOOK_MS ? k.leader->compact_ms : LOOK_MS);
	}
	etcd_free(k.etcd);
	return NULL;
}
