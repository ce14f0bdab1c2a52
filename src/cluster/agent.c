/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/agent.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/db.h"
#include "base/err.h"
#include "base/map.h"
#include "base/pool.h"
#include "base/str.h"
#include "cluster/agent_state.h"
#include "cluster/ca.h"
#include "http/client.h"
#include "http/server.h"

#define THREADS_MAX     64
#define QUEUE_MAX       100000
#define CONNECT_MS      1000
#define ASK_MS          20000 /* etcd takes its time to take a member in */
#define LIST_ARENA      (16u << 20)
#define TABLE_ARENA     (64u << 20)
#define STATUS_ARENA    (1u << 20)
#define DESCRIPTION_MAX (256u << 10)

/* ---- opening ---- */

static int copy_text(char **to, const char *from, struct err *err)
{
	if (!from)
		return 0;
	*to = strdup(from);
	return *to ? 0 : err_nomem(err);
}

/* Docker's TLSInfo, as text; owned; NULL: there is none. */
static char *describe_tls(const char *ca, const char *cert)
{
	auto_free char *subject = NULL, *key = NULL;
	struct buf text = BUF_INIT(DESCRIPTION_MAX);

	if (ca_issuer(ca, cert, &subject, &key, NULL) < 0)
		return NULL;
	auto_type(json) tls = json_object();
	json_set(tls, "TrustRoot", json_string(ca));
	json_set(tls, "CertIssuerSubject", json_string(subject));
	json_set(tls, "CertIssuerPublicKey", json_string(key));
	(void)json_write(tls, &text, NULL);
	return buf_take(&text, NULL);
}

static int copy_options(struct agent *agent, const struct agent_options *options, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(DESCRIPTION_MAX);
	const char *name = options->description->hostname;

	agent->log = options->log ? *options->log : (struct log){.fd = -1};
	agent->executor = *options->executor;
	agent->heartbeat_ms = PROTO_HEARTBEAT_MS;
	agent->told = options->told;
	agent->told_arg = options->told_arg;
	snprintf(agent->node_id, sizeof(agent->node_id), "%s", options->node_id);
	if (json_encode_text(&node_description_table, options->description, &text, err) < 0)
		return -1;
	agent->description = buf_take(&text, err);
	if (!agent->description || copy_text(&agent->leader, options->leader, err) < 0 ||
	    copy_text(&agent->ca, options->ca, err) < 0 ||
	    copy_text(&agent->cert, options->cert, err) < 0 ||
	    copy_text(&agent->key, options->key, err) < 0 ||
	    copy_text(&agent->addr, options->addr, err) < 0)
		return -1;
	agent->tls = describe_tls(agent->ca, agent->cert);
	return copy_text(&agent->node_name, name ? name : "", err);
}

static int init_parts(struct agent *agent, const struct agent_options *options, struct err *err)
{
	agent->records = map_create(err);
	agent->pool = agent->records ? pool_create(THREADS_MAX, QUEUE_MAX, err) : NULL;
	if (!agent->pool || copy_options(agent, options, err) < 0)
		return -1;
	if (book_open(agent, options->dir_fd, err) < 0)
		return -1;
	if (agent->manager_count == 0 && options->other)
		snprintf(agent->managers[agent->manager_count++], ADDRESS_MAX, "%.90s",
		         options->other);
	return 0;
}

/* Containers of tasks that we know nothing of are left over from something that was cut short. */
static int sweep(struct agent *agent, struct err *err)
{
	auto_arena struct arena arena = ARENA_INIT(LIST_ARENA);
	const struct agent_executor *x = &agent->executor;
	struct json_strings ids = {0};

	if (x->list(x->arg, &arena, &ids, err) < 0)
		return -1;
	for (size_t i = 0; i < ids.count; i++) {
		struct err why = ERR_INIT;

		if (map_find(agent->records, ids.items[i]))
			continue;
		log_info(&agent->log, "container of no task removed", "task=%s", ids.items[i]);
		if (x->remove(x->arg, ids.items[i], &why) < 0)
			log_warn(&agent->log, "container not removed", "task=%s error=%s",
			         ids.items[i], why.msg);
	}
	return 0;
}

