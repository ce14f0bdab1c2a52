/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/member.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/str.h"
#include "cluster/address.h"
#include "cluster/ca.h"
#include "cluster/etcd_members.h"
#include "cluster/etcd_run.h"
#include "cluster/member_state.h"
#include "cluster/node.h"
#include "cluster/rotation.h"
#include "cluster/token.h"
#include "cluster/vault.h"
#include "http/client.h"

#define JOIN_MS     20000
#define CONNECT_MS  10000
#define INSPECT_MAX (1u << 20)

#define CHANGING_MS      5000
#define CATCH_UP_MS      15000
#define CHANGING_STEP_MS 10

#define NOT_MANAGER                                                                                \
	"This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to " \
	"connect this node to swarm and try again."
#define WORKER_ONLY                                                                                \
	"This node is not a swarm manager. Worker nodes can't be used to view or modify cluster "  \
	"state. Please run this command on a manager node or promote the current node to a "       \
	"manager."
#define ALREADY_IN                                                                                 \
	"This node is already part of a swarm. Use \"docker swarm leave\" to leave this swarm "    \
	"and join another one."
#define NOT_IN "This node is not part of a swarm"
#define LAST_MANAGER                                                                               \
	"You are attempting to leave the swarm on a node that is participating as a manager. "     \
	"Removing the last manager erases all current state of the swarm. Use `--force` to "       \
	"ignore this message. "

/* ---- the directory ---- */

/* A directory in the making. What an earlier attempt left is thrown away. */
int member_make_directory(struct member *m, struct err *err)
{
	if (fs_remove_tree(m->options.root_fd, MEMBER_DIR_NEW, err) < 0 ||
	    fs_mkdir(m->options.root_fd, MEMBER_DIR_NEW, 0700, err) < 0)
		return -1;
	return fs_open_dir(m->options.root_fd, MEMBER_DIR_NEW, err);
}

/* Gives it its name: from here on we are a member. */
int member_keep_directory(struct member *m, int dir_fd, struct err *err)
{
	if (fs_sync(dir_fd, err) < 0 || fs_rename_new(m->options.root_fd, MEMBER_DIR_NEW,
	                                              m->options.root_fd, MEMBER_DIR, err) < 0)
		return -1;
	return fs_sync(m->options.root_fd, err);
}

/* ---- taking up and laying down ---- */

int member_start_leader(struct member *m, struct err *err)
{
	char addr[ADDRESS_MAX];
	struct leader_tls tls = {m->card.store_ca, m->card.store_cert, m->card.store_key};

	if (address_complete(m->card.addr, NULL, address_port(m->card.listen), addr, err) < 0)
		return -1;
	m->leader = leader_open(
		&(struct leader_options){.dir_fd = m->dir_fd,
	                                 .url = m->card.store,
	                                 .socket = m->etcd ? etcd_run_socket(m->etcd) : NULL,
	                                 .tls = &tls,
	                                 .compact_ms = m->options.compact_ms,
	                                 .self = m->card.node_id,
	                                 .addr = addr,
	                                 .log = m->options.log},
		err);
	if (!m->leader)
		return -1;
	return leader_serve(m->leader,
	                    &(struct leader_address){.listen = m->card.listen,
	                                             .ca = m->ca,
	                                             .cert = m->cert,
	                                             .key = m->key,
	                                             .api = m->options.api},
	                    err);
}

/* A manager's own agent goes the short way to whatever address the leader listens on. */
static int agent_target(const struct member *m, char out[ADDRESS_MAX], struct err *err)
{
	char host[ADDRESS_MAX];

	if (!m->card.manager)
		return address_complete(m->card.leader, NULL, LEADER_PORT, out, err);
	if (address_host(m->card.listen, host, err) < 0)
		return -1;
	if (str_eq(host, "0.0.0.0"))
		snprintf(host, sizeof(host), "127.0.0.1");
	if (str_eq(host, "::"))
		snprintf(host, sizeof(host), "::1");
	snprintf(out, ADDRESS_MAX, strchr(host, ':') ? "[%.80s]:%u" : "%.80s:%u", host,
	         address_port(m->card.listen));
	return 0;
}

