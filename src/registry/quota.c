/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/quota.h"

#include <fnmatch.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/map.h"
#include "base/str.h"
#include "registry/blobs.h"
#include "registry/settings.h"

struct line {
	char pattern[256];
	bool each;
	uint64_t limit;
	uint64_t used; /* guarded by the lock; of all that fit */
};

struct use {
	uint64_t bytes;
};

struct quotas {
	struct line *lines; /* owned */
	size_t count;
	pthread_mutex_t lock;
	struct map *by_repo; /* struct use, owned; guarded by lock */
};

/* ---- lines ---- */

static int parse_line(const char *text, struct line *line, struct err *err)
{
	char size[32], each[8] = "", rest = 0;
	int n = sscanf(text, "%255s %31s %7s %c", line->pattern, size, each, &rest);
	int64_t bytes = 0;

	if ((n != 2 && n != 3) || (n == 3 && !str_eq(each, "each")))
		return err_set(err, ERR_INVALID, "it must be PATTERN SIZE [each]");
	if (strpbrk(line->pattern, "\"\\"))
		return err_set(err, ERR_INVALID, "a pattern holds neither quotes nor backslashes");
	if (id_parse_size(size, &bytes, err) < 0)
		return -1;
	line->limit = (uint64_t)bytes;
	line->each = n == 3;
	return 0;
}

static bool fits(const struct line *line, const char *repo)
{
	return fnmatch(line->pattern, repo, 0) == 0;
}

/* ---- what is used ---- */

/* With the lock. NULL: no memory. */
static struct use *use_of(struct quotas *q, const char *repo)
{
	struct use *use = map_find(q->by_repo, repo);

	if (use)
		return use;
	use = calloc(1, sizeof(*use));
	if (use && map_set(q->by_repo, repo, use, NULL, NULL) < 0) {
		free(use);
		return NULL;
	}
	return use;
}

static void add(struct quotas *q, struct use *use, const char *repo, uint64_t bytes)
{
	use->bytes += bytes;
	for (size_t i = 0; i < q->count; i++)
		if (fits(&q->lines[i], repo))
			q->lines[i].used += bytes;
}

static int over(const struct line *line, const char *repo, uint64_t used, uint64_t bytes,
                struct err *err)
{
	return err_set(err, ERR_DENIED,
	               "quota: %s has used %" PRIu64 " of %" PRIu64 " bytes, and %" PRIu64
	               " more are wanted: delete what is not needed",
	               line->each ? repo : line->pattern, used, line->limit, bytes);
}

/* With the lock. */
static int check(const struct quotas *q, const struct use *use, const char *repo, uint64_t bytes,
                 struct err *err)
{
	for (size_t i = 0; i < q->count; i++) {
		const struct line *line = &q->lines[i];
		uint64_t used = line->each ? use->bytes : line->used;

		if (fits(line, repo) && (used > line->limit || bytes > line->limit - used))
			return over(line, repo, used, bytes, err);
	}
	return 0;
}

static int account(struct quotas *q, const char *repo, uint64_t bytes, bool takes, struct err *err)
{
	if (!q)
		return 0;
	pthread_mutex_lock(&q->lock);
	struct use *use = use_of(q, repo);
	int rc = use ? check(q, use, repo, bytes, err) : err_nomem(err);
	if (rc == 0 && takes)
		add(q, use, repo, bytes);
	pthread_mutex_unlock(&q->lock);
	return rc;
}

int quotas_check(struct quotas *q, const char *repo, uint64_t bytes, struct err *err)
{
	return account(q, repo, bytes, false, err);
}

int quotas_take(struct quotas *q, const char *repo, uint64_t bytes, struct err *err)
{
	return account(q, repo, bytes, true, err);
}

void quotas_give(struct quotas *q, const char *repo, uint64_t bytes)
{
	if (!q)
		return;
	pthread_mutex_lock(&q->lock);
	struct use *use = map_find(q->by_repo, repo);
	if (use && use->bytes >= bytes)
		add(q, use, repo, -bytes);
	pthread_mutex_unlock(&q->lock);
}

void quotas_write_metrics(struct quotas *q, struct buf *out)
{
	if (!q)
		return;
	buf_add(out, "# HELP buoy_registry_quota_bytes Bytes of a shared quota.\n"
	             "# TYPE buoy_registry_quota_bytes gauge\n");
	pthread_mutex_lock(&q->lock);
	for (size_t i = 0; i < q->count; i++)
		if (!q->lines[i].each)
			buf_addf(
				out,
				"buoy_registry_quota_bytes{pattern=\"%s\",kind=\"used\"} %" PRIu64
				"\nbuoy_registry_quota_bytes{pattern=\"%s\",kind=\"limit\"} %" PRIu64
				"\n",
				q->lines[i].pattern, q->lines[i].used, q->lines[i].pattern,
				q->lines[i].limit);
	pthread_mutex_unlock(&q->lock);
}

/* ---- what is on the disk ---- */

static int add_size(void *arg, int dir_fd, const char *name, unsigned char type)
{
	uint64_t *sum = arg;
	struct stat st;

	(void)type;
	if (fs_stat(dir_fd, name, &st, NULL) == 0 && S_ISREG(st.st_mode))
		*sum += (uint64_t)st.st_size;
	return 0;
}

static int count_repo(void *arg, int repos_fd, const char *file, unsigned char type)
{
	static const char *const algorithms[] = {"sha256", "sha512"};
	struct quotas *q = arg;
	char name[NAME_FILE_MAX], path[BLOBS_PATH_MAX];
	uint64_t sum = 0;

	(void)type;
	if (strlen(file) >= NAME_FILE_MAX || !name_ok(name_of_file(file, name)))
		return 0;
	for (size_t i = 0; i < ARRAY_LEN(algorithms); i++) {
		snprintf(path, sizeof(path), "%s/blobs/%s", file, algorithms[i]);
		auto_close int fd = fs_open_dir(repos_fd, path, NULL);
		if (fd >= 0)
			(void)fs_list(fd, add_size, &sum, NULL);
	}
	struct use *use = use_of(q, name);
	if (!use)
		return -1;
	add(q, use, name, sum);
	return 0;
}

struct quotas *quotas_open(const struct settings_list *lines, const struct blobs *blobs,
                           struct err *err)
{
	if (lines->count == 0)
		return NULL;
	auto_type(quotas) q = calloc(1, sizeof(*q));
	if (!q) {
		err_nomem(err);
		return NULL;
	}
	pthread_mutex_init(&q->lock, NULL);
	q->lines = calloc(lines->count, sizeof(*q->lines));
	q->by_repo = map_create(err);
	if (!q->lines || !q->by_repo) {
		err_nomem(err);
		return NULL;
	}
	for (; q->count < lines->count; q->count++)
		if (parse_line(lines->items[q->count], &q->lines[q->count], err) < 0) {
			err_wrap(err, "quota \"%s\"", lines->items[q->count]);
			return NULL;
		}
	if (fs_list(blobs->repos_fd, count_repo, q, err) != 0) {
		err_wrap(err, "adding up what is used");
		return NULL;
	}
	return move_ptr(q);
}

void quotas_free(struct quotas *q)
{
	const char *name;
	void *use;

	if (!q)
		return;
	if (q->by_repo)
		map_for_each (q->by_repo, iter, &name, &use)
			free(use);
	map_free(q->by_repo);
	free(q->lines);
	pthread_mutex_destroy(&q->lock);
	free(q);
}
