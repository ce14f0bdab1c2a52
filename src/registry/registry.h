/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * registry - the parts of the program as one thing that the routes share.
 *
 * Routes are in api_*.c; each begins with registry_admit(), the one gate that knows names, users, rules and
 * the read-only mode.
 */

#include <stdatomic.h>

#include "http/server.h"
#include "registry/access.h"
#include "registry/blobs.h"
#include "registry/metrics.h"
#include "registry/repo.h"
#include "registry/settings.h"
#include "registry/upload.h"

struct log;
struct quotas;
struct tokens;

struct registry {
	const struct settings *settings;
	struct log *log;
	struct blobs blobs;
	struct repos *repos;
	struct uploads *uploads;
	struct access *access;
	struct quotas *quotas; /* NULL: none */
	struct tokens *tokens; /* NULL: none are asked for */
	struct metrics metrics;
};

enum registry_action {
	REGISTRY_PULL,
	REGISTRY_PUSH,
	REGISTRY_DELETE,
};

/* Opens everything below the root. `settings` and `log` are borrowed. */
int registry_open(struct registry *r, const struct settings *settings, struct log *log,
                  struct err *err);
void registry_close(struct registry *r);

/* Stands for the list of all repositories where a rule or the gate wants a name. */
#define REGISTRY_CATALOG "_catalog"
#define REGISTRY_METRICS "_metrics" /* the same for what it counts */

/* May this request do that with the repository? False: it is answered. `name` may be any text;
 * NULL: the registry as such. */
bool registry_admit(struct registry *r, struct http_request *req, const char *name,
                    enum registry_action action);

/* The same question without an answer to the client, for a second repository that a request names. */
bool registry_may(struct registry *r, struct http_request *req, const char *name,
                  enum registry_action action);

/* The table for http_server_options.routes; its functions want a struct registry as ctx. */
extern const struct http_route registry_routes[];

/* ---- the routes, by the file they are in ---- */

http_fn api_blob_get, api_blob_delete;                                         /* api_blob.c */
http_fn api_upload_begin, api_upload_status, api_upload_chunk, api_upload_end, /* api_upload.c */
	api_upload_cancel;
http_fn api_manifest_get, api_manifest_put, api_manifest_delete; /* api_manifest.c */
http_fn api_version, api_tags, api_catalog, api_referrers;       /* api_list.c */
http_fn api_token;                                               /* api_token.c */