static int start_agent(struct member *m, struct err *err)
{
	char target[ADDRESS_MAX];

	if (agent_target(m, target, err) < 0)
		return -1;
	m->agent =
		agent_open(&(struct agent_options){.dir_fd = m->dir_fd,
	                                           .node_id = m->card.node_id,
	                                           .leader = target,
	                                           .other = m->card.store ? m->card.leader : NULL,
	                                           .ca = m->ca,
	                                           .cert = m->cert,
	                                           .key = m->key,
	                                           .addr = m->card.fixed ? m->card.addr : NULL,
	                                           .description = m->options.description,
	                                           .executor = m->options.executor,
	                                           .told = member_told,
	                                           .told_arg = m,
	                                           .log = m->options.log},
	                   err);
	return m->agent ? 0 : -1;
}

void member_lay_down(struct member *m, bool for_good)
{
	char peer[ETCD_URL_MAX] = "", addr[ADDRESS_MAX];

	agent_close(m->agent);
	leader_close(m->leader);
	if (m->etcd && for_good &&
	    address_complete(m->card.addr, NULL, address_port(m->card.listen), addr, NULL) == 0 &&
	    etcd_peer_url(addr, peer, NULL) == 0)
		member_retire_etcd(m, m->etcd, peer);
	else
		etcd_run_free(m->etcd); /* it goes on */
	m->etcd = NULL;
	if (m->dir_fd >= 0)
		close(m->dir_fd);
	arena_done(&m->arena);
	m->agent = NULL;
	m->leader = NULL;
	m->dir_fd = -1;
	m->card = (struct card){0};
	m->ca = m->cert = m->key = NULL;
	m->error[0] = '\0';
}

/* From the directory. Whatever fails, we are a member still, with an error to show. */
int member_take_up(struct member *m, struct err *err)
{
	m->dir_fd = fs_open_dir(m->options.root_fd, MEMBER_DIR, err);
	if (m->dir_fd < 0 || member_read_all(m, err) < 0 || member_finish_renewal(m, err) < 0)
		return -1;
	if (m->card.manager && member_runs_etcd(&m->card))
		m->etcd = member_start_etcd(m, m->dir_fd, &m->card, false, err);
	/* The agent starts in any case: its containers go on without a leader. */
	int rc = !m->card.manager                         ? 0
	         : member_runs_etcd(&m->card) && !m->etcd ? -1
	                                                  : member_start_leader(m, err);
	if (rc < 0) {
		leader_close(m->leader);
		m->leader = NULL;
	}
	if (start_agent(m, rc < 0 ? NULL : err) < 0)
		return -1;
	member_look_at_cert(m);
	return rc;
}

struct member *member_open(const struct member_options *options, struct err *err)
{
	struct member *m = calloc(1, sizeof(*m));

	if (!m) {
		err_nomem(err);
		return NULL;
	}
	m->options = *options;
	m->dir_fd = -1;
	m->arena = ARENA_INIT(MEMBER_ARENA);
	pthread_mutex_init(&m->changing, NULL);
	pthread_rwlock_init(&m->lock, NULL);
	if (member_start_keeper(m, err) < 0) {
		member_close(m);
		return NULL;
	}
	struct err why = ERR_INIT;
	pthread_mutex_lock(&m->changing);
	if (fs_exists(options->root_fd, MEMBER_DIR) && member_take_up(m, &why) < 0) {
		snprintf(m->error, sizeof(m->error), "%.255s", why.msg);
		log_error(options->log, "cluster membership not taken up", "error=%s", why.msg);
	}
	pthread_mutex_unlock(&m->changing);
	return m;
}

void member_close(struct member *m)
{
	if (!m)
		return;
	member_end_keeper(m);
	member_lay_down(m, false);
	pthread_rwlock_destroy(&m->lock);
	pthread_mutex_destroy(&m->changing);
	free(m);
}

/* ---- init ---- */

/* An IP with or without a port, or an interface. */
static int find_advertise(const char *text, uint16_t port, char out[ADDRESS_MAX], struct err *err)
{
	char ip[ADDRESS_MAX];

	if (!str_empty(text) && address_complete(text, NULL, port, out, NULL) == 0)
		return 0;
	if (address_of_interface(str_empty(text) ? NULL : text, ip, err) < 0)
		return -1;
	return address_complete(ip, NULL, port, out, err);
}

