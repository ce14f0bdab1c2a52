/* SPDX-License-Identifier: Apache-2.0 */

/*
 * pull - an image from a registry, in one pass.
 *
 * Documents first, then layers by fetch.c on up to three threads. Nothing has a name before all of it is
 * verified. Then one sync, then the rows of layers, image and name in one transaction.
 */

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"
#include "base/str.h"
#include "image/catalog.h"
#include "image/endpoint.h"
#include "image/fetch.h"
#include "image/flight.h"
#include "image/image.h"
#include "image/layer.h"
#include "image/registry.h"
#include "image/store.h"

#define PULL_THREADS     FLIGHT_LAYERS_MAX
#define PULL_PROGRESS_MS 100
#define PULL_ARENA_MAX   (32u << 20)

struct job {
	struct pull *pull;
	struct fetch fetch; /* of a layer that is not here */
	const char *chain;
	char short_id[13];
	int pin;                       /* holds a layer that is here; or -1 */
	bool claimed;                  /* store_making_begin() */
	enum fetch_stage stage, told;  /* guarded by lock; told* are the main thread's */
	int64_t current, told_current; /* guarded by lock */
};

struct pull {
	struct image_store *store;
	struct registry *registry;
	const struct reference *ref;
	const struct image_progress *progress;

	struct arena arena;
	struct registry_manifest top, chosen; /* what the tag names; the manifest of the platform */
	struct oci_manifest manifest;
	struct buf config;
	struct catalog_image image;

	struct job *jobs;
	size_t job_count;

	pthread_mutex_t lock;
	pthread_cond_t changed;
	size_t next;    /* job for the next free thread; guarded by lock */
	size_t running; /* threads; guarded by lock */
	bool stop;      /* guarded by lock */
	struct err err; /* the first failure; guarded by lock */
};

/* Who pulls. */
struct pull_client {
	const struct image_auth *auth;
	const struct image_progress *progress;
};

static int tell(struct pull *p, const char *id, const char *status, int64_t current, int64_t total,
                struct err *err)
{
	if (!p->progress || !p->progress->update)
		return 0;
	if (p->progress->update(p->progress->arg, id, status, current, total) < 0)
		return err_set(err, ERR_CANCELED, "pull was canceled");
	return 0;
}

/* ---- documents ---- */

static int get_index_entry(struct pull *p, const char *platform, struct err *err)
{
	struct oci_index index = {0};

	if (oci_index_parse(p->top.body, p->top.len, &p->arena, &index, err) < 0)
		return -1;
	const struct oci_descriptor *entry = oci_index_select(&index, platform, err);
	if (!entry || registry_get_manifest(p->registry, entry->digest, &p->chosen, err) < 0)
		return -1;
	if ((int64_t)p->chosen.len != entry->size)
		return err_set(err, ERR_INVALID, "manifest %s is not %lld bytes long",
		               entry->digest, (long long)entry->size);
	return 0;
}

static const char *type_or_null(const struct registry_manifest *m)
{
	return m->type[0] ? m->type : NULL;
}

static int get_manifest(struct pull *p, const char *platform, struct err *err)
{
	const char *wanted = p->ref->digest[0] ? p->ref->digest : p->ref->tag;
	enum oci_kind kind;

	if (registry_get_manifest(p->registry, wanted, &p->top, err) < 0 ||
	    oci_kind_of(p->top.body, p->top.len, type_or_null(&p->top), &kind, err) < 0)
		return -1;
	struct registry_manifest *m = &p->top;
	if (kind == OCI_KIND_INDEX) {
		if (get_index_entry(p, platform, err) < 0 ||
		    oci_kind_of(p->chosen.body, p->chosen.len, type_or_null(&p->chosen), &kind,
		                err) < 0)
			return -1;
		if (kind != OCI_KIND_MANIFEST)
			return err_set(err, ERR_INVALID,
			               "an index inside an index is not an image");
		m = &p->chosen;
	}
	return oci_manifest_parse(m->body, m->len, &p->arena, &p->manifest, err);
}

static int get_config(struct pull *p, struct err *err)
{
	const struct oci_descriptor *d = &p->manifest.config;

	if (!str_eq(d->media_type, OCI_CONFIG) && !str_eq(d->media_type, DOCKER_CONFIG))
		return err_set(err, ERR_INVALID, "this is no container image but a %.100s",
		               d->media_type ? d->media_type : "thing without a type");
	if (d->size < 0 || d->size > REGISTRY_CONFIG_MAX)
		return err_set(err, ERR_LIMIT, "config is longer than %u bytes",
		               REGISTRY_CONFIG_MAX);
	if (registry_get_blob(p->registry, d->digest, d->size, &p->config, err) < 0)
		return -1;
	p->image.config_text = buf_str(&p->config);
	p->image.config_len = p->config.len;
	if (catalog_check(&p->image, err) < 0)
		return -1;
	if (p->image.chain_count != p->manifest.layers.count)
		return err_set(err, ERR_INVALID, "manifest has %zu layers, config has %zu",
		               p->manifest.layers.count, p->image.chain_count);
	return 0;
}

