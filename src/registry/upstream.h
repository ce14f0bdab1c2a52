/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * upstream - other registries that ours is a cache of: which repositories stand for which of theirs, and requests to
 * them, with their credentials.
 *
 *	upstream = PREFIX URL [USER PASSWORD-FILE]
 *	upstream = hub/ https://registry-1.docker.io          hub/library/alpine is their library/alpine
 *	upstream = /    https://registry-1.docker.io          a mirror: every name is theirs
 *
 * The longest prefix that fits counts. Passwords go to the registry itself, and to a token server only where
 * image/challenge.h trusts it. All calls may come from any thread and block on the network.
 */

#include <stdbool.h>

#include "http/client.h"

struct err;
struct settings;
struct upstream;
struct upstreams;

/* NULL without an error in *err when there are none; `err` must be given. ERR_INVALID: a line is not understood. */
struct upstreams *upstreams_open(const struct settings *settings, struct err *err);
void upstreams_free(struct upstreams *us);
DEFINE_AUTO(upstreams)

/* NULL: the repository is our own. Accepts NULL. */
struct upstream *upstreams_find(struct upstreams *us, const char *name);
const char *upstream_url(const struct upstream *up);
/* Our name as theirs; borrowed from name. */
const char *upstream_name(const struct upstream *up, const char *name);

/* One request about a repository (their name): GET or HEAD of "/v2/<name>/<rest>". A status >= 400 is an answer. -1:
 * ERR_UNAVAILABLE, ERR_TIMEOUT and kin: nobody is there; ERR_DENIED: they do not let us. */
struct upstream_call {
	const char *name, *rest, *method;
	struct http_call http; /* headers, write, begin and give_up; the rest is filled in */
};
int upstream_run(struct upstream *up, const struct upstream_call *call,
                 struct http_response *response, struct err *err);
