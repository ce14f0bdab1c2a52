/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * pattern - path patterns of .dockerignore, COPY and friends.
 *
 *	pattern_match("src/?.c", path)         one pattern, whole path
 *	struct pattern_list list;
 *	pattern_list_parse(text, len, arena, &list, err);
 *	pattern_list_excludes(&list, "build/x.o")
 *
 * "*" and "?" match within one path component, "**" any number of components,
 * "[a-z]" and "[^a-z]" one character, "\" takes the next one literally (Go's
 * path/filepath.Match, and "**"). Paths are relative, without "./", separated by "/".
 */

#include <stdbool.h>
#include <stddef.h>

struct arena;
struct err;

#define PATTERN_FILE_MAX  (1u << 20) /* bytes of a .dockerignore */
#define PATTERN_COUNT_MAX 10000

/* A malformed pattern ("[a") matches nothing: see pattern_check(). */
bool pattern_match(const char *pattern, const char *path);
int pattern_check(const char *pattern, struct err *err); /* ERR_INVALID names it */
bool pattern_is_literal(const char *pattern);            /* no special character in it */

struct pattern_list {
	struct pattern *items; /* in order; the last that matches decides */
	size_t count;
	bool has_exceptions; /* a "!" line: an excluded directory must still be walked */
};

/* Lines; "#" begins a comment, "!" takes back, blanks around are cut, "/" in front is
 * meaningless, "." and ".." are cleaned away. Lives in the arena. */
int pattern_list_parse(const char *text, size_t len, struct arena *arena, struct pattern_list *out,
                       struct err *err);

/* Is the path, or a directory above it, excluded and not taken back? */
bool pattern_list_excludes(const struct pattern_list *list, const char *path);