int member_plan(const struct member_init *init, struct founding *f, struct err *err)
{
	char host[ADDRESS_MAX];
	const char *listen = str_empty(init->listen) ? "0.0.0.0" : init->listen;

	if (address_complete(listen, "0.0.0.0", LEADER_PORT, f->listen, err) < 0 ||
	    address_host(f->listen, host, err) < 0)
		return -1;
	const char *advertise = init->advertise;
	if (str_empty(advertise) && !str_eq(host, "0.0.0.0") && !str_eq(host, "::"))
		advertise = f->listen;
	if (find_advertise(advertise, address_port(f->listen), f->advertise, err) < 0)
		return -1;
	id_make_swarm(f->node_id);
	id_make_swarm(f->cluster_id);
	return address_host(f->advertise, f->addr, err);
}

/* The manager's own node, with its availability. */
static int add_self(struct leader *leader, const struct founding *f, const char *availability,
                    struct err *err)
{
	struct control *c = leader_enter(leader, err);
	if (!c)
		return -1;
	int rc = control_node_add(c, leader_now(), f->node_id, "manager", f->advertise, err);
	const struct node *n = rc == 0 ? control_node(c, f->node_id) : NULL;

	if (n && !str_empty(availability) && !str_eq(availability, "active")) {
		char text[128];

		snprintf(text, sizeof(text), "{\"Role\":\"manager\",\"Availability\":\"%.16s\"}",
		         availability);
		rc = node_update(c, leader_now(),
		                 &(struct node_change){.ref = f->node_id,
		                                       .version = n->version.index,
		                                       .text = text,
		                                       .len = strlen(text)},
		                 err);
	}
	leader_exit(leader);
	return rc;
}

static char *ca_of(struct leader *leader, struct err *err)
{
	struct control *c = leader_enter(leader, err);
	if (!c)
		return NULL;
	const struct cluster *cluster = control_cluster(c);
	const char *cert = cluster ? json_get_string(cluster->tls, "TrustRoot") : NULL;
	char *copy = cert ? strdup(cert) : NULL;

	leader_exit(leader);
	if (!copy)
		err_nomem(err);
	return copy;
}

struct card member_card_of(const struct member_init *init, const struct founding *f)
{
	return (struct card){
		.node_id = (char *)f->node_id,
		.cluster_id = (char *)f->cluster_id,
		.manager = true,
		.listen = (char *)f->listen,
		.addr = (char *)f->addr,
		.fixed = true,
		.leader = (char *)f->advertise,
		.leader_id = (char *)f->node_id,
		.store = (char *)init->store,
		.store_ca = (char *)init->tls.ca,
		.store_cert = (char *)init->tls.cert,
		.store_key = (char *)init->tls.key,
	};
}

static int found(struct leader *leader, const struct member_init *init, const struct founding *f,
                 const struct ca_identity *own, int dir_fd, struct err *err)
{
	auto_free char *key = NULL, *request = NULL, *cert = NULL;
	auto_type(json) none = json_object();
	struct card card = member_card_of(init, f);

	if (leader_found(leader, f->cluster_id, init->spec ? init->spec : none, own, err) < 0 ||
	    add_self(leader, f, init->availability, err) < 0 ||
	    ca_request(&key, &request, err) < 0 ||
	    leader_sign(leader, request,
	                &(struct ca_subject){.node_id = f->node_id, .manager = true}, &cert,
	                err) < 0)
		return -1;
	auto_free char *ca = ca_of(leader, err);
	if (!ca || member_write_text(dir_fd, "ca.pem", ca, err) < 0 ||
	    member_write_text(dir_fd, "cert.pem", cert, err) < 0 ||
	    member_write_text(dir_fd, "key.pem", key, err) < 0)
		return -1;
	return member_write_card(dir_fd, &card, err);
}

