/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/etcd_members.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/json.h"
#include "base/str.h"
#include "cluster/etcd.h"
#include "cluster/etcd_run.h"

int etcd_peer_url(const char *addr, char out[ETCD_URL_MAX], struct err *err)
{
	char host[ADDRESS_MAX];

	if (address_host(addr, host, err) < 0)
		return -1;
	snprintf(out, ETCD_URL_MAX, strchr(host, ':') ? "https://[%.80s]:%u" : "https://%.80s:%u",
	         host, address_port(addr) + ETCD_RUN_PEER_STEP);
	return 0;
}

/* Ids take all 64 bits, so they are texts here. */
static int take(const struct json *doc, struct etcd_member *out, struct err *err)
{
	const char *id = json_get_string(doc, "ID"), *name = json_get_string(doc, "name");
	const char *peer = json_str(json_at(json_get(doc, "peerURLs"), 0));

	if (!id || !peer)
		return err_set(err, ERR_UNAVAILABLE, "etcd: a member without id or address");
	*out = (struct etcd_member){.learner = json_get_bool(doc, "isLearner", false)};
	snprintf(out->id, sizeof(out->id), "%s", id);
	snprintf(out->name, sizeof(out->name), "%.39s", name ? name : "");
	snprintf(out->peer, sizeof(out->peer), "%s", peer);
	return 0;
}

int etcd_members(struct etcd *e, struct etcd_members *out, struct err *err)
{
	auto_type(json) reply = etcd_call(e, "cluster/member/list", json_object(), err);
	const struct json *list = json_get(reply, "members");

	if (!reply)
		return -1;
	*out = (struct etcd_members){0};
	if (json_count(list) > ETCD_MEMBERS_MAX)
		return err_set(err, ERR_LIMIT, "etcd: more than %d members", ETCD_MEMBERS_MAX);
	for (size_t i = 0; i < json_count(list); i++)
		if (take(json_at(list, i), &out->items[out->count++], err) < 0)
			return -1;
	return 0;
}

const struct etcd_member *etcd_members_find(const struct etcd_members *members, const char *peer)
{
	for (size_t i = 0; i < members->count; i++)
		if (str_eq(members->items[i].peer, peer))
			return &members->items[i];
	return NULL;
}

int etcd_member_add(struct etcd *e, const char *peer, struct err *err)
{
	struct json *body = json_object(), *urls = json_array();

	json_append(urls, json_string(peer));
	json_set(body, "peerURLs", urls);
	json_set(body, "isLearner", json_bool(true));
	auto_type(json) reply = etcd_call(e, "cluster/member/add", body, err);
	return reply ? 0 : -1;
}

static int change(struct etcd *e, const char *what, const char *id, struct err *err)
{
	struct json *body = json_object();

	json_set(body, "ID", json_string(id));
	auto_type(json) reply = etcd_call(e, what, body, err);
	return reply ? 0 : -1;
}

int etcd_member_promote(struct etcd *e, const char *id, struct err *err)
{
	return change(e, "cluster/member/promote", id, err);
}

int etcd_member_remove(struct etcd *e, const char *id, struct err *err)
{
	return change(e, "cluster/member/remove", id, err);
}

int etcd_member_yield(struct etcd *e, struct err *err)
{
	struct etcd_members members;
	auto_type(json) status = etcd_call(e, "maintenance/status", json_object(), err);
	const char *self = json_get_string(json_get(status, "header"), "member_id");
	struct json *body;

	if (!status)
		return -1;
	if (!self || !str_eq(self, json_get_string(status, "leader")))
		return 0;
	if (etcd_members(e, &members, err) < 0)
		return -1;
	for (size_t i = 0; i < members.count; i++) {
		const struct etcd_member *m = &members.items[i];

		if (m->learner || str_eq(m->id, self))
			continue;
		body = json_object();
		json_set(body, "targetID", json_string(m->id));
		auto_type(json) reply = etcd_call(e, "maintenance/transfer-leadership", body, err);
		if (reply)
			return 0;
	}
	return members.count < 2 ? 0 : -1;
}
