/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * credhelper - programs that keep credentials: docker-credential-NAME, found by PATH, spoken to over standard
 * input and output as docker's command line does.
 *
 *	struct json *doc = credhelper_get("pass", "registry.example.org", err);
 *
 * One call is one process. It blocks until the program ends, at most CREDHELPER_TIMEOUT_MS: it may be asking its
 * user for a passphrase. What it says on standard error is shown as it is.
 *
 * Credentials are documents as docker's API has them: {"username", "password", "serveraddress"}, or
 * {"identitytoken", "serveraddress"}.
 */

#include "base/err.h"
#include "base/json.h"

struct buf;

#define CREDHELPER_TIMEOUT_MS 60000
#define CREDHELPER_OUTPUT_MAX (256u << 10) /* bytes that a program may print */

/* The caller owns the result. ERR_NOT_FOUND: it has none for this server; ERR_UNAVAILABLE: there is no such
 * program, or it failed; ERR_TIMEOUT; ERR_LIMIT; ERR_INVALID: a bad name, or an answer that is none. */
struct json *credhelper_get(const char *name, const char *server, struct err *err);
/* {"server": "user name"}; the caller owns it. */
struct json *credhelper_list(const char *name, struct err *err);
int credhelper_store(const char *name, const char *server, const char *user, const char *secret,
                     struct err *err);
/* Forgetting what it never had is success. */
int credhelper_erase(const char *name, const char *server, struct err *err);

/* One call of the program: its standard output is appended to out. Errors as above. */
int credhelper_run(const char *name, const char *action, const char *input, int timeout_ms,
                   struct buf *out, struct err *err);