/* The cluster's first state, written to its store. */
static int found_in(struct member *m, const struct member_init *init, const struct founding *f,
                    int dir_fd, struct err *err)
{
	struct card card = member_card_of(init, f);
	struct ca_identity ca = {0};
	struct etcd_run *etcd = NULL;

	if (member_runs_etcd(&card)) {
		etcd = member_found_etcd(m, dir_fd, &card, &ca, err);
		if (!etcd) {
			ca_identity_done(&ca);
			return -1;
		}
	}
	struct leader *leader =
		leader_open(&(struct leader_options){.dir_fd = dir_fd,
	                                             .url = init->store,
	                                             .socket = etcd ? etcd_run_socket(etcd) : NULL,
	                                             .tls = &init->tls,
	                                             .self = f->node_id,
	                                             .addr = f->advertise,
	                                             .founding = true,
	                                             .log = m->options.log},
	                    err);
	int rc = leader ? found(leader, init, f, ca.cert ? &ca : NULL, dir_fd, err) : -1;
	leader_close(leader);
	ca_identity_done(&ca);
	if (rc < 0)
		etcd_run_end(etcd);
	else
		etcd_run_free(etcd); /* member_take_up() finds it */
	return rc;
}

static int init_locked(struct member *m, const struct member_init *init, char node_id[ID_SWARM_MAX],
                       struct err *err)
{
	struct founding f;

	if (m->dir_fd >= 0)
		return err_set(err, ERR_UNAVAILABLE, ALREADY_IN);
	if (member_plan(init, &f, err) < 0)
		return -1;
	auto_close int dir_fd = member_make_directory(m, err);
	if (dir_fd < 0)
		return -1;
	if (found_in(m, init, &f, dir_fd, err) < 0 || member_keep_directory(m, dir_fd, err) < 0)
		return -1;
	pthread_rwlock_wrlock(&m->lock);
	int rc = member_take_up(m, err);
	if (rc < 0) { /* the port is taken, most likely: then we are in no cluster */
		member_lay_down(m, true);
		(void)fs_remove_tree(m->options.root_fd, MEMBER_DIR, NULL);
	}
	pthread_rwlock_unlock(&m->lock);
	snprintf(node_id, ID_SWARM_MAX, "%s", f.node_id);
	return rc;
}

int member_init(struct member *m, const struct member_init *init, char node_id[ID_SWARM_MAX],
                struct err *err)
{
	pthread_mutex_lock(&m->changing);
	int rc = init_locked(m, init, node_id, err);
	pthread_mutex_unlock(&m->changing);
	return rc;
}

/* ---- join ---- */

/* The CA over a connection that nothing vouches for yet; the token's digest then does. */
static char *fetch_ca(const char *remote, const uint8_t digest[HASH_SIZE], struct err *err)
{
	auto_type(json) doc = NULL;
	auto_type(http_client) client =
		http_client_create(&(struct http_client_options){.base = "https://" CA_MANAGER_NAME,
	                                                         .connect_to = remote,
	                                                         .insecure = true,
	                                                         .connect_timeout_ms = CONNECT_MS,
	                                                         .timeout_ms = JOIN_MS},
	                           err);

	if (!client || http_call_json(client, "GET", "/v1/ca", NULL, &doc, err) < 0)
		return NULL;
	const char *certs = json_get_string(doc, "Certificate");
	char *vouched = certs ? ca_vouched(certs, digest, NULL) : NULL;
	if (!vouched)
		err_set(err, ERR_DENIED,
		        "remote CA does not match fingerprint. Expected: the one in the token");
	return vouched;
}

static uint16_t listen_port(const struct member_join *join)
{
	char listen[ADDRESS_MAX];

	if (str_empty(join->listen) ||
	    address_complete(join->listen, "0.0.0.0", LEADER_PORT, listen, NULL) < 0)
		return LEADER_PORT;
	return address_port(listen);
}

/* What we have made for it: owned. */
struct enrolment {
	char *ca, *key, *request, *etcd_key, *etcd_request;
};

static void enrolment_done(struct enrolment *e)
{
	if (e->key)
		explicit_bzero(e->key, strlen(e->key));
	if (e->etcd_key)
		explicit_bzero(e->etcd_key, strlen(e->etcd_key));
	free(e->ca);
	free(e->key);
	free(e->request);
	free(e->etcd_key);
	free(e->etcd_request);
}

