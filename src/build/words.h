/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * words - quotes, escapes and $variables of a Dockerfile word.
 *
 *	struct words_env env = {.find = lookup, .arg = scope, .escape = '\\'};
 *	char *value = words_expand("${NAME:-nobody}'s", &env, arena, err);
 *
 * Dockerfile reference, "Environment replacement": $x, ${x}, and ${x:-w} ${x:+w}
 * ${x:?w} with and without the colon. Single quotes keep everything, double
 * quotes keep spaces and allow \" \$ \\; outside quotes the escape character
 * takes any next one literally. Results live in the arena.
 */

#include <stddef.h>

struct arena;
struct err;

#define WORDS_DEPTH_MAX 16           /* nested ${a:-${b}} */
#define WORDS_TEXT_MAX  (256u << 10) /* bytes of a result */

struct words_env {
	const char *(*find)(void *arg, const char *name); /* NULL: not set */
	void *arg;
	char escape; /* '\\' or '`' */
};

struct words_list {
	char **items; /* NULL-terminated */
	size_t count;
};

/* One word out of one: quotes go, variables are put in, spaces stay. */
char *words_expand(const char *word, const struct words_env *env, struct arena *arena,
                   struct err *err);

/* The same, and the result is split at unquoted white space. */
int words_split(const char *text, const struct words_env *env, struct arena *arena,
                struct words_list *out, struct err *err);
