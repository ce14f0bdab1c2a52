/* SPDX-License-Identifier: Apache-2.0 */
/* A member's own etcd: its first start, later ones, the end; and the way there from a file. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/str.h"
#include "cluster/ca.h"
#include "cluster/etcd.h"
#include "cluster/etcd_members.h"
#include "cluster/etcd_run.h"
#include "cluster/member_state.h"
#include "cluster/store_move.h"

#define START_MS  20000
#define CALL_MS   1000
#define RETIRE_MS 6000
#define STEP_MS   200
#define NAMES_MAX 256
#define MOVED     "cluster.db.moved" /* kept: for looking into, and for going back by hand */

bool member_runs_etcd(const struct card *card)
{
	return str_eq(card->store, MEMBER_ETCD);
}

/* "IP:PORT" by which others reach the manager. */
static int manager_address(const struct card *card, char out[ADDRESS_MAX], struct err *err)
{
	return address_complete(card->addr, NULL, address_port(card->listen), out, err);
}

struct etcd_run *member_start_etcd(const struct member *m, int dir_fd, const struct card *card,
                                   bool alone, struct err *err)
{
	char addr[ADDRESS_MAX], peer[ETCD_URL_MAX], listen[ETCD_URL_MAX], self[NAMES_MAX];

	if (manager_address(card, addr, err) < 0 || etcd_peer_url(addr, peer, err) < 0 ||
	    etcd_peer_url(card->listen, listen, err) < 0)
		return NULL;
	snprintf(self, sizeof(self), "%.40s=%s", card->node_id, peer);
	return etcd_run_start(
		&(struct etcd_run_options){
			.dir_fd = dir_fd,
			.name = card->node_id,
			.listen = listen,
			.peer = peer,
			.cluster = card->etcd_cluster ? card->etcd_cluster : self,
			.existing = card->etcd_cluster != NULL,
			.alone = alone,
			.log = m->options.log,
		},
		err);
}

/* With the CA that there is, or a new one. */
static int make_identity(int dir_fd, const struct card *card, struct ca_identity *ca,
                         struct err *err)
{
	auto_free char *key = NULL, *request = NULL, *cert = NULL;
	char host[ADDRESS_MAX];

	if ((!ca->cert && ca_make(card->cluster_id, ca, err) < 0) ||
	    ca_request(&key, &request, err) < 0 || address_host(card->addr, host, err) < 0)
		return -1;
	int rc = ca_sign(ca, request,
	                 &(struct ca_subject){.node_id = card->node_id,
	                                      .cluster_id = card->cluster_id,
	                                      .etcd_ip = host},
	                 &cert, err);
	if (rc == 0)
		rc = member_write_text(dir_fd, "ca.pem", ca->cert, err);
	if (rc == 0)
		rc = member_write_text(dir_fd, ETCD_RUN_CERT, cert, err);
	if (rc == 0)
		rc = member_write_text(dir_fd, ETCD_RUN_KEY, key, err);
	explicit_bzero(key, strlen(key));
	return rc;
}

/* It has elected itself, and answers. */
static int await_answer(struct etcd_run *run, struct err *err)
{
	struct etcd_members members;
	auto_type(etcd) etcd = etcd_open(
		&(struct etcd_options){.socket = etcd_run_socket(run), .call_ms = START_MS}, err);

	if (!etcd || etcd_run_await(run, START_MS, err) < 0)
		return -1;
	return etcd_members(etcd, &members, err);
}

struct etcd_run *member_found_etcd(const struct member *m, int dir_fd, const struct card *card,
                                   struct ca_identity *ca, struct err *err)
{
	if (make_identity(dir_fd, card, ca, err) < 0)
		return NULL;
	struct etcd_run *run = member_start_etcd(m, dir_fd, card, false, err);
	if (!run || await_answer(run, err) == 0)
		return run;
	etcd_run_end(run);
	return NULL;
}

