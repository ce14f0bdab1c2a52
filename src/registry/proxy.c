/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/proxy.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/hash.h"
#include "base/id.h"
#include "base/log.h"
#include "base/map.h"
#include "base/str.h"
#include "oci/image.h"
#include "registry/answer.h"
#include "registry/manifest.h"
#include "registry/registry.h"
#include "registry/upstream.h"

#define TRIES       3
#define UNKNOWN     UINT64_MAX
#define STRIPES     64 /* locks of tags that are being asked for */
#define CHECKED_MAX 65536
#define KEY_MAX     (NAME_MAX_BYTES + DIGEST_TEXT_MAX + 2)
#define REST_MAX    (DIGEST_TEXT_MAX + 16)
#define RANGE_MAX   48

enum state {
	ASKED,   /* the upstream has not answered yet */
	RUNNING, /* `total` is known, or will be at the end */
	DONE,    /* whole, right, and content of `name` */
	FAILED,
};

struct fetch {
	struct proxy *proxy;
	struct upstream *up;
	char key[KEY_MAX], name[NAME_FILE_MAX], digest[DIGEST_TEXT_MAX];
	int fd;            /* owned */
	struct hash *hash; /* owned; the thread's */
	uint64_t wanted;   /* the thread's: where the running request must begin */
	/* guarded by the proxy's lock */
	enum state state;
	uint64_t have, total;
	struct err err;
	size_t holders;
};

struct proxy {
	struct registry *r; /* borrowed */
	struct upstreams *upstreams;
	pthread_mutex_t lock;
	pthread_cond_t changed; /* of any fetch; few wait at a time */
	struct map *fetches;    /* guarded by lock: key -> those that others can join */
	struct map *checked;    /* guarded by lock: "name:tag" -> until when, in ms */
	size_t threads;         /* guarded by lock */
	atomic_bool stops;
	pthread_mutex_t stripes[STRIPES];
	atomic_ullong hits, misses, stale, failures, bytes;
};

/* ---- a blob on its way ---- */

static void release(struct fetch *f)
{
	pthread_mutex_lock(&f->proxy->lock);
	bool last = --f->holders == 0;
	pthread_mutex_unlock(&f->proxy->lock);
	if (!last)
		return;
	if (f->fd >= 0)
		close(f->fd);
	hash_free(f->hash);
	free(f);
}

static bool give_up(void *arg)
{
	const struct fetch *f = arg;

	return atomic_load(&f->proxy->stops);
}

/* Where the bytes of this answer begin and how many the whole has. False: not what we asked for. */
static bool take_length(struct fetch *f, const struct http_response *response, uint64_t *total)
{
	const char *text = http_response_header(response, "Content-Length");
	uint64_t length = 0;

	*total = UNKNOWN;
	if (f->wanted > 0 && response->status != 206)
		return false;
	if (!text || !id_scan_u64(&text, &length))
		return true;
	*total = f->wanted + length;
	return *total >= length;
}

static int on_begin(void *arg, const struct http_response *response)
{
	struct fetch *f = arg;
	uint64_t total = 0;

	if (response->status >= 300)
		return 0;
	if (!take_length(f, response, &total))
		return -1;
	uint64_t max = (uint64_t)f->proxy->r->settings->blob_max;
	if (total != UNKNOWN && total > max)
		return -1;
	pthread_mutex_lock(&f->proxy->lock);
	f->total = total;
	f->state = RUNNING;
	pthread_cond_broadcast(&f->proxy->changed);
	pthread_mutex_unlock(&f->proxy->lock);
	return 0;
}

static int on_bytes(void *arg, const void *data, size_t len)
{
	struct fetch *f = arg;
	struct proxy *p = f->proxy;

	if (atomic_load(&p->stops) || f->have + len > (uint64_t)p->r->settings->blob_max ||
	    fs_write_all(f->fd, data, len, &f->err) < 0)
		return -1;
	hash_add(f->hash, data, len);
	atomic_fetch_add(&p->bytes, len);
	pthread_mutex_lock(&p->lock);
	f->have += len;
	pthread_cond_broadcast(&p->changed);
	pthread_mutex_unlock(&p->lock);
	return 0;
}

