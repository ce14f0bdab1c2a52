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
#include "cluster/etcd.h"
#include "cluster/leader_state.h"
#include "cluster/rotation.h"
#include "cluster/store.h"
#include "cluster/token.h"

#define TICK_MAX_MS  1000 /* so that a wrong sum cannot make the ticker sleep for ever */
#define TABLE_MAX    (32u << 20)
#define COMPACT_MS   (5 * 60 * 1000)
#define CERT_SECONDS (90 * 86400)
#define NS_PER_S     1000000000
#define DATABASE     "cluster.db"

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
	if (rc == 0)
		rc = pthread_cond_init(&leader->mandate.changed, &attr);
	pthread_condattr_destroy(&attr);
	if (rc != 0)
		return err_nomem(err);
	pthread_mutex_init(&leader->lock, NULL);
	pthread_mutex_init(&leader->mandate.lock, NULL);
	return 0;
}

static int copy_text(char **to, const char *from, struct err *err)
{
	if (str_empty(from))
		return 0;
	*to = strdup(from);
	return *to ? 0 : err_nomem(err);
}

static int copy_options(struct leader *leader, const struct leader_options *options,
                        struct err *err)
{
	leader->log = options->log ? *options->log : (struct log){.fd = -1};
	leader->revision = leader->root.revision = -1;
	snprintf(leader->self, sizeof(leader->self), "%s", options->self ? options->self : "");
	snprintf(leader->addr, sizeof(leader->addr), "%s", options->addr ? options->addr : "");
	leader->compact_ms = options->compact_ms > 0 ? options->compact_ms : COMPACT_MS;
	if (copy_text(&leader->url, options->url, err) < 0 ||
	    copy_text(&leader->socket, options->socket, err) < 0)
		return -1;
	if (!options->tls)
		return 0;
	if (copy_text(&leader->store_ca, options->tls->ca, err) < 0 ||
	    copy_text(&leader->store_cert, options->tls->cert, err) < 0)
		return -1;
	return copy_text(&leader->store_key, options->tls->key, err);
}

/* A store of our own: nobody else can lead. */
static int open_own(struct leader *leader, int dir_fd, struct err *err)
{
	struct control_config config = {0};

	leader->store = store_sqlite_open(dir_fd, DATABASE, err);
	config.store = leader->store;
	snprintf(config.self, sizeof(config.self), "%s", leader->self);
	id_random(config.seed, sizeof(config.seed));
	if (leader->store)
		leader->control = control_open(&config, leader_now(), err);
	return leader->control ? 0 : -1;
}

struct leader *leader_open(const struct leader_options *options, struct err *err)
{
	struct leader *leader = calloc(1, sizeof(*leader));