static int start_thread(pthread_t *thread, void *(*fn)(void *), void *arg, struct err *err)
{
	pthread_attr_t attr;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, HTTP_STACK_SIZE);
	int rc = pthread_create(thread, &attr, fn, arg);
	pthread_attr_destroy(&attr);
	return rc == 0 ? 0 : err_set(err, ERR_SYSTEM, "cannot start a thread of the agent");
}

static void stop_talking(struct agent *agent)
{
	pthread_mutex_lock(&agent->lock);
	agent->stop = true;
	pthread_cond_broadcast(&agent->woken);
	pthread_mutex_unlock(&agent->lock);
	if (!agent->talking)
		return;
	pthread_join(agent->stream_thread, NULL);
	pthread_join(agent->report_thread, NULL);
	agent->talking = false;
}

static int start_talking(struct agent *agent, struct err *err)
{
	if (start_thread(&agent->stream_thread, wire_stream, agent, err) < 0)
		return -1;
	if (start_thread(&agent->report_thread, wire_report, agent, err) < 0) {
		pthread_mutex_lock(&agent->lock);
		agent->stop = true;
		pthread_cond_broadcast(&agent->woken);
		pthread_mutex_unlock(&agent->lock);
		pthread_join(agent->stream_thread, NULL);
		return -1;
	}
	agent->talking = true;
	return 0;
}

struct agent *agent_open(const struct agent_options *options, struct err *err)
{
	pthread_condattr_t attr;
	struct agent *agent = calloc(1, sizeof(*agent));

	if (!agent) {
		err_nomem(err);
		return NULL;
	}
	pthread_mutex_init(&agent->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&agent->woken, &attr);
	pthread_condattr_destroy(&attr);
	if (init_parts(agent, options, err) < 0 || sweep(agent, err) < 0 ||
	    start_talking(agent, err) < 0) {
		agent_close(agent);
		return NULL;
	}
	agent_poke(agent, NULL);
	return agent;
}

static void free_records(struct agent *agent)
{
	const char *id;
	void *record;

	if (!agent->records)
		return;
	map_for_each (agent->records, iter, &id, &record)
		record_free(record);
	map_free(agent->records);
}

void agent_close(struct agent *agent)
{
	if (!agent)
		return;
	stop_talking(agent);
	logs_wait(agent);
	pool_free(agent->pool);
	free_records(agent);
	db_free(agent->db);
	free(agent->leader);
	free(agent->ca);
	free(agent->cert);
	free(agent->key);
	free(agent->addr);
	free(agent->description);
	free(agent->tls);
	free(agent->tls_told);
	free(agent->node_name);
	free(agent->table);
	pthread_cond_destroy(&agent->woken);
	pthread_mutex_destroy(&agent->lock);
	free(agent);
}

int agent_leave(struct agent *agent, struct err *err)
{
	auto_arena struct arena arena = ARENA_INIT(LIST_ARENA);
	const struct agent_executor *x = &agent->executor;
	struct json_strings ids = {0};
	int rc = 0;

	stop_talking(agent);
	pool_free(agent->pool); /* waits for steps under way */
	agent->pool = NULL;
	if (x->publish(x->arg, &(struct endpoints){0}, err) < 0)
		rc = -1;
	if (x->list(x->arg, &arena, &ids, err) < 0)
		return -1;
	for (size_t i = 0; i < ids.count; i++)
		if (x->remove(x->arg, ids.items[i], err) < 0)
			rc = -1;
	/* Once more: networks go when nobody is on them. */
	if (x->publish(x->arg, &(struct endpoints){0}, err) < 0)
		rc = -1;
	return rc;
}