/* A status that is no content, as an error of ours. */
static int refused(int status, const struct upstream *up, const char *what, struct err *err)
{
	if (status == 404)
		return err_set(err, ERR_NOT_FOUND, "upstream %s has no %s", upstream_url(up), what);
	if (status == 401 || status == 403)
		return err_set(err, ERR_DENIED, "upstream %s does not let us have %s",
		               upstream_url(up), what);
	return err_set(err, ERR_UNAVAILABLE, "upstream %s answers with %d%s", upstream_url(up),
	               status, status == 429 ? ": too many requests" : "");
}

/* One request for what is missing. */
static int fetch_some(struct fetch *f, struct err *err)
{
	char rest[REST_MAX], range[RANGE_MAX];
	const char *headers[] = {NULL, NULL};
	struct http_response response = {0};

	f->wanted = f->have;
	snprintf(rest, sizeof(rest), "blobs/%s", f->digest);
	snprintf(range, sizeof(range), "Range: bytes=%" PRIu64 "-", f->have);
	if (f->have > 0)
		headers[0] = range;
	struct upstream_call call = {
		.name = upstream_name(f->up, f->name),
		.rest = rest,
		.method = "GET",
		.http = {.headers = headers,
	                 .begin = on_begin,
	                 .begin_arg = f,
	                 .write = on_bytes,
	                 .write_arg = f,
	                 .give_up = give_up,
	                 .give_up_arg = f},
	};
	int rc = upstream_run(f->up, &call, &response, err);
	if (rc == 0 && response.status >= 300)
		rc = refused(response.status, f->up, f->digest, err);
	http_response_done(&response);
	return rc;
}

static bool is_whole(struct fetch *f)
{
	char hex[HASH_512_HEX];
	bool wide = str_starts(f->digest, "sha512:");
	const char *got = wide ? hash_hex_512(f->hash, hex) : hash_hex(f->hash, hex);

	return str_eq(f->digest + strlen("sha256:"), got);
}

static int fetch_all(struct fetch *f, struct err *err)
{
	struct registry *r = f->proxy->r;
	int rc = -1;

	f->fd = blobs_stage(&r->blobs, err);
	f->hash = str_starts(f->digest, "sha512:") ? hash_create_512(err) : hash_create(err);
	if (f->fd < 0 || !f->hash)
		return -1;
	for (int i = 0; i < TRIES && rc < 0; i++) {
		uint64_t before = f->have;

		*err = ERR_INIT;
		rc = fetch_some(f, err);
		/* What broke in the middle goes on from there; what never began will not begin. */
		if (f->err.kind != ERR_NONE || f->have == before || atomic_load(&f->proxy->stops))
			break;
	}
	if (f->err.kind != ERR_NONE) /* our own disk */
		*err = f->err;
	if (rc < 0)
		return -1;
	if (!is_whole(f))
		return err_set(err, ERR_UNAVAILABLE, "what upstream %s sends is not %s",
		               upstream_url(f->up), f->digest);
	if (!repos_make(r->repos, f->name, err))
		return -1;
	return blobs_publish(&r->blobs, f->fd, f->digest, f->name, err) < 0 ? -1 : 0;
}