/* 1: done, or nothing to do. */
static int leave_quorum(struct etcd *etcd, const char *peer, struct err *err)
{
	struct etcd_members members;

	if (etcd_members(etcd, &members, err) < 0)
		return -1;
	const struct etcd_member *self = etcd_members_find(&members, peer);
	if (!self || members.count < 2)
		return 1;
	(void)etcd_member_yield(etcd, NULL);
	return etcd_member_remove(etcd, self->id, err) < 0 ? -1 : 1;
}

void member_retire_etcd(struct member *m, struct etcd_run *run, const char *peer)
{
	int64_t until = clock_mono_ms() + RETIRE_MS;
	struct err err = ERR_INIT;
	auto_type(etcd) etcd = etcd_open(
		&(struct etcd_options){.socket = etcd_run_socket(run), .call_ms = CALL_MS}, NULL);

	while (etcd && leave_quorum(etcd, peer, &err) < 0) {
		if (clock_mono_ms() >= until) {
			log_warn(m->options.log, "the others still count our etcd",
			         "error=%s; on one of them: buoy node rm --force", err.msg);
			break;
		}
		clock_sleep_ms(STEP_MS);
	}
	etcd_run_end(run);
}

void member_yield_etcd(struct member *m)
{
	struct err err = ERR_INIT;
	auto_type(etcd) etcd = etcd_open(
		&(struct etcd_options){.socket = etcd_run_socket(m->etcd), .call_ms = CALL_MS},
		&err);

	if (!etcd || etcd_member_yield(etcd, &err) < 0)
		log_info(m->options.log, "our etcd goes while it may lead the others", "error=%s",
		         err.msg);
}

void member_trust_etcd(struct member *m)
{
	struct err err = ERR_INIT;

	if (!m->etcd || !etcd_run_is_stale(m->etcd))
		return;
	member_yield_etcd(m);
	if (etcd_run_trust(m->etcd, START_MS, &err) < 0 || await_answer(m->etcd, &err) < 0)
		log_warn(m->options.log, "our etcd is not back yet", "error=%s", err.msg);
}

/* ---- from what one of several has ---- */

/* With the lock for writing. */
static int start_anew(struct member *m, struct err *err)
{
	leader_close(m->leader);
	m->leader = NULL;
	etcd_run_end(m->etcd);
	m->etcd = member_start_etcd(m, m->dir_fd, &m->card, true, err);
	int rc = m->etcd ? await_answer(m->etcd, err) : -1;
	/* Also when it does not answer: it is tried again. */
	struct err why = ERR_INIT;
	if (m->etcd && member_start_leader(m, &why) < 0 && rc == 0) {
		*err = why;
		rc = -1;
	}
	if (rc < 0)
		snprintf(m->error, sizeof(m->error), "%.255s", err->msg);
	return rc;
}

int member_start_anew(struct member *m, char node_id[ID_SWARM_MAX], struct err *err)
{
	struct err why = ERR_INIT;
	int rc = 0;

	pthread_mutex_lock(&m->changing);
	pthread_rwlock_wrlock(&m->lock);
	if (m->dir_fd < 0 || !m->card.manager)
		rc = err_set(&why, ERR_UNAVAILABLE, "this node is no manager of a cluster");
	else if (m->card.store && !member_runs_etcd(&m->card))
		rc = err_set(&why, ERR_UNSUPPORTED,
		             "the cluster's state is in an etcd of your own: restore that one, by "
		             "its own means; managers and nodes will find it");
	else if (m->card.store) /* a file has no others to be lost */
		rc = start_anew(m, &why);
	if (rc == 0)
		snprintf(node_id, ID_SWARM_MAX, "%s", m->card.node_id);
	pthread_rwlock_unlock(&m->lock);
	pthread_mutex_unlock(&m->changing);
	if (rc < 0 && err)
		*err = why;
	return rc;
}

/* ---- from a file to etcd ---- */

