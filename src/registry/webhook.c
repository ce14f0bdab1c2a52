/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/webhook.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/hash.h"
#include "base/id.h"
#include "base/json.h"
#include "base/log.h"
#include "base/str.h"
#include "http/client.h"
#include "registry/registry.h"

#define QUEUE_MAX   1024 /* events that wait for one URL */
#define EVENT_MAX   (64u << 10)
#define SECRET_MAX  4096
#define TRIES       10
#define PAUSE_MS    1000 /* before the second try; doubles */
#define PAUSE_MAX   (5 * 60000)
#define CONNECT_MS  5000
#define TIMEOUT_MS  15000
#define EVENTS_TYPE "application/vnd.docker.distribution.events.v1+json"

struct hook {
	struct webhooks *all;
	char url[512];
	char *secret; /* owned; NULL: none */
	pthread_t thread;
	bool started;
	char *queue[QUEUE_MAX]; /* owned; guarded by the lock: a ring */
	size_t first, count;    /* guarded by the lock */
};

struct webhooks {
	struct registry *r; /* borrowed */
	char host[65];
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool stops; /* guarded by lock */
	atomic_bool ends;
	atomic_ullong sent, lost;
	size_t count;
	struct hook items[];
};

/* ---- sending ---- */

/* False: it is time to stop. */
static bool pause_for(struct webhooks *w, int64_t ms)
{
	int64_t end = clock_mono_ms() + ms;
	struct timespec until = {end / 1000, end % 1000 * 1000000};
	int rc = 0;

	pthread_mutex_lock(&w->lock);
	while (!w->stops && rc != ETIMEDOUT)
		rc = pthread_cond_timedwait(&w->wake, &w->lock, &until);
	bool stops = w->stops;
	pthread_mutex_unlock(&w->lock);
	return !stops;
}

static void sign(const struct hook *h, const char *text, char line[128])
{
	static const char digits[] = "0123456789abcdef";
	uint8_t mac[HASH_SIZE];
	size_t n = (size_t)snprintf(line, 128, "X-Hub-Signature-256: sha256=");

	gnutls_hmac_fast(GNUTLS_MAC_SHA256, h->secret, strlen(h->secret), text, strlen(text), mac);
	for (size_t i = 0; i < sizeof(mac); i++) {
		line[n++] = digits[mac[i] >> 4];
		line[n++] = digits[mac[i] & 15];
	}
	line[n] = '\0';
}

static bool give_up(void *arg)
{
	return atomic_load(&((struct webhooks *)arg)->ends);
}

/* The status; -1: nobody is there. */
static int send_once(const struct hook *h, const char *text, struct err *err)
{
	char signature[128];
	const char *headers[] = {"Content-Type: " EVENTS_TYPE, NULL, NULL};
	struct http_response response = {0};
	auto_type(http_client) client = http_client_create(
		&(struct http_client_options){.base = h->url,
	                                      .connect_timeout_ms = CONNECT_MS,
	                                      .timeout_ms = TIMEOUT_MS,
	                                      .user_agent = "buoy-registry/" BUOY_VERSION},
		err);
	struct http_call call = {.method = "POST",
	                         .path = h->url,
	                         .headers = headers,
	                         .body = text,
	                         .body_len = strlen(text),
	                         .give_up = give_up,
	                         .give_up_arg = h->all,
	                         .no_redirect = true};

	if (!client)
		return -1;
	if (h->secret) {
		sign(h, text, signature);
		headers[1] = signature;
	}
	int rc = http_call_run(client, &call, &response, err);
	int status = response.status;
	http_response_done(&response);
	return rc < 0 ? -1 : status;
}

static bool is_final(int status)
{
	return (status >= 200 && status < 300) ||
	       (status >= 400 && status < 500 && status != 408 && status != 429);
}

static void deliver(struct hook *h, const char *text)
{
	struct webhooks *w = h->all;
	int64_t pause = PAUSE_MS;
	struct err err = ERR_INIT;
	int status = -1;

	for (int i = 0; i < TRIES; i++) {
		err = ERR_INIT;
		status = send_once(h, text, &err);
		if (is_final(status) || (i + 1 < TRIES && !pause_for(w, pause)))
			break;
		pause = 2 * pause < PAUSE_MAX ? 2 * pause : PAUSE_MAX;
	}
	if (status >= 200 && status < 300) {
		atomic_fetch_add(&w->sent, 1);
		return;
	}
	atomic_fetch_add(&w->lost, 1);
	log_warn(w->r->log, "an event was not delivered", "url=%s status=%d error=%s", h->url,
	         status, err.msg);
}

