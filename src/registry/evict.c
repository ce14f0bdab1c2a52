/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/evict.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/str.h"
#include "registry/proxy.h"
#include "registry/registry.h"

#define FIRST_ROOM 64

struct item {
	struct repo *repo;
	uint64_t size;
	time_t used;
	char digest[DIGEST_TEXT_MAX];
};

struct survey {
	struct registry *r;
	struct repo *repo;
	const char *algorithm;
	struct item *items; /* owned */
	size_t count, room;
	uint64_t total;
	struct err *err;
};

static int note(void *arg, int dir_fd, const char *name, unsigned char type)
{
	struct survey *s = arg;
	struct item item = {.repo = s->repo};
	struct stat st;

	(void)type;
	snprintf(item.digest, sizeof(item.digest), "%s:%s", s->algorithm, name);
	if (!digest_any_ok(item.digest) || fs_stat(dir_fd, name, &st, NULL) < 0)
		return 0;
	if (s->count == s->room) {
		size_t room = s->room ? 2 * s->room : FIRST_ROOM;
		struct item *items = reallocarray(s->items, room, sizeof(*items));

		if (!items)
			return -1;
		s->items = items;
		s->room = room;
	}
	item.size = (uint64_t)st.st_size;
	item.used = st.st_ctim.tv_sec;
	s->items[s->count++] = item;
	s->total += item.size;
	return 0;
}

static int survey_repo(void *arg, struct repo *repo)
{
	struct survey *s = arg;
	const char *name = repo_name(repo);
	static const char *const algorithms[] = {"sha256", "sha512"};
	char rest[32], path[BLOBS_PATH_MAX];

	if (!proxy_covers(s->r->proxy, name))
		return 0;
	s->repo = repo;
	for (size_t i = 0; i < ARRAY_LEN(algorithms); i++) {
		s->algorithm = algorithms[i];
		snprintf(rest, sizeof(rest), "blobs/%s", algorithms[i]);
		auto_close int fd =
			fs_open_dir(s->r->blobs.repos_fd, blobs_path(name, rest, path), s->err);
		if (fd < 0)
			return -1;
		if (fs_list(fd, note, s, s->err) != 0)
			return err_nomem(s->err);
	}
	return 0;
}

static int by_age(const void *a, const void *b)
{
	const struct item *x = a, *y = b;

	return (x->used > y->used) - (x->used < y->used);
}

/* A manifest goes for its age only: it is small, and without it its blobs are of no use. */
static bool drop(struct registry *r, const struct item *item, bool aged)
{
	struct repo_manifest m;
	bool gone = false;

	repo_hold(item->repo);
	bool is_manifest = repo_lookup(item->repo, item->digest, &m, NULL) == 0;
	if (aged || !is_manifest) {
		if (is_manifest)
			(void)repo_remove(item->repo, item->digest, NULL);
		gone = blobs_drop(&r->blobs, repo_name(item->repo), item->digest, NULL) == 0;
	}
	repo_release(item->repo);
	if (gone)
		blobs_discard(&r->blobs, item->digest);
	return gone;
}

int evict(struct registry *r, size_t *count, struct err *err)
{
	struct survey s = {.r = r, .err = err};
	time_t before = time(NULL) - r->settings->upstream_keep_s;

	*count = 0;
	if (!r->proxy)
		return 0;
	int rc = repos_each(r->repos, survey_repo, &s, err);
	if (rc == 0 && s.count > 0)
		qsort(s.items, s.count, sizeof(s.items[0]), by_age);
	for (size_t i = 0; rc == 0 && i < s.count; i++) {
		const struct item *item = &s.items[i];
		bool aged = item->used < before;

		if (!aged && s.total <= (uint64_t)r->settings->upstream_max)
			break;
		if (drop(r, item, aged)) {
			s.total -= item->size;
			++*count;
		}
	}
	free(s.items);
	return rc;
}
