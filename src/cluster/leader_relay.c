/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests of the API between managers: one that does not lead sends them, as /v1/api/..., to the one
 * that does, which answers them with the daemon's own routes.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"
#include "cluster/leader_state.h"
#include "cluster/store.h"
#include "http/client.h"
#include "http/route.h"

#define API        "/v1/api"
#define WAIT_MS    6000 /* for a leader: longer than a take-over lasts */
#define PAUSE_MS   20
#define VAIN_MS    250 /* for one that has ceased to lead to say what became of a request */
#define CONNECT_MS 1000
#define ANSWER_MS  60000
#define PATH_TEXT  (64u << 10)

/* ---- the leader's side ---- */

static int answer(void *ctx, struct http_request *req, struct err *err)
{
	struct leader *leader = ctx;
	struct http_route_match match;

	if (!str_eq(http_peer_role(req), CA_ROLE_MANAGER))
		return err_set(err, ERR_DENIED, "managers alone may ask this");
	leader_await_ready(leader);
	if (leader_lock(leader, err) < 0)
		return -1;
	const struct node *peer = control_node(leader->control, http_peer_name(req));
	bool known = peer && peer->manager;
	pthread_mutex_unlock(&leader->lock);
	if (!known)
		return err_set(err, ERR_DENIED, "node %s is no manager of this cluster",
		               http_peer_name(req));
	http_route_find(leader->api.routes, http_method(req), http_path(req) + strlen(API), &match);
	int rc = match.route ? match.route->fn(leader->api.ctx, req, err)
	                     : err_set(err, ERR_NOT_FOUND, "page not found");
	/* Refused whole by the store: whoever sent it may ask the one that leads now. */
	return rc < 0 && store_was_taken_over(err) ? err_set(err, ERR_UNAVAILABLE, LEADER_ELSEWHERE)
	                                           : rc;
}

static size_t count_routes(const struct http_route *routes)
{
	size_t count = 0;

	while (routes && routes[count].method)
		count++;
	return count;
}

struct http_route *leader_all_routes(struct leader *leader, struct err *err)
{
	size_t own = count_routes(leader_routes), api = count_routes(leader->api.routes);
	struct http_route *all = calloc(own + api + 1, sizeof(*all));

	if (!all) {
		err_nomem(err);
		return NULL;
	}
	memcpy(all, leader_routes, own * sizeof(*all));
	leader->routes = all;
	for (size_t i = 0; i < api; i++) {
		char *pattern;

		if (asprintf(&pattern, API "%s", leader->api.routes[i].pattern) < 0) {
			err_nomem(err);
			return NULL;
		}
		all[own + i] =
			(struct http_route){leader->api.routes[i].method, pattern, answer, false};
	}
	return all;
}

void leader_free_routes(struct leader *leader)
{
	for (size_t i = count_routes(leader_routes); leader->routes && leader->routes[i].method;
	     i++)
		free((char *)leader->routes[i].pattern);
	free(leader->routes);
}

/* ---- the others' side ---- */

struct relay {
	struct leader *leader;
	const char *holder;
	struct http_request *req;
	struct http_stream *stream;
	bool broken;
};

static int begin(void *arg, const struct http_response *response)
{
	struct relay *relay = arg;
	const char *type = http_response_header(response, "Content-Type");

	if (response->status >= 400)
		return 0;
	relay->stream = http_stream_begin(relay->req, response->status,
	                                  type ? type : "application/json", NULL);
	relay->broken = !relay->stream;
	return relay->stream ? 0 : -1;
}

static int copy(void *arg, const void *data, size_t len)
{
	struct relay *relay = arg;

	return http_stream_write(relay->stream, data, len, NULL);
}

/* Whom we asked leads no longer, and has had the time to answer: it hangs, or its machine is gone. */
static bool is_in_vain(void *arg)
{
	struct relay *relay = arg;
	struct mandate *m = &relay->leader->mandate;

	if (relay->stream)
		return http_stream_closed(relay->stream);
	pthread_mutex_lock(&m->lock);
	bool vain = !str_eq(m->holder, relay->holder) && clock_mono_ms() - m->holder_ms > VAIN_MS;
	pthread_mutex_unlock(&m->lock);
	return vain;
}

static int write_path(struct http_request *req, struct buf *out, struct err *err)
{
	const char *key, *value;

	buf_add(out, API);
	buf_add(out, http_path(req));
	for (size_t at = 0; http_query_next(req, &at, &key, &value);) {
		buf_add(out, at == 1 ? "?" : "&");
		http_encode(out, key);
		buf_add(out, "=");
		http_encode(out, value);
	}
	return buf_check(out, err);
}

