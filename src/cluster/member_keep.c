/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a member does of itself: it renews its certificate in time; and when the leader says that it is to be a manager or a worker, it gets the
 * certificate of that role, and what belongs to it, and becomes so while its agent and its containers go on.
 *
 * What the leader answers is written to one file first, and then to where it belongs; a machine that falls in
 * between goes on from the file. A manager's etcd is ended when the others count its voice no more.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/log.h"
#include "base/str.h"
#include "cluster/ca.h"
#include "cluster/etcd_run.h"
#include "cluster/member_state.h"
#include "cluster/vault.h"
#include "http/server.h"

#define RENEWED     "renewed.json"
#define RENEWED_MAX (512u << 10)
#define RETRY_MS    500
#define LOOK_MS     60000

#define SPREAD_STEP_MS 20
#define SOON_S         600
#define MS_PER_S       1000
#define NS_PER_MS      1000000
#define LISTEN         "0.0.0.0:2377"

/* ---- what we got, to where it belongs ---- */

static int write_given(int dir_fd, const char *name, const struct json *doc, const char *field,
                       struct err *err)
{
	const char *text = json_get_string(doc, field);

	return text ? member_write_text(dir_fd, name, text, err) : 0;
}

static int write_files(int dir_fd, const struct json *doc, struct err *err)
{
	const char *vault = json_get_string(doc, "VaultKey");

	if (write_given(dir_fd, "ca.pem", doc, "CA", err) < 0 ||
	    write_given(dir_fd, "key.pem", doc, "Key", err) < 0 ||
	    write_given(dir_fd, "cert.pem", doc, "Certificate", err) < 0 ||
	    write_given(dir_fd, ETCD_RUN_KEY, doc, "EtcdKey", err) < 0 ||
	    write_given(dir_fd, ETCD_RUN_CERT, doc, "EtcdCertificate", err) < 0)
		return -1;
	return vault ? vault_import(dir_fd, vault, err) : 0;
}

/* A worker has nothing of what managers share. */
static int shed_state(struct member *m, struct err *err)
{
	static const char *const files[] = {ETCD_RUN_CERT, ETCD_RUN_KEY, VAULT_FILE};

	if (member_runs_etcd(&m->card)) {
		if (!m->etcd) /* a daemon before us left it */
			m->etcd = member_start_etcd(m, m->dir_fd, &m->card, false, err);
		if (!m->etcd)
			return -1;
		etcd_run_end(m->etcd);
		m->etcd = NULL;
	}
	for (size_t i = 0; i < ARRAY_LEN(files); i++)
		if (fs_exists(m->dir_fd, files[i]) && fs_unlink(m->dir_fd, files[i], err) < 0)
			return -1;
	return fs_remove_tree(m->dir_fd, ETCD_RUN_DIR, err);
}

static char *text_of(const struct json *doc, const char *field)
{
	return (char *)json_get_string(doc, field);
}

static struct card card_after(const struct member *m, const struct json *doc, bool manager)
{
	struct card next = m->card;

	next.manager = manager;
	if (manager == m->card.manager)
		return next;
	next.store = manager ? text_of(doc, "Store") : NULL;
	next.store_ca = manager ? text_of(doc, "StoreCA") : NULL;
	next.store_cert = manager ? text_of(doc, "StoreCert") : NULL;
	next.store_key = manager ? text_of(doc, "StoreKey") : NULL;
	next.etcd_cluster = manager ? text_of(doc, "EtcdCluster") : NULL;
	if (str_empty(next.listen))
		next.listen = (char *)LISTEN;
	if (!str_empty(text_of(doc, "LeaderAddr"))) {
		next.leader = text_of(doc, "LeaderAddr");
		next.leader_id = text_of(doc, "LeaderID");
	}
	return next;
}

/* The card and the texts, in memory of their own: nothing grows with each renewal. */
static int read_anew(struct member *m, struct err *err)
{
	struct member before = *m;

	m->arena = ARENA_INIT(MEMBER_ARENA);
	if (member_read_all(m, err) == 0) {
		arena_done(&before.arena);
		return 0;
	}
	arena_done(&m->arena);
	m->arena = before.arena;
	m->card = before.card;
	m->ca = before.ca;
	m->cert = before.cert;
	m->key = before.key;
	return -1;
}

