/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/house.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/log.h"
#include "base/map.h"
#include "registry/evict.h"
#include "registry/manifest.h"
#include "registry/quota.h"
#include "registry/registry.h"

#define EXPIRE_MS 10000 /* between two looks at idle uploads */

/* ---- collecting ---- */

struct sweep {
	struct registry *r;
	const char *repo, *algorithm;
	struct map *used; /* digests that manifests of the repository refer to, and their own */
	time_t before;    /* leases older than this have ended */
	size_t count;
	struct err *err;
};

static int use(void *arg, enum manifest_part part, const char *digest)
{
	struct sweep *s = arg;

	(void)part;
	return map_set(s->used, digest, s, NULL, s->err);
}

static int use_manifest(void *arg, const struct repo_manifest *m, size_t tags)
{
	struct sweep *s = arg;
	size_t max = (size_t)s->r->settings->manifest_max;
	auto_buf struct buf text = BUF_INIT(max);
	struct manifest parsed;
	struct stat st;

	(void)tags;
	if (use(s, MANIFEST_MANIFEST, m->digest) < 0)
		return -1;
	auto_close int fd = blobs_read(&s->r->blobs, s->repo, m->digest, &st, s->err);
	/* Of a manifest that cannot be read we do not know what it needs: the whole repository stays. */
	if (fd < 0 || fs_read_fd(fd, max, &text, s->err) < 0 ||
	    manifest_parse(buf_str(&text), text.len, m->type, &parsed, s->err) < 0)
		return -1;
	int rc = manifest_each(&parsed, use, s);
	manifest_done(&parsed);
	return rc;
}

static bool lease_ended(int dir_fd, const char *name, time_t before, struct stat *st)
{
	return fs_stat(dir_fd, name, st, NULL) == 0 && S_ISREG(st->st_mode) &&
	       st->st_ctim.tv_sec < before;
}

static int sweep_link(void *arg, int dir_fd, const char *name, unsigned char type)
{
	struct sweep *s = arg;
	char digest[DIGEST_TEXT_MAX];
	struct stat st;

	(void)type;
	snprintf(digest, sizeof(digest), "%s:%s", s->algorithm, name);
	if (!digest_any_ok(digest) || map_find(s->used, digest) ||
	    !lease_ended(dir_fd, name, s->before, &st))
		return 0;
	if (fs_unlink(dir_fd, name, s->err) < 0)
		return -1;
	quotas_give(s->r->quotas, s->repo, (uint64_t)st.st_size);
	s->count++;
	return 0;
}

static int sweep_pool_file(void *arg, int dir_fd, const char *name, unsigned char type)
{
	struct sweep *s = arg;
	struct stat st;
	int rc = 0;

	(void)type;
	/* Naming in repositories waits meanwhile: none gets a link to what is about to go. */
	pthread_mutex_lock(&s->r->blobs.lock);
	if (lease_ended(dir_fd, name, s->before, &st) && st.st_nlink == 1) {
		rc = fs_unlink(dir_fd, name, s->err);
		s->count += rc == 0;
	}
	pthread_mutex_unlock(&s->r->blobs.lock);
	return rc;
}

/* Both algorithms' directories below `path` of dir_fd. */
static int sweep_dirs(struct sweep *s, int dir_fd, const char *path,
                      int (*fn)(void *arg, int dir_fd, const char *name, unsigned char type))
{
	static const char *const algorithms[] = {"sha256", "sha512"};

	for (size_t i = 0; i < 2; i++) {
		char dir[BLOBS_PATH_MAX];

		s->algorithm = algorithms[i];
		snprintf(dir, sizeof(dir), "%s/%s", path, algorithms[i]);
		auto_close int fd = fs_open_dir(dir_fd, dir, s->err);
		if (fd < 0 || fs_list(fd, fn, s, s->err) < 0)
			return -1;
	}
	return 0;
}

static int sweep_repo(struct sweep *s, struct repo *repo)
{
	char path[BLOBS_PATH_MAX];

	s->repo = repo_name(repo);
	s->used = map_create(s->err);
	if (!s->used)
		return -1;
	blobs_path(s->repo, "blobs", path);
	repo_hold(repo);
	int rc = repo_each(repo, use_manifest, s, s->err);
	if (rc == 0)
		rc = sweep_dirs(s, s->r->blobs.repos_fd, path, sweep_link);
	repo_release(repo);
	map_free(s->used);
	s->used = NULL;
	return rc;
}

/* One that cannot be collected does not keep the others from it. */
static int sweep_next(void *arg, struct repo *repo)
{
	struct sweep *s = arg;
	struct err err = ERR_INIT;

	s->err = &err;
	if (sweep_repo(s, repo) < 0)
		log_warn(s->r->log, "a repository was not collected", "name=%s error=%s",
		         repo_name(repo), err.msg);
	s->err = NULL;
	return 0;
}

int house_collect(struct registry *r, struct house_swept *swept, struct err *err)
{
	struct sweep s = {.r = r, .before = time(NULL) - r->settings->gc_grace_s};

	if (repos_each(r->repos, sweep_next, &s, err) < 0)
		return -1;
	swept->links = s.count;
	s.count = 0;
	s.err = err;
	int rc = sweep_dirs(&s, r->blobs.root_fd, "blobs", sweep_pool_file);
	swept->files = s.count;
	return rc;
}

/* ---- the thread ---- */

static void collect(struct registry *r)
{
	struct house_swept swept = {0};
	struct err err = ERR_INIT;
	int64_t start = clock_mono_ms();
	size_t evicted = 0;

	if (evict(r, &evicted, &err) < 0)
		log_warn(r->log, "making room failed", "error=%s", err.msg);
	if (house_collect(r, &swept, &err) < 0)
		log_warn(r->log, "collecting failed", "error=%s", err.msg);
	log_info(r->log, "collected", "links=%zu files=%zu evicted=%zu ms=%lld", swept.links,
	         swept.files, evicted, (long long)(clock_mono_ms() - start));
}

static void keep(void *arg, struct chore *chore)
{
	struct registry *r = arg;
	const struct settings *s = r->settings;
	int64_t idle_ms = s->upload_expiry_s * 1000, every_ms = s->gc_interval_s * 1000;
	int64_t step_ms = idle_ms < EXPIRE_MS ? idle_ms : EXPIRE_MS;
	int64_t expire = clock_mono_ms() + step_ms, sweep = clock_mono_ms() + every_ms;

	while (chore_wait(chore, expire < sweep ? expire : sweep)) {
		int64_t now = clock_mono_ms();

		if (now >= expire) {
			size_t n = uploads_expire(r->uploads, idle_ms);

			if (n > 0)
				log_info(r->log, "uploads expired", "count=%zu", n);
			expire = now + step_ms;
		}
		if (now >= sweep) {
			if (!s->read_only)
				collect(r);
			sweep = clock_mono_ms() + every_ms;
		}
	}
}

struct chore *house_start(struct registry *registry, struct err *err)
{
	return chore_start(keep, registry, err);
}