static struct json *ask_to_join(const char *remote, const char *ca, const struct member_join *join,
                                const struct enrolment *e, struct err *err)
{
	char listen[ADDRESS_MAX];

	struct json *reply = NULL, *body = json_object();
	auto_type(http_client) client =
		http_client_create(&(struct http_client_options){.base = "https://" CA_MANAGER_NAME,
	                                                         .connect_to = remote,
	                                                         .ca_pem = ca,
	                                                         .connect_timeout_ms = CONNECT_MS,
	                                                         .timeout_ms = JOIN_MS},
	                           err);

	json_set(body, "Token", json_string(join->token));
	if (!str_empty(join->advertise) &&
	    find_advertise(join->advertise, listen_port(join), listen, NULL) == 0)
		json_set(body, "Listen", json_string(listen));
	json_set(body, "Request", json_string(e->request));
	json_set(body, "EtcdRequest", json_string(e->etcd_request));
	if (!client) {
		json_free(body);
		return NULL;
	}
	if (http_call_json(client, "POST", "/v1/join", body, &reply, err) < 0)
		return NULL;
	return reply;
}

static int write_membership(int dir_fd, const struct json *reply, const struct card *card,
                            const struct enrolment *e, struct err *err)
{
	const char *cert = json_get_string(reply, "Certificate");
	const char *etcd_cert = json_get_string(reply, "EtcdCertificate");
	const char *ca = json_get_string(reply, "CA");

	if (!cert || !card->node_id || !card->cluster_id || strlen(card->node_id) >= ID_SWARM_MAX)
		return err_set(err, ERR_UNAVAILABLE, "the manager's answer is incomplete");
	if (member_write_text(dir_fd, "ca.pem", ca ? ca : e->ca, err) < 0 ||
	    member_write_text(dir_fd, "cert.pem", cert, err) < 0 ||
	    member_write_text(dir_fd, "key.pem", e->key, err) < 0)
		return -1;
	if (etcd_cert && (member_write_text(dir_fd, ETCD_RUN_CERT, etcd_cert, err) < 0 ||
	                  member_write_text(dir_fd, ETCD_RUN_KEY, e->etcd_key, err) < 0))
		return -1;
	const char *vault = json_get_string(reply, "VaultKey");
	if (vault && vault_import(dir_fd, vault, err) < 0)
		return -1;
	return member_write_card(dir_fd, card, err);
}

static int enrol(const struct member_join *join, const char *remote, int dir_fd, struct err *err)
{
	uint8_t digest[HASH_SIZE];
	char advertise[ADDRESS_MAX], addr[ADDRESS_MAX], listen[ADDRESS_MAX];
	__attribute__((cleanup(enrolment_done))) struct enrolment e = {0};

	if (token_parse(join->token, digest, err) < 0)
		return -1;
	if (!str_empty(join->advertise) &&
	    (find_advertise(join->advertise, LEADER_PORT, advertise, err) < 0 ||
	     address_host(advertise, addr, err) < 0))
		return -1;
	e.ca = fetch_ca(remote, digest, err);
	if (!e.ca || ca_request(&e.key, &e.request, err) < 0 ||
	    ca_request(&e.etcd_key, &e.etcd_request, err) < 0)
		return -1;
	auto_type(json) reply = ask_to_join(remote, e.ca, join, &e, err);
	if (!reply)
		return -1;
	if (str_empty(join->advertise))
		snprintf(addr, sizeof(addr), "%.90s",
		         json_get_string(reply, "Addr") ? json_get_string(reply, "Addr") : "");
	struct card card = {
		.node_id = (char *)json_get_string(reply, "NodeID"),
		.cluster_id = (char *)json_get_string(reply, "ClusterID"),
		.addr = addr,
		.fixed = !str_empty(join->advertise),
		.leader = (char *)remote,
		.leader_id = (char *)json_get_string(reply, "LeaderID"),
		.manager = str_eq(json_get_string(reply, "Role"), "manager"),
		.store = (char *)json_get_string(reply, "Store"),
		.store_ca = (char *)json_get_string(reply, "StoreCA"),
		.store_cert = (char *)json_get_string(reply, "StoreCert"),
		.store_key = (char *)json_get_string(reply, "StoreKey"),
		.etcd_cluster = (char *)json_get_string(reply, "EtcdCluster"),
	};
	/* Of a worker, too: it may be promoted. */
	if (address_complete(str_empty(join->listen) ? "0.0.0.0" : join->listen, "0.0.0.0",
	                     LEADER_PORT, listen, err) < 0)
		return -1;
	card.listen = listen;
	return write_membership(dir_fd, reply, &card, &e, err);
}

