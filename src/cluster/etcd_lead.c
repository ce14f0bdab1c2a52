/* SPDX-License-Identifier: Apache-2.0 */
/* Who leads, by etcd's leases and transactions; watching; housekeeping. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "base/str.h"
#include "cluster/etcd_state.h"

#define LEADER        "leader"
#define HOLDER_MAX    4096
#define STALL_MS      2000
#define TEXT_MAX      (64u << 20)
#define STATUS_MS     1000
#define DEFRAGMENT_MS 60000
#define SMALL         (64 << 20) /* a database up to here is not worth stopping a member for */

/* ---- leases ---- */

int64_t etcd_grant(struct etcd *e, int64_t seconds, struct err *err)
{
	struct json *body = json_object();

	etcd_set_number(body, "TTL", seconds);
	auto_type(json) reply = etcd_call(e, "lease/grant", body, err);
	int64_t id = etcd_number(reply, "ID");

	if (reply && id == 0)
		return err_set(err, ERR_UNAVAILABLE, "etcd: no lease was given");
	return reply ? id : -1;
}

int etcd_keep(struct etcd *e, int64_t lease, struct err *err)
{
	struct json *body = json_object();

	etcd_set_number(body, "ID", lease);
	auto_type(json) reply = etcd_call(e, "lease/keepalive", body, err);
	if (!reply)
		return -1;
	/* The gateway streams the answer; a lease that is gone has no TTL. */
	return etcd_number(json_get(reply, "result"), "TTL") > 0;
}

void etcd_revoke(struct etcd *e, int64_t lease)
{
	struct json *body = json_object();

	etcd_set_number(body, "ID", lease);
	json_free(etcd_call(e, "lease/revoke", body, NULL));
}

/* ---- the leader's key ---- */

static struct json *transaction(struct json *compare, struct json *success, struct json *failure)
{
	struct json *body = json_object(), *compares = json_array();

	json_append(compares, compare);
	json_set(body, "compare", compares);
	json_set(body, "success", success);
	if (failure)
		json_set(body, "failure", failure);
	return body;
}

static struct json *just(struct json *op)
{
	struct json *list = json_array();

	json_append(list, op);
	return list;
}

/* The key's entry in an answer to a range. */
static const struct json *entry_of(const struct json *range)
{
	return json_at(json_get(range, "kvs"), 0);
}

/* Under an older lease it goes when that lease does, however well this one is kept: then it is nobody's to lead by. */
static bool is_ours(const struct json *entry, const char *who, int64_t lease)
{
	auto_buf struct buf value = BUF_INIT(HOLDER_MAX);

	return entry && etcd_number(entry, "lease") == lease &&
	       etcd_bytes(entry, "value", &value, NULL) == 0 && str_eq(buf_str(&value), who);
}

static struct json *put_leader(const struct etcd *e, const char *who, int64_t lease)
{
	struct json *put = json_object(), *op = json_object();

	etcd_set_key(e, put, "key", LEADER);
	etcd_set_bytes(put, "value", who, strlen(who));
	if (lease > 0)
		etcd_set_number(put, "lease", lease);
	json_set(op, "request_put", put);
	return op;
}

int etcd_campaign(struct etcd *e, const char *who, int64_t lease, int64_t *epoch,
                  struct buf *holder, struct err *err)
{
	auto_type(json) reply =
		etcd_call(e, "kv/txn",
	                  transaction(etcd_compare(e, LEADER, true, 0),
	                              just(put_leader(e, who, lease)), just(etcd_read(e, LEADER))),
	                  err);
	if (!reply)
		return -1;
	if (json_get_bool(reply, "succeeded", false)) {
		*epoch = etcd_revision_of(reply);
		return 1;
	}
	/* An attempt of ours whose answer was lost looks like this. */
	const struct json *entry =
		entry_of(json_get(json_at(json_get(reply, "responses"), 0), "response_range"));
	if (!is_ours(entry, who, lease))
		return holder && etcd_bytes(entry, "value", holder, err) < 0 ? -1 : 0;
	*epoch = etcd_number(entry, "create_revision");
	return 1;
}

int etcd_holder(struct etcd *e, struct buf *out, int64_t *epoch, int64_t *revision, struct err *err)
{
	struct json *body = json_object();

	etcd_set_key(e, body, "key", LEADER);
	auto_type(json) reply = etcd_call(e, "kv/range", body, err);
	if (!reply)
		return -1;
	*revision = etcd_revision_of(reply);
	const struct json *entry = entry_of(reply);
	if (!entry)
		return 0;
	*epoch = etcd_number(entry, "create_revision");
	return etcd_bytes(entry, "value", out, err) < 0 ? -1 : 1;
}

int etcd_announce(struct etcd *e, const char *who, int64_t lease, int64_t epoch, struct err *err)
{
	auto_type(json) reply = etcd_call(e, "kv/txn",
	                                  transaction(etcd_compare(e, LEADER, true, epoch),
	                                              just(put_leader(e, who, lease)), NULL),
	                                  err);
	return reply ? 0 : -1;
}

