/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a node is to be. Its role stands in the store and is told over its session; a node that is something
 * else comes for a certificate of its new role and for all else that it needs. So a promotion or demotion that
 * was cut short anywhere is gone on with at the next session, whoever leads then.
 */

#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "cluster/leader_state.h"

#define LINE_MAX_BYTES 4096

/* ---- telling ---- */

void leader_tell_self(struct leader *leader, struct session *session)
{
	const struct node *n = control_node(leader->control, session->node_id);
	auto_buf struct buf text = BUF_INIT(LINE_MAX_BYTES);

	if (!n || (str_eq(session->role, n->spec.role) && session->root_told == leader->root.told))
		return;
	auto_type(json) doc = json_object();
	json_set(doc, "Type", json_string(PROTO_SELF));
	json_set(doc, "Role", json_string(n->spec.role));
	if (leader->root.issuer) {
		json_set(doc, "Trust", json_string(leader->root.trust));
		json_set(doc, "Issuer", json_string(leader->root.issuer));
		json_set(doc, "SpreadMs", json_int(leader->root.spread_ms));
	}
	if (json_write(doc, &text, NULL) == 0 &&
	    leader_say(session, text.data, text.len, NULL) == 0) {
		snprintf(session->role, sizeof(session->role), "%s", n->spec.role);
		session->root_told = leader->root.told;
	}
}

void leader_check_self(struct leader *leader)
{
	const struct node *n = control_node(leader->control, leader->self);

	if (leader->url && n && !n->manager)
		leader_retire(leader);
}

/* ---- what makes a manager ---- */

/* It must be able to open what the others have sealed. */
static int add_vault(struct leader *leader, struct json *reply, struct err *err)
{
	if (!leader->vault.known)
		return 0;
	char *key = vault_export(&leader->vault, err);
	int rc = key ? json_set(reply, "VaultKey", json_string(key)) : -1;

	vault_wipe_text(key);
	return rc;
}

static void tell_text(struct json *doc, const char *field, const char *text)
{
	if (text)
		json_set(doc, field, json_string(text));
}

/* How to get at the state that we share. */
static void tell_store(struct leader *leader, struct json *reply)
{
	tell_text(reply, "Store", leader->url);
	tell_text(reply, "StoreCA", leader->store_ca);
	tell_text(reply, "StoreCert", leader->store_cert);
	tell_text(reply, "StoreKey", leader->store_key);
}

/* Its etcd's certificate. */
static int add_etcd_cert(struct leader *leader, const struct leader_recruit *recruit,
                         struct json *reply, struct err *err)
{
	auto_free char *cert = NULL;
	char host[ADDRESS_MAX];

	if (!recruit->etcd_request)
		return err_set(err, ERR_INVALID,
		               "this cluster's managers run etcd: a newer buoyd is needed to join");
	if (address_host(recruit->addr, host, err) < 0 ||
	    leader_sign(leader, recruit->etcd_request,
	                &(struct ca_subject){.node_id = recruit->node_id, .etcd_ip = host}, &cert,
	                err) < 0)
		return -1;
	return json_set(reply, "EtcdCertificate", json_string(cert));
}

int leader_equip(struct leader *leader, const struct leader_recruit *recruit, struct json *reply,
                 struct err *err)
{
	tell_store(leader, reply);
	if (add_vault(leader, reply, err) < 0)
		return -1;
	if (!leader->socket)
		return 0;
	if (add_etcd_cert(leader, recruit, reply, err) < 0)
		return -1;
	return leader_take_in(leader, recruit->node_id, recruit->addr, reply, err);
}

/* ---- renewing ---- */

struct renewal {
	char node_id[ID_SWARM_MAX];
	const char *listen; /* "IP:PORT" where it would be reached as a manager */
	bool was;           /* a manager, when it asked */
	bool manager;       /* what it is to be */
	char addr[ADDRESS_MAX];
};

