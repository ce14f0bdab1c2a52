/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's two conversations with the leader. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/map.h"
#include "base/str.h"
#include "cluster/agent_state.h"
#include "http/client.h"

#define STALL_MS      3000 /* the leader writes twice a second */
#define RETRY_MIN_MS  100
#define RETRY_HAD_MS  200 /* for whoever leads next to take over first */
#define RETRY_MAX_MS  1000
#define REPORT_MS     3000  /* for one report */
#define LOOK_MS       30000 /* so often all tasks are looked at, in case an event was lost */
#define GATHER_MS     10    /* news within that time go together */
#define MESSAGE_ARENA (64u << 20)

/* ---- what to send ---- */

/* With the lock held: statuses after `since`, as an array of struct proto_status. */
static int gather(struct agent *agent, int64_t since, struct arena *arena, struct json_array *out,
                  struct err *err)
{
	struct proto_status *statuses =
		arena_array(arena, map_count(agent->records) + 1, sizeof(*statuses), err);
	const char *id;
	void *value;

	if (!statuses)
		return -1;
	*out = (struct json_array){.items = statuses, .present = true};
	map_for_each (agent->records, iter, &id, &value) {
		const struct record *record = value;
		struct proto_status *next = &statuses[out->count];

		if (!record->status || record->status_version <= since ||
		    out->count == PROTO_STATUSES_MAX)
			continue;
		next->task_id = arena_strdup(arena, id, err);
		if (!next->task_id ||
		    json_decode_text(record->status, strlen(record->status), &task_status_table,
		                     arena, &next->status, err) < 0)
			return -1;
		out->count++;
	}
	return 0;
}

/* ---- the stream ---- */

struct stream {
	struct agent *agent;
	struct buf line;
	struct err err; /* why we broke it off */
};

/* With the lock held. Are these assignments from the past, or for a future we have not seen? */
static int check_order(struct agent *agent, const struct proto_assignments *set, struct err *err)
{
	bool complete = str_eq(set->type, PROTO_COMPLETE);

	if (set->epoch < agent->epoch)
		return err_set(err, ERR_CONFLICT, "a leader of the past (epoch %lld, seen %lld)",
		               (long long)set->epoch, (long long)agent->epoch);
	if (!complete && !str_eq(set->type, PROTO_INCREMENT))
		return err_set(err, ERR_INVALID, "assignments of type \"%s\"", set->type);
	if (complete && set->tasks.count == 0 && !set->empty)
		return err_set(err, ERR_INVALID, "an empty set that does not say so");
	if (complete)
		return 0;
	if (set->epoch != agent->session_epoch || set->session != agent->session)
		return err_set(err, ERR_CONFLICT, "an increment of another session");
	if (set->from != agent->applied && set->to > agent->applied)
		return err_set(err, ERR_CONFLICT, "an increment from %lld, we are at %lld",
		               (long long)set->from, (long long)agent->applied);
	return 0;
}

static int take_assignments(struct agent *agent, const char *text, size_t len, struct err *err)
{
	auto_arena struct arena arena = ARENA_INIT(MESSAGE_ARENA);
	struct proto_assignments set = {0};

	if (proto_assignments_decode(text, len, &arena, &set, err) < 0)
		return -1;
	pthread_mutex_lock(&agent->lock);
	int rc = check_order(agent, &set, err);
	bool repeated = str_eq(set.type, PROTO_INCREMENT) && set.to <= agent->applied;
	if (rc == 0 && !repeated) {
		rc = book_set_epoch(agent, set.epoch, err);
		if (rc == 0)
			rc = book_apply(agent, &set, err);
		if (rc == 0) {
			agent->session = set.session;
			agent->session_epoch = set.epoch;
			agent->applied = set.to;
			if (set.heartbeat_ms >= 100)
				agent->heartbeat_ms = set.heartbeat_ms;
			pthread_cond_broadcast(&agent->woken);
		}
	}
	pthread_mutex_unlock(&agent->lock);
	return rc;
}

static int take_table(struct agent *agent, const struct json *doc, const char *text, size_t len,
                      struct err *err)
{
	int64_t epoch = json_get_int(doc, "Epoch", 0), version = json_get_int(doc, "Version", 0);
	char *copy = strndup(text, len);

