/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/leader.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/id.h"
#include "base/str.h"
#include "cluster/endpoints.h"
#include "cluster/leader_state.h"
#include "cluster/store.h"
#include "cluster/token.h"

#define TICK_MAX_MS   1000 /* so that a wrong sum cannot make the ticker sleep for ever */
#define TABLE_MAX     (32u << 20)
#define DATABASE      "cluster.db"
#define KEY_IN_SECRET "CAKey"

struct control_time leader_now(void)
{
	return (struct control_time){.mono_ms = clock_mono_ms(), .wall_ns = clock_wall_ns()};
}

/* ---- opening and closing ---- */

static int init_locks(struct leader *leader, struct err *err)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	int rc = pthread_cond_init(&leader->woken, &attr);
	pthread_condattr_destroy(&attr);
	if (rc != 0)
		return err_nomem(err);
	pthread_mutex_init(&leader->lock, NULL);
	return 0;
}

struct leader *leader_open(int dir_fd, const struct log *log, struct err *err)
{
	struct control_config config = {0};
	struct leader *leader = calloc(1, sizeof(*leader));

	if (!leader || init_locks(leader, err) < 0) {
		free(leader);
		err_nomem(err);
		return NULL;
	}
	leader->log = log ? *log : (struct log){.fd = -1};
	leader->revision = -1;
	leader->store = store_sqlite_open(dir_fd, DATABASE, err);
	config.store = leader->store;
	id_random(config.seed, sizeof(config.seed));
	if (leader->store)
		leader->control = control_open(&config, leader_now(), err);
	if (!leader->control) {
		leader_close(leader);
		return NULL;
	}
	return leader;
}

static void end_sessions(struct leader *leader)
{
	struct session *session;

	pthread_mutex_lock(&leader->lock);
	leader->stop = true;
	pthread_cond_signal(&leader->woken);
	LIST_FOREACH(session, &leader->sessions, next)
	pthread_cond_signal(&session->changed);
	leader_drop_requests(leader);
	pthread_mutex_unlock(&leader->lock);
}

void leader_close(struct leader *leader)
{
	if (!leader)
		return;
	end_sessions(leader);
	if (leader->ticking)
		pthread_join(leader->ticker, NULL);
	if (leader->server)
		http_server_stop(leader->server);
	control_free(leader->control);
	store_free(leader->store);
	free(leader->endpoints);
	free(leader->table);
	pthread_cond_destroy(&leader->woken);
	pthread_mutex_destroy(&leader->lock);
	free(leader);
}

/* ---- messages ---- */

struct session *leader_session(struct leader *leader, const char *node_id)
{
	struct session *session;

	LIST_FOREACH(session, &leader->sessions, next)
	if (str_eq(session->node_id, node_id))
		return session;
	return NULL;
}

int leader_say(struct session *session, const char *text, size_t len, struct err *err)
{
	struct line *line = calloc(1, sizeof(*line));

	if (line)
		line->text = malloc(len + 1);
	if (!line || !line->text) {
		free(line);
		return err_nomem(err);
	}
	memcpy(line->text, text, len);
	line->text[len] = '\n';
	line->len = len + 1;
	STAILQ_INSERT_TAIL(&session->lines, line, next);
	pthread_cond_signal(&session->changed);
	return 0;
}

static void tell_endpoints(struct leader *leader, struct buf *text, struct buf *table)
{
	struct session *session;

	free(leader->endpoints);
	free(leader->table);
	leader->table_len = table->len;
	leader->endpoints = buf_take(text, NULL);
	leader->table = buf_take(table, NULL);
	leader->table_version++;
	LIST_FOREACH(session, &leader->sessions, next)
	pthread_cond_signal(&session->changed);
}

/* Most changes are not about who answers: then the text without a version is the same. */
static void update_endpoints(struct leader *leader)
{
	auto_buf struct buf text = BUF_INIT(TABLE_MAX), table = BUF_INIT(TABLE_MAX);
	struct err err = ERR_INIT;

	leader->revision = control_revision(leader->control);
	leader->reach = control_reach(leader->control);
	int rc = endpoints_write(leader->control, 0, &text, &err);
	if (rc == 0 && str_eq(leader->endpoints, buf_str(&text)))
		return;
	if (rc == 0)
		rc = endpoints_write(leader->control, leader->table_version + 1, &table, &err);
	if (rc == 0)
		tell_endpoints(leader, &text, &table);
	else
		log_warn(&leader->log, "no table of endpoints", "error=%s", err.msg);
}