/* ---- what others ask ---- */

void agent_poke(struct agent *agent, const char *task_id)
{
	const char *id;
	void *record;

	pthread_mutex_lock(&agent->lock);
	map_for_each (agent->records, iter, &id, &record)
		if (!agent->stop && (!task_id || str_eq(id, task_id)))
			task_kick(agent, record);
	pthread_mutex_unlock(&agent->lock);
}

void agent_look(struct agent *agent, struct agent_state *state)
{
	pthread_mutex_lock(&agent->lock);
	state->connected = agent->connected;
	memcpy(state->error, agent->error, sizeof(state->error));
	pthread_mutex_unlock(&agent->lock);
}

void agent_wait(struct agent *agent, int64_t ms)
{
	int64_t until = clock_mono_ms() + ms;
	struct timespec when = {.tv_sec = until / 1000, .tv_nsec = (until % 1000) * 1000000};

	if (!agent->stop)
		pthread_cond_timedwait(&agent->woken, &agent->lock, &when);
}

bool agent_next_manager(struct agent *agent)
{
	pthread_mutex_lock(&agent->lock);
	agent->at = agent->at >= agent->manager_count ? 0 : agent->at + 1;
	bool round = agent->at == 0;
	pthread_mutex_unlock(&agent->lock);
	return round;
}

/* With the lock held. */
static const char *target_at(const struct agent *agent, size_t at)
{
	return at == 0 || at > agent->manager_count ? agent->leader : agent->managers[at - 1];
}

/* further: so many places behind the one where the agent stands. */
static struct http_client *dial(struct agent *agent, size_t further,
                                struct http_client_options limits, struct err *err)
{
	limits.base = "https://" CA_MANAGER_NAME;
	limits.connect_timeout_ms = CONNECT_MS;
	pthread_mutex_lock(&agent->lock);
	limits.connect_to = target_at(agent, (agent->at + further) % (agent->manager_count + 1));
	limits.ca_pem = agent->ca;
	limits.cert_pem = agent->cert;
	limits.key_pem = agent->key;
	struct http_client *client = http_client_create(&limits, err);
	pthread_mutex_unlock(&agent->lock);
	return client;
}

struct http_client *agent_client(struct agent *agent, int64_t stall_ms, struct err *err)
{
	return dial(agent, 0, (struct http_client_options){.stall_timeout_ms = stall_ms}, err);
}

static int parse_answer(const struct http_response *response, struct json **reply, struct err *err)
{
	if (http_expect(response, err) < 0)
		return -1;
	*reply = json_parse(response->body ? response->body : "", response->len, err);
	return *reply ? 0 : -1;
}

static int ask_at(struct agent *agent, size_t further, const struct agent_question *question,
                  const struct buf *text, struct json **reply, struct err *err)
{
	struct http_response response = {0};
	auto_type(http_client) client =
		dial(agent, further, (struct http_client_options){.timeout_ms = ASK_MS}, err);

	if (!client)
		return -1;
	int rc = http_call_run(client,
	                       &(struct http_call){.method = "POST",
	                                           .path = question->path,
	                                           .body = text->data,
	                                           .body_len = text->len,
	                                           .give_up = question->give_up,
	                                           .give_up_arg = question->arg},
	                       &response, err);
	if (rc == 0)
		rc = parse_answer(&response, reply, err);
	http_response_done(&response);
	return rc;
}

/* The answer of one that leads. */
static bool is_refusal(const struct err *err)
{
	return err_is(err, ERR_NOT_FOUND) || err_is(err, ERR_DENIED) || err_is(err, ERR_INVALID) ||
	       err_is(err, ERR_CONFLICT) || err_is(err, ERR_LIMIT);
}

/* The session's thread goes from manager to manager while none takes it: wherever it stands, each is asked once. */
int agent_ask(struct agent *agent, const struct agent_question *question, struct json **reply,
              struct err *err)
{
	auto_buf struct buf text = BUF_INIT(PROTO_TEXT_MAX);
	auto_type(json) body = question->body;
	int rc = -1;