static void *run(void *arg)
{
	struct hook *h = arg;
	struct webhooks *w = h->all;

	for (;;) {
		pthread_mutex_lock(&w->lock);
		while (!w->stops && h->count == 0)
			pthread_cond_wait(&w->wake, &w->lock);
		bool stops = w->stops;
		auto_free char *text = NULL;
		if (!stops) {
			text = move_ptr(h->queue[h->first]);
			h->first = (h->first + 1) % QUEUE_MAX;
			h->count--;
		}
		pthread_mutex_unlock(&w->lock);
		if (stops)
			return NULL;
		deliver(h, text);
	}
}

/* ---- events ---- */

static struct json *describe_target(const struct http_request *req, const struct webhook_event *e,
                                    const struct registry *r)
{
	auto_buf struct buf url = BUF_INIT(2048);
	struct json *target = json_object();

	if (e->type)
		(void)json_set(target, "mediaType", json_string(e->type));
	(void)json_set(target, "digest", json_string(e->digest));
	if (e->size >= 0) {
		(void)json_set(target, "size", json_int(e->size));
		(void)json_set(target, "length", json_int(e->size));
	}
	(void)json_set(target, "repository", json_string(e->repository));
	registry_origin(r, req, &url);
	buf_addf(&url, "/v2/%s/%s/%s", e->repository, e->type ? "manifests" : "blobs", e->digest);
	(void)json_set(target, "url", json_string(buf_str(&url)));
	if (e->tag)
		(void)json_set(target, "tag", json_string(e->tag));
	return target;
}

static struct json *describe_request(const struct http_request *req, const char *id)
{
	const char *host = http_header(req, "Host"), *agent = http_header(req, "User-Agent");
	struct json *doc = json_object();

	(void)json_set(doc, "id", json_string(id));
	(void)json_set(doc, "addr", json_string(http_peer_address(req)));
	if (host)
		(void)json_set(doc, "host", json_string(host));
	(void)json_set(doc, "method", json_string(http_method(req)));
	if (agent)
		(void)json_set(doc, "useragent", json_string(agent));
	return doc;
}

static char *describe(struct webhooks *w, const struct http_request *req,
                      const struct webhook_event *e)
{
	char id[ID_HEX_MAX], when[CLOCK_TEXT_MAX], user[ACCESS_USER_MAX];
	auto_buf struct buf text = BUF_INIT(EVENT_MAX);
	auto_type(json) doc = json_object();
	struct json *event = json_object(), *list = json_array(), *actor = json_object(),
		    *source = json_object();

	id_make_hex(id);
	(void)json_set(event, "id", json_string(id));
	(void)json_set(event, "timestamp", json_string(clock_format(clock_wall_ns(), when)));
	(void)json_set(event, "action", json_string(e->action));
	(void)json_set(event, "target", describe_target(req, e, w->r));
	(void)json_set(event, "request", describe_request(req, id));
	if (registry_actor(w->r, req, user))
		(void)json_set(actor, "name", json_string(user));
	(void)json_set(event, "actor", actor);
	(void)json_set(source, "addr", json_string(w->host));
	(void)json_set(event, "source", source);
	(void)json_append(list, event);
	if (json_set(doc, "events", list) < 0 || json_write(doc, &text, NULL) < 0)
		return NULL;
	return buf_take(&text, NULL);
}

/* With the lock. Takes the text. */
static bool enqueue(struct hook *h, char *text)
{
	if (!text || h->count == QUEUE_MAX) {
		free(text);
		return false;
	}
	h->queue[(h->first + h->count++) % QUEUE_MAX] = text;
	return true;
}