void leader_pump(struct leader *leader)
{
	struct control_message *message;

	while ((message = control_take_message(leader->control)) != NULL) {
		struct session *session = leader_session(leader, message->node_id);

		/* One that is lost here shows as a lag in the node's reports. */
		if (session && session->id == message->session)
			(void)leader_say(session, message->text, message->len, NULL);
		control_message_free(message);
	}
	if (control_revision(leader->control) != leader->revision ||
	    control_reach(leader->control) != leader->reach || !leader->table)
		update_endpoints(leader);
}

/* ---- entering ---- */

struct control *leader_enter(struct leader *leader)
{
	pthread_mutex_lock(&leader->lock);
	/* After a failed step the mirror is empty: this reads it again. */
	(void)control_tick(leader->control, leader_now(), NULL);
	return leader->control;
}

void leader_exit(struct leader *leader)
{
	leader_pump(leader);
	pthread_cond_signal(&leader->woken);
	pthread_mutex_unlock(&leader->lock);
}

/* ---- the ticker ---- */

static void wait_until(struct leader *leader, int64_t mono_ms)
{
	struct timespec until = {.tv_sec = mono_ms / 1000, .tv_nsec = (mono_ms % 1000) * 1000000};

	pthread_cond_timedwait(&leader->woken, &leader->lock, &until);
}

static void *tick(void *arg)
{
	struct leader *leader = arg;
	bool failed = false;

	pthread_mutex_lock(&leader->lock);
	while (!leader->stop) {
		struct err err = ERR_INIT;
		int64_t now = clock_mono_ms(), next = control_next_wake(leader->control);

		if (next > now && !failed) {
			wait_until(leader, next - now > TICK_MAX_MS ? now + TICK_MAX_MS : next);
			if (leader->stop || control_next_wake(leader->control) > clock_mono_ms())
				continue;
		}
		if (control_tick(leader->control, leader_now(), &err) < 0) {
			if (!failed)
				log_error(&leader->log, "control step failed", "error=%s", err.msg);
			failed = true;
			wait_until(leader, clock_mono_ms() + TICK_MAX_MS);
			continue;
		}
		failed = false;
		leader_pump(leader);
	}
	pthread_mutex_unlock(&leader->lock);
	return NULL;
}

int leader_serve(struct leader *leader, const struct leader_address *address, struct err *err)
{
	struct ca_identity ca = {0};
	pthread_attr_t attr;

	pthread_mutex_lock(&leader->lock);
	int rc = leader_read_ca(leader, &ca, err);
	pthread_mutex_unlock(&leader->lock);
	int fd = rc == 0 ? http_listen_tcp(address->listen, err) : -1;
	if (fd >= 0)
		leader->server =
			http_server_start(fd,
		                          &(struct http_server_options){.routes = leader_routes,
		                                                        .ctx = leader,
		                                                        .log = &leader->log,
		                                                        .cert_pem = address->cert,
		                                                        .key_pem = address->key,
		                                                        .client_ca_pem = ca.cert,
		                                                        .client_optional = true},
		                          err);
	ca_identity_done(&ca);
	if (!leader->server)
		return -1;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, HTTP_STACK_SIZE);
	leader->ticking = pthread_create(&leader->ticker, &attr, tick, leader) == 0;
	pthread_attr_destroy(&attr);
	return leader->ticking ? 0 : err_set(err, ERR_SYSTEM, "cannot start the leader's thread");
}

/* ---- the cluster object ---- */

static struct json *tls_of(const char *cert, struct err *err)
{
	auto_free char *subject = NULL, *key = NULL;
	struct json *tls = json_object();

	if (ca_describe(cert, &subject, &key, err) < 0) {
		json_free(tls);
		return NULL;
	}
	json_set(tls, "TrustRoot", json_string(cert));
	json_set(tls, "CertIssuerSubject", json_string(subject));
	json_set(tls, "CertIssuerPublicKey", json_string(key));
	return tls;
}

