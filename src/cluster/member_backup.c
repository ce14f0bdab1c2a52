/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A cluster out of a backup: on a machine that is in none, or on a manager of that cluster, in place. The new
 * directory is made beside the one there is; only when all is in it do they change places, and the old one is kept.
 * What the node runs stays: agent.db goes along.
 */

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/str.h"
#include "cluster/backup.h"
#include "cluster/ca.h"
#include "cluster/etcd.h"
#include "cluster/etcd_run.h"
#include "cluster/member_state.h"
#include "cluster/store_move.h"
#include "cluster/vault.h"

#define DIR_BEFORE "cluster.before" /* kept, until the next restore */

int member_backup(struct member *m, const char *passphrase, struct buf *out, struct err *err)
{
	if (member_begin(m, err) < 0)
		return -1;
	int rc = leader_backup(m->leader, passphrase, out, err);
	pthread_rwlock_unlock(&m->lock);
	return rc;
}

/* ---- the new directory ---- */

struct restoring {
	struct member *m;
	struct backup backup;
	struct ca_identity ca;
	struct founding f;
	struct card card;
	char advertise[ADDRESS_MAX]; /* of a manager that stays */
	int dir_fd;                  /* in the making */
};

static int put_all(void *arg, struct store_tx *tx, struct err *err)
{
	struct restoring *r = arg;

	return backup_put(&r->backup,
	                  &(struct backup_manager){.node_id = r->f.node_id, .addr = r->f.advertise},
	                  tx, err);
}

static int fill_etcd(struct restoring *r, const struct store_filler *filler, struct err *err)
{
	struct etcd_run *run = NULL;

	if (member_runs_etcd(&r->card)) {
		run = member_found_etcd(r->m, r->dir_fd, &r->card, &r->ca, err);
		if (!run)
			return -1;
	}
	struct etcd_options to = {.url = r->card.store,
	                          .socket = run ? etcd_run_socket(run) : NULL,
	                          .ca_pem = r->card.store_ca,
	                          .cert_pem = r->card.store_cert,
	                          .key_pem = r->card.store_key};
	int rc = store_fill_etcd(&to, filler, err);
	if (rc < 0)
		etcd_run_end(run);
	else
		etcd_run_free(run); /* member_take_up() finds it */
	return rc;
}

static int write_identity(struct restoring *r, struct err *err)
{
	auto_free char *key = NULL, *request = NULL, *cert = NULL;

	if (ca_request(&key, &request, err) < 0)
		return -1;
	int rc = ca_sign(&r->ca, request,
	                 &(struct ca_subject){.node_id = r->f.node_id,
	                                      .cluster_id = r->f.cluster_id,
	                                      .manager = true},
	                 &cert, err);
	if (rc == 0)
		rc = member_write_text(r->dir_fd, "ca.pem", r->ca.cert, err);
	if (rc == 0)
		rc = member_write_text(r->dir_fd, "cert.pem", cert, err);
	if (rc == 0)
		rc = member_write_text(r->dir_fd, "key.pem", key, err);
	explicit_bzero(key, strlen(key));
	return rc;
}

static int make(struct restoring *r, struct err *err)
{
	struct store_filler filler = {
		.put = put_all, .arg = r, .epoch = backup_epoch_base(&r->backup)};

	r->dir_fd = member_make_directory(r->m, err);
	if (r->dir_fd < 0)
		return -1;
	if (r->backup.vault_key && vault_import(r->dir_fd, r->backup.vault_key, err) < 0)
		return -1;
	int rc = r->card.store ? fill_etcd(r, &filler, err)
	                       : store_fill_file(r->dir_fd, MEMBER_DATABASE, &filler, err);
	return rc < 0 || write_identity(r, err) < 0 ? -1
	                                            : member_write_card(r->dir_fd, &r->card, err);
}

/* ---- changing places ---- */

/* What the node was told and has: its containers are found again by it. */
static int take_along(struct member *m, int to_fd, struct err *err)
{
	static const char *const files[] = {"agent.db", "agent.db-wal", "agent.db-shm"};

	for (size_t i = 0; i < ARRAY_LEN(files); i++)
		if (fs_exists(m->dir_fd, files[i]) &&
		    fs_rename(m->dir_fd, files[i], to_fd, files[i], err) < 0)
			return -1;
	return 0;
}

