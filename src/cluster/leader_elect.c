/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who leads, where the store is shared. A thread of its own campaigns, renews and watches, with an etcd
 * client of its own and without the leader's lock: a commit that hangs must not cost the lease. What it
 * finds stands in the mandate; the ticker takes over and lays down by it.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/id.h"
#include "base/str.h"
#include "cluster/address.h"
#include "cluster/election.h"
#include "cluster/etcd.h"
#include "cluster/leader_state.h"
#include "cluster/store.h"

#define CALL_MS    1000
#define HOLDER_MAX 4096

struct elector {
	struct leader *leader;
	struct etcd *etcd;
	struct election election;
	int64_t lease; /* 0: none */
	char who[256]; /* what we write into the leader's key */
};

/* ---- the mandate ---- */

static void set_mandate(struct leader *leader, int64_t epoch, int64_t until_ms)
{
	struct mandate *m = &leader->mandate;

	pthread_mutex_lock(&m->lock);
	bool changed = m->epoch != epoch;
	m->epoch = epoch;
	m->until_ms = until_ms;
	if (epoch)
		m->holder[0] = '\0';
	pthread_cond_broadcast(&m->changed);
	pthread_mutex_unlock(&m->lock);
	if (changed)
		pthread_cond_broadcast(&leader->woken);
}

static void set_holder(struct leader *leader, const char *text)
{
	auto_type(json) doc = json_parse(text, strlen(text), NULL);
	const char *addr = json_get_string(doc, "Addr");

	pthread_mutex_lock(&leader->mandate.lock);
	snprintf(leader->mandate.holder, sizeof(leader->mandate.holder), "%.90s", addr ? addr : "");
	pthread_mutex_unlock(&leader->mandate.lock);
}

static bool is_stopping(void *arg)
{
	struct elector *x = arg;

	pthread_mutex_lock(&x->leader->mandate.lock);
	bool stop = x->leader->mandate.stop;
	pthread_mutex_unlock(&x->leader->mandate.lock);
	return stop;
}

static void rest(struct elector *x, int64_t until_ms)
{
	struct mandate *m = &x->leader->mandate;
	struct timespec when = {.tv_sec = until_ms / 1000, .tv_nsec = (until_ms % 1000) * 1000000};

	pthread_mutex_lock(&m->lock);
	if (!m->stop && m->refused == 0)
		pthread_cond_timedwait(&m->changed, &m->lock, &when);
	pthread_mutex_unlock(&m->lock);
}

/* The control plane could not be opened, or found a newer leader. */
static bool was_refused(struct elector *x)
{
	struct mandate *m = &x->leader->mandate;

	pthread_mutex_lock(&m->lock);
	bool refused = m->refused != 0 && m->refused == x->election.epoch;
	m->refused = 0;
	pthread_mutex_unlock(&m->lock);
	return refused;
}

/* ---- campaigning ---- */

static void drop_lease(struct elector *x)
{
	if (x->lease)
		etcd_revoke(x->etcd, x->lease);
	x->lease = 0;
}

static int on_event(void *arg, const struct etcd_event *event)
{
	(void)arg;
	return event->removed;
}

/* Waits until nobody leads. */
static void watch_leader(struct elector *x)
{
	auto_buf struct buf who = BUF_INIT(HOLDER_MAX);
	int64_t epoch, since;
	int rc = etcd_holder(x->etcd, &who, &epoch, &since, NULL);

	if (rc == 1) {
		set_holder(x->leader, buf_str(&who));
		since++;
		rc = etcd_watch(x->etcd, "leader", &since, on_event, is_stopping, x, NULL);
	}
	if (rc == 0)
		election_vacant(&x->election, clock_mono_ms());
	else
		election_failed(&x->election, clock_mono_ms());
}

static void campaign(struct elector *x)
{
	struct err err = ERR_INIT;
	int64_t sent = clock_mono_ms(), epoch;

	drop_lease(x);
	x->lease = etcd_grant(x->etcd, ELECTION_TTL_MS / 1000, &err);
	int rc = x->lease > 0 ? etcd_campaign(x->etcd, x->who, x->lease, &epoch, &err) : -1;
	if (rc == 1) {
		election_won(&x->election, sent, epoch);
		set_mandate(x->leader, epoch, x->election.until_ms);
		return;
	}
	if (x->lease < 0)
		x->lease = 0;
	if (rc < 0) {
		log_debug(&x->leader->log, "campaign failed", "error=%s", err.msg);
		election_failed(&x->election, clock_mono_ms());
		return;
	}
	drop_lease(x);
	election_lost(&x->election, clock_mono_ms());
	watch_leader(x);
}