static int set_cluster(struct leader *leader, struct cluster *cluster, uint64_t version,
                       struct err *err)
{
	struct control *c = leader_enter(leader);
	int rc = control_cluster_set(c, leader_now(), cluster, version, err);

	leader_exit(leader);
	return rc;
}

int leader_found(struct leader *leader, const char *cluster_id, const struct json *spec,
                 struct err *err)
{
	struct ca_identity ca = {0};
	uint8_t digest[HASH_SIZE];
	char worker[TOKEN_MAX], manager[TOKEN_MAX];

	if (ca_make(cluster_id, &ca, err) < 0)
		return -1;
	auto_type(json) tls = tls_of(ca.cert, err);
	auto_type(json) secret = json_object();
	int rc = tls && ca_digest(ca.cert, digest, err) == 0 ? 0 : -1;
	if (rc == 0 && json_set(secret, KEY_IN_SECRET, json_string(ca.key)) < 0)
		rc = err_nomem(err);
	if (rc == 0) {
		struct cluster cluster = {
			.id = (char *)cluster_id,
			.spec_raw = (struct json *)spec,
			.tls = tls,
			.secret = secret,
			.tokens = {.worker = token_make(digest, worker),
		                   .manager = token_make(digest, manager)},
		};
		rc = set_cluster(leader, &cluster, 0, err);
	}
	ca_identity_done(&ca);
	return rc;
}

int leader_read_ca(struct leader *leader, struct ca_identity *ca, struct err *err)
{
	const struct cluster *cluster = control_cluster(leader->control);
	const char *cert = cluster ? json_get_string(cluster->tls, "TrustRoot") : NULL;
	const char *key = cluster ? json_get_string(cluster->secret, KEY_IN_SECRET) : NULL;

	if (!cert || !key)
		return err_set(err, ERR_INTERNAL, "the cluster has no CA");
	ca->cert = strdup(cert);
	ca->key = strdup(key);
	if (!ca->cert || !ca->key) {
		ca_identity_done(ca);
		return err_nomem(err);
	}
	return 0;
}

int leader_sign(struct leader *leader, const char *request, const char *node_id, bool manager,
                char **cert, struct err *err)
{
	struct ca_identity ca = {0};
	char cluster_id[ID_SWARM_MAX] = "";

	pthread_mutex_lock(&leader->lock);
	int rc = leader_read_ca(leader, &ca, err);
	if (rc == 0)
		snprintf(cluster_id, sizeof(cluster_id), "%s",
		         control_cluster(leader->control)->id);
	pthread_mutex_unlock(&leader->lock);
	if (rc == 0)
		rc = ca_sign(&ca, request,
		             &(struct ca_subject){.node_id = node_id,
		                                  .cluster_id = cluster_id,
		                                  .manager = manager},
		             cert, err);
	ca_identity_done(&ca);
	return rc;
}

/* With the lock held; commits. */
static int change(struct control *c, const struct json *spec, uint64_t version, unsigned rotate,
                  struct err *err)
{
	const struct cluster *now = control_cluster(c);
	char worker[TOKEN_MAX], manager[TOKEN_MAX];
	uint8_t digest[HASH_SIZE];

	if (!now)
		return err_set(err, ERR_INTERNAL, "the cluster has no object");
	struct cluster next = *now;
	if (ca_digest(json_get_string(now->tls, "TrustRoot"), digest, err) < 0)
		return -1;
	if (json_count(spec) > 0)
		next.spec_raw = (struct json *)spec;
	if (rotate & LEADER_ROTATE_WORKER)
		next.tokens.worker = token_make(digest, worker);
	if (rotate & LEADER_ROTATE_MANAGER)
		next.tokens.manager = token_make(digest, manager);
	return control_cluster_set(c, leader_now(), &next, version, err);
}

int leader_update(struct leader *leader, const struct json *spec, uint64_t version, unsigned rotate,
                  struct err *err)
{
	struct control *c = leader_enter(leader);
	int rc = change(c, spec, version, rotate, err);

	leader_exit(leader);
	return rc;
}
