/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * blobs - the content of the registry on the disk.
 *
 *	<root>/blobs/sha256/<hex>                    the pool: one file per content
 *	<root>/repositories/<name>/blobs/sha256/...  an OCI image layout per repository
 *
 * A repository holds a blob when it has a hard link to the pool's file: so content is kept once, the link is
 * the permission to read it, and the file system counts the holders. ("/" in a name is "+" on the disk.)
 *
 * Durable: bytes go into an unnamed file, are hashed on the way and synced; then the file gets its name in the
 * pool, then in the repository, and each directory is synced. Killed anywhere, nothing half-made has a name.
 *
 * The lease: what the collector may take is judged by the file's ctime, which linking and blobs_touch() renew.
 *
 * All calls may come from any thread and block on the disk.
 */

#include <pthread.h>
#include <stdint.h>
#include <sys/stat.h>

#include "registry/name.h"

struct err;

struct blobs {
	int root_fd;          /* owned */
	int repos_fd;         /* owned; <root>/repositories */
	int staging_fd;       /* owned; <root>/staging */
	int64_t touch_s;      /* a lease older than this is renewed; the owner sets it */
	pthread_mutex_t lock; /* naming in the pool against the collector's unnaming */
};

/* Makes the directories. Takes root_fd, also on failure. */
int blobs_open(struct blobs *b, int root_fd, struct err *err);
void blobs_close(struct blobs *b);

/* An unnamed file to write content into. The caller owns it. */
int blobs_stage(struct blobs *b, struct err *err);
/* The file's bytes, which hash to `digest`, become content of the repository (made by blobs_make_repo()). 1: it is
 * new there; 0: the repository held it already. */
int blobs_publish(struct blobs *b, int fd, const char *digest, const char *repo, struct err *err);
/* The same for bytes in memory. */
int blobs_publish_bytes(struct blobs *b, const void *data, size_t len, const char *digest,
                        const char *repo, struct err *err);
/* Content of one repository becomes that of another as well; 1 or 0, as above. ERR_NOT_FOUND: `from` does not hold it. */
int blobs_mount(struct blobs *b, const char *digest, const char *from, const char *repo,
                struct err *err);

/* For reading, with its size and times. ERR_NOT_FOUND. The caller owns it. */
int blobs_read(const struct blobs *b, const char *repo, const char *digest, struct stat *st,
               struct err *err);
bool blobs_has(const struct blobs *b, const char *repo, const char *digest);
/* Renews the lease of content that is about to be referred to; costs a system call when it is fresh. */
void blobs_touch(const struct blobs *b, int fd, const struct stat *st);
/* The repository holds it no longer. ERR_NOT_FOUND. The pool's file stays for the collector. */
int blobs_drop(struct blobs *b, const char *repo, const char *digest, struct err *err);

/* Frees the pool's file at once if no repository holds it. */
void blobs_discard(struct blobs *b, const char *digest);

/* Moves the pool's file to <root>/quarantine: no repository gets a link to it any more. */
int blobs_quarantine(struct blobs *b, const char *digest, struct err *err);

/* The directories of a repository, durable; an existing one is success. */
int blobs_make_repo(struct blobs *b, const char *repo, struct err *err);
/* A path inside the repository's layout: "repositories/<file>/<rest>" as seen from repos_fd. */
#define BLOBS_PATH_MAX (NAME_FILE_MAX + NAME_BLOB_MAX)
char *blobs_path(const char *repo, const char *rest, char path[BLOBS_PATH_MAX]);
