/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * compose - Compose files (version 3 and the Compose specification) as the documents that the API takes.
 *
 *	struct compose file = {0};
 *	compose_load(paths, count, &file, err);
 *	auto_type(json) stack = compose_stack(&file, "shop", ignored, err);
 *	compose_done(&file);
 *
 * A stack is {"Services": [ServiceSpec], "Networks": [NetworkCreate], "Secrets": [...], "Configs": [...]} with
 * the names and labels that `docker stack deploy` gives, so that each can go on with what the other made.
 * Those of "Networks", "Secrets" and "Configs" that have "External": true must be there already.
 *
 * What the cluster cannot do (build, links, ...) is named and left out, as docker does; a key that nobody
 * knows is an error. https://docs.docker.com/reference/compose-file/
 */

#include <stddef.h>

#include "base/json.h"
#include "cli/spec.h"

struct err;

#define COMPOSE_FILE_MAX    (4u << 20)
#define COMPOSE_STACK_LABEL "com.docker.stack.namespace"
#define COMPOSE_IMAGE_LABEL "com.docker.stack.image"

struct compose {
	struct json *doc; /* all files, one over the other, variables filled in */
	char *dir;        /* of the first file: what relative paths start from */
};

/* "-" is standard input. Variables come from the environment. ERR_INVALID names the file and the place. */
int compose_load(const char *const *paths, size_t count, struct compose *out, struct err *err);
void compose_done(struct compose *file);

/* Appends the names of ignored keys to `ignored` (array of strings). The caller owns the stack. */
struct json *compose_stack(const struct compose *file, const char *name, struct json *ignored,
                           struct err *err);

/* ---- for the parts of this module ---- */

/* How a key of a file becomes one of the API's: as spec_value() does, or in one of these ways. */
enum compose_kind {
	COMPOSE_TEXT = SPEC_TEXT,
	COMPOSE_INT = SPEC_INT,
	COMPOSE_BOOL = SPEC_BOOL,
	COMPOSE_DURATION = SPEC_DURATION,
	COMPOSE_SIZE = SPEC_SIZE,
	COMPOSE_CPUS = SPEC_CPUS,
	COMPOSE_RATIO = SPEC_RATIO,
	COMPOSE_WORDS = SPEC_KINDS, /* a list, or a text split as a shell would */
	COMPOSE_LIST,               /* of texts; one alone is a list of one */
	COMPOSE_MAP,                /* of texts; or a list of KEY=VALUE */
	COMPOSE_OTHER,              /* read by whoever has the table */
	COMPOSE_IGNORED,
};

/* Of a table: a key with no value of its own in the API. */
#define COMPOSE_RULE_OTHER(key)                                                                    \
	{                                                                                          \
		key, COMPOSE_OTHER, NULL                                                           \
	}
#define COMPOSE_RULE_IGNORED(key)                                                                  \
	{                                                                                          \
		key, COMPOSE_IGNORED, NULL                                                         \
	}

struct compose_rule {
	const char *key;
	enum compose_kind kind;
	const char *to; /* the API's key; NULL for the last two kinds */
};

/* Sets what the rules (`count` of them) say. A key without a rule is ERR_INVALID, but for x-...; `ignored`
 * may be NULL if there are no such. */
int compose_apply(const struct json *from, const struct compose_rule *rules, size_t count,
                  struct json *to, struct json *ignored, struct err *err);
/* One value; NULL with err. */
struct json *compose_value(const struct json *value, enum compose_kind kind, struct err *err);
/* A scalar as text: true, 5 and 0.5 as they were written. NULL: none. `text` holds what is no string. */
const char *compose_text(const struct json *value, char text[40]);
/* PATH as the file means it; the caller frees it. */
char *compose_path(const struct compose *file, const char *path, struct err *err);
/* "STACK_NAME", or the name of its own that an entry of a top-level section gives; the caller owns it. */
struct json *compose_scoped(const struct compose *file, const char *stack, const char *section,
                            const char *name, struct err *err);
/* Does the entry say that it is somebody else's? */
bool compose_is_external(const struct json *entry);

/* compose_service.c */
struct json *compose_service(const struct compose *file, const char *stack, const char *name,
                             struct json *ignored, struct err *err);
/* compose_deploy.c: `deploy` and `restart` into the spec. */
int compose_deploy(const struct json *service, struct json *spec, struct err *err);
/* compose_mounts.c: volumes and tmpfs of a service. */
struct json *compose_mounts(const struct compose *file, const char *stack,
                            const struct json *service, struct err *err);