/* May be done again after any instruction of it. With the lock for writing, and no leader if we become a worker. */
static int apply(struct member *m, const struct json *doc, struct err *err)
{
	bool manager = str_eq(json_get_string(doc, "Role"), "manager");
	struct card next = card_after(m, doc, manager);

	if (!manager && m->card.manager && shed_state(m, err) < 0)
		return -1;
	if (manager && !m->card.manager && fs_remove_tree(m->dir_fd, ETCD_RUN_DIR, err) < 0)
		return -1;
	if (write_files(m->dir_fd, doc, err) < 0 || member_write_card(m->dir_fd, &next, err) < 0 ||
	    fs_unlink(m->dir_fd, RENEWED, err) < 0)
		return -1;
	return read_anew(m, err);
}

int member_finish_renewal(struct member *m, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(RENEWED_MAX);

	if (!fs_exists(m->dir_fd, RENEWED))
		return 0;
	if (fs_read(m->dir_fd, RENEWED, RENEWED_MAX, &text, err) < 0)
		return -1;
	auto_type(json) doc = json_parse(buf_str(&text), text.len, err);
	vault_wipe_buf(&text);
	return doc ? apply(m, doc, err) : -1;
}

/* ---- becoming it while we run ---- */

static int start_managing(struct member *m, struct err *err)
{
	if (member_runs_etcd(&m->card)) {
		m->etcd = member_start_etcd(m, m->dir_fd, &m->card, false, err);
		if (!m->etcd)
			return -1;
	}
	if (member_start_leader(m, err) == 0)
		return 0;
	leader_close(m->leader);
	m->leader = NULL;
	return -1;
}

/* With the lock for writing. */
static int become(struct member *m, const struct json *doc, struct err *err)
{
	bool was = m->card.manager;
	bool manager = str_eq(json_get_string(doc, "Role"), "manager");

	if (was && !manager) {
		leader_close(m->leader);
		m->leader = NULL;
	}
	if (apply(m, doc, err) < 0)
		return -1;
	struct agent_identity identity = {.ca = m->ca, .cert = m->cert, .key = m->key};
	if (was != manager)
		identity.leader = m->card.leader;
	if (agent_set_identity(m->agent, &identity, err) < 0)
		return -1;
	m->error[0] = '\0';
	if (manager && was && m->leader)
		return leader_set_identity(
			m->leader,
			&(struct leader_tls){.ca = m->ca, .cert = m->cert, .key = m->key}, err);
	return manager && !was ? start_managing(m, err) : 0;
}

/* ---- asking the leader ---- */

static bool is_stopping(void *arg)
{
	struct member_keeper *k = &((struct member *)arg)->keeper;

	pthread_mutex_lock(&k->lock);
	bool stop = k->stop;
	pthread_mutex_unlock(&k->lock);
	return stop;
}

/* Keys that never leave this machine, and what asks for their certificates; owned. */
struct new_keys {
	char *key, *request, *etcd_key, *etcd_request;
};

static void drop_keys(struct new_keys *keys)
{
	vault_wipe_text(keys->key);
	vault_wipe_text(keys->etcd_key);
	free(keys->request);
	free(keys->etcd_request);
}

/* Owned; NULL on failure. */
static struct json *ask(struct member *m, const struct new_keys *keys, struct err *err)
{
	struct json *body = json_object(), *reply = NULL;
	char listen[ADDRESS_MAX];
	const char *where = str_empty(m->card.listen) ? LISTEN : m->card.listen;

	json_set(body, "Request", json_string(keys->request));
	json_set(body, "EtcdRequest", json_string(keys->etcd_request));
	json_set(body, "Manager", json_bool(m->card.manager));
	if (address_complete(m->card.addr, NULL, address_port(where), listen, NULL) == 0)
		json_set(body, "Listen", json_string(listen));
	/* In case that ours has expired. */
	auto_free char *proof = ca_prove(m->key, keys->request, err);
	if (!proof) {
		json_free(body);
		return NULL;
	}
	json_set(body, "Certificate", json_string(m->cert));
	json_set(body, "Proof", json_string(proof));
	struct agent_question question = {
		.path = "/v1/renew", .body = body, .give_up = is_stopping, .arg = m};
	if (agent_ask(m->agent, &question, &reply, err) < 0)
		return NULL;
	if (json_get_string(reply, "Certificate") && json_get_string(reply, "Role"))
		return reply;
	json_free(reply);
	err_set(err, ERR_UNAVAILABLE, "the leader's answer is incomplete");
	return NULL;
}

/* The leader signs its own: whoever has been off until it had expired would not be let in by anybody. NULL: we do not lead. */
static struct json *sign_own(struct member *m, const struct new_keys *keys)
{
	auto_free char *cert = NULL, *etcd_cert = NULL;
	struct ca_subject self = {.node_id = m->card.node_id, .manager = true};
	struct ca_subject etcd = {.node_id = m->card.node_id, .etcd_ip = m->card.addr};

