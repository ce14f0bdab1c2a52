/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * repo - the repositories, and what each knows: its manifests and tags.
 *
 * The truth is the index.json of the repository's image layout; memory holds the same, sorted. A change is
 * applied, written (durably: old or new after a crash, never a mixture), and only then answered for. Should
 * writing fail, memory is read anew from the disk.
 *
 * An untagged manifest stands in index.json as a descriptor without a name, a tagged one once per tag.
 *
 *	struct repo *repo = repos_find(repos, "team/app", &err);
 *	struct repo_manifest m;
 *	if (repo && repo_lookup(repo, "1.2", &m, &err) == 0) ...
 *
 * A struct repo lives as long as the table. Lookups take a shared lock and never wait for the disk, except
 * the first of a repository, which reads its index.json. repo_hold() keeps other changes and the collector
 * away while content is checked and then referred to; the functions that change say that they need it.
 */

#include <stdint.h>

#include "registry/blobs.h"

struct json;
struct repo;
struct repos;

struct repo_manifest {
	char digest[DIGEST_TEXT_MAX];
	char type[NAME_TYPE_MAX];
	int64_t size;
	char subject[DIGEST_TEXT_MAX]; /* "" if none */
};

/* Lists what is on the disk. `blobs` is borrowed for as long as the table lives. */
struct repos *repos_open(struct blobs *blobs, size_t repositories_max, size_t tags_max,
                         struct err *err);
void repos_close(struct repos *repos);

/* ERR_NOT_FOUND. */
struct repo *repos_find(struct repos *repos, const char *name, struct err *err);
/* Finds or makes. ERR_LIMIT when there are too many. */
struct repo *repos_make(struct repos *repos, const char *name, struct err *err);
/* Names behind `last` ("" or NULL: from the start) in order, up to max, into an array of strings. Sets
 * *more when there are others behind them. NULL: ERR_NOMEM. The caller owns the result. */
struct json *repos_list(struct repos *repos, const char *last, size_t max, bool *more,
                        struct err *err);
/* Calls fn for each one that is there at the call, in no order. Stops at the first non-zero and returns it; -1
 * with ERR_NOMEM. fn may call back into the table. */
int repos_each(struct repos *repos, int (*fn)(void *arg, struct repo *repo), void *arg,
               struct err *err);
size_t repos_count(struct repos *repos);

const char *repo_name(const struct repo *repo);

/* By tag or digest. ERR_NOT_FOUND. */
int repo_lookup(struct repo *repo, const char *reference, struct repo_manifest *out,
                struct err *err);
/* Tags behind `last`, as repos_list(). */
struct json *repo_tags(struct repo *repo, const char *last, size_t max, bool *more,
                       struct err *err);
/* Calls fn for each manifest, tagged or not, in the order of digests; `tags` counts its tags. fn must not
 * call back into the repository. Stops at the first non-zero and returns it; -1 also when reading fails. */
int repo_each(struct repo *repo, int (*fn)(void *arg, const struct repo_manifest *m, size_t tags),
              void *arg, struct err *err);

/* One change at a time; waits. */
void repo_hold(struct repo *repo);
void repo_release(struct repo *repo);
/* Adds the manifest, and points the tags at it. Held. ERR_LIMIT: too many tags. */
int repo_put(struct repo *repo, const struct repo_manifest *m, const char *const *tags,
             size_t tag_count, struct err *err);
/* Removes a tag, or a manifest with all of its tags. Held. ERR_NOT_FOUND. */
int repo_remove(struct repo *repo, const char *reference, struct err *err);