static int sign_etcd(struct member *m, struct err *err)
{
	auto_free char *key = NULL, *request = NULL, *cert = NULL;
	char host[ADDRESS_MAX];

	if (ca_request(&key, &request, err) < 0 || address_host(m->card.addr, host, err) < 0 ||
	    leader_sign(m->leader, request,
	                &(struct ca_subject){.node_id = m->card.node_id, .etcd_ip = host}, &cert,
	                err) < 0 ||
	    member_write_text(m->dir_fd, ETCD_RUN_CERT, cert, err) < 0)
		return -1;
	int rc = member_write_text(m->dir_fd, ETCD_RUN_KEY, key, err);
	explicit_bzero(key, strlen(key));
	return rc;
}

/* The state moves while nobody leads; then the card says where it is. */
static int move(struct member *m, const struct card *next, struct etcd_run *run, struct err *err)
{
	struct etcd_options to = {.url = next->store,
	                          .socket = run ? etcd_run_socket(run) : NULL,
	                          .ca_pem = next->store_ca,
	                          .cert_pem = next->store_cert,
	                          .key_pem = next->store_key};

	leader_close(m->leader);
	m->leader = NULL;
	if (store_move_to_etcd(m->dir_fd, MEMBER_DATABASE, &to, err) < 0 ||
	    member_write_card(m->dir_fd, next, err) < 0)
		return -1;
	(void)fs_unlink(m->dir_fd, MOVED, NULL);
	(void)fs_rename_new(m->dir_fd, MEMBER_DATABASE, m->dir_fd, MOVED, NULL);
	return 0;
}

static int move_and_go_on(struct member *m, const struct card *next, struct etcd_run *run,
                          struct err *err)
{
	pthread_rwlock_wrlock(&m->lock);
	int rc = move(m, next, run, err);
	if (rc < 0) {
		struct err why = ERR_INIT;

		if (member_start_leader(m, &why) < 0)
			snprintf(m->error, sizeof(m->error), "%.255s", why.msg);
		pthread_rwlock_unlock(&m->lock);
		return -1;
	}
	member_lay_down(m, false);
	rc = member_take_up(m, err);
	pthread_rwlock_unlock(&m->lock);
	return rc;
}

static int migrate_locked(struct member *m, const struct member_init *init, struct err *err)
{
	struct etcd_run *run = NULL;

	if (!m->leader)
		return err_set(err, ERR_UNAVAILABLE,
		               "this node is no manager: ask the one that has the cluster's state");
	if (m->card.store)
		return err_set(err, ERR_CONFLICT, "the cluster's state is in %s already",
		               str_eq(m->card.store, MEMBER_ETCD) ? "etcd" : "an etcd");
	if (str_empty(init->store))
		return err_set(err, ERR_INVALID, "where to? etcd, or etcd://HOST[:PORT],...");
	struct card next = m->card;
	next.store = (char *)init->store;
	next.store_ca = (char *)init->tls.ca;
	next.store_cert = (char *)init->tls.cert;
	next.store_key = (char *)init->tls.key;
	if (member_runs_etcd(&next)) {
		/* What an attempt that was cut short has left must not be taken for a cluster. */
		if (fs_remove_tree(m->dir_fd, ETCD_RUN_DIR, err) < 0 || sign_etcd(m, err) < 0)
			return -1;
		run = member_start_etcd(m, m->dir_fd, &next, false, err);
		if (!run)
			return -1;
	}
	int rc = run ? await_answer(run, err) : 0;
	if (rc == 0)
		rc = move_and_go_on(m, &next, run, err);
	if (rc < 0)
		etcd_run_end(run);
	else
		etcd_run_free(run);
	return rc;
}

int member_migrate(struct member *m, const struct member_init *init, struct err *err)
{
	pthread_mutex_lock(&m->changing);
	int rc = migrate_locked(m, init, err);
	pthread_mutex_unlock(&m->changing);
	return rc;
}
