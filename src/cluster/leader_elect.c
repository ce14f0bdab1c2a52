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

#define CALL_MS     1000
#define HOLDER_MAX  4096
#define FRESH_MS    1000 /* a lease that was asked for ahead is good for so long */
#define TAKE_UP_MS  2000 /* requests wait so long for a control plane that is being opened */
#define ANNOUNCE_MS 300  /* for etcd to take our announcement */
#define PREPARE_MS  60   /* for the others to prepare themselves by it */
#define RETIRED_MS                                                                                 \
	10000 /* one that is to be a worker leaves the others so much time to take over */
#define RETIRED_STEP_MS 20
#define QUIET_MS        150 /* no manager has asked for so long: they know that we lead no longer */
#define LINGER_MS       1000

struct elector {
	struct leader *leader;
	struct etcd *etcd;
	struct election election;
	int64_t lease;    /* 0: none */
	int64_t lease_ms; /* from before it was asked for */
	bool vacant;      /* what the watch saw */
	char who[256];    /* what we write into the leader's key */
};

/* ---- the mandate ---- */

static void set_mandate(struct leader *leader, int64_t epoch, int64_t until_ms)
{
	struct mandate *m = &leader->mandate;

	pthread_mutex_lock(&m->lock);
	bool changed = m->epoch != epoch;
	m->epoch = epoch;
	m->until_ms = until_ms;
	if (epoch && m->holder[0]) {
		m->holder[0] = '\0';
		m->holder_ms = clock_mono_ms();
	}
	pthread_cond_broadcast(&m->changed);
	pthread_mutex_unlock(&m->lock);
	if (changed)
		pthread_cond_broadcast(&leader->woken);
}