static void renew(struct elector *x)
{
	int64_t sent = clock_mono_ms();
	int rc = etcd_keep(x->etcd, x->lease, NULL);

	if (rc > 0) {
		election_kept(&x->election, sent);
		set_mandate(x->leader, x->election.epoch, x->election.until_ms);
	} else if (rc == 0) {
		x->lease = 0;
		election_dropped(&x->election, clock_mono_ms());
	} else {
		election_failed(&x->election, clock_mono_ms());
	}
}

static void act(struct elector *x)
{
	if (was_refused(x)) {
		(void)etcd_resign(x->etcd, x->election.epoch, NULL);
		election_dropped(&x->election, clock_mono_ms());
	}
	switch (election_step(&x->election, clock_mono_ms())) {
	case ELECTION_CAMPAIGN:
		campaign(x);
		break;
	case ELECTION_RENEW:
		renew(x);
		break;
	case ELECTION_YIELD:
		set_mandate(x->leader, 0, 0);
		break;
	case ELECTION_REST:
		rest(x, election_next(&x->election));
		break;
	}
}

static int prepare(struct elector *x, struct leader *leader, struct err *err)
{
	auto_type(json) doc = json_object();
	auto_buf struct buf text = BUF_INIT(sizeof(x->who) - 1);
	char nonce[ID_SWARM_MAX];

	x->leader = leader;
	x->etcd = etcd_open(&(struct etcd_options){.url = leader->url, .call_ms = CALL_MS}, err);
	json_set(doc, "NodeID", json_string(leader->self));
	json_set(doc, "Addr", json_string(leader->addr));
	json_set(doc, "Nonce", json_string(id_make_swarm(nonce)));
	if (!x->etcd || json_write(doc, &text, err) < 0)
		return -1;
	snprintf(x->who, sizeof(x->who), "%s", buf_str(&text));
	return 0;
}

/* The ticker has laid the control plane down: the next may begin at once. */
static void hand_over(struct elector *x)
{
	if (x->election.epoch)
		(void)etcd_resign(x->etcd, x->election.epoch, NULL);
	drop_lease(x);
}

void *leader_elect(void *arg)
{
	struct elector x = {0};
	struct err err = ERR_INIT;

	if (prepare(&x, arg, &err) < 0)
		log_error(&((struct leader *)arg)->log, "no election", "error=%s", err.msg);
	else
		while (!is_stopping(&x))
			act(&x);
	if (x.etcd)
		hand_over(&x);
	etcd_free(x.etcd);
	return NULL;
}

/* ---- taking over and laying down: the ticker ---- */

static int open_control(struct leader *leader, int64_t epoch, struct store **store,
                        struct control **control, struct err *err)
{
	struct control_config config = {0};
	struct etcd *etcd = etcd_open(&(struct etcd_options){.url = leader->url}, err);

	*store = etcd ? store_etcd_open(etcd, epoch, err) : NULL;
	if (!*store)
		return -1;
	config.store = *store;
	snprintf(config.self, sizeof(config.self), "%s", leader->self);
	id_random(config.seed, sizeof(config.seed));
	*control = control_open(&config, leader_now(), err);
	if (*control)
		return 0;
	store_free(*store);
	*store = NULL;
	return -1;
}

void leader_refuse(struct leader *leader, int64_t epoch)
{
	struct mandate *m = &leader->mandate;

	pthread_mutex_lock(&m->lock);
	m->refused = epoch;
	if (m->epoch == epoch)
		m->epoch = 0;
	pthread_cond_broadcast(&m->changed);
	pthread_mutex_unlock(&m->lock);
}

/* Reads everything without the lock: nobody uses it yet. */
static void take_over(struct leader *leader, int64_t epoch)
{
	struct err err = ERR_INIT;
	struct store *store;
	struct control *control;
	int64_t began = clock_mono_ms();

	if (open_control(leader, epoch, &store, &control, &err) < 0) {
		log_error(&leader->log, "leadership not taken up", "error=%s", err.msg);
		leader_refuse(leader, epoch);
		return;
	}
	pthread_mutex_lock(&leader->lock);
	leader->store = store;
	leader->control = control;
	leader->epoch = epoch;
	leader->revision = -1;
	leader_pump(leader);
	pthread_mutex_unlock(&leader->lock);
	log_info(&leader->log, "this manager leads", "epoch=%lld ms=%lld", (long long)epoch,
	         (long long)(clock_mono_ms() - began));
}

