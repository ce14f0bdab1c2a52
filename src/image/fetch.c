/* SPDX-License-Identifier: Apache-2.0 */
#include "image/fetch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/failpoint.h"
#include "base/id.h"
#include "base/str.h"
#include "image/blob.h"
#include "image/flight.h"
#include "image/layer.h"
#include "image/registry.h"
#include "image/retry.h"

#define FETCH_BLOCK                                                                                \
	(128u << 10) /* bytes handed on at once: few system calls, whole pages of a file */
#define FETCH_PROGRESS                                                                             \
	(64 << 10)         /* bytes after which a broken transfer counts as a first try again */
#define FETCH_SLICE_MS 100 /* how often a pause looks whether it shall end */

/* One transfer from the registry. */
struct transfer {
	struct fetch *fetch;
	const char *host;
	int64_t skip; /* bytes that we have and the registry sends again */
	char *block;  /* FETCH_BLOCK bytes, gathered: they come in small pieces; borrowed */
	size_t filled;
	struct err err; /* of our side, when the call was aborted */
};

static int tell(struct fetch *f, enum fetch_stage stage, int64_t current, struct err *err)
{
	f->stage = stage;
	if (f->tell(f->arg, stage, current) < 0)
		return err_set(err, ERR_CANCELED, "pull was canceled");
	return 0;
}

static bool stopped(void *arg)
{
	struct fetch *f = arg;

	return f->tell(f->arg, f->stage, f->current) < 0;
}

static int add(struct fetch *f, const void *data, size_t len, struct err *err)
{
	if ((int64_t)len > f->blob->size - f->current)
		return err_set(err, ERR_INVALID, "layer %s is longer than its %lld bytes",
		               f->blob->digest, (long long)f->blob->size);
	if (FAILPOINT("image.pull.write", err) < 0 || layer_maker_add(f->maker, data, len, err) < 0)
		return -1;
	f->current += (int64_t)len;
	return tell(f, FETCH_DOWNLOADING, f->current, err);
}

static int begin_again(struct fetch *f, struct err *err)
{
	layer_maker_free(f->maker);
	f->current = 0;
	f->maker = layer_maker_create(f->store, 0, err);
	return f->maker ? 0 : -1;
}

/* ---- from a file ---- */