static bool is_layer_type(const char *type)
{
	static const char *const known[] = {OCI_LAYER, OCI_LAYER_GZIP, OCI_LAYER_ZSTD, DOCKER_LAYER,
	                                    DOCKER_LAYER_GZIP};

	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (str_eq(type, known[i]))
			return true;
	return false;
}

/* What a fetch says, on its own thread. */
static int hear(void *arg, enum fetch_stage stage, int64_t current)
{
	struct job *j = arg;
	struct pull *p = j->pull;

	pthread_mutex_lock(&p->lock);
	bool stop = p->stop;
	if (j->stage != stage)
		pthread_cond_signal(&p->changed);
	j->stage = stage;
	j->current = current;
	pthread_mutex_unlock(&p->lock);
	return stop ? -1 : 0;
}

static int make_jobs(struct pull *p, struct err *err)
{
	struct oci_config config = {0};
	const struct oci_descriptor *layers = p->manifest.layers.items;

	if (oci_config_parse(p->image.config_text, p->image.config_len, &p->arena, &config, err) <
	    0)
		return -1;
	p->jobs = calloc(p->image.chain_count + 1, sizeof(*p->jobs));
	if (!p->jobs)
		return err_nomem(err);
	for (size_t i = 0; i < p->image.chain_count; i++) {
		if (!is_layer_type(layers[i].media_type))
			return err_set(err, ERR_INVALID, "layer of unknown type %.100s",
			               layers[i].media_type ? layers[i].media_type : "\"\"");
		struct job *j = &p->jobs[p->job_count++];
		*j = (struct job){
			.pull = p,
			.fetch = {.store = p->store,
		                  .blob = &layers[i],
		                  .diff_id = config.rootfs.diff_ids.items[i],
		                  .tell = hear,
		                  .arg = j},
			.chain = p->image.chains[i],
			.pin = -1,
		};
		(void)snprintf(j->short_id, sizeof(j->short_id), "%.12s",
		               digest_hex(layers[i].digest));
	}
	return 0;
}

/* Lowest first, so that two pulls with a common base never wait for each other in a ring. */
static int claim_jobs(struct pull *p, struct err *err)
{
	struct image_layer row;

	for (size_t i = 0; i < p->job_count; i++) {
		struct job *j = &p->jobs[i];
		int rc = layer_find(p->store, j->chain, &row, NULL, err);
		if (rc == 0 && store_making_begin(p->store, j->chain, err) < 0)
			return -1;
		if (rc == 0) {
			j->claimed = true;
			rc = layer_find(p->store, j->chain, &row, NULL, err); /* while we waited */
		}
		if (rc < 0)
			return -1;
		if (rc > 0) {
			j->pin = layer_pin(p->store, j->chain, err);
			if (j->pin < 0)
				return -1;
		}
		if (tell(p, j->short_id, rc > 0 ? "Already exists" : "Pulling fs layer", 0, 0,
		         err) < 0)
			return -1;
		j->told = j->stage;
	}
	return 0;
}

/* ---- the threads ---- */

static struct job *next_job(struct pull *p)
{
	struct job *j = NULL;

	pthread_mutex_lock(&p->lock);
	while (!p->stop && p->next < p->job_count && p->jobs[p->next].pin >= 0)
		p->next++;
	if (!p->stop && p->next < p->job_count)
		j = &p->jobs[p->next++];
	pthread_mutex_unlock(&p->lock);
	return j;
}

