/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/repo.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/failpoint.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/map.h"
#include "base/str.h"
#include "oci/image.h"
#include "oci/reference.h"
#include "registry/manifest.h"

#define INDEX_MAX  (256u << 20) /* bytes of an index.json */
#define TYPES_MAX  64           /* different media types that a repository may hold */
#define REF_NAME   "org.opencontainers.image.ref.name"
#define SUBJECT    "org.buoy.subject" /* always there in what we wrote */
#define FIRST_ROOM 8

struct entry {
	const char *type; /* one of repo->types */
	char *subject;    /* owned; NULL: none */
	int64_t size;
	size_t tags;
	char digest[];
};

struct tag {
	struct entry *entry;
	char name[];
};

/* Pointers in the order of their keys. */
struct list {
	void **items;
	size_t count, room;
};

struct repo {
	struct repos *repos;
	pthread_mutex_t change; /* one change at a time; taken before `lock` */
	pthread_rwlock_t lock;
	atomic_bool loaded;
	struct list manifests, tags; /* guarded by lock: struct entry, struct tag */
	char *types[TYPES_MAX];      /* guarded by lock */
	size_t type_count;           /* guarded by lock */
	char name[];
};

struct repos {
	struct blobs *blobs;
	size_t repositories_max, tags_max;
	pthread_rwlock_t lock;
	struct map *by_name; /* guarded by lock */
};

/* ---- sorted lists ---- */

static const char *entry_key(const void *item)
{
	return ((const struct entry *)item)->digest;
}

static const char *tag_key(const void *item)
{
	return ((const struct tag *)item)->name;
}