/* A manager that runs etcd is of use when it has caught up with the others. It gets there anyway, so
 * that no time is too short. */
static void await_leader(struct member *m)
{
	int64_t until = clock_mono_ms() + CATCH_UP_MS;

	while (!leader_is_known(m->leader) && clock_mono_ms() < until)
		clock_sleep_ms(CHANGING_STEP_MS);
}

static int join_locked(struct member *m, const struct member_join *join, struct err *err)
{
	char remote[ADDRESS_MAX];

	if (m->dir_fd >= 0)
		return err_set(err, ERR_UNAVAILABLE, ALREADY_IN);
	if (str_empty(join->remote) || str_empty(join->token))
		return err_set(err, ERR_INVALID, "a manager's address and a join token are needed");
	if (address_complete(join->remote, NULL, LEADER_PORT, remote, err) < 0)
		return -1;
	auto_close int dir_fd = member_make_directory(m, err);
	if (dir_fd < 0 || enrol(join, remote, dir_fd, err) < 0 ||
	    member_keep_directory(m, dir_fd, err) < 0)
		return -1;
	pthread_rwlock_wrlock(&m->lock);
	int rc = member_take_up(m, err);
	pthread_rwlock_unlock(&m->lock);
	if (rc == 0 && m->leader)
		await_leader(m);
	return rc;
}

int member_join(struct member *m, const struct member_join *join, struct err *err)
{
	pthread_mutex_lock(&m->changing);
	int rc = join_locked(m, join, err);
	pthread_mutex_unlock(&m->changing);
	return rc;
}

/* ---- leave ---- */

static int leave_locked(struct member *m, bool force, struct err *err)
{
	if (m->dir_fd < 0)
		return err_set(err, ERR_UNAVAILABLE, NOT_IN);
	if (m->card.manager && !force)
		return err_set(err, ERR_UNAVAILABLE, LAST_MANAGER);
	pthread_rwlock_wrlock(&m->lock);
	struct err why = ERR_INIT;
	int rc = m->agent ? agent_leave(m->agent, &why) : 0;
	if (rc < 0 && !force) {
		/* The containers that are left are found by their labels at the next attempt. */
		agent_close(m->agent);
		m->agent = NULL;
		pthread_rwlock_unlock(&m->lock);
		return err_set(err, why.kind, "containers of the cluster are left: %.400s",
		               why.msg);
	}
	member_lay_down(m, true);
	rc = fs_remove_tree(m->options.root_fd, MEMBER_DIR, err);
	pthread_rwlock_unlock(&m->lock);
	return rc;
}

int member_leave(struct member *m, bool force, struct err *err)
{
	pthread_mutex_lock(&m->changing);
	int rc = leave_locked(m, force, err);
	pthread_mutex_unlock(&m->changing);
	return rc;
}

/* ---- the control plane ---- */

/* For reading. While a cluster is being left its requests are waited for: they must not wait in turn. */
static int lock_reading(struct member *m, struct err *err)
{
	for (int i = 0; i < CHANGING_MS / CHANGING_STEP_MS; i++) {
		if (pthread_rwlock_tryrdlock(&m->lock) == 0)
			return 0;
		clock_sleep_ms(CHANGING_STEP_MS);
	}
	return err_set(err, ERR_UNAVAILABLE, "this node is joining or leaving a cluster");
}

int member_begin(struct member *m, struct err *err)
{
	if (lock_reading(m, err) < 0)
		return -1;
	if (m->leader)
		return 0;
	int rc = err_set(err, ERR_UNAVAILABLE, "%s",
	                 m->dir_fd >= 0 && !m->card.manager ? WORKER_ONLY
	                 : m->error[0]                      ? m->error
	                                                    : NOT_MANAGER);
	pthread_rwlock_unlock(&m->lock);
	return rc;
}