/* Did the request surely not begin to be answered? */
static bool may_repeat(struct http_request *req, const struct err *err)
{
	return str_eq(http_method(req), "GET") || strstr(err->msg, LEADER_ELSEWHERE) ||
	       strstr(err->msg, "Failed to connect") ||
	       strstr(err->msg, "gnutls_handshake() failed") ||
	       strstr(err->msg, "Connection timed out") || strstr(err->msg, "Connection timeout");
}

/* A client of the leader at `holder`, as one manager of another; limits: how long it may take. */
static struct http_client *dial(struct leader *leader, const char *holder,
                                struct http_client_options limits, struct err *err)
{
	limits.base = "https://" CA_MANAGER_NAME;
	limits.connect_to = holder;
	limits.connect_timeout_ms = CONNECT_MS;
	pthread_mutex_lock(&leader->lock);
	limits.ca_pem = leader->ca;
	limits.cert_pem = leader->cert;
	limits.key_pem = leader->key;
	struct http_client *client = http_client_create(&limits, err);
	pthread_mutex_unlock(&leader->lock);
	return client;
}

static int ask(struct leader *leader, const char *holder, struct http_request *req, bool *again,
               struct err *err)
{
	auto_buf struct buf path = BUF_INIT(PATH_TEXT);
	static const char *const type[] = {"Content-Type: application/json", NULL};
	struct http_response response = {0};
	struct relay relay = {.leader = leader, .holder = holder, .req = req};
	size_t len;
	const char *body = http_body(req, &len);
	auto_type(http_client) client = dial(
		leader, holder, (struct http_client_options){.stall_timeout_ms = ANSWER_MS}, err);

	*again = false;
	if (!client || write_path(req, &path, err) < 0)
		return -1;
	int rc = http_call_run(client,
	                       &(struct http_call){.method = http_method(req),
	                                           .path = buf_str(&path),
	                                           .headers = len ? type : NULL,
	                                           .body = len ? body : NULL,
	                                           .body_len = len,
	                                           .begin = begin,
	                                           .begin_arg = &relay,
	                                           .write = copy,
	                                           .write_arg = &relay,
	                                           .give_up = is_in_vain,
	                                           .give_up_arg = &relay},
	                       &response, err);
	if (relay.stream) { /* an answer has begun: what comes after cannot be told any more */
		http_stream_end(relay.stream);
		http_response_done(&response);
		return 0;
	}
	if (rc == 0 && response.status == 503) {
		rc = http_expect(&response, err);
	} else if (rc == 0) {
		const char *kind = http_response_header(&response, "Content-Type");

		rc = http_reply(req, response.status, kind ? kind : "application/json",
		                response.body ? response.body : "", response.len);
	}
	http_response_done(&response);
	if (rc < 0 && err_is(err, ERR_CANCELED) && !relay.broken)
		(void)err_set(
			err, ERR_UNAVAILABLE,
			"the leader changed before it answered: what was asked may have been done");
	*again = rc < 0 && !relay.broken && may_repeat(req, err);
	return rc;
}

int leader_relay_join(struct leader *leader, struct http_request *req, struct json *doc,
                      struct err *err)
{
	char holder[ADDRESS_MAX];
	struct json *reply = NULL;

	if (leader_lock(leader, err) == 0) {
		pthread_mutex_unlock(&leader->lock);
		return 1;
	}
	if (!leader_holder(leader, holder))
		return -1;
	auto_type(http_client) client =
		dial(leader, holder, (struct http_client_options){.timeout_ms = WAIT_MS}, err);
	json_set(doc, "Peer", json_string(http_peer_address(req)));
	if (!client || http_call_json(client, "POST", "/v1/join", json_ref(doc), &reply, err) < 0)
		return -1;
	return http_reply_json(req, 200, reply);
}

int leader_relay(struct leader *leader, struct http_request *req, struct err *err)
{
	int64_t until = clock_mono_ms() + WAIT_MS;
	char holder[ADDRESS_MAX];

	for (;;) {
		struct err why = ERR_INIT;
		bool again = true;

		if (leader_lock(leader, &why) == 0) {
			pthread_mutex_unlock(&leader->lock);
			return 1;
		}
		if (leader_holder(leader, holder) && ask(leader, holder, req, &again, &why) == 0)
			return 0;
		if (!again || clock_mono_ms() >= until || leader->stop) {
			if (err)
				*err = why;
			return -1;
		}
		leader_await(leader, PAUSE_MS);
	}
}
