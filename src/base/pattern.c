/* SPDX-License-Identifier: Apache-2.0 */
#include "base/pattern.h"

#include <ctype.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"

#define STEPS_MAX 100000 /* of one match; a pattern of many "**" may try that often */

struct pattern {
	char *text;
	bool exception;
};

/* "[a-z]" at p: does c match? *end: past the bracket. False with *end NULL when malformed. */
static bool class_matches(const char *p, char c, const char **end)
{
	bool negate = p[1] == '^' || p[1] == '!';
	bool hit = false;
	const char *s = p + 1 + negate;

	*end = NULL;
	for (bool first = true; *s && (*s != ']' || first); first = false) {
		unsigned char low, high;
		if (*s == '\\' && s[1])
			s++;
		low = high = (unsigned char)*s++;
		if (*s == '-' && s[1] && s[1] != ']') {
			s++;
			if (*s == '\\' && s[1])
				s++;
			high = (unsigned char)*s++;
		}
		hit |= (unsigned char)c >= low && (unsigned char)c <= high;
	}
	if (*s != ']')
		return false;
	*end = s + 1;
	return hit != negate;
}

/* Does "**" stand at p as a whole component? *rest: what follows it and its slash. */
static bool any_components(const char *p, const char **rest)
{
	if (p[0] != '*' || p[1] != '*' || (p[2] && p[2] != '/'))
		return false;
	*rest = p[2] ? p + 3 : p + 2;
	return true;
}

static bool match_here(const char *p, const char *s, int *steps);

static bool match_components(const char *rest, const char *s, int *steps)
{
	if (!*rest)
		return *s != '\0'; /* at the end it wants something there */
	for (;;) {
		if (match_here(rest, s, steps))
			return true;
		s = strchr(s, '/');
		if (!s)
			return false;
		s++;
	}
}

static bool match_star(const char *p, const char *s, int *steps)
{
	while (*p == '*')
		p++;
	for (;; s++) {
		if (match_here(p, s, steps))
			return true;
		if (!*s || *s == '/')
			return false;
	}
}

/* One character by the element at *p, which is neither a star nor the end; *p ends on its last byte. */
static bool match_one(const char **p, char c)
{
	const char *end;

	if (**p == '[') {
		if (!c || c == '/' || !class_matches(*p, c, &end) || !end)
			return false;
		*p = end - 1;
		return true;
	}
	if (**p == '?')
		return c && c != '/';
	if (**p == '\\' && (*p)[1])
		++*p;
	return **p == c;
}

static bool match_here(const char *p, const char *s, int *steps)
{
	const char *rest;
	bool at_component = true;

	for (;; at_component = *p == '/', p++, s++) {
		if (++*steps > STEPS_MAX)
			return false;
		if (at_component && any_components(p, &rest))
			return match_components(rest, s, steps);
		if (*p == '*')
			return match_star(p, s, steps);
		if (*p == '\0')
			return *s == '\0';
		if (!match_one(&p, *s))
			return false;
	}
}

bool pattern_match(const char *pattern, const char *path)
{
	int steps = 0;

	return match_here(pattern, path, &steps);
}

int pattern_check(const char *pattern, struct err *err)
{
	for (const char *p = pattern; *p; p++) {
		const char *end;
		if (*p == '\\' && *++p == '\0')
			return err_set(err, ERR_INVALID, "pattern '%s': nothing after \\", pattern);
		if (*p != '[')
			continue;
		(void)class_matches(p, 'x', &end);
		if (!end)
			return err_set(err, ERR_INVALID, "pattern '%s': [ is not closed", pattern);
		p = end - 1;
	}
	return 0;
}

bool pattern_is_literal(const char *pattern)
{
	return !strpbrk(pattern, "*?[\\");
}

/* Cleans like Go's path.Clean in place: no "./", no "//", ".." taken back, no "/" in front or at the end. */
static void clean(char *text)
{
	char *out = text;

	for (char *s = text; *s;) {
		size_t len = strcspn(s, "/");
		if (len == 2 && s[0] == '.' && s[1] == '.') {
			while (out > text && *--out != '/')
				;
		} else if (len > 0 && !(len == 1 && *s == '.')) {
			if (out > text)
				*out++ = '/';
			memmove(out, s, len);
			out += len;
		}
		s += len;
		s += *s == '/';
	}
	*out = '\0';
}

static int add_line(struct pattern_list *list, const char *line, size_t len, struct arena *arena,
                    struct err *err)
{
	while (len > 0 && isspace((unsigned char)line[len - 1]))
		len--;
	while (len > 0 && isspace((unsigned char)*line))
		line++, len--;
	if (len == 0 || *line == '#')
		return 0;

	struct pattern *item = &list->items[list->count];
	item->exception = *line == '!';
	item->text = arena_strndup(arena, line + item->exception, len - item->exception, err);
	if (!item->text)
		return -1;
	clean(item->text);
	if (pattern_check(item->text, err) < 0)
		return -1;
	list->has_exceptions |= item->exception;
	list->count += *item->text != '\0';
	return 0;
}

int pattern_list_parse(const char *text, size_t len, struct arena *arena, struct pattern_list *out,
                       struct err *err)
{
	struct pattern_list list = {0};
	size_t lines = 1;

	if (len > PATTERN_FILE_MAX)
		return err_set(err, ERR_LIMIT, "longer than %u bytes", PATTERN_FILE_MAX);
	for (size_t i = 0; i < len; i++)
		lines += text[i] == '\n';
	if (lines > PATTERN_COUNT_MAX)
		return err_set(err, ERR_LIMIT, "more than %d lines", PATTERN_COUNT_MAX);
	list.items = arena_array(arena, lines, sizeof(*list.items), err);
	if (!list.items)
		return -1;
	for (size_t start = 0; start < len;) {
		const char *end = memchr(text + start, '\n', len - start);
		size_t n = end ? (size_t)(end - text) - start : len - start;
		if (add_line(&list, text + start, n, arena, err) < 0)
			return -1;
		start += n + 1;
	}
	*out = list;
	return 0;
}

/* The pattern, against the path and each directory above it. */
static bool matches_or_parent(const char *pattern, const char *path)
{
	char part[4096];
	size_t len = strlen(path);

	if (pattern_match(pattern, path))
		return true;
	if (len >= sizeof(part))
		return false;
	memcpy(part, path, len + 1);
	for (char *slash; (slash = strrchr(part, '/'));) {
		*slash = '\0';
		if (pattern_match(pattern, part))
			return true;
	}
	return false;
}

bool pattern_list_excludes(const struct pattern_list *list, const char *path)
{
	bool excluded = false;

	for (size_t i = 0; i < list->count; i++) {
		const struct pattern *p = &list->items[i];
		if (excluded == p->exception && matches_or_parent(p->text, path))
			excluded = !p->exception;
	}
	return excluded;
}
