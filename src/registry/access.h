/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * access - who may do what: users of a password file, and rules.
 *
 * Without a password file everybody may do everything. With one, every signed-in user may, unless there
 * are rules; then a request passes when one of them fits:
 *
 *	rule = PATTERN WHO ACTION[,ACTION]...     rule = team-? alice pull,push
 *
 * PATTERN is a shell pattern over the repository's name in which "*" takes slashes too ("_catalog" is the list of
 * all); WHO is a user, "*" (whoever is signed in) or "anonymous" (everybody); an action is pull, push or delete.
 *
 * Passwords are bcrypt only ("htpasswd -B"). One is checked at a time, and what fitted is remembered for a
 * minute (as a keyed hash), or every request of a client would cost a tenth of a second.
 */

#include <stdbool.h>

#include "base/cleanup.h"

struct access;
struct err;
struct settings_list;

enum access_action {
	ACCESS_PULL = 1,
	ACCESS_PUSH = 2,
	ACCESS_DELETE = 4,
};

#define ACCESS_USER_MAX 128 /* bytes of a user's name, with NUL */

enum access_verdict {
	ACCESS_YES,
	ACCESS_SIGN_IN, /* 401: no or wrong credentials, and they would matter */
	ACCESS_NO,      /* 403: signed in, but no rule fits */
};

/* `htpasswd` is a path or NULL. ERR_INVALID: a rule or a line of the file is not understood. */
struct access *access_open(const char *htpasswd, const struct settings_list *rules,
                           struct err *err);
void access_free(struct access *a);
DEFINE_AUTO(access)
/* Reads the password file again; on failure the old one stays. */
int access_reload(struct access *a, struct err *err);

/* The user that "Basic ..." proves to be. False: none. Blocks on bcrypt. */
bool access_sign_in(struct access *a, const char *authorization, char user[ACCESS_USER_MAX]);

/* `authorization` is the request's header or NULL; name NULL: the registry as such (/v2/). Blocks on bcrypt. */
enum access_verdict access_check(struct access *a, const char *authorization, const char *name,
                                 enum access_action action);