	if (!copy)
		return err_nomem(err);
	pthread_mutex_lock(&agent->lock);
	if (epoch >= agent->epoch &&
	    (epoch > agent->table_epoch || version > agent->table_version)) {
		free(agent->table);
		agent->table = move_ptr(copy);
		agent->table_epoch = epoch;
		agent->table_version = version;
		agent->table_stale = true;
		pthread_cond_broadcast(&agent->woken);
	}
	pthread_mutex_unlock(&agent->lock);
	free(copy);
	return 0;
}

static int hear(struct agent *agent, const char *text, size_t len, struct err *err)
{
	if (len == 0)
		return 0;
	auto_type(json) doc = json_parse(text, len, err);
	const char *type = json_get_string(doc, "Type");

	if (!doc)
		return -1;
	if (str_eq(type, PROTO_ENDPOINTS))
		return take_table(agent, doc, text, len, err);
	if (str_eq(type, PROTO_MANAGERS)) {
		pthread_mutex_lock(&agent->lock);
		int rc = book_set_managers(agent, json_get(doc, "Managers"), err);
		pthread_mutex_unlock(&agent->lock);
		return rc;
	}
	if (str_eq(type, PROTO_SELF)) {
		if (agent->told)
			agent->told(agent->told_arg, doc);
		return 0;
	}
	if (str_eq(type, "logs")) {
		logs_answer(agent, doc);
		return 0;
	}
	return take_assignments(agent, text, len, err);
}

/* Is there a reason to leave the stream? */
static int check_stream(struct agent *agent, struct err *err)
{
	pthread_mutex_lock(&agent->lock);
	bool stop = agent->stop, resync = agent->resync, introduce = agent->introduce;
	agent->connected = !stop;
	agent->error[0] = '\0';
	pthread_mutex_unlock(&agent->lock);
	if (stop)
		return err_set(err, ERR_CANCELED, "stopping");
	if (introduce)
		return err_set(err, ERR_CONFLICT, "a new session, with another certificate");
	return resync ? err_set(err, ERR_CONFLICT, "the leader wants a new session") : 0;
}

static int on_data(void *arg, const void *data, size_t len)
{
	struct stream *stream = arg;
	const char *text = data, *end;

	if (check_stream(stream->agent, &stream->err) < 0)
		return -1;
	while ((end = memchr(text, '\n', len)) != NULL) {
		size_t part = (size_t)(end - text);

		buf_add_mem(&stream->line, text, part);
		if (buf_check(&stream->line, &stream->err) < 0 ||
		    hear(stream->agent, buf_str(&stream->line), stream->line.len, &stream->err) < 0)
			return -1;
		buf_clear(&stream->line);
		text = end + 1;
		len -= part + 1;
	}
	buf_add_mem(&stream->line, text, len);
	return buf_check(&stream->line, &stream->err);
}

/* With the lock held: what of TLSInfo the leader is about to be told. NULL: nothing, or no memory. Owned. */
static struct json *tell_tls(struct agent *agent)
{
	char *copy = agent->tls ? strdup(agent->tls) : NULL;

	free(agent->tls_told);
	agent->tls_told = copy;
	return copy ? json_parse(copy, strlen(copy), NULL) : NULL;
}

static int write_hello(struct agent *agent, struct buf *out, struct err *err)
{
	auto_arena struct arena arena = ARENA_INIT(MESSAGE_ARENA);
	struct proto_hello hello = {
		.protocol = PROTO_VERSION, .node_id = agent->node_id, .addr = agent->addr};

	if (json_decode_text(agent->description, strlen(agent->description),
	                     &node_description_table, &arena, &hello.description, err) < 0)
		return -1;
	pthread_mutex_lock(&agent->lock);
	auto_type(json) tls = tell_tls(agent);
	hello.description.tls = tls;
	agent->resync = agent->introduce = false;
	agent->session = 0;
	agent->acknowledged = 0; /* all are said again, whoever listens now */
	hello.epoch = agent->epoch;
	int rc = gather(agent, 0, &arena, &hello.statuses, err);
	pthread_mutex_unlock(&agent->lock);
	return rc < 0 ? -1 : json_encode_text(&proto_hello_table, &hello, out, err);
}