/* Index of the first item whose key is not before `key`; *found: it is equal. */
static size_t place(const struct list *l, const char *(*key_of)(const void *), const char *key,
                    bool *found)
{
	size_t low = 0, high = l->count;

	*found = false;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(key_of(l->items[middle]), key);

		if (order == 0) {
			*found = true;
			return middle;
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static int insert(struct list *l, size_t at, void *item, struct err *err)
{
	if (l->count == l->room) {
		size_t room = l->room ? l->room * 2 : FIRST_ROOM;
		void **items = reallocarray(l->items, room, sizeof(*items));

		if (!items)
			return err_nomem(err);
		l->items = items;
		l->room = room;
	}
	memmove(l->items + at + 1, l->items + at, (l->count - at) * sizeof(*l->items));
	l->items[at] = item;
	l->count++;
	return 0;
}

static void take_out(struct list *l, size_t at)
{
	l->count--;
	memmove(l->items + at, l->items + at + 1, (l->count - at) * sizeof(*l->items));
}

/* ---- contents in memory; the caller has the lock for writing ---- */

static void entry_free(struct entry *e)
{
	free(e->subject);
	free(e);
}

static void clear(struct repo *repo)
{
	for (size_t i = 0; i < repo->manifests.count; i++)
		entry_free(repo->manifests.items[i]);
	for (size_t i = 0; i < repo->tags.count; i++)
		free(repo->tags.items[i]);
	repo->manifests.count = repo->tags.count = 0;
}

static const char *intern(struct repo *repo, const char *type, struct err *err)
{
	for (size_t i = 0; i < repo->type_count; i++)
		if (str_eq(repo->types[i], type))
			return repo->types[i];
	if (repo->type_count == TYPES_MAX) {
		err_set(err, ERR_LIMIT, "more than %d media types in one repository", TYPES_MAX);
		return NULL;
	}
	char *copy = strdup(type);
	if (!copy) {
		err_nomem(err);
		return NULL;
	}
	return repo->types[repo->type_count++] = copy;
}

static struct entry *add_entry(struct repo *repo, const struct repo_manifest *m, struct err *err)
{
	bool found;
	size_t at = place(&repo->manifests, entry_key, m->digest, &found);
	const char *type = intern(repo, m->type, err);

	if (!type)
		return NULL;
	if (found) {
		struct entry *e = repo->manifests.items[at];

		e->type = type;
		return e;
	}
	size_t len = strlen(m->digest) + 1;
	struct entry *e = calloc(1, sizeof(*e) + len);
	if (!e) {
		err_nomem(err);
		return NULL;
	}
	memcpy(e->digest, m->digest, len);
	e->type = type;
	e->size = m->size;
	if (m->subject[0])
		e->subject = strdup(m->subject);
	if ((m->subject[0] && !e->subject) || insert(&repo->manifests, at, e, err) < 0) {
		entry_free(e);
		err_nomem(err);
		return NULL;
	}
	return e;
}

static int point_tag(struct repo *repo, const char *name, struct entry *e, struct err *err)
{
	bool found;
	size_t at = place(&repo->tags, tag_key, name, &found);

	if (found) {
		struct tag *tag = repo->tags.items[at];

		tag->entry->tags--;
		tag->entry = e;
		e->tags++;
		return 0;
	}
	if (repo->tags.count >= repo->repos->tags_max)
		return err_set(err, ERR_LIMIT, "%s has %zu tags already", repo->name,
		               repo->tags.count);
	size_t len = strlen(name) + 1;
	struct tag *tag = malloc(sizeof(*tag) + len);
	if (!tag)
		return err_nomem(err);
	memcpy(tag->name, name, len);
	tag->entry = e;
	if (insert(&repo->tags, at, tag, err) < 0) {
		free(tag);
		return -1;
	}
	e->tags++;
	return 0;
}

static void remove_tag_at(struct repo *repo, size_t at)
{
	struct tag *tag = repo->tags.items[at];

	tag->entry->tags--;
	take_out(&repo->tags, at);
	free(tag);
}

static void remove_manifest_at(struct repo *repo, size_t at)
{
	struct entry *e = repo->manifests.items[at];

	for (size_t i = repo->tags.count; i-- > 0 && e->tags > 0;)
		if (((struct tag *)repo->tags.items[i])->entry == e)
			remove_tag_at(repo, i);
	take_out(&repo->manifests, at);
	entry_free(e);
}

/* ---- index.json ---- */

/* The subject of a manifest that another program put into the layout. */
static void find_subject(const struct repo *repo, struct repo_manifest *m)
{
	char blob[NAME_BLOB_MAX], path[BLOBS_PATH_MAX];
	auto_buf struct buf text = BUF_INIT(OCI_MANIFEST_MAX);
	struct manifest parsed;

	blobs_path(repo->name, name_to_blob(m->digest, blob), path);
	if (fs_read(repo->repos->blobs->repos_fd, path, OCI_MANIFEST_MAX, &text, NULL) < 0 ||
	    manifest_parse(buf_str(&text), text.len, m->type, &parsed, NULL) < 0)
		return;
	if (parsed.subject)
		(void)snprintf(m->subject, sizeof(m->subject), "%s", parsed.subject);
	manifest_done(&parsed);
}

static int load_one(struct repo *repo, const struct json *d, struct err *err)
{
	const char *digest = json_get_string(d, "digest");
	const char *type = json_get_string(d, "mediaType");
	const struct json *notes = json_get(d, "annotations");
	const char *subject = json_get_string(notes, SUBJECT);
	const char *tag = json_get_string(notes, REF_NAME);
	struct repo_manifest m = {.size = json_get_int(d, "size", -1)};

	if (!digest_any_ok(digest) || !name_media_type(type, m.type) || m.size < 0)
		return err_set(err, ERR_INVALID, "a descriptor in its index.json is damaged");
	memcpy(m.digest, digest, strlen(digest) + 1);
	if (!subject)
		find_subject(repo, &m);
	else if (digest_any_ok(subject))
		memcpy(m.subject, subject, strlen(subject) + 1);
	struct entry *e = add_entry(repo, &m, err);
	if (!e)
		return -1;
	return tag && reference_tag_ok(tag) ? point_tag(repo, tag, e, err) : 0;
}

/* With the lock for writing. */
static int load(struct repo *repo, struct err *err)
{
	char path[BLOBS_PATH_MAX];
	auto_buf struct buf text = BUF_INIT(INDEX_MAX);

	blobs_path(repo->name, "index.json", path);
	if (fs_read(repo->repos->blobs->repos_fd, path, INDEX_MAX, &text, err) < 0)
		return -1;
	auto_type(json) doc = json_parse(buf_str(&text), text.len, err);
	const struct json *list = json_get(doc, "manifests");
	if (!doc)
		return -1;
	clear(repo);
	for (size_t i = 0; i < json_count(list); i++)
		if (load_one(repo, json_at(list, i), err) < 0)
			return -1;
	atomic_store(&repo->loaded, true);
	return 0;
}

static int ensure_loaded(struct repo *repo, struct err *err)
{
	int rc = 0;

	if (atomic_load(&repo->loaded))
		return 0;
	pthread_rwlock_wrlock(&repo->lock);
	if (!atomic_load(&repo->loaded))
		rc = load(repo, err);
	pthread_rwlock_unlock(&repo->lock);
	return rc < 0 ? err_wrap(err, "repository %s", repo->name) : 0;
}

/* Everything in it has passed a grammar that holds no quote: nothing needs an escape. */
static void write_descriptor(const struct entry *e, const char *tag, bool first, struct buf *out)
{
	buf_addf(out,
	         "%s{\"mediaType\":\"%s\",\"digest\":\"%s\",\"size\":%" PRId64
	         ",\"annotations\":{\"" SUBJECT "\":\"%s\"",
	         first ? "" : ",", e->type, e->digest, e->size, e->subject ? e->subject : "");
	if (tag)
		buf_addf(out, ",\"" REF_NAME "\":\"%s\"", tag);
	buf_add(out, "}}");
}

/* Held: nobody else changes the lists meanwhile. */
static int save(struct repo *repo, struct err *err)
{
	char path[BLOBS_PATH_MAX];
	auto_buf struct buf text = BUF_INIT(INDEX_MAX);
	bool first = true;

	buf_add(&text, "{\"schemaVersion\":2,\"mediaType\":\"" OCI_INDEX "\",\"manifests\":[");
	for (size_t i = 0; i < repo->tags.count; i++, first = false) {
		const struct tag *tag = repo->tags.items[i];

		write_descriptor(tag->entry, tag->name, first, &text);
	}
	for (size_t i = 0; i < repo->manifests.count; i++) {
		const struct entry *e = repo->manifests.items[i];

		if (e->tags == 0) {
			write_descriptor(e, NULL, first, &text);
			first = false;
		}
	}
	buf_add(&text, "]}");
	if (buf_check(&text, err) < 0 || FAILPOINT("registry.index.before", err) < 0)
		return -1;
	blobs_path(repo->name, "index.json", path);
	return fs_write_durable(repo->repos->blobs->repos_fd, path, text.data, text.len, 0600, err);
}

/* After a change that failed half way, or could not be written. */
static void reload(struct repo *repo)
{
	pthread_rwlock_wrlock(&repo->lock);
	atomic_store(&repo->loaded, false);
	(void)load(repo, NULL); /* else the next lookup tries again, and says why not */
	pthread_rwlock_unlock(&repo->lock);
}

/* ---- one repository ---- */

const char *repo_name(const struct repo *repo)
{
	return repo->name;
}

static const struct entry *find_entry(const struct repo *repo, const char *reference)
{
	bool found, by_digest = strchr(reference, ':');
	size_t at = by_digest ? place(&repo->manifests, entry_key, reference, &found)
	                      : place(&repo->tags, tag_key, reference, &found);

	if (!found)
		return NULL;
	return by_digest ? repo->manifests.items[at] : ((struct tag *)repo->tags.items[at])->entry;
}

static void describe(const struct entry *e, struct repo_manifest *out)
{
	memcpy(out->digest, e->digest, strlen(e->digest) + 1);
	memcpy(out->type, e->type, strlen(e->type) + 1);
	out->size = e->size;
	out->subject[0] = '\0';
	if (e->subject)
		memcpy(out->subject, e->subject, strlen(e->subject) + 1);
}

int repo_lookup(struct repo *repo, const char *reference, struct repo_manifest *out,
                struct err *err)
{
	if (ensure_loaded(repo, err) < 0)
		return -1;
	pthread_rwlock_rdlock(&repo->lock);
	const struct entry *e = find_entry(repo, reference);
	if (e)
		describe(e, out);
	pthread_rwlock_unlock(&repo->lock);
	return e ? 0 : err_set(err, ERR_NOT_FOUND, "%s has no manifest %s", repo->name, reference);
}

struct json *repo_tags(struct repo *repo, const char *last, size_t max, bool *more, struct err *err)
{
	auto_type(json) names = json_array();
	bool found = false;
	int rc = 0;

	if (ensure_loaded(repo, err) < 0)
		return NULL;
	pthread_rwlock_rdlock(&repo->lock);
	size_t at = str_empty(last) ? 0 : place(&repo->tags, tag_key, last, &found);
	size_t end = repo->tags.count;
	at += found;
	for (; at < end && max > 0 && rc == 0; at++, max--)
		rc = json_append(names, json_string(tag_key(repo->tags.items[at])));
	*more = at < end;
	pthread_rwlock_unlock(&repo->lock);
	if (rc < 0) {
		err_nomem(err);
		return NULL;
	}
	return move_ptr(names);
}

int repo_each(struct repo *repo, int (*fn)(void *arg, const struct repo_manifest *m, size_t tags),
              void *arg, struct err *err)
{
	int rc = 0;

	if (ensure_loaded(repo, err) < 0)
		return -1;
	pthread_rwlock_rdlock(&repo->lock);
	for (size_t i = 0; i < repo->manifests.count && rc == 0; i++) {
		const struct entry *e = repo->manifests.items[i];
		struct repo_manifest m;

		describe(e, &m);
		rc = fn(arg, &m, e->tags);
	}
	pthread_rwlock_unlock(&repo->lock);
	return rc;
}

void repo_hold(struct repo *repo)
{
	pthread_mutex_lock(&repo->change);
}

void repo_release(struct repo *repo)
{
	pthread_mutex_unlock(&repo->change);
}

int repo_put(struct repo *repo, const struct repo_manifest *m, const char *const *tags,
             size_t tag_count, struct err *err)
{
	if (ensure_loaded(repo, err) < 0)
		return -1;
	pthread_rwlock_wrlock(&repo->lock);
	struct entry *e = add_entry(repo, m, err);
	int rc = e ? 0 : -1;
	for (size_t i = 0; i < tag_count && rc == 0; i++)
		rc = point_tag(repo, tags[i], e, err);
	pthread_rwlock_unlock(&repo->lock);
	if (rc == 0)
		rc = save(repo, err);
	if (rc < 0)
		reload(repo);
	return rc;
}

int repo_remove(struct repo *repo, const char *reference, struct err *err)
{
	bool found, by_digest = strchr(reference, ':');

	if (ensure_loaded(repo, err) < 0)
		return -1;
	pthread_rwlock_wrlock(&repo->lock);
	size_t at = by_digest ? place(&repo->manifests, entry_key, reference, &found)
	                      : place(&repo->tags, tag_key, reference, &found);
	if (found && by_digest)
		remove_manifest_at(repo, at);
	else if (found)
		remove_tag_at(repo, at);
	pthread_rwlock_unlock(&repo->lock);
	if (!found)
		return err_set(err, ERR_NOT_FOUND, "%s has no manifest %s", repo->name, reference);
	int rc = save(repo, err);
	if (rc < 0)
		reload(repo);
	return rc;
}

static void repo_free(struct repo *repo)
{
	clear(repo);
	free(repo->manifests.items);
	free(repo->tags.items);
	for (size_t i = 0; i < repo->type_count; i++)
		free(repo->types[i]);
	pthread_mutex_destroy(&repo->change);
	pthread_rwlock_destroy(&repo->lock);
	free(repo);
}

/* ---- all of them ---- */

/* With the table's lock for writing, or before it is shared. */
static struct repo *add_repo(struct repos *repos, const char *name, struct err *err)
{
	size_t len = strlen(name) + 1;
	struct repo *repo = calloc(1, sizeof(*repo) + len);

	if (!repo) {
		err_nomem(err);
		return NULL;
	}
	repo->repos = repos;
	memcpy(repo->name, name, len);
	pthread_mutex_init(&repo->change, NULL);
	pthread_rwlock_init(&repo->lock, NULL);
	if (map_set(repos->by_name, name, repo, NULL, err) < 0) {
		repo_free(repo);
		return NULL;
	}
	return repo;
}

static int found_on_disk(void *arg, int dir_fd, const char *file, unsigned char type)
{
	char name[NAME_FILE_MAX];

	(void)dir_fd, (void)type;
	if (strlen(file) >= NAME_FILE_MAX || !name_ok(name_of_file(file, name)))
		return 0;
	return add_repo(arg, name, NULL) ? 0 : -1;
}

struct repos *repos_open(struct blobs *blobs, size_t repositories_max, size_t tags_max,
                         struct err *err)
{
	struct repos *repos = calloc(1, sizeof(*repos));

	if (!repos) {
		err_nomem(err);
		return NULL;
	}
	*repos = (struct repos){
		.blobs = blobs, .repositories_max = repositories_max, .tags_max = tags_max};
	pthread_rwlock_init(&repos->lock, NULL);
	repos->by_name = map_create(err);
	if (!repos->by_name || fs_list(blobs->repos_fd, found_on_disk, repos, err) < 0) {
		repos_close(repos);
		return NULL;
	}
	return repos;
}

void repos_close(struct repos *repos)
{
	const char *name;
	void *repo;

	if (!repos)
		return;
	if (repos->by_name)
		map_for_each (repos->by_name, iter, &name, &repo)
			repo_free(repo);
	map_free(repos->by_name);
	pthread_rwlock_destroy(&repos->lock);
	free(repos);
}

struct repo *repos_find(struct repos *repos, const char *name, struct err *err)
{
	pthread_rwlock_rdlock(&repos->lock);
	struct repo *repo = map_find(repos->by_name, name);
	pthread_rwlock_unlock(&repos->lock);
	if (!repo)
		err_set(err, ERR_NOT_FOUND, "no such repository: %s", name);
	return repo;
}

struct repo *repos_make(struct repos *repos, const char *name, struct err *err)
{
	struct repo *repo = repos_find(repos, name, NULL);

	if (repo)
		return repo;
	if (repos_count(repos) >= repos->repositories_max) {
		err_set(err, ERR_LIMIT, "there are %zu repositories already",
		        repos->repositories_max);
		return NULL;
	}
	if (blobs_make_repo(repos->blobs, name, err) < 0)
		return NULL;
	pthread_rwlock_wrlock(&repos->lock);
	repo = map_find(repos->by_name, name);
	if (!repo)
		repo = add_repo(repos, name, err);
	pthread_rwlock_unlock(&repos->lock);
	return repo;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

struct json *repos_list(struct repos *repos, const char *last, size_t max, bool *more,
                        struct err *err)
{
	auto_type(json) names = json_array();
	const char *name;
	void *repo;
	size_t count = 0, i = 0;
	int rc = 0;

	pthread_rwlock_rdlock(&repos->lock);
	auto_free const char **all = calloc(map_count(repos->by_name) + 1, sizeof(*all));
	if (all)
		map_for_each (repos->by_name, iter, &name, &repo)
			if (str_empty(last) || strcmp(name, last) > 0)
				all[count++] = name;
	pthread_rwlock_unlock(&repos->lock); /* names are never freed while the table lives */

	if (count > 0)
		qsort(all, count, sizeof(*all), by_text);
	for (; i < count && max > 0 && rc == 0; i++, max--)
		rc = json_append(names, json_string(all[i]));
	*more = i < count;
	if (!all || rc < 0) {
		err_nomem(err);
		return NULL;
	}
	return move_ptr(names);
}

int repos_each(struct repos *repos, int (*fn)(void *arg, struct repo *repo), void *arg,
               struct err *err)
{
	const char *name;
	void *repo;
	size_t count = 0;
	int rc = 0;

	pthread_rwlock_rdlock(&repos->lock);
	auto_free void **all = calloc(map_count(repos->by_name) + 1, sizeof(*all));
	if (all)
		map_for_each (repos->by_name, iter, &name, &repo)
			all[count++] = repo;
	pthread_rwlock_unlock(&repos->lock); /* as above: none is freed while the table lives */
	if (!all)
		return err_nomem(err);
	for (size_t i = 0; i < count && rc == 0; i++)
		rc = fn(arg, all[i]);
	return rc;
}

size_t repos_count(struct repos *repos)
{
	pthread_rwlock_rdlock(&repos->lock);
	size_t n = map_count(repos->by_name);
	pthread_rwlock_unlock(&repos->lock);
	return n;
}
