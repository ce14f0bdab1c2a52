/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cluster's settings, and its root certificate: what nodes are told about it, and the steps by which another takes its
 * place (rotation.h). A node that is told of a root that it has not comes for it, and for a certificate, by
 * /v1/renew; what it has then it says when it introduces itself anew. So a leader that is new to it goes on from
 * what the store says.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/json.h"
#include "base/str.h"
#include "cluster/leader_state.h"
#include "cluster/rotation.h"
#include "cluster/token.h"

#define TURN_MS   20000 /* for a manager to start its etcd anew, and to say so */
#define SPREAD_MS 2     /* for each node, so that not all come for a certificate at once */

/* ---- what nodes are told ---- */

void leader_refresh_root(struct leader *leader)
{
	const struct cluster *cluster = control_cluster(leader->control);
	const char *trust = cluster ? rotation_trust(cluster) : NULL;
	struct leader_root *root = &leader->root;
	auto_free char *subject = NULL, *issuer = NULL;
	char digest[HASH_HEX_MAX];
	struct session *session;

	if (!trust || cluster->version.index == root->version ||
	    ca_describe(rotation_signer(cluster), &subject, &issuer, NULL) < 0)
		return;
	hash_bytes_hex(trust, strlen(trust), digest);
	root->version = cluster->version.index;
	if (str_eq(digest, root->trust) && str_eq(issuer, root->issuer))
		return;
	memcpy(root->trust, digest, sizeof(digest));
	free(root->issuer);
	root->issuer = move_ptr(issuer);
	root->told++;
	root->spread_ms = 0;
	LIST_FOREACH(session, &leader->sessions, next)
	root->spread_ms += SPREAD_MS;
}

int leader_add_trust(struct leader *leader, struct json *reply, struct err *err)
{
	const struct cluster *cluster = control_cluster(leader->control);
	const char *trust = cluster ? rotation_trust(cluster) : NULL;

	if (!trust)
		return err_set(err, ERR_INTERNAL, "the cluster has no CA");
	return json_set(reply, "CA", json_string(trust)) < 0 ? err_nomem(err) : 0;
}

/* Is the other at it still? */
static bool turn_is_over(const struct leader *leader, const struct cluster *cluster)
{
	const struct leader_root *root = &leader->root;
	const struct node *n = control_node(leader->control, root->turn);

	return !n || !n->manager || clock_mono_ms() >= root->turn_until_ms ||
	       rotation_trusts(cluster, n);
}

int leader_take_turn(struct leader *leader, const char *node_id, struct err *err)
{
	const struct cluster *cluster = control_cluster(leader->control);
	const struct node *n = control_node(leader->control, node_id);
	struct leader_root *root = &leader->root;

	if (!leader->socket || !cluster || !n || rotation_trusts(cluster, n))
		return 0;
	if (!str_eq(root->turn, node_id) && !turn_is_over(leader, cluster))
		return err_set(err, ERR_UNAVAILABLE,
		               "the etcd of manager %s starts anew: one at a time", root->turn);
	snprintf(root->turn, sizeof(root->turn), "%s", node_id);
	root->turn_until_ms = clock_mono_ms() + TURN_MS;
	return 0;
}

int leader_begin_turn(struct leader *leader, struct err *err)
{
	if (leader_lock(leader, err) < 0)
		return -1;
	int rc = leader_take_turn(leader, leader->self, err);
	pthread_mutex_unlock(&leader->lock);
	return rc;
}

int leader_tell_trust(struct leader *leader, struct json *doc, struct err *err)
{
	if (leader_lock(leader, err) < 0)
		return -1;
	int rc = leader_add_trust(leader, doc, err);
	pthread_mutex_unlock(&leader->lock);
	return rc;
}

/* ---- the steps ---- */