static int hold_stream(struct agent *agent, struct err *err)
{
	auto_buf struct buf hello = BUF_INIT(PROTO_TEXT_MAX);
	struct stream stream = {.agent = agent, .line = BUF_INIT(PROTO_TEXT_MAX)};
	struct http_response response = {0};
	auto_type(http_client) client = agent_client(agent, STALL_MS, err);

	if (!client || write_hello(agent, &hello, err) < 0)
		return -1;
	int rc = http_call_run(client,
	                       &(struct http_call){.method = "POST",
	                                           .path = "/v1/session",
	                                           .body = hello.data,
	                                           .body_len = hello.len,
	                                           .write = on_data,
	                                           .write_arg = &stream},
	                       &response, err);
	if (rc == 0)
		rc = http_expect(&response, err);
	if (rc < 0 && stream.err.kind != ERR_NONE && err)
		*err = stream.err;
	if (rc == 0)
		rc = err_set(err, ERR_UNAVAILABLE, "the leader ended the session");
	http_response_done(&response);
	buf_free(&stream.line);
	return rc;
}

/* Says so once, not at every attempt. */
static void lost(struct agent *agent, const struct err *err)
{
	pthread_mutex_lock(&agent->lock);
	bool new = !agent->stop &&strncmp(agent->error, err->msg, sizeof(agent->error) - 1) != 0;
	agent->connected = false;
	agent->session = 0;
	snprintf(agent->error, sizeof(agent->error), "%.255s", err->msg);
	if (new)
		log_warn(&agent->log, "no session with the leader", "leader=%s error=%s",
		         agent->leader, err->msg);
	pthread_mutex_unlock(&agent->lock);
}

static bool was_connected(struct agent *agent)
{
	pthread_mutex_lock(&agent->lock);
	bool connected = agent->connected;
	pthread_mutex_unlock(&agent->lock);
	return connected;
}

static bool has_others(struct agent *agent)
{
	pthread_mutex_lock(&agent->lock);
	bool others = agent->manager_count > 1;
	pthread_mutex_unlock(&agent->lock);
	return others;
}

/* With the lock held, which is given away meanwhile. */
static void rest(struct agent *agent, int64_t ms)
{
	int64_t end = clock_mono_ms() + ms;

	while (!agent->stop && clock_mono_ms() < end)
		agent_wait(agent, end - clock_mono_ms());
}

void *wire_stream(void *arg)
{
	struct agent *agent = arg;
	int64_t pause = RETRY_MIN_MS;

	pthread_mutex_lock(&agent->lock);
	while (!agent->stop) {
		pthread_mutex_unlock(&agent->lock);
		struct err err = ERR_INIT;
		int64_t began = clock_mono_ms();

		hold_stream(agent, &err);
		bool had = was_connected(agent);
		lost(agent, &err);
		bool round = agent_next_manager(agent);
		pause = had || clock_mono_ms() - began > RETRY_MAX_MS ? RETRY_MIN_MS : pause;
		/* A leader that ended the session has a successor, which may be at its first steps. */
		if (!had && !round && has_others(agent)) {
			pthread_mutex_lock(&agent->lock);
			continue;
		}
		if (!had)
			pause *= 2;
		int64_t longest = has_others(agent) ? RETRY_MIN_MS : RETRY_MAX_MS;
		pause = pause > longest ? longest : pause;
		pthread_mutex_lock(&agent->lock);
		rest(agent, had ? RETRY_HAD_MS : pause);
	}
	pthread_mutex_unlock(&agent->lock);
	return NULL;
}

/* ---- reports ---- */

/* *news: what the leader knows once it has acknowledged this. */
static int write_report(struct agent *agent, struct buf *out, int64_t *news, struct err *err)
{
	auto_arena struct arena arena = ARENA_INIT(MESSAGE_ARENA);

	pthread_mutex_lock(&agent->lock);
	struct proto_report report = {
		.protocol = PROTO_VERSION,
		.node_id = agent->node_id,
		.epoch = agent->session_epoch,
		.session = agent->session,
		.sequence = ++agent->sequence,
		.applied = agent->applied,
	};
	*news = agent->news;
	int rc = gather(agent, agent->acknowledged, &arena, &report.statuses, err);
	pthread_mutex_unlock(&agent->lock);
	return rc < 0 ? -1 : json_encode_text(&proto_report_table, &report, out, err);
}

