/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/scrub.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
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
#include "base/json.h"
#include "base/log.h"
#include "base/str.h"
#include "registry/chore.h"
#include "registry/proxy.h"
#include "registry/quota.h"
#include "registry/registry.h"

#define BLOCK_BYTES (256u << 10)
#define FIRST_MS    (10 * 60000) /* after the start: not with everything else at once */
#define QUARANTINE  "quarantine"

struct scrub {
	struct registry *r;  /* borrowed */
	struct chore *chore; /* owned */
	/* The thread's own: */
	struct chore *self; /* as it was told; `chore` may not be set yet when it begins */
	const char *algorithm;
	int64_t begun_ms; /* of the round */
	uint64_t read;    /* bytes in the round */
	/* Read by /metrics too: */
	atomic_ullong bytes, damaged, mended, rounds;
};

/* Counts what was read, and waits until that many bytes are due. */
static bool pace(struct scrub *s, uint64_t bytes)
{
	s->read += bytes;
	atomic_fetch_add(&s->bytes, bytes);
	return chore_wait(s->self, s->begun_ms + (int64_t)((double)s->read * 1000 /
	                                                   (double)s->r->settings->scrub_rate));
}

/* ---- damage ---- */

struct damage {
	struct scrub *s;
	const char *digest;
	const struct stat *st; /* of the damaged file */
};

/* Takes the file from one repository, where it holds it. */
static int take_from(void *arg, struct repo *repo)
{
	const struct damage *bad = arg;
	struct registry *r = bad->s->r;
	const char *name = repo_name(repo), *digest = bad->digest;
	struct stat st;
	bool gone = false;

	repo_hold(repo);
	auto_close int fd = blobs_read(&r->blobs, name, digest, &st, NULL);
	if (fd >= 0 && st.st_ino == bad->st->st_ino && st.st_dev == bad->st->st_dev)
		gone = blobs_drop(&r->blobs, name, digest, NULL) == 0;
	repo_release(repo);
	if (!gone)
		return 0;
	quotas_give(r->quotas, name, (uint64_t)bad->st->st_size);
	bool mends = proxy_covers(r->proxy, name) && proxy_fetch(r->proxy, name, digest, NULL) == 0;
	atomic_fetch_add(&bad->s->mended, mends);
	log_error(r->log, "content is damaged", "digest=%s repository=%s mended=%s", digest, name,
	          mends ? "yes" : "no: push it again");
	return 0;
}

/* Out of the pool first: from then on no repository gets a link to it. */
static int quarantine(struct scrub *s, const char *digest, const struct stat *st, struct err *err)
{
	struct damage bad = {.s = s, .digest = digest, .st = st};

	atomic_fetch_add(&s->damaged, 1);
	if (blobs_quarantine(&s->r->blobs, digest, err) < 0)
		return err_wrap(err, "quarantine of %s", digest);
	log_error(s->r->log, "a damaged file is in quarantine", "digest=%s", digest);
	return repos_each(s->r->repos, take_from, &bad, err);
}

/* ---- a round ---- */

enum verdict {
	SOUND,
	DAMAGED,
	STOPPED,
};

static enum verdict look_at(struct scrub *s, int fd, const char *hex)
{
	auto_free char *block = malloc(BLOCK_BYTES);
	bool wide = str_eq(s->algorithm, "sha512");
	auto_type(hash) h = wide ? hash_create_512(NULL) : hash_create(NULL);
	char got[HASH_512_HEX];
	off_t at = 0;

