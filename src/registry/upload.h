/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * upload - blobs on their way in, from POST to PUT.
 *
 * A session is a file and a running hash, used by one request at a time: uploads_take() ... uploads_return() or
 * uploads_end(). What a broken connection has sent is kept: the client asks how far it came and goes on there.
 *
 * The file's name, <root>/uploads/<id>.<mark of the repository>.<algorithm>, and its length are all there is to know of
 * it, so sessions outlive the program: a restarted (or killed) registry finds them, tells the offset that the disk
 * has, and hashes what is there when the blob is complete. A file that content shares is one whose session ended in
 * the moment of a kill: it is dropped. A blob that comes in one request has no name before it is whole.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "oci/digest.h"

struct blobs;
struct err;
struct upload;
struct uploads;

#define UPLOAD_ID_MAX 37 /* a UUID and NUL */

/* Finds the sessions on the disk. `blobs` is borrowed. At most `max` sessions at a time. */
struct uploads *uploads_open(struct blobs *blobs, size_t max, struct err *err);
void uploads_close(struct uploads *u);

struct upload_plan {
	const char *repo;
	bool wide; /* the blob will be addressed by SHA-512 */
	bool once; /* one request brings all of it: nothing to go on with */
};
/* A new session, taken. ERR_LIMIT: too many. */
struct upload *uploads_begin(struct uploads *u, const struct upload_plan *plan, struct err *err);
/* ERR_NOT_FOUND (also when it belongs to another repository), ERR_CONFLICT: another request is at it. */
struct upload *uploads_take(struct uploads *u, const char *id, const char *repo, struct err *err);
void uploads_return(struct uploads *u, struct upload *up);
void uploads_end(struct uploads *u, struct upload *up);
/* Ends those that nobody has touched for so long. How many. */
size_t uploads_expire(struct uploads *u, int64_t idle_ms);
size_t uploads_count(struct uploads *u);

/* ---- a session that is taken ---- */

const char *upload_id(const struct upload *up);
uint64_t upload_size(const struct upload *up);
int upload_fd(const struct upload *up);
/* No content shares its file. */
bool upload_is_private(const struct upload *up);
int upload_add(struct upload *up, const void *data, size_t len, struct err *err);
/* The digest of all bytes in the algorithm that `wanted` names; reads the file again if the session was begun
 * for the other one. */
int upload_digest(struct upload *up, const char *wanted, char digest[DIGEST_TEXT_MAX],
                  struct err *err);