static void take_reply(struct agent *agent, const struct proto_reply *reply, int64_t news)
{
	pthread_mutex_lock(&agent->lock);
	if (reply->resync)
		agent->resync = true;
	else if (reply->acknowledged == agent->sequence && reply->session == agent->session &&
	         news > agent->acknowledged)
		agent->acknowledged = news;
	pthread_mutex_unlock(&agent->lock);
}

static int send_report(struct agent *agent, struct http_client *client, struct err *err)
{
	auto_arena struct arena arena = ARENA_INIT(MESSAGE_ARENA);
	auto_buf struct buf text = BUF_INIT(PROTO_TEXT_MAX);
	struct http_response response = {0};
	struct proto_reply reply = {0};
	int64_t news;

	if (write_report(agent, &text, &news, err) < 0)
		return -1;
	int rc = http_call_run(client,
	                       &(struct http_call){.method = "POST",
	                                           .path = "/v1/report",
	                                           .body = text.data,
	                                           .body_len = text.len,
	                                           .timeout_ms = REPORT_MS},
	                       &response, err);
	if (rc == 0)
		rc = http_expect(&response, err);
	if (rc == 0)
		rc = json_decode_text(response.body, response.len, &proto_reply_table, &arena,
		                      &reply, err);
	if (rc == 0)
		take_reply(agent, &reply, news);
	http_response_done(&response);
	return rc;
}

/* With the lock held. */
static bool has_news(const struct agent *agent)
{
	return agent->session != 0 && !agent->resync && agent->news > agent->acknowledged;
}

static void retry_tasks(struct agent *agent)
{
	const char *id;
	void *value;

	map_for_each (agent->records, iter, &id, &value) {
		struct record *record = value;

		if (record->retry && !record->busy)
			task_kick(agent, record);
	}
}

/* Waits for the next beat or for news. With the lock held. */
static void wait_for_work(struct agent *agent, int64_t beat)
{
	while (!agent->stop && !has_news(agent) && !agent->table_stale && clock_mono_ms() < beat)
		agent_wait(agent, beat - clock_mono_ms());
	if (!agent->stop && has_news(agent)) { /* more may come at once */
		pthread_mutex_unlock(&agent->lock);
		clock_sleep_ms(GATHER_MS);
		pthread_mutex_lock(&agent->lock);
	}
}

/* Where the reports go: to which manager, and who we are then. */
struct beat {
	struct http_client *client; /* owned; NULL: to be made */
	size_t at;
	int64_t identity;
};

static void beat_once(struct agent *agent, struct beat *beat)
{
	struct http_client **client = &beat->client;
	struct err err = ERR_INIT;

	pthread_mutex_lock(&agent->lock);
	bool moved = beat->at != agent->at || beat->identity != agent->identity;
	beat->at = agent->at;
	beat->identity = agent->identity;
	pthread_mutex_unlock(&agent->lock);
	if (moved) { /* to another manager, or with another certificate */
		http_client_free(*client);
		*client = NULL;
	}
	if (!*client)
		*client = agent_client(agent, 0, &err);
	if (*client && send_report(agent, *client, &err) == 0)
		return;
	log_debug(&agent->log, "report failed", "error=%s", err.msg);
	http_client_free(*client);
	*client = NULL;
}

void *wire_report(void *arg)
{
	struct agent *agent = arg;
	struct beat to = {0};
	int64_t beat = clock_mono_ms(), looked = beat;

	pthread_mutex_lock(&agent->lock);
	while (!agent->stop) {
		wait_for_work(agent, beat);
		bool due = clock_mono_ms() >= beat;
		bool speak = agent->session != 0 && !agent->resync && (due || has_news(agent));
		if (due) {
			retry_tasks(agent);
			agent->table_stale |= agent->table_failed;
			agent->table_failed = false;
			beat = clock_mono_ms() + agent->heartbeat_ms;
		}
		if (agent->stop)
			break;
		pthread_mutex_unlock(&agent->lock);
		if (clock_mono_ms() - looked >= LOOK_MS) {
			agent_poke(agent, NULL);
			looked = clock_mono_ms();
		}
		agent_publish(agent);
		if (speak)
			beat_once(agent, &to);
		pthread_mutex_lock(&agent->lock);
	}
	pthread_mutex_unlock(&agent->lock);
	http_client_free(to.client);
	return NULL;
}