int etcd_resign(struct etcd *e, int64_t epoch, struct err *err)
{
	struct json *range = json_object(), *op = json_object();

	etcd_set_key(e, range, "key", LEADER);
	json_set(op, "request_delete_range", range);
	auto_type(json) reply =
		etcd_call(e, "kv/txn",
	                  transaction(etcd_compare(e, LEADER, true, epoch), just(op), NULL), err);
	return reply ? 0 : -1;
}

/* ---- watching ---- */

struct watch {
	struct etcd *etcd;
	int64_t *since;
	int (*fn)(void *arg, const struct etcd_event *event);
	bool (*stop)(void *arg);
	void *arg;
	struct buf line;
	bool done;
	struct err err;
};

static int tell(struct watch *w, const struct json *event)
{
	auto_buf struct buf key = BUF_INIT(ETCD_KEY_MAX), value = BUF_INIT(TEXT_MAX);
	const struct json *entry = json_get(event, "kv");
	size_t prefix = strlen(w->etcd->prefix);

	if (etcd_bytes(entry, "key", &key, &w->err) < 0 ||
	    etcd_bytes(entry, "value", &value, &w->err) < 0)
		return -1;
	if (key.len < prefix)
		return 0;
	struct etcd_event told = {.removed = str_eq(json_get_string(event, "type"), "DELETE"),
	                          .key = buf_str(&key) + prefix,
	                          .value = buf_str(&value),
	                          .len = value.len,
	                          .revision = etcd_number(entry, "mod_revision")};
	w->done = w->fn(w->arg, &told) != 0;
	return 0;
}

static int hear(struct watch *w, const char *text, size_t len)
{
	auto_type(json) doc = json_parse(text, len, &w->err);
	const struct json *result = json_get(doc, "result"), *events = json_get(result, "events");

	if (!doc)
		return -1;
	if (etcd_number(result, "compact_revision") > 0) {
		*w->since = etcd_number(result, "compact_revision");
		return err_set(&w->err, ERR_LIMIT, "etcd: older changes are compacted away");
	}
	if (!result || json_get_bool(result, "canceled", false))
		return err_set(&w->err, ERR_UNAVAILABLE, "etcd: the watch was ended");
	for (size_t i = 0; i < json_count(events) && !w->done; i++)
		if (tell(w, json_at(events, i)) < 0)
			return -1;
	/* All of a revision comes together; notices of progress tell of none. */
	if (!json_get_bool(result, "created", false) && etcd_revision_of(result) >= *w->since)
		*w->since = etcd_revision_of(result) + 1;
	return 0;
}

static int on_data(void *arg, const void *data, size_t len)
{
	struct watch *w = arg;
	const char *text = data, *end;

	while ((end = memchr(text, '\n', len)) != NULL) {
		size_t part = (size_t)(end - text);

		buf_add_mem(&w->line, text, part);
		if (buf_check(&w->line, &w->err) < 0 ||
		    (w->line.len > 0 && hear(w, buf_str(&w->line), w->line.len) < 0))
			return -1;
		buf_clear(&w->line);
		text = end + 1;
		len -= part + 1;
		w->done = w->done || w->stop(w->arg);
		if (w->done)
			return -1;
	}
	buf_add_mem(&w->line, text, len);
	return buf_check(&w->line, &w->err);
}

static int follow(struct watch *w, const char *name, struct err *err)
{
	struct etcd *e = w->etcd;
	auto_type(json) body = json_object();
	auto_buf struct buf text = BUF_INIT(ETCD_KEY_MAX * 4);
	auto_free char *authorization = NULL;
	struct http_response response = {0};
	struct json *create = json_object();
	const char *headers[] = {"Content-Type: application/json", "Grpc-Metadata-hasleader: true",
	                         NULL, NULL};

	etcd_set_key(e, create, "key", name);
	etcd_set_end(e, create, name);
	etcd_set_number(create, "start_revision", *w->since);
	json_set(create, "progress_notify", json_bool(true));
	json_set(body, "create_request", create);
	auto_type(http_client) client = etcd_client(e, e->current, STALL_MS, err);
	if (e->token && asprintf(&authorization, "Authorization: %s", e->token) >= 0)
		headers[2] = authorization;
	if (!client || json_write(body, &text, err) < 0)
		return -1;
	int rc = http_call_run(client,
	                       &(struct http_call){.method = "POST",
	                                           .path = "/v3/watch",
	                                           .headers = headers,
	                                           .body = text.data,
	                                           .body_len = text.len,
	                                           .write = on_data,
	                                           .write_arg = w},
	                       &response, err);
	if (rc == 0)
		rc = http_expect(&response, err);
	http_response_done(&response);
	return rc;
}