static int change_places(struct restoring *r, struct err *err)
{
	struct member *m = r->m;

	if (m->dir_fd >= 0) {
		agent_close(m->agent);
		m->agent = NULL;
		if (take_along(m, r->dir_fd, err) < 0)
			return -1;
		member_lay_down(m, false);
		if (fs_remove_tree(m->options.root_fd, DIR_BEFORE, err) < 0 ||
		    fs_rename(m->options.root_fd, MEMBER_DIR, m->options.root_fd, DIR_BEFORE, err) <
		            0)
			return -1;
	}
	return member_keep_directory(m, r->dir_fd, err);
}

/* With the lock for writing. */
static int replace(struct restoring *r, struct err *err)
{
	struct member *m = r->m;

	leader_close(m->leader);
	m->leader = NULL;
	etcd_run_end(m->etcd); /* the new one takes its port */
	m->etcd = NULL;
	int rc = make(r, err);
	if (rc == 0)
		rc = change_places(r, err);
	if (rc == 0)
		return member_take_up(m, err);
	/* As it was. */
	struct err why = ERR_INIT;
	bool was = m->dir_fd >= 0 || fs_exists(m->options.root_fd, MEMBER_DIR);
	member_lay_down(m, false);
	if (was && member_take_up(m, &why) < 0)
		log_error(m->options.log, "cluster membership not taken up", "error=%s", why.msg);
	return -1;
}

/* ---- what is asked for ---- */

static int check_place(const struct restoring *r, struct err *err)
{
	const struct member *m = r->m;

	if (m->dir_fd < 0 || (m->card.manager && str_eq(m->card.cluster_id, r->backup.cluster_id)))
		return 0;
	return err_set(
		err, ERR_CONFLICT,
		"this node is part of %s cluster: a backup is restored on one of its managers, or "
		"on a machine that is in no cluster",
		str_eq(m->card.cluster_id, r->backup.cluster_id) ? "that" : "another");
}

/* Where the state goes: as asked for, or as it was. */
static int choose_store(const struct restoring *r, struct member_init *init, struct err *err)
{
	const struct card *now = &r->m->card;

	if (str_eq(init->store, "file")) {
		init->store = NULL;
		return 0;
	}
	if (init->store)
		return 0;
	if (str_eq(r->backup.store, MEMBER_ETCD))
		init->store = MEMBER_ETCD;
	if (!str_eq(r->backup.store, "url"))
		return 0;
	if (!now->store || member_runs_etcd(now))
		return err_set(err, ERR_INVALID,
		               "the cluster's state was in an etcd of your own: say where it shall "
		               "be, --store etcd://..., etcd or file");
	init->store = now->store;
	init->tls = (struct leader_tls){now->store_ca, now->store_cert, now->store_key};
	return 0;
}

/* init borrows from r. */
static int prepare(struct restoring *r, struct member_init *init, struct err *err)
{
	const struct card *now = &r->m->card;

	if (check_place(r, err) < 0 || choose_store(r, init, err) < 0 ||
	    backup_ca(&r->backup, &r->ca, err) < 0)
		return -1;
	if (r->m->dir_fd >= 0) { /* it stays who it is */
		if (address_complete(now->addr, NULL, address_port(now->listen), r->advertise,
		                     err) < 0)
			return -1;
		init->listen = now->listen;
		init->advertise = r->advertise;
	}
	if (member_plan(init, &r->f, err) < 0)
		return -1;
	if (r->m->dir_fd >= 0)
		snprintf(r->f.node_id, sizeof(r->f.node_id), "%.25s", now->node_id);
	snprintf(r->f.cluster_id, sizeof(r->f.cluster_id), "%.25s", r->backup.cluster_id);
	r->card = member_card_of(init, &r->f);
	return 0;
}

int member_restore(struct member *m, const struct member_restore *restore,
                   char node_id[ID_SWARM_MAX], struct err *err)
{
	struct restoring r = {.m = m, .dir_fd = -1};
	struct member_init init = restore->init;

	if (backup_read(restore->text, restore->len, restore->passphrase, &r.backup, err) < 0)
		return -1;
	pthread_mutex_lock(&m->changing);
	pthread_rwlock_wrlock(&m->lock);
	int rc = prepare(&r, &init, err);
	if (rc == 0)
		rc = replace(&r, err);
	pthread_rwlock_unlock(&m->lock);
	pthread_mutex_unlock(&m->changing);
	if (rc == 0) {
		snprintf(node_id, ID_SWARM_MAX, "%s", r.f.node_id);
		log_info(m->options.log, "cluster restored", "objects=%zu epoch=%lld",
		         r.backup.count, (long long)backup_epoch_base(&r.backup));
	}
	if (r.dir_fd >= 0)
		close(r.dir_fd);
	ca_identity_done(&r.ca);
	backup_done(&r.backup);
	return rc;
}