static void *fetch_jobs(void *arg)
{
	struct pull *p = arg;
	struct err err = ERR_INIT;
	struct job *j;

	auto_type(registry) r = registry_clone(p->registry, &err);
	while (r && (j = next_job(p)) && fetch_run(&j->fetch, r, &err) == 0)
		;
	pthread_mutex_lock(&p->lock);
	if (err.kind != ERR_NONE && p->err.kind == ERR_NONE) {
		p->err = err;
		p->stop = true;
	}
	p->running--;
	pthread_cond_signal(&p->changed);
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

/* ---- watching the threads ---- */

static int tell_job(struct pull *p, const struct job *j, enum fetch_stage stage, int64_t current,
                    struct err *err)
{
	char words[48];

	switch (stage) {
	case FETCH_WAITING:
		return tell(p, j->short_id, "Waiting", 0, 0, err);
	case FETCH_DOWNLOADING:
		return tell(p, j->short_id, "Downloading", current, j->fetch.blob->size, err);
	case FETCH_RETRYING:
		(void)snprintf(words, sizeof(words), "Retrying in %lld second%s",
		               (long long)current, current == 1 ? "" : "s");
		return tell(p, j->short_id, words, 0, 0, err);
	case FETCH_VERIFYING:
		return tell(p, j->short_id, "Verifying Checksum", 0, 0, err);
	case FETCH_COMPLETE:
		return tell(p, j->short_id, "Download complete", 0, 0, err);
	}
	return 0;
}

/* Says what changed since the last time. Called without the lock, by the caller's thread. */
static int report(struct pull *p, struct err *err)
{
	for (size_t i = 0; i < p->job_count; i++) {
		struct job *j = &p->jobs[i];
		pthread_mutex_lock(&p->lock);
		enum fetch_stage stage = j->stage;
		int64_t current = j->current;
		pthread_mutex_unlock(&p->lock);
		if (stage == j->told && current == j->told_current)
			continue;
		j->told = stage;
		j->told_current = current;
		if (tell_job(p, j, stage, current, err) < 0)
			return -1;
	}
	return 0;
}

static bool wait_for_change(struct pull *p)
{
	struct timespec until;

	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += PULL_PROGRESS_MS * 1000000L;
	until.tv_sec += until.tv_nsec / 1000000000L;
	until.tv_nsec %= 1000000000L;
	pthread_mutex_lock(&p->lock);
	while (p->running > 0 && pthread_cond_timedwait(&p->changed, &p->lock, &until) != ETIMEDOUT)
		;
	bool more = p->running > 0;
	pthread_mutex_unlock(&p->lock);
	return more;
}

static void stop_all(struct pull *p, const struct err *why)
{
	pthread_mutex_lock(&p->lock);
	p->stop = true;
	if (p->err.kind == ERR_NONE)
		p->err = *why;
	pthread_mutex_unlock(&p->lock);
}

static int fetch_all(struct pull *p, struct err *err)
{
	pthread_t threads[PULL_THREADS];
	size_t wanted = 0, started = 0;
	struct err canceled = ERR_INIT;

	for (size_t i = 0; i < p->job_count; i++)
		wanted += p->jobs[i].pin < 0;
	if (wanted > PULL_THREADS)
		wanted = PULL_THREADS;
	p->running = wanted;
	while (started < wanted && pthread_create(&threads[started], NULL, fetch_jobs, p) == 0)
		started++;
	if (started < wanted) {
		pthread_mutex_lock(&p->lock);
		p->running -= wanted - started;
		pthread_mutex_unlock(&p->lock);
		(void)err_set(&canceled, ERR_LIMIT, "cannot start a thread for the download");
		stop_all(p, &canceled);
	}
	for (size_t i = 0, n = 0; i < p->job_count; i++)
		if (p->jobs[i].pin < 0 && ++n > PULL_THREADS)
			(void)tell(p, p->jobs[i].short_id, "Waiting", 0, 0, NULL);
	bool told = true;
	while (wait_for_change(p))
		if (told && report(p, &canceled) < 0) {
			told = false;
			stop_all(p, &canceled);
		}
	for (size_t i = 0; i < started; i++)
		pthread_join(threads[i], NULL);
	if (p->err.kind != ERR_NONE) {
		if (err)
			*err = p->err;
		return -1;
	}
	return report(p, err);
}

/* ---- the end ---- */

static int add_rows(void *arg, struct err *err)
{
	struct pull *p = arg;
	const struct registry_manifest *m = p->chosen.body ? &p->chosen : &p->top;
	const char *type =
		str_empty(p->manifest.media_type) ? OCI_MANIFEST : p->manifest.media_type;

	if (catalog_add_manifest(p->store, m->digest, type, m->body, m->len, err) < 0)
		return -1;
	return catalog_add(p->store, &p->image, err);
}

static int publish(struct pull *p, struct err *err)
{
	struct layer_maker **makers = calloc(p->job_count + 1, sizeof(struct layer_maker *));
	struct reference ref = *p->ref;
	size_t n = 0;

	if (!makers)
		return err_nomem(err);
	for (size_t i = 0; i < p->job_count; i++) {
		struct layer_maker *m = p->jobs[i].fetch.maker;
		if (!m)
			continue;
		(void)snprintf(m->layer.chain_id, sizeof(m->layer.chain_id), "%s",
		               p->jobs[i].chain);
		(void)snprintf(m->parent, sizeof(m->parent), "%s", i ? p->jobs[i - 1].chain : "");
		makers[n++] = m;
	}
	(void)snprintf(ref.digest, sizeof(ref.digest), "%s", p->top.digest);
	p->image.ref = &ref;
	p->image.parent = "";
	p->image.manifest = p->chosen.body ? p->chosen.digest : p->top.digest;
	int rc = layer_publish(p->store, makers, n, add_rows, p, err);
	free(makers);
	return rc;
}

static int pull_run(struct pull *p, const char *platform, const char *mirror,
                    const struct image_auth *auth, struct err *err)
{
	p->registry = mirror ? registry_open_mirror(p->store, p->ref, mirror, err)
	                     : registry_open(p->store, p->ref, auth, "pull", err);
	if (!p->registry)
		return -1;
	if (get_manifest(p, platform, err) < 0) {
		char familiar[REFERENCE_MAX];
		reference_familiar(p->ref, familiar);
		if (err_is(err, ERR_NOT_FOUND) && str_eq(err->msg, "manifest unknown"))
			return err_set(err, ERR_NOT_FOUND,
			               "manifest for %s not found: manifest unknown", familiar);
		if (err_is(err, ERR_DENIED) && str_starts(err->msg, "denied:"))
			return err_wrap(err,
			                "pull access denied for %s, repository does not exist or "
			                "may require 'docker login'",
			                familiar);
		if (err_is(err, ERR_DENIED))
			return err_wrap(err, "pull access denied for %s", familiar);
		return -1;
	}
	if (get_config(p, err) < 0 || make_jobs(p, err) < 0 || claim_jobs(p, err) < 0 ||
	    fetch_all(p, err) < 0 || publish(p, err) < 0)
		return -1;
	for (size_t i = 0; i < p->job_count; i++)
		if (p->jobs[i].fetch.maker)
			(void)tell(p, p->jobs[i].short_id, "Pull complete", 0, 0, NULL);
	return 0;
}

static void pull_done(struct pull *p)
{
	for (size_t i = 0; i < p->job_count; i++) {
		struct job *j = &p->jobs[i];
		fetch_done(&j->fetch);
		if (j->pin >= 0)
			close(j->pin);
		if (j->claimed)
			store_making_end(p->store, j->chain);
	}
	free(p->jobs);
	registry_manifest_done(&p->top);
	registry_manifest_done(&p->chosen);
	registry_free(p->registry);
	catalog_image_done(&p->image);
	buf_free(&p->config);
	arena_done(&p->arena);
	pthread_cond_destroy(&p->changed);
	pthread_mutex_destroy(&p->lock);
}

/* From one place: a mirror, or (NULL) the registry itself. */
static int pull_from(struct image_store *store, const struct reference *ref, const char *platform,
                     const char *mirror, const struct pull_client *client, struct image_pulled *out,
                     struct err *err)
{
	struct pull p = {
		.store = store,
		.ref = ref,
		.progress = client->progress,
		.arena = ARENA_INIT(PULL_ARENA_MAX),
		.config = BUF_INIT(REGISTRY_CONFIG_MAX),
		.image = {.parent = "", .manifest = ""},
		.err = ERR_INIT,
	};
	pthread_condattr_t attr;
	struct err why = ERR_INIT;

	pthread_mutex_init(&p.lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&p.changed, &attr);
	pthread_condattr_destroy(&attr);
	int rc = pull_run(&p, str_empty(platform) ? NULL : platform, mirror, client->auth, &why);
	if (rc == 0) {
		memcpy(out->id, p.image.id, sizeof(out->id));
		memcpy(out->digest, p.top.digest, sizeof(out->digest));
	} else if (err) {
		*err = why;
	}
	pull_done(&p);
	return rc;
}

/* A mirror that cannot, will not or lies costs its turn; what is wrong with this machine is wrong for all. */
static bool may_go_on(const struct err *why)
{
	return why->kind != ERR_CANCELED && why->kind != ERR_NOMEM && why->kind != ERR_SYSTEM;
}

int image_pull(struct image_store *store, const struct reference *ref, const char *platform,
               const struct image_auth *auth, const struct image_progress *progress,
               struct image_pulled *out, struct err *err)
{
	const struct pull_client client = {auth, progress};
	const char *mirror;

	for (size_t i = 0; (mirror = endpoint_mirror(store, ref->domain, i)); i++) {
		struct err why = ERR_INIT;

		if (pull_from(store, ref, platform, mirror, &client, out, &why) == 0)
			return 0;
		if (!may_go_on(&why)) {
			if (err)
				*err = why;
			return -1;
		}
		if (store->log)
			log_warn(store->log, "a mirror did not give an image; the next is asked",
			         "mirror=%s image=%s reason=\"%s\"", mirror, ref->path, why.msg);
	}
	return pull_from(store, ref, platform, NULL, &client, out, err);
}
