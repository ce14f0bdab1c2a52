/* SPDX-License-Identifier: Apache-2.0 */
/* The leader's socket: joining, sessions, reports. */

#include <errno.h>
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
#include "cluster/leader_state.h"
#include "cluster/proto.h"
#include "cluster/token.h"

#define ALIVE_MS       500 /* an empty line so often tells an agent that we are there */
#define MESSAGE_ARENA  (64u << 20)
#define REPLY_TEXT_MAX 4096

const char *leader_peer(struct http_request *req, struct err *err)
{
	const char *name = http_peer_name(req);

	if (str_empty(name))
		err_set(err, ERR_DENIED, "a certificate of this cluster is needed");
	return str_empty(name) ? NULL : name;
}

/* May the peer speak for the node? */
static int check_peer(struct http_request *req, const char *node_id, struct err *err)
{
	const char *peer = leader_peer(req, err);

	if (!peer)
		return -1;
	if (!str_eq(peer, node_id))
		return err_set(err, ERR_DENIED, "node %s cannot speak for node %s", peer, node_id);
	return 0;
}

/* ---- joining ---- */

static int show_ca(void *ctx, struct http_request *req, struct err *err)
{
	struct leader *leader = ctx;
	struct json *doc = json_object();

	(void)err;
	pthread_mutex_lock(&leader->lock);
	json_set(doc, "Certificate", json_string(leader->ca));
	pthread_mutex_unlock(&leader->lock);
	return http_reply_json(req, 200, doc);
}

/* Who asks to join: `addr` is its address as others see it, "IP:PORT" for managers. */
struct joiner {
	const char *token, *peer, *listen;
	bool manager;
	char node_id[ID_SWARM_MAX];
	char addr[ADDRESS_MAX];
};

static int admit(struct leader *leader, struct joiner *joiner, struct err *err)
{
	struct control *c = leader_enter(leader, err);
	int role = c ? leader_token_role(leader, joiner->token, err) : -1;

	if (!c)
		return -1;
	if (role > 0 && !leader->url)
		role = err_set(err, ERR_UNSUPPORTED,
		               "this cluster keeps its state on one machine and cannot take a "
		               "second manager; join with the worker token");
	joiner->manager = role > 0;
	if (role > 0 && address_complete(str_empty(joiner->listen) ? joiner->peer : joiner->listen,
	                                 joiner->peer, LEADER_PORT, joiner->addr, err) < 0)
		role = -1;
	if (role >= 0)
		role = control_node_add(c, leader_now(), id_make_swarm(joiner->node_id),
		                        joiner->manager ? "manager" : "worker",
		                        joiner->manager ? joiner->addr : joiner->peer, err);
	leader_exit(leader);
	return role;
}

static void describe_managers(struct leader *leader, struct json *reply)
{
	struct control *c = leader_enter(leader, NULL);
	const struct node *n;

	if (!c)
		return;
	json_set(reply, "ClusterID", json_string(control_cluster(c)->id));
	(void)leader_add_trust(leader, reply, NULL); /* without it, it has what it joined by */
	for (size_t at = 0; (n = control_next_node(c, &at)) != NULL;)
		if (n->manager && (!leader->self[0] || str_eq(n->id, leader->self)))
			json_set(reply, "LeaderID", json_string(n->id));
	leader_exit(leader);
}

/* Whoever is asked for it sends the request to the leader, and says for whom. */
static const char *joiner_address(struct http_request *req, const struct json *doc)
{
	const char *peer = json_get_string(doc, "Peer");

	return peer && str_eq(http_peer_role(req), CA_ROLE_MANAGER) ? peer : http_peer_address(req);
}