static void set_holder(struct leader *leader, const char *text)
{
	auto_type(json) doc = json_parse(text, strlen(text), NULL);
	const char *addr = json_get_string(doc, "Addr");
	struct mandate *m = &leader->mandate;

	pthread_mutex_lock(&m->lock);
	if (!str_eq(m->holder, addr ? addr : "")) {
		snprintf(m->holder, sizeof(m->holder), "%.90s", addr ? addr : "");
		m->holder_ms = clock_mono_ms();
	}
	pthread_cond_broadcast(&m->changed);
	pthread_mutex_unlock(&m->lock);
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
	if (!m->stop && !m->retiring && m->refused == 0 && m->leaving == m->announced)
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

/* So that there is one request less to make when the leader has gone. */
static void get_lease(struct elector *x, struct err *err)
{
	drop_lease(x);
	x->lease_ms = clock_mono_ms();
	int64_t lease = etcd_grant(x->etcd, ELECTION_TTL_MS / 1000, err);
	x->lease = lease > 0 ? lease : 0;
}

static int on_event(void *arg, const struct etcd_event *event)
{
	struct elector *x = arg;

	x->vacant = event->removed;
	return 1;
}

/* Waits until nobody leads. A leader that is about to go says so before: then we make ready. */
static void watch_leader(struct elector *x)
{
	auto_buf struct buf who = BUF_INIT(HOLDER_MAX);
	int64_t epoch, since;
	int rc = etcd_holder(x->etcd, &who, &epoch, &since, NULL);

	if (rc == 1) {
		set_holder(x->leader, buf_str(&who));
		since++;
		for (x->vacant = false; rc >= 0 && !x->vacant && !is_stopping(x);) {
			rc = etcd_watch(x->etcd, "leader", &since, on_event, is_stopping, x, NULL);
			if (rc == 0 && !x->vacant && !is_stopping(x))
				get_lease(x, NULL);
		}
	}
	if (rc == 0) {
		set_holder(x->leader, "");
		election_vacant(&x->election, clock_mono_ms());
		return;
	}
	election_failed(&x->election, clock_mono_ms());
}

static void campaign(struct elector *x)
{
	auto_buf struct buf holder = BUF_INIT(HOLDER_MAX);
	struct err err = ERR_INIT;
	int64_t epoch;

	if (!x->lease || clock_mono_ms() - x->lease_ms > FRESH_MS)
		get_lease(x, &err);
	int rc = x->lease ? etcd_campaign(x->etcd, x->who, x->lease, &epoch, &holder, &err) : -1;
	if (rc == 1) {
		election_won(&x->election, x->lease_ms, epoch);
		set_mandate(x->leader, epoch, x->election.until_ms);
		return;
	}
	if (rc < 0) {
		log_debug(&x->leader->log, "campaign failed", "error=%s", err.msg);
		x->lease_ms = 0; /* it may be the lease's fault */
		election_failed(&x->election, clock_mono_ms());
		return;
	}
	set_holder(x->leader, buf_str(&holder));
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

/* The same as `who`, with a word more. */
static void say_leaving(struct elector *x)
{
	auto_type(json) doc = json_parse(x->who, strlen(x->who), NULL);
	auto_buf struct buf text = BUF_INIT(HOLDER_MAX);

	json_set(doc, "Leaving", json_bool(true));
	if (x->election.epoch && json_write(doc, &text, NULL) == 0)
		(void)etcd_announce(x->etcd, buf_str(&text), x->lease, x->election.epoch, NULL);
}

static void announce(struct elector *x)
{
	struct mandate *m = &x->leader->mandate;

	pthread_mutex_lock(&m->lock);
	bool due = m->leaving && !m->announced;
	pthread_mutex_unlock(&m->lock);
	if (!due)
		return;
	say_leaving(x);
	pthread_mutex_lock(&m->lock);
	m->announced = true;
	pthread_cond_broadcast(&m->changed);
	pthread_mutex_unlock(&m->lock);
}

static bool is_retiring(struct elector *x)
{
	struct mandate *m = &x->leader->mandate;

	pthread_mutex_lock(&m->lock);
	bool retiring = m->retiring;
	m->retiring = false;
	pthread_mutex_unlock(&m->lock);
	return retiring && x->election.epoch;
}

/* A handover like that of a daemon that is stopped, but we go on: until we have been made a worker we send
 * what we are asked to whoever leads next. If nobody does, we do, and try again. */
static void retire(struct elector *x)
{
	struct leader *leader = x->leader;
	auto_buf struct buf who = BUF_INIT(HOLDER_MAX);
	int64_t until, epoch = x->election.epoch, since;

	log_info(&leader->log, "this manager becomes a worker: another shall lead", "%s", "");
	say_leaving(x);
	clock_sleep_ms(PREPARE_MS);
	set_mandate(leader, 0, 0);
	pthread_mutex_lock(&leader->lock); /* who has begun to write is done with it */
	pthread_mutex_unlock(&leader->lock);
	(void)etcd_resign(x->etcd, epoch, NULL);
	drop_lease(x);
	until = clock_mono_ms() + RETIRED_MS;
	election_stand_back(&x->election, until);
	while (!is_stopping(x) && clock_mono_ms() < until) {
		buf_clear(&who);
		if (etcd_holder(x->etcd, &who, &epoch, &since, NULL) == 1) {
			watch_leader(x);
			return;
		}
		clock_sleep_ms(RETIRED_STEP_MS);
	}
}

void leader_retire(struct leader *leader)
{
	pthread_mutex_lock(&leader->mandate.lock);
	leader->mandate.retiring = true;
	pthread_cond_broadcast(&leader->mandate.changed);
	pthread_mutex_unlock(&leader->mandate.lock);
}

static void act(struct elector *x)
{
	announce(x);
	if (is_retiring(x))
		retire(x);
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
	x->etcd = leader_etcd(leader, CALL_MS, err);
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
	struct etcd *etcd = leader_etcd(leader, 0, err);

	*store = etcd ? store_etcd_open(etcd, epoch, err) : NULL;
	if (!*store)
		return -1;
	config.store = *store;
	config.shared = true;
	config.voting = leader->socket != NULL;
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
	leader->revision = leader->root.revision = -1;
	leader_pump(leader);
	pthread_mutex_unlock(&leader->lock);
	pthread_mutex_lock(&leader->mandate.lock);
	leader->mandate.ready = epoch;
	pthread_cond_broadcast(&leader->mandate.changed);
	pthread_mutex_unlock(&leader->mandate.lock);
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

/* ---- waiting ---- */

/* With the mandate locked. False: the time is over. */
static bool wait_change(struct mandate *m, int64_t until_ms)
{
	struct timespec when = {.tv_sec = until_ms / 1000, .tv_nsec = (until_ms % 1000) * 1000000};

	if (clock_mono_ms() >= until_ms)
		return false;
	pthread_cond_timedwait(&m->changed, &m->lock, &when);
	return true;
}

bool leader_is_known(struct leader *leader)
{
	struct mandate *m = &leader->mandate;

	pthread_mutex_lock(&m->lock);
	bool known = m->holder[0] || (m->epoch && m->ready == m->epoch);
	pthread_mutex_unlock(&m->lock);
	return known || !leader->url;
}

void leader_await(struct leader *leader, int64_t ms)
{
	pthread_mutex_lock(&leader->mandate.lock);
	if (!leader->mandate.stop)
		wait_change(&leader->mandate, clock_mono_ms() + ms);
	pthread_mutex_unlock(&leader->mandate.lock);
}

void leader_await_ready(struct leader *leader)
{
	struct mandate *m = &leader->mandate;
	int64_t until = clock_mono_ms() + TAKE_UP_MS;

	pthread_mutex_lock(&m->lock);
	m->asked_ms = clock_mono_ms();
	while (!m->stop && m->epoch && m->ready != m->epoch)
		if (!wait_change(m, until))
			break;
	pthread_mutex_unlock(&m->lock);
}

void leader_announce(struct leader *leader)
{
	struct mandate *m = &leader->mandate;
	int64_t until = clock_mono_ms() + ANNOUNCE_MS;

	pthread_mutex_lock(&m->lock);
	m->leaving = true;
	pthread_cond_broadcast(&m->changed);
	while (!m->announced && wait_change(m, until))
		continue;
	pthread_mutex_unlock(&m->lock);
	clock_sleep_ms(PREPARE_MS);
}

void leader_linger(struct leader *leader)
{
	struct mandate *m = &leader->mandate;
	int64_t until = clock_mono_ms() + LINGER_MS, resigned = clock_mono_ms(), now;

	pthread_mutex_lock(&m->lock);
	while ((now = clock_mono_ms()) < until &&
	       now - (m->asked_ms > resigned ? m->asked_ms : resigned) < QUIET_MS) {
		pthread_mutex_unlock(&m->lock);
		clock_sleep_ms(QUIET_MS / 5);
		pthread_mutex_lock(&m->lock);
	}
	pthread_mutex_unlock(&m->lock);
}

/* ---- a new cluster ---- */

/* Leads at once, or not at all: for `init`, before anybody else knows of the cluster. */
int leader_found_shared(struct leader *leader, struct err *err)
{
	auto_type(etcd) etcd = leader_etcd(leader, 0, err);
	char nonce[ID_SWARM_MAX];
	int64_t epoch = 0;

	if (!etcd)
		return -1;
	int64_t lease = etcd_grant(etcd, 30, err);
	int rc = lease > 0 ? etcd_campaign(etcd, id_make_swarm(nonce), lease, &epoch, NULL, err)
	                   : -1;
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
	auto_type(etcd) etcd = leader_etcd(leader, 0, NULL);

	if (etcd && leader->founding_lease)
		etcd_revoke(etcd, leader->founding_lease);
	leader->founding_lease = 0;
}