static int decide(struct leader *leader, struct renewal *r, struct err *err)
{
	struct control *c = leader_enter(leader, err);
	int rc = 0;

	if (!c)
		return -1;
	const struct node *n = control_node(c, r->node_id);
	if (!n) {
		rc = err_set(err, ERR_NOT_FOUND, "node %s is not part of this cluster", r->node_id);
	} else {
		r->manager = str_eq(n->spec.role, "manager");
		const char *addr =
			n->manager && !str_empty(n->manager->addr) ? n->manager->addr : r->listen;
		if (r->manager)
			rc = address_complete(addr, NULL, LEADER_PORT, r->addr, err);
		if (r->manager && r->was && rc == 0)
			rc = leader_take_turn(leader, r->node_id, err);
		if (r->manager && rc == 0)
			rc = control_node_enlist(c, leader_now(), r->node_id, r->addr, err);
	}
	leader_exit(leader);
	return rc;
}

/* What it needs besides the certificate of its role. */
static int change(struct leader *leader, const struct renewal *r, const struct json *doc,
                  struct json *reply, struct err *err)
{
	struct leader_recruit recruit = {.node_id = r->node_id,
	                                 .addr = r->addr,
	                                 .etcd_request = json_get_string(doc, "EtcdRequest")};

	if (r->manager && !r->was)
		return leader_equip(leader, &recruit, reply, err);
	if (r->manager && leader->socket)
		return add_etcd_cert(leader, &recruit, reply, err);
	/* Before it ends its etcd: of two, the other could not go on alone. */
	if (!r->manager && r->was && leader->socket)
		return leader_put_out(leader, r->node_id, err);
	return 0;
}

/* By the connection's certificate; or, if that has expired, by proof that the peer has its key. */
static int who_asks(struct leader *leader, struct http_request *req, const struct json *doc,
                    char node_id[ID_SWARM_MAX], struct err *err)
{
	const char *name = http_peer_name(req);

	if (str_empty(name)) {
		pthread_mutex_lock(&leader->lock);
		int rc = ca_check_proof(leader->ca, json_get_string(doc, "Certificate"),
		                        json_get_string(doc, "Request"),
		                        json_get_string(doc, "Proof"), node_id, err);
		pthread_mutex_unlock(&leader->lock);
		return rc;
	}
	snprintf(node_id, ID_SWARM_MAX, "%.25s", name);
	return 0;
}

int leader_renew_node(void *ctx, struct http_request *req, struct err *err)
{
	struct leader *leader = ctx;
	auto_free char *cert = NULL;
	auto_type(json) doc = http_body_json(req, err);
	struct renewal r = {0};
	const char *request = json_get_string(doc, "Request");

	if (!doc)
		return -1;
	if (!request)
		return err_set(err, ERR_INVALID, "Request: a certificate request is needed");
	if (who_asks(leader, req, doc, r.node_id, err) < 0)
		return -1;
	r.listen = json_get_string(doc, "Listen");
	r.was = json_get_bool(doc, "Manager", false);
	if (decide(leader, &r, err) < 0 ||
	    leader_sign(leader, request,
	                &(struct ca_subject){.node_id = r.node_id, .manager = r.manager}, &cert,
	                err) < 0)
		return -1;
	struct json *reply = json_object();
	json_set(reply, "Role", json_string(r.manager ? "manager" : "worker"));
	json_set(reply, "Certificate", json_string(cert));
	json_set(reply, "LeaderAddr", json_string(leader->addr));
	json_set(reply, "LeaderID", json_string(leader->self));
	if (leader_tell_trust(leader, reply, err) < 0 || change(leader, &r, doc, reply, err) < 0) {
		json_free(reply);
		return -1;
	}
	log_info(&leader->log, "certificate given", "node=%s manager=%d before=%d", r.node_id,
	         r.manager, r.was);
	return http_reply_json(req, 200, reply);
}
