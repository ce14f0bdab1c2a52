/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * token - bearer tokens: what a client must show, and where it gets it (the distribution project's token
 * scheme, which docker, podman and skopeo speak).
 *
 * The tokens are either those of a service of one's own (token-realm, with its certificates or key set), or the
 * registry hands them out itself at /token (token-serve): to the users of the password file, and to nobody in
 * particular, for what the rules allow.
 *
 * A token passes when a trusted key has signed it (jwt.h), it names our issuer and our service, its time is now, and its
 * "access" holds the action. All calls may come from any thread.
 */

#include <stdbool.h>

#include "base/cleanup.h"
#include "registry/access.h"

struct buf;
struct err;
struct json;
struct settings;
struct tokens;

#define TOKEN_SECONDS 300 /* that one of ours is good for */

/* Are there any, by these settings? */
bool tokens_wanted(const struct settings *settings);
/* `settings` is borrowed. The key that signs ours is made once, in root_fd. */
struct tokens *tokens_open(const struct settings *settings, int root_fd, struct err *err);
void tokens_free(struct tokens *t);
DEFINE_AUTO(tokens)
/* Reads certificates and key set again; on failure the old ones stay. */
int tokens_reload(struct tokens *t, struct err *err);

/* Is the header one with a token? */
bool tokens_is_bearer(const char *authorization);
/* `name` NULL: the registry as such. ACCESS_NO: a good token that does not hold the action; *why says what is wrong
 * with one that is not good. */
enum access_verdict tokens_check(struct tokens *t, const char *authorization, const char *name,
                                 enum access_action action, struct err *why);

/* Whom a good token is for. False: nobody. */
bool tokens_subject(struct tokens *t, const char *authorization, char user[ACCESS_USER_MAX]);

/* The value of WWW-Authenticate. `origin` ("https://host:port") is what the client came to; `problem` an RFC 6750 error
 * code, or NULL. */
struct tokens_challenge {
	const char *origin, *name, *problem;
	enum access_action action;
};
int tokens_challenge(const struct tokens *t, const struct tokens_challenge *c, struct buf *out,
                     struct err *err);

/* Does the registry hand them out itself? */
bool tokens_serves(const struct tokens *t);
/* A token for `subject` with this "access" (taken), appended to out. `now`: seconds since 1970. */
int tokens_issue(struct tokens *t, const char *subject, struct json *access, long long now,
                 struct buf *out, struct err *err);

/* One "type:name:action,action" of a request for a token; the name may hold colons. False: not that. */
struct tokens_scope {
	char type[32], name[256], actions[128];
};
bool tokens_parse_scope(const char *text, struct tokens_scope *scope);