	if (!m->leader || leader_begin_turn(m->leader, NULL) < 0 ||
	    leader_sign(m->leader, keys->request, &self, &cert, NULL) < 0 ||
	    (m->etcd && leader_sign(m->leader, keys->etcd_request, &etcd, &etcd_cert, NULL) < 0))
		return NULL;
	struct json *doc = json_object();
	if (leader_tell_trust(m->leader, doc, NULL) < 0) {
		json_free(doc);
		return NULL;
	}
	json_set(doc, "Role", json_string("manager"));
	json_set(doc, "Certificate", json_string(cert));
	if (etcd_cert)
		json_set(doc, "EtcdCertificate", json_string(etcd_cert));
	return doc;
}

static int write_down(struct member *m, const struct json *doc, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(RENEWED_MAX);
	int rc = json_write(doc, &text, err);

	if (rc == 0)
		rc = member_write_text(m->dir_fd, RENEWED, buf_str(&text), err);
	vault_wipe_buf(&text);
	return rc;
}

/* With `changing` held. `manager`: what we are to be, as far as we know. */
static int renew(struct member *m, bool manager, struct err *err)
{
	__attribute__((cleanup(drop_keys))) struct new_keys keys = {0};

	if (ca_request(&keys.key, &keys.request, err) < 0 ||
	    ca_request(&keys.etcd_key, &keys.etcd_request, err) < 0)
		return -1;
	if (m->card.manager && !manager && m->etcd)
		member_yield_etcd(m);
	auto_type(json) doc = m->card.manager && manager ? sign_own(m, &keys) : NULL;
	if (!doc)
		doc = ask(m, &keys, err);
	if (!doc)
		return -1;
	json_set(doc, "Key", json_string(keys.key));
	if (json_get_string(doc, "EtcdCertificate"))
		json_set(doc, "EtcdKey", json_string(keys.etcd_key));
	if (write_down(m, doc, err) < 0)
		return -1;
	pthread_rwlock_wrlock(&m->lock);
	int rc = become(m, doc, err);
	if (rc < 0)
		snprintf(m->error, sizeof(m->error), "%.255s", err->msg);
	pthread_rwlock_unlock(&m->lock);
	/* Nobody else lays down the etcd or the agent while `changing` is held. */
	member_trust_etcd(m);
	agent_introduce(m->agent);
	return rc;
}

/* ---- the thread ---- */

void member_told(void *arg, const struct json *doc)
{
	struct member_keeper *k = &((struct member *)arg)->keeper;
	const char *role = json_get_string(doc, "Role");

	const char *trust = json_get_string(doc, "Trust"), *issuer = json_get_string(doc, "Issuer");

	pthread_mutex_lock(&k->lock);
	k->told = role != NULL;
	k->word.manager = str_eq(role, "manager");
	k->word.spread_ms = json_get_int(doc, "SpreadMs", 0);
	snprintf(k->word.trust, sizeof(k->word.trust), "%s", trust ? trust : "");
	snprintf(k->word.issuer, sizeof(k->word.issuer), "%s", issuer ? issuer : "");
	pthread_cond_broadcast(&k->woken);
	pthread_mutex_unlock(&k->lock);
}

/* Until we are told something, or it is time to look at the certificate. False: the end. */
static bool wait_for_word(struct member_keeper *k, int64_t ms, bool *told, struct member_word *word)
{
	int64_t until = clock_mono_ms() + ms;
	struct timespec when = {.tv_sec = until / 1000, .tv_nsec = (until % 1000) * 1000000};

	pthread_mutex_lock(&k->lock);
	while (!k->stop && !k->told && !k->look && clock_mono_ms() < until)
		pthread_cond_timedwait(&k->woken, &k->lock, &when);
	*told = k->told;
	*word = k->word;
	k->told = k->look = false;
	bool goes_on = !k->stop;
	pthread_mutex_unlock(&k->lock);
	return goes_on;
}

void member_look_at_cert(struct member *m)
{
	pthread_mutex_lock(&m->keeper.lock);
	m->keeper.look = true;
	pthread_cond_broadcast(&m->keeper.woken);
	pthread_mutex_unlock(&m->keeper.lock);
}

/* How long until the certificate is to be renewed: after 60 to 70 % of its time, so that nodes that were made together
 * do not come together. The wall clock, which certificates are about, may be set: so it is looked at often. */