struct control *member_enter(struct member *m, struct err *err)
{
	if (member_begin(m, err) < 0)
		return NULL;
	struct control *c = leader_enter(m->leader, err);
	if (!c)
		pthread_rwlock_unlock(&m->lock);
	return c;
}

int member_relay(struct member *m, struct http_request *req, struct err *err)
{
	if (!m || lock_reading(m, err) < 0)
		return m ? -1 : 1;
	int rc = m->leader && m->card.store ? leader_relay(m->leader, req, err) : 1;
	pthread_rwlock_unlock(&m->lock);
	return rc;
}

const struct vault *member_vault(struct member *m)
{
	return leader_vault(m->leader);
}

void member_exit(struct member *m)
{
	leader_exit(m->leader);
	pthread_rwlock_unlock(&m->lock);
}

int member_update(struct member *m, const struct json *spec, uint64_t version, unsigned rotate,
                  struct err *err)
{
	if (member_begin(m, err) < 0)
		return -1;
	int rc = leader_update(m->leader, spec, version, rotate, err);
	pthread_rwlock_unlock(&m->lock);
	return rc;
}

int member_make_one_use(struct member *m, const struct leader_one_use *wanted, char text[TOKEN_MAX],
                        struct err *err)
{
	if (member_begin(m, err) < 0)
		return -1;
	int rc = leader_make_one_use(m->leader, wanted, text, err);
	pthread_rwlock_unlock(&m->lock);
	return rc;
}

int member_inspect(struct member *m, bool tokens, struct buf *out, struct err *err)
{
	struct control *c = member_enter(m, err);

	if (!c)
		return -1;
	struct cluster shown = *control_cluster(c);
	bool rotation = rotation_is_on(&shown);
	shown.secret = NULL;
	auto_type(json) doc = json_encode(&cluster_table, &shown, err);
	member_exit(m);
	if (!doc)
		return -1;
	if (!tokens)
		json_set(doc, "JoinTokens", json_null());
	json_set(doc, "RootRotationInProgress", json_bool(rotation));
	json_set(doc, "DefaultAddrPool", json_null());
	json_set(doc, "SubnetSize", json_int(24));
	json_set(doc, "DataPathPort", json_int(4789));
	return json_write(doc, out, err);
}

int member_logs(struct member *m, const char *node_id, const char *task_id,
                const struct json *options, struct err *err)
{
	if (member_begin(m, err) < 0)
		return -1;
	int fd = leader_logs(m->leader, node_id, task_id, options, err);
	pthread_rwlock_unlock(&m->lock);
	return fd;
}

void member_poke(struct member *m, const char *task_id)
{
	pthread_rwlock_rdlock(&m->lock);
	if (m->agent)
		agent_poke(m->agent, task_id);
	pthread_rwlock_unlock(&m->lock);
}

void member_look(struct member *m, struct member_view *view)
{
	struct agent_state state = {0};

	*view = (struct member_view){0};
	pthread_rwlock_rdlock(&m->lock);
	view->active = m->dir_fd >= 0;
	view->manager = m->card.manager;
	view->shared = m->card.store != NULL;
	if (m->agent)
		agent_look(m->agent, &state);
	view->connected = state.connected;
	snprintf(view->node_id, sizeof(view->node_id), "%s",
	         m->card.node_id ? m->card.node_id : "");
	snprintf(view->addr, sizeof(view->addr), "%.63s", m->card.addr ? m->card.addr : "");
	snprintf(view->leader, sizeof(view->leader), "%.95s", m->card.leader ? m->card.leader : "");
	snprintf(view->leader_id, sizeof(view->leader_id), "%.25s",
	         m->card.leader_id ? m->card.leader_id : "");
	snprintf(view->error, sizeof(view->error), "%s", m->error[0] ? m->error : state.error);
	if (m->leader && !view->error[0])
		leader_store_note(m->leader, view->error, sizeof(view->error));
	pthread_rwlock_unlock(&m->lock);
}