static bool all_are_settled(const struct leader *leader, const struct cluster *cluster)
{
	const struct node *n;

	for (size_t at = 0; (n = control_next_node(leader->control, &at)) != NULL;)
		if (!rotation_is_settled(cluster, n))
			return false;
	return true;
}

/* Commits. */
static int put(struct control *c, const struct rotation_draft *draft, struct err *err)
{
	struct cluster next = *control_cluster(c);

	rotation_apply(draft, &next);
	return control_cluster_set(c, leader_now(), &next, next.version.index, err);
}

void leader_turn_root(struct leader *leader)
{
	const struct cluster *cluster = control_cluster(leader->control);
	__attribute__((cleanup(rotation_draft_done))) struct rotation_draft draft = {0};
	struct leader_root *root = &leader->root;
	int64_t revision = control_revision(leader->control);
	struct err err = ERR_INIT;

	if (revision == root->revision || !cluster)
		return;
	if (!rotation_is_on(cluster) || !all_are_settled(leader, cluster)) {
		root->revision = revision;
		return;
	}
	if (rotation_advance(cluster, &draft, &err) == 0 &&
	    put(leader->control, &draft, &err) == 0) {
		cluster = control_cluster(leader->control);
		log_info(&leader->log, "rotation of the root certificate", "under_way=%d",
		         rotation_is_on(cluster));
		root->failing = false;
		leader_pump(leader);
		return;
	}
	if (!root->failing)
		log_error(&leader->log, "rotation of the root certificate goes not on", "error=%s",
		          err.msg);
	root->failing = true;
	root->revision = revision; /* with the next change */
}

/* ---- settings ---- */

struct settings {
	const struct json *spec;
	uint64_t version;
	unsigned rotate;
	struct ca_identity root;
	struct rotation_draft draft;
	struct json *kept; /* owned */
};

static void settings_done(struct settings *s)
{
	ca_identity_done(&s->root);
	rotation_draft_done(&s->draft);
	json_free(s->kept);
}

static int read_spec(struct settings *s, const struct cluster *now, struct cluster *next,
                     struct err *err)
{
	enum rotation_wish wish;

	if (rotation_read(now, s->spec, &wish, &s->root, err) < 0)
		return -1;
	s->kept = rotation_clean_spec(s->spec, err);
	if (!s->kept)
		return -1;
	next->spec_raw = s->kept;
	if (wish == ROTATION_KEEP)
		return 0;
	int rc = wish == ROTATION_BEGIN ? rotation_begin(now, &s->root, &s->draft, err)
	                                : rotation_call_off(now, &s->draft, err);
	if (rc == 0)
		rotation_apply(&s->draft, next);
	return rc;
}

/* With the lock held; commits. */
static int change(struct control *c, struct settings *s, struct err *err)
{
	const struct cluster *now = control_cluster(c);
	char worker[TOKEN_MAX], manager[TOKEN_MAX];
	uint8_t digest[HASH_SIZE];

	if (!now)
		return err_set(err, ERR_INTERNAL, "the cluster has no object");
	struct cluster next = *now;
	if (ca_digest(json_get_string(now->tls, "TrustRoot"), digest, err) < 0 ||
	    (json_count(s->spec) > 0 && read_spec(s, now, &next, err) < 0))
		return -1;
	if (s->rotate & LEADER_ROTATE_WORKER)
		next.tokens.worker = token_make(digest, worker);
	if (s->rotate & LEADER_ROTATE_MANAGER)
		next.tokens.manager = token_make(digest, manager);
	return control_cluster_set(c, leader_now(), &next, s->version, err);
}

int leader_update(struct leader *leader, const struct json *spec, uint64_t version, unsigned rotate,
                  struct err *err)
{
	__attribute__((cleanup(settings_done))) struct settings s = {
		.spec = spec, .version = version, .rotate = rotate};
	struct control *c = leader_enter(leader, err);

	if (!c)
		return -1;
	int rc = change(c, &s, err);
	leader_exit(leader);
	return rc;
}