static int join(void *ctx, struct http_request *req, struct err *err)
{
	struct leader *leader = ctx;
	auto_free char *cert = NULL;
	auto_type(json) doc = http_body_json(req, err);

	if (!doc)
		return -1;
	struct joiner joiner = {.token = json_get_string(doc, "Token"),
	                        .peer = joiner_address(req, doc),
	                        .listen = json_get_string(doc, "Listen")};
	const char *request = json_get_string(doc, "Request");
	if (!request)
		return err_set(err, ERR_INVALID, "Request: a certificate request is needed");
	int ours = leader->url && !json_get(doc, "Peer") ? leader_relay_join(leader, req, doc, err)
	                                                 : 1;
	if (ours <= 0)
		return ours;
	if (admit(leader, &joiner, err) < 0 ||
	    leader_sign(leader, request,
	                &(struct ca_subject){.node_id = joiner.node_id, .manager = joiner.manager},
	                &cert, err) < 0)
		return -1;
	log_info(&leader->log, "node joined", "node=%s addr=%s manager=%d", joiner.node_id,
	         joiner.peer, joiner.manager);
	struct json *reply = json_object();
	json_set(reply, "NodeID", json_string(joiner.node_id));
	json_set(reply, "Role", json_string(joiner.manager ? "manager" : "worker"));
	json_set(reply, "Certificate", json_string(cert));
	json_set(reply, "Addr", json_string(joiner.peer));
	json_set(reply, "ManagerAddr", json_string(joiner.addr));
	struct leader_recruit recruit = {.node_id = joiner.node_id,
	                                 .addr = joiner.addr,
	                                 .etcd_request = json_get_string(doc, "EtcdRequest")};
	if (joiner.manager && leader_equip(leader, &recruit, reply, err) < 0) {
		json_free(reply);
		return -1;
	}
	describe_managers(leader, reply);
	return http_reply_json(req, 200, reply);
}

/* ---- sessions ---- */

/* With the lock held. A node has one stream: the newest. */
static void begin_session(struct leader *leader, struct session *session)
{
	struct session *old = leader_session(leader, session->node_id);

	if (old) {
		old->over = true;
		LIST_REMOVE(old, next);
		pthread_cond_signal(&old->changed);
	}
	LIST_INSERT_HEAD(&leader->sessions, session, next);
}

static int open_session(struct leader *leader, struct http_request *req, struct session *session,
                        struct err *err)
{
	auto_arena struct arena arena = ARENA_INIT(MESSAGE_ARENA);
	struct proto_hello hello = {0};
	pthread_condattr_t attr;
	size_t len;
	const char *text = http_body(req, &len);

	if (proto_hello_decode(text, len, &arena, &hello, err) < 0 ||
	    check_peer(req, hello.node_id, err) < 0)
		return -1;
	if (str_empty(hello.addr))
		hello.addr = (char *)http_peer_address(req);
	*session = (struct session){0};
	STAILQ_INIT(&session->lines);
	snprintf(session->node_id, sizeof(session->node_id), "%s", hello.node_id);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&session->changed, &attr);
	pthread_condattr_destroy(&attr);

	int rc = leader_lock(leader, err);
	if (rc == 0) {
		rc = control_agent_hello(leader->control, leader_now(), &hello, &session->id, err);
		if (rc == 0) {
			begin_session(leader, session);
			leader_refresh_root(leader);
			leader_tell_self(leader, session);
		}
		/* One that is lost is told again when managers change, or at the next session. */
		if (rc == 0 && leader->managers)
			(void)leader_say(session, leader->managers, strlen(leader->managers), NULL);
		leader_exit(leader);
	}
	if (rc < 0)
		pthread_cond_destroy(&session->changed);
	return rc;
}

static void close_session(struct leader *leader, struct session *session)
{
	struct line *line;

	pthread_mutex_lock(&leader->lock);
	if (!session->over)
		LIST_REMOVE(session, next);
	if (leader->control) {
		control_agent_gone(leader->control, session->node_id, session->id);
		leader_exit(leader);
	} else {
		pthread_mutex_unlock(&leader->lock);
	}
	while ((line = STAILQ_FIRST(&session->lines)) != NULL) {
		STAILQ_REMOVE_HEAD(&session->lines, next);
		free(line->text);
		free(line);
	}
	pthread_cond_destroy(&session->changed);
}