int etcd_watch(struct etcd *e, const char *name, int64_t *since,
               int (*fn)(void *arg, const struct etcd_event *event), bool (*stop)(void *arg),
               void *arg, struct err *err)
{
	for (;;) {
		struct watch w = {
			.etcd = e, .fn = fn, .stop = stop, .arg = arg, .line = BUF_INIT(TEXT_MAX)};
		struct err why = ERR_INIT;

		w.since = since;
		int rc = follow(&w, name, &why);
		buf_free(&w.line);
		if (w.done || stop(arg))
			return 0;
		if (w.err.kind != ERR_NONE)
			why = w.err;
		/* Silence is no failure: nothing changed. Begin anew from where we are. */
		if (rc < 0 && err_is(&why, ERR_TIMEOUT))
			continue;
		e->current = (e->current + 1) % e->count;
		if (err)
			*err = why;
		return rc == 0 ? err_set(err, ERR_UNAVAILABLE, "etcd: the watch ended") : -1;
	}
}

/* ---- housekeeping ---- */

static int look_at(struct etcd *e, size_t at, struct etcd_health *health, struct err *err)
{
	auto_type(json) reply =
		etcd_call_at(e, at, "maintenance/status", json_object(), STATUS_MS, err);
	if (!reply)
		return -1;
	int64_t size = etcd_number(reply, "dbSize"), in_use = etcd_number(reply, "dbSizeInUse");
	if (size > health->size) {
		health->size = size;
		health->in_use = in_use;
	}
	if (etcd_revision_of(reply) > health->revision)
		health->revision = etcd_revision_of(reply);
	health->answering++;
	return 0;
}

static struct json *list_alarms(struct etcd *e, struct err *err)
{
	struct json *body = json_object();

	json_set(body, "action", json_string("GET"));
	return etcd_call(e, "maintenance/alarm", body, err);
}

/* Each member raises its own. */
static int lift_alarms(struct etcd *e, struct err *err)
{
	auto_type(json) alarms = list_alarms(e, err);
	const struct json *list = json_get(alarms, "alarms");

	if (!alarms)
		return -1;
	for (size_t i = 0; i < json_count(list); i++) {
		struct json *body = json_object();

		json_set(body, "action", json_string("DEACTIVATE"));
		json_set(body, "alarm", json_string("NOSPACE"));
		json_set(body, "memberID", json_ref(json_get(json_at(list, i), "memberID")));
		auto_type(json) done = etcd_call(e, "maintenance/alarm", body, err);
		if (!done)
			return -1;
	}
	return 0;
}

int etcd_look(struct etcd *e, struct etcd_health *health, struct err *err)
{
	*health = (struct etcd_health){.members = e->count};
	for (size_t i = 0; i < e->count; i++)
		(void)look_at(e, i, health, NULL);
	if (health->answering == 0)
		return err_set(err, ERR_UNAVAILABLE, "etcd: no member answers");
	auto_type(json) alarms = list_alarms(e, err);
	const struct json *list = json_get(alarms, "alarms");

	for (size_t i = 0; i < json_count(list); i++)
		if (str_eq(json_get_string(json_at(list, i), "alarm"), "NOSPACE"))
			health->full = true;
	return alarms ? 0 : -1;
}

static bool is_leader(struct etcd *e, size_t at)
{
	auto_type(json) reply =
		etcd_call_at(e, at, "maintenance/status", json_object(), STATUS_MS, NULL);

	/* Members' ids take all 64 bits: texts here. */
	return reply && str_eq(json_get_string(reply, "leader"),
	                       json_get_string(json_get(reply, "header"), "member_id"));
}

/* One after the other: a member does not answer while it is at it. One that fails ends it, so that
 * never two are missing. */
static int defragment(struct etcd *e, struct err *err)
{
	bool last[ETCD_POINTS_MAX] = {false};

	for (size_t i = 0; i < e->count; i++)
		last[i] = is_leader(e, i);
	for (int pass = 0; pass < 2; pass++)
		for (size_t i = 0; i < e->count; i++) {
			if (last[i] != (pass == 1))
				continue;
			auto_type(json) reply = etcd_call_at(e, i, "maintenance/defragment",
			                                     json_object(), DEFRAGMENT_MS, err);
			if (!reply)
				return -1;
		}
	return 0;
}

int etcd_compact(struct etcd *e, int64_t revision, bool always, struct err *err)
{
	struct json *body = json_object();
	struct err why = ERR_INIT;
	struct etcd_health health;

	etcd_set_number(body, "revision", revision);
	json_set(body, "physical", json_bool(true));
	auto_type(json) done = etcd_call(e, "kv/compaction", body, &why);
	if (!done && !strstr(why.msg, "has been compacted")) {
		if (err)
			*err = why;
		return -1;
	}
	if (etcd_look(e, &health, err) < 0)
		return -1;
	bool airy = health.size > SMALL && health.in_use < health.size / 2;
	if ((always || health.full || airy) && defragment(e, err) < 0)
		return -1;
	return health.full ? lift_alarms(e, err) : 0;
}