void webhooks_tell(struct webhooks *w, const struct http_request *req,
                   const struct webhook_event *event)
{
	size_t lost = 0;

	if (!w)
		return;
	auto_free char *text = describe(w, req, event);
	pthread_mutex_lock(&w->lock);
	for (size_t i = 0; i < w->count; i++)
		lost += !enqueue(&w->items[i], text ? strdup(text) : NULL);
	pthread_cond_broadcast(&w->wake);
	pthread_mutex_unlock(&w->lock);
	if (lost == 0)
		return;
	atomic_fetch_add(&w->lost, lost);
	log_warn(w->r->log, "events were lost: the queue is full", "repository=%s urls=%zu",
	         event->repository, lost);
}

void webhooks_write_metrics(struct webhooks *w, struct buf *out)
{
	size_t waiting = 0;

	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	for (size_t i = 0; i < w->count; i++)
		waiting += w->items[i].count;
	pthread_mutex_unlock(&w->lock);
	buf_addf(out,
	         "# HELP buoy_registry_events_total Events for webhooks.\n"
	         "# TYPE buoy_registry_events_total counter\n"
	         "buoy_registry_events_total{result=\"sent\"} %llu\n"
	         "buoy_registry_events_total{result=\"lost\"} %llu\n"
	         "# HELP buoy_registry_events_waiting Events that wait.\n"
	         "# TYPE buoy_registry_events_waiting gauge\n"
	         "buoy_registry_events_waiting %zu\n",
	         atomic_load(&w->sent), atomic_load(&w->lost), waiting);
}

/* ---- the whole ---- */

static int parse_line(struct hook *h, const char *line, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(SECRET_MAX);
	char file[512], rest = 0;
	int n = sscanf(line, "%511s %511s %c", h->url, file, &rest);

	if ((n != 1 && n != 2) ||
	    (!str_starts(h->url, "http://") && !str_starts(h->url, "https://")))
		return err_set(err, ERR_INVALID, "it must be URL [SECRET-FILE], http or https");
	if (n == 1)
		return 0;
	if (fs_trusted_read(file, SECRET_MAX, &text, err) < 0)
		return -1;
	h->secret = strndup(buf_str(&text), strcspn(buf_str(&text), "\r\n"));
	return h->secret ? 0 : err_nomem(err);
}

static int start(struct hook *h, const char *line, struct err *err)
{
	if (parse_line(h, line, err) < 0)
		return err_wrap(err, "webhook \"%s\"", line);
	errno = pthread_create(&h->thread, NULL, run, h); /* signals are blocked already */
	if (errno != 0)
		return err_sys(err, "starting a thread");
	h->started = true;
	return 0;
}

struct webhooks *webhooks_open(struct registry *r, struct err *err)
{
	const struct settings_list *lines = &r->settings->webhooks;
	pthread_condattr_t attr;

	if (lines->count == 0)
		return NULL;
	struct webhooks *w = calloc(1, sizeof(*w) + lines->count * sizeof(w->items[0]));
	if (!w) {
		err_nomem(err);
		return NULL;
	}
	w->r = r;
	(void)gethostname(w->host, sizeof(w->host) - 1);
	pthread_mutex_init(&w->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&w->wake, &attr);
	pthread_condattr_destroy(&attr);
	for (size_t i = 0; i < lines->count; i++) {
		struct hook *h = &w->items[w->count++];

		h->all = w;
		if (start(h, lines->items[i], err) < 0) {
			webhooks_free(w);
			return NULL;
		}
	}
	return w;
}

void webhooks_free(struct webhooks *w)
{
	if (!w)
		return;
	atomic_store(&w->ends, true);
	pthread_mutex_lock(&w->lock);
	w->stops = true;
	pthread_cond_broadcast(&w->wake);
	pthread_mutex_unlock(&w->lock);
	for (size_t i = 0; i < w->count; i++) {
		struct hook *h = &w->items[i];

		if (h->started)
			pthread_join(h->thread, NULL);
		if (h->count > 0)
			log_warn(w->r->log, "events were lost: the registry ends",
			         "url=%s count=%zu", h->url, h->count);
		for (; h->count > 0; h->count--, h->first = (h->first + 1) % QUEUE_MAX)
			free(h->queue[h->first]);
		if (h->secret)
			explicit_bzero(h->secret, strlen(h->secret));
		free(h->secret);
	}
	pthread_cond_destroy(&w->wake);
	pthread_mutex_destroy(&w->lock);
	free(w);
}