/* The next thing to write: owned text. false: the session is over. */
static bool next_text(struct leader *leader, struct session *session, char **text, size_t *len)
{
	int64_t until = clock_mono_ms() + ALIVE_MS;
	struct timespec when = {.tv_sec = until / 1000, .tv_nsec = (until % 1000) * 1000000};
	int waited = 0;

	*text = NULL;
	*len = 0;
	pthread_mutex_lock(&leader->lock);
	while (!leader->stop && !session->over && STAILQ_EMPTY(&session->lines) &&
	       session->endpoints_sent == leader->table_version && waited != ETIMEDOUT)
		waited = pthread_cond_timedwait(&session->changed, &leader->lock, &when);
	bool goes_on = !leader->stop && !session->over;
	struct line *line = STAILQ_FIRST(&session->lines);
	if (line) {
		STAILQ_REMOVE_HEAD(&session->lines, next);
		*text = line->text;
		*len = line->len;
		free(line);
	} else if (session->endpoints_sent != leader->table_version && leader->table) {
		*text = malloc(leader->table_len + 1);
		if (*text) {
			memcpy(*text, leader->table, leader->table_len);
			(*text)[leader->table_len] = '\n';
			*len = leader->table_len + 1;
			session->endpoints_sent = leader->table_version;
		}
	}
	pthread_mutex_unlock(&leader->lock);
	return goes_on;
}

static void talk(struct leader *leader, struct session *session, struct http_stream *stream)
{
	for (;;) {
		auto_free char *text = NULL;
		size_t len;

		if (!next_text(leader, session, &text, &len) || http_stream_closed(stream))
			return;
		if (http_stream_write(stream, text ? text : "\n", text ? len : 1, NULL) < 0)
			return;
	}
}

static int hold_session(void *ctx, struct http_request *req, struct err *err)
{
	struct leader *leader = ctx;
	struct session session;

	if (open_session(leader, req, &session, err) < 0)
		return -1;
	log_info(&leader->log, "node connected", "node=%s addr=%s", session.node_id,
	         http_peer_address(req));
	struct http_stream *stream = http_stream_begin(req, 200, "application/json", NULL);
	if (stream) {
		talk(leader, &session, stream);
		http_stream_end(stream);
	}
	log_info(&leader->log, "node disconnected", "node=%s", session.node_id);
	close_session(leader, &session);
	return 0;
}

static int report(void *ctx, struct http_request *req, struct err *err)
{
	struct leader *leader = ctx;
	auto_arena struct arena arena = ARENA_INIT(MESSAGE_ARENA);
	struct buf text = BUF_INIT(REPLY_TEXT_MAX);
	struct proto_report got = {0};
	struct proto_reply reply = {0};
	size_t len;
	const char *body = http_body(req, &len);

	if (proto_report_decode(body, len, &arena, &got, err) < 0 ||
	    check_peer(req, got.node_id, err) < 0)
		return -1;
	if (leader_lock(leader, err) < 0)
		return -1;
	int rc = control_agent_report(leader->control, leader_now(), &got, &reply, err);
	leader_exit(leader);
	if (rc < 0 || json_encode_text(&proto_reply_table, &reply, &text, err) < 0) {
		buf_free(&text);
		return -1;
	}
	return http_reply_buf(req, 200, &text);
}

const struct http_route leader_routes[] = {
	{"GET", "/v1/ca", show_ca, false},
	{"POST", "/v1/join", join, false},
	{"POST", "/v1/renew", leader_renew_node, false},
	{"POST", "/v1/session", hold_session, false},
	{"POST", "/v1/report", report, false},
	{"POST", "/v1/attach", leader_attach, false},
	{"POST", "/v1/detach", leader_detach, false},
	{"GET", "/v1/files/{}", leader_give_files, false},
	{"POST", "/v1/logs/{}", leader_take_logs, true},
	{NULL, NULL, NULL, false},
};
