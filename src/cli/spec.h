/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * spec - the short notations of flags (-p 8080:80, -v data:/data, --mount ...) as the API's JSON.
 *
 * All add to documents that the caller owns, and name what they did not understand (ERR_INVALID).
 */

#include "base/json.h"
#include "cli/args.h"

struct buf;
struct err;

/* "[IP:][HOST:]CONTAINER[/PROTO]", ranges "8000-8002:80-82". Adds to ExposedPorts and PortBindings. */
int spec_port(const char *text, struct json *exposed, struct json *bindings, struct err *err);
/* The same for services: adds one PortConfig per port; also target=80,published=8080,protocol=tcp,mode=host. */
int spec_service_port(const char *text, struct json *list, struct err *err);
/* "SOURCE:TARGET[:MODE]" goes to Binds, "TARGET" to Volumes; a relative source is resolved. */
int spec_volume(const char *text, struct json *binds, struct json *volumes, struct err *err);
/* "type=bind,source=/a,target=/b,readonly": the caller owns the Mount. */
struct json *spec_mount(const char *text, struct err *err);
/* "KEY=VALUE", or "KEY": then the value is ours (left out if we have none). */
int spec_env(const char *text, struct json *list, struct err *err);
int spec_env_file(const char *path, struct json *list, struct err *err);
/* "KEY=VALUE" or "KEY" into an object of strings. */
int spec_label(const char *text, struct json *map, struct err *err);
/* "nofile=1024:2048": the caller owns {Name, Soft, Hard}. */
struct json *spec_ulimit(const char *text, struct err *err);
/* "no", "always", "unless-stopped", "on-failure[:3]". */
struct json *spec_restart(const char *text, struct err *err);
/* How a text stands for one value of a document. */
enum spec_kind {
	SPEC_TEXT,
	SPEC_INT,      /* at least 0 */
	SPEC_BOOL,     /* true, false */
	SPEC_DURATION, /* "1m30s" to ns, at least 0 */
	SPEC_SIZE,     /* "64m", or bytes */
	SPEC_CPUS,     /* "0.5" to billionths; 0 is none */
	SPEC_RATIO,    /* 0 to 1 */
	SPEC_KINDS,
};
/* The caller owns it. NULL: ERR_INVALID says what is allowed, not where. */
struct json *spec_value(enum spec_kind kind, const char *text, struct err *err);
/* The object at a key, made if there is none; borrowed. */
struct json *spec_part(struct json *object, const char *key);
/* Bytes as base64 under "Data", and the driver (NULL: none) that fills in templates: a secret's or config's spec. */
int spec_data(const struct buf *data, const char *template_driver, struct json *spec,
              struct err *err);
/* "1.5" CPUs as billionths. */
int spec_cpus(const char *text, int64_t *nano, struct err *err);
/* The words of a text, quotes and backslashes as in a shell: appended to list. */
int spec_words(const char *text, struct json *list, struct err *err);
/* The words of a flag as an array of strings; NULL when it was not given. */
struct json *spec_list(const struct args *args, const char *flag);