	if (json_write(body, &text, err) < 0)
		return -1;
	pthread_mutex_lock(&agent->lock);
	size_t places = agent->manager_count + 1;
	pthread_mutex_unlock(&agent->lock);
	for (size_t i = 0; rc < 0 && i < places; i++) {
		rc = ask_at(agent, i, question, &text, reply, err);
		if (rc < 0 &&
		    (err_is(err, ERR_CANCELED) || (question->refusable && is_refusal(err))))
			break;
	}
	return rc;
}

/* NULL stays what it is. */
static void replace_text(char **text, char **with)
{
	if (!*with)
		return;
	free(*text);
	*text = move_ptr(*with);
}

int agent_set_identity(struct agent *agent, const struct agent_identity *identity, struct err *err)
{
	auto_free char *ca = NULL, *cert = NULL, *key = NULL, *leader = NULL;

	if (copy_text(&ca, identity->ca, err) < 0 || copy_text(&cert, identity->cert, err) < 0 ||
	    copy_text(&key, identity->key, err) < 0 ||
	    copy_text(&leader, identity->leader, err) < 0)
		return -1;
	pthread_mutex_lock(&agent->lock);
	replace_text(&agent->ca, &ca);
	replace_text(&agent->cert, &cert);
	replace_text(&agent->key, &key);
	replace_text(&agent->leader, &leader);
	free(agent->tls);
	agent->tls = describe_tls(agent->ca, agent->cert);
	agent->identity++;
	pthread_mutex_unlock(&agent->lock);
	return 0;
}

void agent_introduce(struct agent *agent)
{
	pthread_mutex_lock(&agent->lock);
	agent->introduce = agent->tls && !str_eq(agent->tls, agent->tls_told);
	pthread_mutex_unlock(&agent->lock);
}

/* ---- endpoints ---- */

/* For endpoints_read: the address in the status of a task of ours. */
struct addresses {
	struct agent *agent;
	struct arena *arena;
};

static const char *address_of(void *arg, const char *task_id)
{
	struct addresses *a = arg;
	struct record *record = map_find(a->agent->records, task_id);
	struct task_status status = {0};

	if (!record || !record->status || record->state != TASK_RUNNING ||
	    json_decode_text(record->status, strlen(record->status), &task_status_table, a->arena,
	                     &status, NULL) < 0)
		return NULL;
	return status.address;
}

/* With the lock held. 1: there is something to apply. */
static int view_table(struct agent *agent, struct arena *arena, struct endpoints *out,
                      struct err *err)
{
	struct addresses addresses = {agent, arena};
	struct endpoints_view view = {
		.node_id = agent->node_id, .address = address_of, .arg = &addresses};

	if (!agent->table || !agent->table_stale)
		return 0;
	agent->table_stale = false;
	if (endpoints_read(agent->table, strlen(agent->table), &view, arena, out, err) < 0)
		return -1;
	return 1;
}

void agent_publish(struct agent *agent)
{
	auto_arena struct arena arena = ARENA_INIT(TABLE_ARENA);
	const struct agent_executor *x = &agent->executor;
	struct endpoints table = {0};
	struct err err = ERR_INIT;

	pthread_mutex_lock(&agent->lock);
	int rc = view_table(agent, &arena, &table, &err);
	pthread_mutex_unlock(&agent->lock);
	if (rc > 0)
		rc = x->publish(x->arg, &table, &err) == 0 ? networks_sweep(agent, &table, &err)
		                                           : -1;
	if (rc == 0)
		return;
	log_error(&agent->log, "services not published", "error=%s", err.msg);
	pthread_mutex_lock(&agent->lock);
	agent->table_failed = true;
	pthread_mutex_unlock(&agent->lock);
}
