/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * dockerfile - a Dockerfile's text as a list of instructions.
 *
 *	struct dockerfile file;
 *	dockerfile_parse(text, len, "Dockerfile", arena, &file, err);
 *	for (size_t i = 0; i < file.count; i++) ... file.items[i] ...
 *
 * Dockerfile reference: "Format", "Parser directives", "escape". Continuation
 * lines, comments and JSON (exec) forms are taken apart here; variables are not
 * replaced (build/words.h), meaning is not judged (build/plan.h). Everything
 * lives in the arena. An error says file, line and what is allowed.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/json.h"

struct arena;
struct err;

#define DOCKERFILE_MAX       (1u << 20) /* bytes */
#define DOCKERFILE_STEPS_MAX 2000

enum dockerfile_op {
	DOCKERFILE_ADD,
	DOCKERFILE_ARG,
	DOCKERFILE_CMD,
	DOCKERFILE_COPY,
	DOCKERFILE_ENTRYPOINT,
	DOCKERFILE_ENV,
	DOCKERFILE_EXPOSE,
	DOCKERFILE_FROM,
	DOCKERFILE_HEALTHCHECK,
	DOCKERFILE_LABEL,
	DOCKERFILE_MAINTAINER,
	DOCKERFILE_ONBUILD,
	DOCKERFILE_RUN,
	DOCKERFILE_SHELL,
	DOCKERFILE_STOPSIGNAL,
	DOCKERFILE_USER,
	DOCKERFILE_VOLUME,
	DOCKERFILE_WORKDIR,
};

struct dockerfile_instruction {
	enum dockerfile_op op;
	const char *name;         /* "RUN" */
	int line;                 /* first line, from 1 */
	char *text;               /* all of it on one line, as printed after "Step 3/9 : " */
	struct json_strmap flags; /* --chown=x; value NULL where there is no "=" */
	bool json;                /* the arguments were a JSON array of strings */
	/* The arguments, not expanded. JSON: the strings. RUN CMD ENTRYPOINT USER WORKDIR STOPSIGNAL MAINTAINER
	 * ONBUILD: one, the rest of the line. ENV LABEL: name, value, name, value (quotes kept). ARG: "name" or
	 * "name=value" each. HEALTHCHECK: type, then the rest. Else: words. */
	char **args; /* NULL-terminated */
	size_t arg_count;
};

struct dockerfile {
	const char *file; /* name for messages; borrowed */
	char escape;      /* '\\' or '`' */
	struct dockerfile_instruction *items;
	size_t count;
};

/* ERR_INVALID with "FILE:LINE: ..." for anything wrong, an empty file included. */
int dockerfile_parse(const char *text, size_t len, const char *file, struct arena *arena,
                     struct dockerfile *out, struct err *err);

/* One instruction without a file: --change of commit and import, and what ONBUILD kept. */
int dockerfile_parse_line(const char *text, const char *file, int line, struct arena *arena,
                          struct dockerfile_instruction *out, struct err *err);

const char *dockerfile_flag(const struct dockerfile_instruction *in,
                            const char *name); /* NULL if absent */