	if (!block || !h)
		return STOPPED;
	for (;;) {
		ssize_t n = pread(fd, block, BLOCK_BYTES, at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) /* the disk cannot read it any more */
			return DAMAGED;
		if (n == 0)
			break;
		hash_add(h, block, (size_t)n);
		at += n;
		if (!pace(s, (uint64_t)n))
			return STOPPED;
	}
	/* What nobody else reads shall not push what others read out of memory. */
	(void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	return str_eq(wide ? hash_hex_512(h, got) : hash_hex(h, got), hex) ? SOUND : DAMAGED;
}

/* One file of the pool. 1: it is time to stop. */
static int scrub_file(void *arg, int dir_fd, const char *name, unsigned char type)
{
	struct scrub *s = arg;
	char digest[DIGEST_TEXT_MAX];
	struct err err = ERR_INIT;
	struct stat st;

	(void)type;
	snprintf(digest, sizeof(digest), "%s:%s", s->algorithm, name);
	if (!digest_any_ok(digest))
		return 0;
	auto_close int fd = fs_open(dir_fd, name, O_RDONLY, 0, &err);
	if (fd < 0 || fstat(fd, &st) < 0)
		return 0; /* collected meanwhile */
	enum verdict verdict = look_at(s, fd, name);
	if (verdict == DAMAGED && quarantine(s, digest, &st, &err) < 0)
		log_error(s->r->log, "a damaged file stays", "digest=%s error=%s", digest, err.msg);
	return verdict == STOPPED;
}

static void scrub_all(struct scrub *s)
{
	static const char *const algorithms[] = {"sha256", "sha512"};
	unsigned long long damaged = atomic_load(&s->damaged);
	struct err err = ERR_INIT;
	char path[32];

	s->begun_ms = clock_mono_ms();
	s->read = 0;
	for (size_t i = 0; i < ARRAY_LEN(algorithms); i++) {
		s->algorithm = algorithms[i];
		snprintf(path, sizeof(path), "blobs/%s", algorithms[i]);
		auto_close int fd = fs_open_dir(s->r->blobs.root_fd, path, &err);
		int rc = fd < 0 ? -1 : fs_list(fd, scrub_file, s, &err);
		if (rc > 0)
			return;
		if (rc < 0)
			log_error(s->r->log, "scrubbing failed", "error=%s", err.msg);
	}
	atomic_fetch_add(&s->rounds, 1);
	log_info(s->r->log, "scrubbed", "bytes=%" PRIu64 " damaged=%llu ms=%" PRId64, s->read,
	         atomic_load(&s->damaged) - damaged, clock_mono_ms() - s->begun_ms);
}

static void run(void *arg, struct chore *chore)
{
	struct scrub *s = arg;
	int64_t every_ms = s->r->settings->scrub_interval_s * 1000;
	int64_t pause_ms = every_ms < FIRST_MS ? every_ms : FIRST_MS;

	s->self = chore;
	while (chore_wait(chore, clock_mono_ms() + pause_ms)) {
		if (!s->r->settings->read_only)
			scrub_all(s);
		pause_ms = every_ms;
	}
}

struct scrub *scrub_start(struct registry *r, struct err *err)
{
	struct scrub *s = calloc(1, sizeof(*s));

	if (!s) {
		err_nomem(err);
		return NULL;
	}
	s->r = r;
	s->chore = chore_start(run, s, err);
	if (s->chore)
		return s;
	free(s);
	return NULL;
}

void scrub_free(struct scrub *s)
{
	if (!s)
		return;
	chore_free(s->chore);
	free(s);
}

static void counter(struct buf *out, const char *name, const char *help, unsigned long long value)
{
	buf_addf(out,
	         "# HELP buoy_registry_scrub_%s_total %s\n# TYPE buoy_registry_scrub_%s_total "
	         "counter\nbuoy_registry_scrub_%s_total %llu\n",
	         name, help, name, name, value);
}

void scrub_write_metrics(struct scrub *s, struct buf *out)
{
	if (!s)
		return;
	counter(out, "bytes", "Bytes that were read again.", atomic_load(&s->bytes));
	counter(out, "rounds", "Times that all content was read again.", atomic_load(&s->rounds));
	counter(out, "damaged", "Damaged files that were found.", atomic_load(&s->damaged));
	counter(out, "mended", "Of them, fetched anew from an upstream.", atomic_load(&s->mended));
}