static int64_t renewal_in_ms(const struct member *m)
{
	int64_t from, until, now = clock_wall_ns() / NS_PER_MS;
	uint8_t digest[HASH_SIZE];

	if (!m->agent || ca_dates(m->cert, &from, &until, NULL) < 0 ||
	    ca_digest(m->cert, digest, NULL) < 0)
		return LOOK_MS;
	int64_t life_ms = (until - from) * MS_PER_S;
	int64_t due = from * MS_PER_S + life_ms / 10 * 6 + life_ms / 2560 * digest[0];
	return due <= now ? 0 : due - now < LOOK_MS ? due - now : LOOK_MS;
}

static bool ends_soon(const struct member *m)
{
	int64_t from, until;

	return ca_dates(m->cert, &from, &until, NULL) == 0 &&
	       until - clock_wall_ns() / NS_PER_MS / MS_PER_S < SOON_S;
}

/* Do we trust what we are to, and is our certificate of the root that it is to be of? */
static bool has_root(const struct member *m, const struct member_word *word)
{
	auto_free char *subject = NULL, *issuer = NULL;
	char trust[HASH_HEX_MAX];

	if (!word->trust[0])
		return true;
	hash_bytes_hex(m->ca, strlen(m->ca), trust);
	return str_eq(trust, word->trust) &&
	       ca_issuer(m->ca, m->cert, &subject, &issuer, NULL) == 0 &&
	       str_eq(issuer, word->issuer);
}

/* Each its own time within what all have: nodes that are told together do not come together. */
static void spread(const struct member *m, const struct member_word *word)
{
	uint8_t digest[HASH_SIZE];
	int64_t end;

	if (ca_digest(m->cert, digest, NULL) < 0)
		return;
	end = clock_mono_ms() + word->spread_ms * digest[1] / 256;
	while (clock_mono_ms() < end && !is_stopping((void *)m))
		clock_sleep_ms(SPREAD_STEP_MS);
}

/* With `changing` held. How long to wait; -1: a moment, and then the same again. `word`: NULL, if we were told nothing. */
static int64_t keep_once(struct member *m, const struct member_word *word)
{
	bool role = word && m->agent && word->manager != m->card.manager;
	bool root = word && m->agent && !has_root(m, word);
	struct err err = ERR_INIT;

	if (!role && !root && renewal_in_ms(m) > 0)
		return renewal_in_ms(m);
	if (root)
		spread(m, word);
	if (renew(m, role ? word->manager : m->card.manager, &err) == 0) {
		log_info(m->options.log, "this node has a new certificate", "manager=%d",
		         m->card.manager);
		m->keeper.failing = false;
		return renewal_in_ms(m);
	}
	if (!m->keeper.failing)
		log_warn(m->options.log,
		         role ? "role not changed yet" : "certificate not renewed yet",
		         "manager=%d error=%s", role ? word->manager : m->card.manager, err.msg);
	m->keeper.failing = true; /* is said once */
	return role || root || ends_soon(m) ? -1 : LOOK_MS;
}

static void *keep(void *arg)
{
	struct member *m = arg;
	struct member_keeper *k = &m->keeper;
	struct member_word word;
	int64_t wait_ms = LOOK_MS;
	bool told, again = false;

	while (wait_for_word(k, wait_ms, &told, &word)) {
		pthread_mutex_lock(&m->changing);
		int64_t next = keep_once(m, told || again ? &word : NULL);
		int64_t due = member_tend_snapshots(m);
		pthread_mutex_unlock(&m->changing);
		again = next < 0 && (told || again);
		next = next < 0 ? RETRY_MS : next;
		wait_ms = due < next ? due : next;
	}
	return NULL;
}

int member_start_keeper(struct member *m, struct err *err)
{
	struct member_keeper *k = &m->keeper;
	pthread_condattr_t attr;
	pthread_attr_t thread;

	pthread_mutex_init(&k->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&k->woken, &attr);
	pthread_condattr_destroy(&attr);
	pthread_attr_init(&thread);
	pthread_attr_setstacksize(&thread, HTTP_STACK_SIZE);
	k->runs = pthread_create(&k->thread, &thread, keep, m) == 0;
	pthread_attr_destroy(&thread);
	return k->runs ? 0 : err_set(err, ERR_SYSTEM, "cannot start a thread of the member");
}

void member_end_keeper(struct member *m)
{
	struct member_keeper *k = &m->keeper;

	pthread_mutex_lock(&k->lock);
	k->stop = true;
	pthread_cond_broadcast(&k->woken);
	pthread_mutex_unlock(&k->lock);
	if (k->runs)
		pthread_join(k->thread, NULL);
	pthread_cond_destroy(&k->woken);
	pthread_mutex_destroy(&k->lock);
}