void leader_lay_down(struct leader *leader)
{
	struct session *session;

	pthread_mutex_lock(&leader->lock);
	if (leader->control)
		log_info(&leader->log, "this manager leads no longer", "epoch=%lld",
		         (long long)leader->epoch);
	while ((session = LIST_FIRST(&leader->sessions)) != NULL) {
		session->over = true;
		LIST_REMOVE(session, next);
		pthread_cond_signal(&session->changed);
	}
	leader_drop_requests(leader);
	control_free(leader->control);
	store_free(leader->store);
	leader->control = NULL;
	leader->store = NULL;
	leader->epoch = 0;
	free(leader->table);
	free(leader->endpoints);
	leader->table = leader->endpoints = NULL;
	pthread_mutex_unlock(&leader->lock);
}

void leader_follow_mandate(struct leader *leader, int64_t wait_ms)
{
	struct mandate *m = &leader->mandate;
	int64_t until = clock_mono_ms() + wait_ms;
	struct timespec when = {.tv_sec = until / 1000, .tv_nsec = (until % 1000) * 1000000};

	pthread_mutex_lock(&m->lock);
	if (wait_ms > 0 && m->epoch == 0 && !m->stop)
		pthread_cond_timedwait(&m->changed, &m->lock, &when);
	int64_t epoch = m->stop || m->until_ms <= clock_mono_ms() ? 0 : m->epoch;
	pthread_mutex_unlock(&m->lock);
	if (leader->epoch && leader->epoch != epoch)
		leader_lay_down(leader);
	if (epoch && leader->epoch != epoch)
		take_over(leader, epoch);
}

bool leader_may_lead(struct leader *leader)
{
	if (!leader->url)
		return true;
	pthread_mutex_lock(&leader->mandate.lock);
	bool may = leader->epoch && leader->mandate.epoch == leader->epoch &&
	           clock_mono_ms() < leader->mandate.until_ms;
	pthread_mutex_unlock(&leader->mandate.lock);
	return may;
}

bool leader_holder(struct leader *leader, char out[ADDRESS_MAX])
{
	pthread_mutex_lock(&leader->mandate.lock);
	snprintf(out, ADDRESS_MAX, "%.90s", leader->mandate.holder);
	pthread_mutex_unlock(&leader->mandate.lock);
	return out[0];
}

/* ---- a new cluster ---- */

/* Leads at once, or not at all: for `init`, before anybody else knows of the cluster. */
int leader_found_shared(struct leader *leader, struct err *err)
{
	auto_type(etcd) etcd = etcd_open(&(struct etcd_options){.url = leader->url}, err);
	char nonce[ID_SWARM_MAX];
	int64_t epoch = 0;

	if (!etcd)
		return -1;
	int64_t lease = etcd_grant(etcd, 30, err);
	int rc = lease > 0 ? etcd_campaign(etcd, id_make_swarm(nonce), lease, &epoch, err) : -1;
	if (rc == 0)
		rc = err_set(err, ERR_CONFLICT,
		             "a cluster is led from this store already: join it");
	else if (rc > 0)
		rc = open_control(leader, epoch, &leader->store, &leader->control, err);
	if (rc == 0 && control_cluster(leader->control))
		rc = err_set(err, ERR_CONFLICT,
		             "the store holds a cluster already: join it, or name another prefix "
		             "(etcd://HOST/PREFIX)");
	leader->epoch = epoch;
	leader->founding_lease = lease > 0 ? lease : 0;
	pthread_mutex_lock(&leader->mandate.lock);
	leader->mandate.epoch = rc == 0 ? epoch : 0;
	leader->mandate.until_ms = clock_mono_ms() + 25000;
	pthread_mutex_unlock(&leader->mandate.lock);
	return rc;
}

void leader_end_founding(struct leader *leader)
{
	auto_type(etcd) etcd = etcd_open(&(struct etcd_options){.url = leader->url}, NULL);

	if (etcd && leader->founding_lease)
		etcd_revoke(etcd, leader->founding_lease);
	leader->founding_lease = 0;
}