	if (!leader || init_locks(leader, err) < 0) {
		free(leader);
		err_nomem(err);
		return NULL;
	}
	int rc = copy_options(leader, options, err);
	if (rc == 0)
		rc = vault_open(options->dir_fd, !options->url || options->founding, &leader->vault,
		                err);
	if (rc == 0 && !leader->url)
		rc = open_own(leader, options->dir_fd, err);
	else if (rc == 0 && options->founding)
		rc = leader_found_shared(leader, err);
	if (rc < 0) {
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

/* The elector goes last of the two: it gives the leadership up when nothing is written any more. */
static void stop_threads(struct leader *leader)
{
	bool led = leader->electing && leader_lock(leader, NULL) == 0;

	if (led) {
		pthread_mutex_unlock(&leader->lock);
		leader_announce(leader);
	}
	pthread_mutex_lock(&leader->mandate.lock);
	leader->mandate.stop = true;
	pthread_mutex_unlock(&leader->mandate.lock);
	end_sessions(leader);
	pthread_cond_broadcast(&leader->mandate.changed);
	if (leader->ticking)
		pthread_join(leader->ticker, NULL);
	if (leader->electing) {
		leader_lay_down(leader);
		pthread_join(leader->elector, NULL);
	}
	if (leader->keeping)
		pthread_join(leader->keeper, NULL);
	if (led)
		leader_linger(leader);
}

void leader_close(struct leader *leader)
{
	if (!leader)
		return;
	stop_threads(leader);
	if (leader->server)
		http_server_stop(leader->server);
	control_free(leader->control);
	store_free(leader->store);
	if (leader->founding_lease)
		leader_end_founding(leader);
	leader_free_routes(leader);
	vault_done(&leader->vault);
	free(leader->url);
	free(leader->socket);
	free(leader->store_ca);
	free(leader->store_cert);
	if (leader->store_key)
		explicit_bzero(leader->store_key, strlen(leader->store_key));
	free(leader->store_key);
	free(leader->ca);
	free(leader->cert);
	free(leader->key);
	free(leader->managers);
	free(leader->root.issuer);
	pthread_cond_destroy(&leader->mandate.changed);
	pthread_mutex_destroy(&leader->mandate.lock);
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

/* Nodes keep it, and so find the next leader by themselves. */
static void update_managers(struct leader *leader)
{
	auto_type(json) doc = json_object();
	auto_buf struct buf text = BUF_INIT(TABLE_MAX);
	struct json *list = json_array();
	struct session *session;
	const struct node *n;

	for (size_t at = 0; (n = control_next_node(leader->control, &at)) != NULL;)
		if (n->manager && !str_empty(n->manager->addr))
			json_append(list, json_string(n->manager->addr));
	json_set(doc, "Type", json_string(PROTO_MANAGERS));
	json_set(doc, "Managers", list);
	if (json_write(doc, &text, NULL) < 0 || str_eq(buf_str(&text), leader->managers))
		return;
	free(leader->managers);
	leader->managers = strdup(buf_str(&text));
	LIST_FOREACH(session, &leader->sessions, next)
	(void)leader_say(session, text.data, text.len, NULL);
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
	    control_reach(leader->control) != leader->reach || !leader->table) {
		struct session *session;

		leader_refresh_root(leader);
		LIST_FOREACH(session, &leader->sessions, next)
		leader_tell_self(leader, session);
		leader_check_self(leader);
		update_managers(leader);
		update_endpoints(leader);
	}
}

/* ---- entering ---- */

int leader_lock(struct leader *leader, struct err *err)
{
	pthread_mutex_lock(&leader->lock);
	if (leader->control && leader_may_lead(leader))
		return 0;
	pthread_mutex_unlock(&leader->lock);
	return err_set(err, ERR_UNAVAILABLE, LEADER_ELSEWHERE);
}

struct control *leader_enter(struct leader *leader, struct err *err)
{
	if (leader_lock(leader, err) < 0)
		return NULL;
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

/* One step of the control plane, or a wait for the time of the next. With the lock held. */
static void step(struct leader *leader, bool *failed)
{
	struct err err = ERR_INIT;
	int64_t now = clock_mono_ms(), next = control_next_wake(leader->control);

	if (next > now && !*failed) {
		wait_until(leader, next - now > TICK_MAX_MS ? now + TICK_MAX_MS : next);
		return;
	}
	if (control_tick(leader->control, leader_now(), &err) == 0) {
		*failed = false;
		leader_pump(leader);
		return;
	}
	if (!*failed)
		log_error(&leader->log, "control step failed", "error=%s", err.msg);
	*failed = true;
	if (leader->url && store_is_stale(&err))
		leader_refuse(leader, leader->epoch);
	else
		wait_until(leader, clock_mono_ms() + TICK_MAX_MS);
}

static void *tick(void *arg)
{
	struct leader *leader = arg;
	bool failed = false;

	pthread_mutex_lock(&leader->lock);
	while (!leader->stop) {
		if (leader->url) {
			bool idle = leader->epoch == 0;

			pthread_mutex_unlock(&leader->lock);
			leader_follow_mandate(leader, idle ? TICK_MAX_MS : 0);
			pthread_mutex_lock(&leader->lock);
		}
		if (leader->control && !leader->stop && leader_may_lead(leader))
			leader_turn_root(leader);
		if (leader->control && !leader->stop)
			step(leader, &failed);
	}
	pthread_mutex_unlock(&leader->lock);
	return NULL;
}

static int copy_address(struct leader *leader, const struct leader_address *address,
                        struct err *err)
{
	leader->ca = strdup(address->ca);
	leader->cert = strdup(address->cert);
	leader->key = strdup(address->key);
	leader->api = address->api;
	return leader->ca && leader->cert && leader->key ? 0 : err_nomem(err);
}

static int start_thread(pthread_t *thread, void *(*fn)(void *), void *arg, struct err *err)
{
	pthread_attr_t attr;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, HTTP_STACK_SIZE);
	int rc = pthread_create(thread, &attr, fn, arg);
	pthread_attr_destroy(&attr);
	return rc == 0 ? 0 : err_set(err, ERR_SYSTEM, "cannot start a thread of the leader");
}

int leader_serve(struct leader *leader, const struct leader_address *address, struct err *err)
{
	if (copy_address(leader, address, err) < 0)
		return -1;
	leader->routes = leader_all_routes(leader, err);
	int fd = leader->routes ? http_listen_tcp(address->listen, err) : -1;
	if (fd >= 0)
		leader->server =
			http_server_start(fd,
		                          &(struct http_server_options){.routes = leader->routes,
		                                                        .ctx = leader,
		                                                        .log = &leader->log,
		                                                        .cert_pem = leader->cert,
		                                                        .key_pem = leader->key,
		                                                        .client_ca_pem = leader->ca,
		                                                        .client_optional = true},
		                          err);
	if (!leader->server)
		return -1;
	if (start_thread(&leader->ticker, tick, leader, err) < 0)
		return -1;
	leader->ticking = true;
	if (leader->url && start_thread(&leader->elector, leader_elect, leader, err) < 0)
		return -1;
	leader->electing = leader->url != NULL;
	if (leader->url && start_thread(&leader->keeper, leader_keep, leader, err) < 0)
		return -1;
	leader->keeping = leader->url != NULL;
	return 0;
}

static void swap_text(char **text, char **with)
{
	char *before = *text;

	*text = *with;
	*with = before;
}

int leader_set_identity(struct leader *leader, const struct leader_tls *tls, struct err *err)
{
	auto_free char *ca = strdup(tls->ca), *cert = strdup(tls->cert);
	char *key = strdup(tls->key);

	if (!ca || !cert || !key) {
		vault_wipe_text(key);
		return err_nomem(err);
	}
	int rc = http_server_renew_tls(leader->server, cert, key, ca, err);
	pthread_mutex_lock(&leader->lock);
	swap_text(&leader->ca, &ca);
	swap_text(&leader->cert, &cert);
	swap_text(&leader->key, &key);
	pthread_mutex_unlock(&leader->lock);
	vault_wipe_text(key);
	return rc;
}

const char *leader_store_url(const struct leader *leader)
{
	return leader->url;
}

const struct vault *leader_vault(const struct leader *leader)
{
	return &leader->vault;
}

struct etcd *leader_etcd(struct leader *leader, int64_t call_ms, struct err *err)
{
	return etcd_open(&(struct etcd_options){.url = leader->url,
	                                        .socket = leader->socket,
	                                        .ca_pem = leader->store_ca,
	                                        .cert_pem = leader->store_cert,
	                                        .key_pem = leader->store_key,
	                                        .call_ms = call_ms},
	                 err);
}

/* ---- the cluster object ---- */

static int set_cluster(struct leader *leader, struct cluster *cluster, uint64_t version,
                       struct err *err)
{
	struct control *c = leader_enter(leader, err);
	if (!c)
		return -1;
	int rc = control_cluster_set(c, leader_now(), cluster, version, err);

	leader_exit(leader);
	return rc;
}

int leader_found(struct leader *leader, const char *cluster_id, const struct json *spec,
                 const struct ca_identity *ca, struct err *err)
{
	struct ca_identity made = {0};
	uint8_t digest[HASH_SIZE];
	char worker[TOKEN_MAX], manager[TOKEN_MAX];

	if (!ca && ca_make(cluster_id, &made, err) < 0)
		return -1;
	ca = ca ? ca : &made;
	auto_type(json) tls = rotation_tls(ca->cert, ca->cert, err);
	auto_type(json) secret = json_object();
	int rc = tls && ca_digest(ca->cert, digest, err) == 0 ? 0 : -1;
	if (rc == 0 && json_set(secret, CA_KEY_FIELD, json_string(ca->key)) < 0)
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
	ca_identity_done(&made);
	return rc;
}

int leader_read_ca(struct leader *leader, struct ca_identity *ca, struct err *err)
{
	const struct cluster *cluster = control_cluster(leader->control);
	const char *cert = cluster ? rotation_signer(cluster) : NULL;
	const char *key = cluster ? rotation_signer_key(cluster) : NULL;

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

/* Of nodes' certificates, as the cluster's settings say. An etcd member's is for long: members whose certificates had
 * all expired could not elect anybody to renew them. */
static int64_t lifetime(const struct cluster *cluster, const struct ca_subject *subject)
{
	const struct json *config = json_get(cluster->spec_raw, "CAConfig");
	int64_t seconds = json_get_int(config, "NodeCertExpiry", 0) / NS_PER_S;

	if (subject->etcd_ip)
		return 0;
	return seconds > 0 ? seconds : CERT_SECONDS;
}

int leader_sign(struct leader *leader, const char *request, const struct ca_subject *subject,
                char **cert, struct err *err)
{
	struct ca_identity ca = {0};
	struct ca_subject whole = *subject;
	char cluster_id[ID_SWARM_MAX] = "";

	if (leader_lock(leader, err) < 0)
		return -1;
	int rc = leader_read_ca(leader, &ca, err);
	if (rc == 0) {
		const struct cluster *cluster = control_cluster(leader->control);

		snprintf(cluster_id, sizeof(cluster_id), "%s", cluster->id);
		whole.seconds = lifetime(cluster, subject);
	}
	pthread_mutex_unlock(&leader->lock);
	whole.cluster_id = cluster_id;
	if (rc == 0)
		rc = ca_sign(&ca, request, &whole, cert, err);
	ca_identity_done(&ca);
	return rc;
}
