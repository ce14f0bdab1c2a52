/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The members of an etcd that the managers run themselves. What is wanted stands in the control plane: each
 * manager node is a member. The leader brings etcd there, again and again: it votes in who has caught
 * up and puts out whose node is a manager no longer or is gone. So removing a node is all that is
 * needed to be rid of a machine that will not come back.
 */

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"
#include "cluster/etcd.h"
#include "cluster/etcd_members.h"
#include "cluster/leader_state.h"

#define ADD_MS      12000 /* etcd wants all to be connected for five seconds first */
#define ADD_STEP_MS 250
#define CALL_MS     3000
#define CLUSTER_MAX (ETCD_MEMBERS_MAX * 200)

/* ---- taking in ---- */

/* A machine that comes again by the same address takes the place of what it was. */
static int clear_place(struct etcd *etcd, const char *peer, struct err *err)
{
	struct etcd_members members;
	const struct etcd_member *old;

	if (etcd_members(etcd, &members, err) < 0)
		return -1;
	old = etcd_members_find(&members, peer);
	return old ? etcd_member_remove(etcd, old->id, err) : 0;
}

static int add(struct etcd *etcd, const char *peer, struct err *err)
{
	int64_t until = clock_mono_ms() + ADD_MS;

	for (;;) {
		struct err why = ERR_INIT;

		if (clear_place(etcd, peer, &why) == 0 && etcd_member_add(etcd, peer, &why) == 0)
			return 0;
		if (clock_mono_ms() >= until) {
			if (err)
				*err = why;
			(void)err_set(err, ERR_UNAVAILABLE,
			              "the managers' etcd takes no member now, try again: %.300s",
			              why.msg);
			return -1;
		}
		clock_sleep_ms(ADD_STEP_MS);
	}
}

/* "NAME=URL,...", as etcd wants to be told by a new member; `name` is its own. */
static int describe(struct etcd *etcd, const char *name, const char *peer, struct buf *out,
                    struct err *err)
{
	struct etcd_members members;

	if (etcd_members(etcd, &members, err) < 0)
		return -1;
	for (size_t i = 0; i < members.count; i++) {
		const struct etcd_member *m = &members.items[i];

		buf_addf(out, "%s%s=%s", i ? "," : "", str_eq(m->peer, peer) ? name : m->name,
		         m->peer);
	}
	return buf_check(out, err);
}

int leader_take_in(struct leader *leader, const char *node_id, const char *addr, struct json *reply,
                   struct err *err)
{
	auto_buf struct buf cluster = BUF_INIT(CLUSTER_MAX);
	char peer[ETCD_URL_MAX];
	auto_type(etcd) etcd = leader_etcd(leader, CALL_MS, err);

	if (!etcd || etcd_peer_url(addr, peer, err) < 0 || add(etcd, peer, err) < 0 ||
	    describe(etcd, node_id, peer, &cluster, err) < 0)
		return -1;
	return json_set(reply, "EtcdCluster", json_string(buf_str(&cluster)));
}

int leader_put_out(struct leader *leader, const char *node_id, struct err *err)
{
	struct etcd_members members;
	auto_type(etcd) etcd = leader_etcd(leader, CALL_MS, err);

	if (!etcd || etcd_members(etcd, &members, err) < 0)
		return -1;
	for (size_t i = 0; i < members.count; i++)
		if (str_eq(members.items[i].name, node_id))
			return etcd_member_remove(etcd, members.items[i].id, err);
	return 0;
}

/* ---- keeping it so ---- */

struct wanted {
	size_t count;
	char peers[ETCD_MEMBERS_MAX][ETCD_URL_MAX];
};

static bool has(const struct wanted *w, const char *peer)
{
	for (size_t i = 0; i < w->count; i++)
		if (str_eq(w->peers[i], peer))
			return true;
	return false;
}

/* False: we do not lead, or do not know enough to judge others. */
static bool gather(struct leader *leader, struct wanted *w)
{
	char self[ETCD_URL_MAX];
	const struct node *n;

	*w = (struct wanted){0};
	if (etcd_peer_url(leader->addr, self, NULL) < 0 || leader_lock(leader, NULL) < 0)
		return false;
	for (size_t at = 0; (n = control_next_node(leader->control, &at)) != NULL;)
		if (n->manager && n->manager->addr && w->count < ETCD_MEMBERS_MAX &&
		    etcd_peer_url(n->manager->addr, w->peers[w->count], NULL) == 0)
			w->count++;
	pthread_mutex_unlock(&leader->lock);
	return has(w, self);
}

/* A node that was demoted, and lives, comes by itself (leader_put_out()) when it has prepared for it. */
static bool will_come(struct leader *leader, const char *node_id)
{
	if (leader_lock(leader, NULL) < 0)
		return true;
	bool alive = control_node_is_alive(leader->control, node_id);
	pthread_mutex_unlock(&leader->lock);
	return alive;
}

void leader_tend_members(struct leader *leader, struct etcd *etcd)
{
	struct etcd_members members;
	struct wanted wanted;

	if (!gather(leader, &wanted) || etcd_members(etcd, &members, NULL) < 0)
		return;
	for (size_t i = 0; i < members.count; i++) {
		const struct etcd_member *m = &members.items[i];
		struct err err = ERR_INIT;

		if (!has(&wanted, m->peer) && will_come(leader, m->name))
			continue;
		if (!has(&wanted, m->peer)) {
			int rc = etcd_member_remove(etcd, m->id, &err);
			log_info(&leader->log, "etcd member removed", "peer=%s error=%s", m->peer,
			         rc < 0 ? err.msg : "none");
		} else if (m->learner && m->name[0] &&
		           etcd_member_promote(etcd, m->id, &err) == 0) {
			log_info(&leader->log, "etcd member has a vote", "peer=%s", m->peer);
		}
	}
}