static void *fetch_thread(void *arg)
{
	struct fetch *f = arg;
	struct proxy *p = f->proxy;
	struct err err = ERR_INIT;
	int rc = fetch_all(f, &err);

	if (rc < 0) {
		atomic_fetch_add(&p->failures, 1);
		log_warn(p->r->log, "a blob was not fetched", "name=%s digest=%s error=%s", f->name,
		         f->digest, err.msg);
	}
	pthread_mutex_lock(&p->lock);
	f->err = err;
	f->state = rc == 0 ? DONE : FAILED;
	map_remove(p->fetches, f->key);
	pthread_cond_broadcast(&p->changed);
	pthread_mutex_unlock(&p->lock);
	release(f);
	pthread_mutex_lock(&p->lock);
	p->threads--;
	pthread_cond_broadcast(&p->changed);
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

/* With the lock. */
static struct fetch *start(struct proxy *p, struct upstream *up, const char *key, const char *name,
                           const char *digest, struct err *err)
{
	struct fetch *f = calloc(1, sizeof(*f));
	pthread_t thread;

	if (!f) {
		err_nomem(err);
		return NULL;
	}
	*f = (struct fetch){.proxy = p, .up = up, .fd = -1, .total = UNKNOWN, .holders = 2};
	snprintf(f->key, sizeof(f->key), "%s", key);
	snprintf(f->name, sizeof(f->name), "%s", name);
	snprintf(f->digest, sizeof(f->digest), "%s", digest);
	if (map_set(p->fetches, key, f, NULL, err) < 0) {
		free(f);
		return NULL;
	}
	errno = pthread_create(&thread, NULL, fetch_thread, f);
	if (errno != 0) {
		err_sys(err, "starting a thread");
		map_remove(p->fetches, key);
		free(f);
		return NULL;
	}
	pthread_detach(thread);
	p->threads++;
	return f;
}

/* The one that is running for this digest, or a new one; held. */
static struct fetch *join(struct proxy *p, const char *name, const char *digest, struct err *err)
{
	struct upstream *up = upstreams_find(p->upstreams, name);
	char key[KEY_MAX];

	snprintf(key, sizeof(key), "%s %s", upstream_url(up), digest);
	pthread_mutex_lock(&p->lock);
	struct fetch *f = map_find(p->fetches, key);
	if (f)
		f->holders++;
	else if (atomic_load(&p->stops))
		err_set(err, ERR_UNAVAILABLE, "the registry stops");
	else
		f = start(p, up, key, name, digest, err);
	pthread_mutex_unlock(&p->lock);
	return f;
}

/* Waits for what `enough` wants; a copy of the fetch's state then. */
static enum state wait_for(struct fetch *f, bool (*enough)(const struct fetch *f, uint64_t at),
                           uint64_t at, uint64_t *have)
{
	pthread_mutex_lock(&f->proxy->lock);
	while (f->state != DONE && f->state != FAILED && !enough(f, at))
		pthread_cond_wait(&f->proxy->changed, &f->proxy->lock);
	enum state state = f->state;
	*have = f->have;
	pthread_mutex_unlock(&f->proxy->lock);
	return state;
}

static bool has_length(const struct fetch *f, uint64_t at)
{
	(void)at;
	return f->state == RUNNING && f->total != UNKNOWN;
}

/* The last byte does not count: it goes out when the digest has proved right. */
static bool has_more(const struct fetch *f, uint64_t at)
{
	return f->have > at + 1;
}

static bool never(const struct fetch *f, uint64_t at)
{
	(void)f, (void)at;
	return false;
}

/* For http_reply_growing(). */
static int64_t grown(void *arg, uint64_t at)
{
	uint64_t have = 0;
	enum state state = wait_for(arg, has_more, at, &have);

	if (state == FAILED || have == 0)
		return -1;
	return (int64_t)(state == DONE ? have : have - 1);
}

/* The digest that a fetch for another repository has brought becomes this one's. */
static void adopt(struct proxy *p, const struct fetch *f, const char *name)
{
	if (!str_eq(f->name, name) && repos_make(p->r->repos, name, NULL))
		(void)blobs_mount(&p->r->blobs, f->digest, f->name, name, NULL);
}

static int answer_refusal(struct http_request *req, const struct err *err, const char *name,
                          const char *digest)
{
	if (err_is(err, ERR_NOT_FOUND))
		return answer_error(req, 404, "BLOB_UNKNOWN", "%s has no blob %s", name, digest);
	return answer_err(req, err);
}

static int send_fetch(struct http_request *req, struct fetch *f, const char *name, struct err *err)
{
	uint64_t have = 0;
	enum state state = wait_for(f, has_length, 0, &have);

	if (state == FAILED)
		return answer_refusal(req, &f->err, name, f->digest);
	struct api_blob blob = {
		.fd = f->fd,
		.size = state == DONE ? have : f->total,
		.digest = f->digest,
		.grown = state == DONE ? NULL : grown,
		.grown_arg = f,
	};
	return api_blob_send(req, &blob, err);
}

/* How large it is there, without fetching it. */
static int answer_head(struct proxy *p, struct http_request *req, const char *name,
                       const char *digest, struct err *err)
{
	struct upstream *up = upstreams_find(p->upstreams, name);
	struct http_response response = {0};
	char rest[REST_MAX];
	uint64_t size = 0;

	snprintf(rest, sizeof(rest), "blobs/%s", digest);
	struct upstream_call call = {
		.name = upstream_name(up, name), .rest = rest, .method = "HEAD"};
	int rc = upstream_run(up, &call, &response, err);
	const char *text = rc < 0 ? NULL : http_response_header(&response, "Content-Length");
	if (rc == 0 && response.status >= 300)
		rc = refused(response.status, up, digest, err);
	else if (rc == 0 && (!text || !id_scan_u64(&text, &size)))
		rc = err_set(err, ERR_UNAVAILABLE, "upstream %s does not say how large it is",
		             upstream_url(up));
	http_response_done(&response);
	if (rc < 0)
		return answer_refusal(req, err, name, digest);
	return api_blob_send(req, &(struct api_blob){.fd = -1, .size = size, .digest = digest},
	                     err);
}

int proxy_blob(struct proxy *p, struct http_request *req, const char *name, const char *digest,
               struct err *err)
{
	atomic_fetch_add(&p->misses, 1);
	if (str_eq(http_method(req), "HEAD"))
		return answer_head(p, req, name, digest, err);
	struct fetch *f = join(p, name, digest, err);
	if (!f)
		return answer_err(req, err);
	int rc = send_fetch(req, f, name, err);
	uint64_t have = 0;
	if (!str_eq(f->name, name) && wait_for(f, never, 0, &have) == DONE)
		adopt(p, f, name);
	release(f);
	return rc;
}

int proxy_fetch(struct proxy *p, const char *name, const char *digest, struct err *err)
{
	struct fetch *f = join(p, name, digest, err);
	uint64_t have = 0;

	if (!f)
		return -1;
	enum state state = wait_for(f, never, 0, &have);
	if (state == DONE)
		adopt(p, f, name);
	else if (err)
		*err = f->err;
	release(f);
	return state == DONE ? 0 : -1;
}

/* ---- manifests ---- */

/* What the upstream has under this reference now. */
static int ask(struct upstream *up, const char *method, const char *name, const char *reference,
               struct http_response *response, struct err *err)
{
	static const char *const headers[] = {"Accept: " OCI_INDEX, "Accept: " OCI_MANIFEST,
	                                      "Accept: " DOCKER_LIST, "Accept: " DOCKER_MANIFEST,
	                                      NULL};
	char rest[REST_MAX + NAME_TAG_MAX];

	snprintf(rest, sizeof(rest), "manifests/%s", reference);
	struct upstream_call call = {.name = upstream_name(up, name),
	                             .rest = rest,
	                             .method = method,
	                             .http = {.headers = headers}};
	if (upstream_run(up, &call, response, err) < 0)
		return -1;
	return response->status < 300 ? 0 : refused(response->status, up, reference, err);
}

/* The bytes become a manifest of the repository, with this tag (NULL: none). */
static int keep(struct proxy *p, const char *name, const char *tag, const char *text, size_t len,
                struct repo_manifest *m, struct err *err)
{
	struct repo *repo = repos_make(p->r->repos, name, err);

	if (!repo)
		return -1;
	repo_hold(repo);
	int rc = blobs_publish_bytes(&p->r->blobs, text, len, m->digest, name, err);
	if (rc >= 0)
		rc = repo_put(repo, m, &tag, tag ? 1 : 0, err);
	repo_release(repo);
	return rc < 0 ? -1 : 0;
}

static int take_manifest(struct proxy *p, const char *name, const char *reference,
                         const struct http_response *response, struct err *err)
{
	bool by_digest = digest_any_ok(reference), wide = str_starts(reference, "sha512:");
	const char *text = response->body ? response->body : "";
	struct repo_manifest m = {.size = (int64_t)response->len};
	struct manifest parsed;
	struct err why = ERR_INIT;
	char hex[HASH_512_HEX];
	auto_type(hash) h = wide ? hash_create_512(err) : hash_create(err);

	if (!h)
		return -1;
	if ((int64_t)response->len > p->r->settings->manifest_max)
		return err_set(err, ERR_UNAVAILABLE, "the upstream's manifest is too large");
	hash_add(h, text, response->len);
	snprintf(m.digest, sizeof(m.digest), "%s:%s", wide ? "sha512" : "sha256",
	         wide ? hash_hex_512(h, hex) : hash_hex(h, hex));
	if (by_digest && !str_eq(m.digest, reference))
		return err_set(err, ERR_UNAVAILABLE, "the upstream's manifest is not %s",
		               reference);
	if (manifest_parse(text, response->len, http_response_header(response, "Content-Type"),
	                   &parsed, &why) < 0)
		return err_set(err, ERR_UNAVAILABLE, "the upstream's manifest: %s", why.msg);
	memcpy(m.type, parsed.type, sizeof(m.type));
	if (parsed.subject)
		snprintf(m.subject, sizeof(m.subject), "%s", parsed.subject);
	manifest_done(&parsed);
	return keep(p, name, by_digest ? NULL : reference, text, response->len, &m, err);
}

static int fetch_manifest(struct proxy *p, struct upstream *up, const char *name,
                          const char *reference, struct err *err)
{
	struct http_response response = {0};
	int rc = ask(up, "GET", name, reference, &response, err);

	if (rc == 0)
		rc = take_manifest(p, name, reference, &response, err);
	atomic_fetch_add(&p->bytes, response.len);
	http_response_done(&response);
	return rc;
}

/* Have we got it, bytes and all? */
static bool is_here(struct proxy *p, const char *name, const char *reference,
                    struct repo_manifest *m)
{
	struct repo *repo = repos_find(p->r->repos, name, NULL);

	return repo && repo_lookup(repo, reference, m, NULL) == 0 &&
	       blobs_has(&p->r->blobs, name, m->digest);
}

static bool is_fresh(struct proxy *p, const char *key)
{
	pthread_mutex_lock(&p->lock);
	int64_t until = (int64_t)(intptr_t)map_find(p->checked, key);
	pthread_mutex_unlock(&p->lock);
	return until > clock_mono_ms();
}

static void set_fresh(struct proxy *p, const char *key)
{
	int64_t until = clock_mono_ms() + p->r->settings->upstream_ttl_s * 1000;
	const char *old;
	void *value;

	pthread_mutex_lock(&p->lock);
	if (map_count(p->checked) >=
	    CHECKED_MAX) /* all are asked for again: it costs a HEAD each */
		map_for_each (p->checked, iter, &old, &value)
			map_remove(p->checked, old);
	(void)map_set(p->checked, key, (void *)(intptr_t)until, NULL, NULL);
	pthread_mutex_unlock(&p->lock);
}

/* The upstream has the tag no longer. */
static void drop_tag(struct proxy *p, const char *name, const char *tag)
{
	struct repo *repo = repos_find(p->r->repos, name, NULL);

	if (!repo)
		return;
	repo_hold(repo);
	(void)repo_remove(repo, tag, NULL);
	repo_release(repo);
}

/* A HEAD first: it costs an upstream nothing, and most tags have not moved. */
static int refresh(struct proxy *p, struct upstream *up, const char *name, const char *tag,
                   const struct repo_manifest *here, struct err *err)
{
	struct http_response response = {0};
	int rc = ask(up, "HEAD", name, tag, &response, err);
	const char *digest =
		rc == 0 ? http_response_header(&response, "Docker-Content-Digest") : NULL;
	bool same = str_eq(digest, here->digest);

	http_response_done(&response);
	if (rc < 0 || same)
		return rc;
	return fetch_manifest(p, up, name, tag, err);
}

static int look(struct proxy *p, struct upstream *up, const char *name, const char *reference,
                struct err *err)
{
	struct repo_manifest here;
	bool have = is_here(p, name, reference, &here);
	bool by_digest = digest_any_ok(reference);

	if (have && by_digest) {
		atomic_fetch_add(&p->hits, 1);
		return 0;
	}
	atomic_fetch_add(&p->misses, 1);
	int rc = have ? refresh(p, up, name, reference, &here, err)
	              : fetch_manifest(p, up, name, reference, err);
	if (rc == 0)
		return 0;
	if (err->kind == ERR_NOT_FOUND && have)
		drop_tag(p, name, reference);
	if (!have || err->kind == ERR_NOT_FOUND || err->kind == ERR_DENIED) {
		atomic_fetch_add(&p->failures, err->kind != ERR_NOT_FOUND);
		return -1;
	}
	atomic_fetch_add(&p->stale, 1);
	log_warn(p->r->log, "a tag may be old", "name=%s tag=%s error=%s", name, reference,
	         err->msg);
	return 1;
}

int proxy_manifest(struct proxy *p, const char *name, const char *reference, struct err *err)
{
	struct upstream *up = upstreams_find(p->upstreams, name);
	char key[KEY_MAX];
	uint8_t mark[HASH_SIZE];
	struct repo_manifest here;

	snprintf(key, sizeof(key), "%s:%s", name, reference);
	if (is_fresh(p, key) && is_here(p, name, reference, &here)) {
		atomic_fetch_add(&p->hits, 1);
		return 0;
	}
	/* One request asks for it, the others wait for what it finds. */
	hash_bytes(key, strlen(key), mark);
	pthread_mutex_t *stripe = &p->stripes[mark[0] % STRIPES];
	pthread_mutex_lock(stripe);
	int rc = is_fresh(p, key) && is_here(p, name, reference, &here)
	                 ? 0
	                 : look(p, up, name, reference, err);
	if (rc == 0 && !digest_any_ok(reference))
		set_fresh(p, key);
	pthread_mutex_unlock(stripe);
	return rc;
}

/* ---- the whole ---- */

struct proxy *proxy_open(struct registry *r, struct err *err)
{
	struct upstreams *upstreams = upstreams_open(r->settings, err);

	if (!upstreams)
		return NULL;
	struct proxy *p = calloc(1, sizeof(*p));
	if (!p) {
		upstreams_free(upstreams);
		err_nomem(err);
		return NULL;
	}
	p->r = r;
	p->upstreams = upstreams;
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->changed, NULL);
	for (size_t i = 0; i < STRIPES; i++)
		pthread_mutex_init(&p->stripes[i], NULL);
	p->fetches = map_create(err);
	p->checked = map_create(err);
	if (p->fetches && p->checked)
		return p;
	proxy_free(p);
	return NULL;
}

