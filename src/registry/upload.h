/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * upload - blobs on their way in, from POST to PUT.
 *
 * A session is an unnamed file, a running hash and a length; it lives in memory and ends with the program,
 * so that a killed registry has nothing to clean up (clients begin such a blob anew). It is used by one request
 * at a time: uploads_take() ... uploads_return() or uploads_end().
 *
 * What a broken connection has sent is kept: the client asks how far it came and goes on there.
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

/* `blobs` is borrowed. At most `max` sessions at a time. */
struct uploads *uploads_open(struct blobs *blobs, size_t max, struct err *err);
void uploads_close(struct uploads *u);

/* A new session, taken. `wide`: the blob will be addressed by SHA-512. ERR_LIMIT: too many. */
struct upload *uploads_begin(struct uploads *u, const char *repo, bool wide, struct err *err);
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
int upload_add(struct upload *up, const void *data, size_t len, struct err *err);
/* The digest of all bytes in the algorithm that `wanted` names; reads the file again if the session was begun
 * for the other one. */
int upload_digest(struct upload *up, const char *wanted, char digest[DIGEST_TEXT_MAX],
                  struct err *err);