static int add_file(struct fetch *f, int fd, struct err *err)
{
	auto_free char *data = malloc(FETCH_BLOCK);
	off_t at = 0;
	ssize_t n;

	if (!data)
		return err_nomem(err);
	while ((n = pread(fd, data, FETCH_BLOCK, at)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(err, "cannot read a blob");
		if (add(f, data, (size_t)n, err) < 0)
			return -1;
		at += n;
	}
	return 0;
}

/* ---- from the registry ---- */

static int pass_on(struct transfer *t)
{
	size_t n = t->filled;

	t->filled = 0;
	return n > 0 ? add(t->fetch, t->block, n, &t->err) : 0;
}

static int take_bytes(void *arg, const void *data, size_t len)
{
	struct transfer *t = arg;
	const char *next = data;
	size_t skip = t->skip < (int64_t)len ? (size_t)t->skip : len;

	t->skip -= (int64_t)skip;
	if (skip == len)
		return tell(t->fetch, FETCH_DOWNLOADING, t->fetch->current, &t->err);
	for (next += skip, len -= skip; len > 0;) {
		size_t n = FETCH_BLOCK - t->filled < len ? FETCH_BLOCK - t->filled : len;
		memcpy(t->block + t->filled, next, n);
		t->filled += n;
		next += n;
		len -= n;
		if (t->filled == FETCH_BLOCK && pass_on(t) < 0)
			return -1;
	}
	return 0;
}

/* A registry may send the whole instead of the rest; then what we have goes by. */
static int look_at_head(void *arg, const struct http_response *response)
{
	struct transfer *t = arg;
	const char *range = http_response_header(response, "Content-Range");
	uint64_t first;

	t->skip = 0;
	if (response->status >= 400)
		return 0;
	if (response->status != 206) {
		t->skip = t->fetch->current;
		return 0;
	}
	const char *at = range && str_starts(range, "bytes ") ? range + strlen("bytes ") : "";
	if (!id_scan_u64(&at, &first) || *at != '-' || first > (uint64_t)t->fetch->current)
		return err_set(&t->err, ERR_INVALID, "%s sent another range than was asked for",
		               t->host);
	t->skip = t->fetch->current - (int64_t)first;
	return 0;
}

static int transfer(struct transfer *t, struct registry *r, struct http_response *response,
                    struct err *err)
{
	char path[REGISTRY_PATH_MAX], range[48];
	const char *headers[] = {range, NULL};
	struct http_call call = {
		.method = "GET",
		.path = registry_path(r, "blobs", t->fetch->blob->digest, path),
		.write = take_bytes,
		.write_arg = t,
		.begin = look_at_head,
		.begin_arg = t,
		.give_up = stopped,
		.give_up_arg = t->fetch,
	};

	(void)snprintf(range, sizeof(range), "Range: bytes=%lld-", (long long)t->fetch->current);
	int rc = registry_call(r, &call, t->fetch->current > 0 ? headers : NULL, response, err);
	/* What came before the line broke need not come again. */
	if (t->err.kind == ERR_NONE && pass_on(t) < 0)
		rc = -1;
	if (rc < 0 && t->err.kind != ERR_NONE && err)
		*err = t->err;
	return rc;
}

static int pause_for(struct fetch *f, int64_t ms, struct err *err)
{
	int64_t until = clock_mono_ms() + ms;

	for (;;) {
		int64_t left = until - clock_mono_ms();
		if (left <= 0)
			return tell(f, FETCH_DOWNLOADING, f->current, err);
		if (tell(f, FETCH_RETRYING, (left + 999) / 1000, err) < 0)
			return -1;
		clock_sleep_ms(left < FETCH_SLICE_MS ? left : FETCH_SLICE_MS);
	}
}

/* Half a transfer may go better the next time; a verdict will not. The pause before the next try, or -1. */
static int64_t judge(struct transfer *t, int rc, const struct http_response *response, int tries,
                     struct err *err)
{
	struct fetch *f = t->fetch;

	if (rc == 0 && retry_status(response->status))
		return retry_pause_ms(response, t->host, tries, err);
	if (rc == 0 && http_expect(response, err) < 0)
		return -1;
	if (rc == 0)
		(void)err_set(err, ERR_UNAVAILABLE, "%s sent %lld of the %lld bytes of layer %s",
		              t->host, (long long)f->current, (long long)f->blob->size,
		              f->blob->digest);
	bool ours = t->err.kind != ERR_NONE;
	if (ours || (err->kind != ERR_UNAVAILABLE && err->kind != ERR_TIMEOUT) ||
	    tries >= RETRY_TRIES)
		return -1;
	return retry_backoff_ms(tries);
}

static int download(struct fetch *f, struct registry *r, struct err *err)
{
	auto_free char *block = malloc(FETCH_BLOCK);
	struct transfer t = {.fetch = f, .host = registry_host(r), .block = block, .err = ERR_INIT};

	if (!block)
		return err_nomem(err);
	for (int tries = 1; f->current < f->blob->size; tries++) {
		struct err why = ERR_INIT;
		struct http_response response = {0};
		int64_t before = f->current;
		int rc = transfer(&t, r, &response, &why);
		if (f->current - before >= FETCH_PROGRESS)
			tries = 1;
		bool all = rc == 0 && response.status < 400 && f->current == f->blob->size;
		int64_t ms = all ? 0 : judge(&t, rc, &response, tries, &why);
		http_response_done(&response);
		if (ms < 0)
			*err = why;
		if (ms < 0 || pause_for(f, ms, err) < 0)
			return -1;
	}
	return 0;
}

/* ---- the whole ---- */

static int verify(struct fetch *f, struct err *err)
{
	const struct image_layer *l = &f->maker->layer;

	if (tell(f, FETCH_VERIFYING, f->current, err) < 0 || layer_maker_finish(f->maker, err) < 0)
		return -1;
	if (strcmp(l->blob, f->blob->digest) != 0 || l->blob_size != f->blob->size)
		return err_set(err, ERR_INVALID,
		               "layer %s failed verification: the registry sent %s (%lld bytes)",
		               f->blob->digest, l->blob, (long long)l->blob_size);
	if (strcmp(l->diff_id, f->diff_id) != 0)
		return err_set(err, ERR_INVALID,
		               "layer %s failed verification: it unpacks to %s, the config says %s",
		               f->blob->digest, l->diff_id, f->diff_id);
	return tell(f, FETCH_COMPLETE, f->current, err);
}

static int from_file(struct fetch *f, int fd, struct err *err)
{
	return begin_again(f, err) < 0 || add_file(f, fd, err) < 0 ? -1 : verify(f, err);
}

/* Keeps what came for the next pull, when the line is to blame and not the bytes. */
static void keep_part(struct fetch *f, const struct err *why)
{
	if (f->maker && f->current >= FETCH_PROGRESS &&
	    (why->kind == ERR_UNAVAILABLE || why->kind == ERR_TIMEOUT || why->kind == ERR_CANCELED))
		(void)blob_writer_keep(f->maker->blob, f->blob->digest, NULL);
}

static int from_registry(struct fetch *f, struct registry *r, struct err *err)
{
	auto_close int part = blob_partial_take(f->store, f->blob->digest);
	struct err why = ERR_INIT;

	int rc = begin_again(f, &why);
	if (rc == 0 && part >= 0)
		rc = add_file(f, part, &why);
	if (rc == 0)
		rc = download(f, r, &why);
	if (rc < 0)
		keep_part(f, &why);
	if (rc == 0)
		rc = verify(f, &why);
	if (rc < 0 && part >= 0 && why.kind == ERR_INVALID) {
		/* What an earlier pull left may be what is wrong. */
		why = (struct err)ERR_INIT;
		rc = begin_again(f, &why) < 0 || download(f, r, &why) < 0 ? -1 : verify(f, &why);
	}
	if (rc < 0)
		*err = why;
	return rc;
}

/* Waits for another pull of the same blob, or fetches it for all. */
static int from_flight(struct fetch *f, struct registry *r, struct err *err)
{
	auto_close int fd = -1;

	int rc = flight_begin(f->store, f->blob->digest, stopped, f, &fd, err);
	if (rc < 0)
		return -1;
	bool fetches = rc == 0;
	rc = flight_place_take(f->store, stopped, f, err);
	if (rc == 0) {
		rc = fetches ? from_registry(f, r, err) : from_file(f, fd, err);
		flight_place_give(f->store);
	}
	if (fetches)
		f->flew = flight_end(f->store, f->blob->digest,
		                     rc == 0 ? blob_writer_fd(f->maker->blob) : -1);
	return rc;
}

static int from_store(struct fetch *f, int fd, struct err *err)
{
	if (flight_place_take(f->store, stopped, f, err) < 0)
		return -1;
	int rc = from_file(f, fd, err);
	flight_place_give(f->store);
	return rc;
}

int fetch_stored(struct fetch *f, struct err *err)
{
	auto_close int fd = blob_find(f->store, f->blob->digest, f->blob->size);

	if (fd < 0)
		return err_set(err, ERR_NOT_FOUND, "blob %s is not in the store", f->blob->digest);
	return from_store(f, fd, err);
}

int fetch_run(struct fetch *f, struct registry *registry, struct err *err)
{
	auto_close int fd = blob_find(f->store, f->blob->digest, f->blob->size);

	/* A damaged one is fetched again, and publishing it replaces the other. */
	if (fd >= 0 && from_store(f, fd, NULL) == 0)
		return 0;
	return from_flight(f, registry, err);
}

void fetch_done(struct fetch *f)
{
	layer_maker_free(f->maker);
	f->maker = NULL;
	if (f->flew)
		flight_forget(f->store, f->blob->digest);
	f->flew = false;
}