void proxy_stop(struct proxy *p)
{
	if (p)
		atomic_store(&p->stops, true);
}

void proxy_free(struct proxy *p)
{
	if (!p)
		return;
	proxy_stop(p);
	pthread_mutex_lock(&p->lock);
	while (p->threads > 0)
		pthread_cond_wait(&p->changed, &p->lock);
	pthread_mutex_unlock(&p->lock);
	map_free(p->fetches);
	map_free(p->checked);
	upstreams_free(p->upstreams);
	for (size_t i = 0; i < STRIPES; i++)
		pthread_mutex_destroy(&p->stripes[i]);
	pthread_cond_destroy(&p->changed);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

const char *proxy_covers(const struct proxy *p, const char *name)
{
	const struct upstream *up = p && name ? upstreams_find(p->upstreams, name) : NULL;

	return up ? upstream_url(up) : NULL;
}

void proxy_write_metrics(struct proxy *p, struct buf *out)
{
	if (!p)
		return;
	buf_addf(
		out,
		"# HELP buoy_registry_upstream_requests_total Requests for an upstream's content.\n"
		"# TYPE buoy_registry_upstream_requests_total counter\n"
		"buoy_registry_upstream_requests_total{result=\"hit\"} %llu\n"
		"buoy_registry_upstream_requests_total{result=\"miss\"} %llu\n"
		"buoy_registry_upstream_requests_total{result=\"stale\"} %llu\n"
		"buoy_registry_upstream_requests_total{result=\"failed\"} %llu\n"
		"# HELP buoy_registry_upstream_bytes_total Bytes that came from upstreams.\n"
		"# TYPE buoy_registry_upstream_bytes_total counter\n"
		"buoy_registry_upstream_bytes_total %llu\n",
		atomic_load(&p->hits), atomic_load(&p->misses), atomic_load(&p->stale),
		atomic_load(&p->failures), atomic_load(&p->bytes));
}
