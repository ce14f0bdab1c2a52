/* SPDX-License-Identifier: Apache-2.0 */
#include "http/route.h"

#include <string.h>

#include "base/str.h"

#define VERSION_DIGITS_MAX 4

/* Does the segment at `pattern` (up to its "/" or end) equal the one at `path`? */
static bool segment_eq(const char *pattern, size_t pattern_len, const char *path, size_t path_len)
{
	return pattern_len == path_len && memcmp(pattern, path, path_len) == 0;
}

/* The start of the next segment, or NULL at the end. text points behind a "/". */
static const char *after_segment(const char *text, size_t len)
{
	return text[len] == '/' ? text + len + 1 : NULL;
}

/*
 * Both point behind a slash; NULL means that no segment is left. Recursion is as
 * deep as the pattern, and only a "{*}" tries more than one way: the longest first.
 */
static bool match_from(const char *pattern, const char *path, struct http_route_match *match)
{
	if (!pattern || !path)
		return !pattern && !path;

	size_t pattern_len = strcspn(pattern, "/");
	size_t len = strcspn(path, "/");
	bool one = segment_eq("{}", 2, pattern, pattern_len);
	bool many = segment_eq("{*}", 3, pattern, pattern_len);
	const char *rest = after_segment(pattern, pattern_len);

	if (!one && !many)
		return segment_eq(pattern, pattern_len, path, len) &&
		       match_from(rest, after_segment(path, len), match);
	if (len == 0 || match->count == HTTP_ARGS_MAX)
		return false;

	size_t index = match->count++;
	size_t end = many ? strlen(path) : len;
	while (end > 0) {
		if (match_from(rest, after_segment(path, end), match)) {
			match->args[index] = (struct http_route_arg){path, end};
			return true;
		}
		do /* back to the slash before */
			end--;
		while (end > 0 && path[end] != '/');
		if (!many)
			break;
	}
	match->count = index;
	return false;
}

static bool pattern_fits(const char *pattern, const char *path, struct http_route_match *match)
{
	match->count = 0;
	return match_from(pattern + 1, path + 1, match);
}

static bool method_fits(const struct http_route *route, const char *method)
{
	return str_eq(route->method, method);
}

static bool find_exactly(const struct http_route *routes, const char *method, const char *path,
                         struct http_route_match *match)
{
	for (const struct http_route *r = routes; r->method; r++) {
		if (!pattern_fits(r->pattern, path, match))
			continue;
		if (method_fits(r, method)) {
			match->route = r;
			return true;
		}
		match->other_method = true;
	}
	return false;
}

void http_route_find(const struct http_route *routes, const char *method, const char *path,
                     struct http_route_match *match)
{
	*match = (struct http_route_match){0};
	if (find_exactly(routes, method, path, match))
		return;
	if (str_eq(method, "HEAD"))
		find_exactly(routes, "GET", path, match);
}

/* "1.41/..." -> 141, and how long it was. 0: not a version. */
static size_t parse_version(const char *text, unsigned *major, unsigned *minor)
{
	size_t n = strspn(text, "0123456789");
	size_t m = text[n] == '.' ? strspn(text + n + 1, "0123456789") : 0;

	if (n == 0 || m == 0 || n > VERSION_DIGITS_MAX || m > VERSION_DIGITS_MAX)
		return 0;

	size_t len = n + 1 + m;
	if (text[len] != '/')
		return 0;

	*major = *minor = 0;
	for (size_t i = 0; i < n; i++)
		*major = *major * 10 + (unsigned)(text[i] - '0');
	for (size_t i = n + 1; i < len; i++)
		*minor = *minor * 10 + (unsigned)(text[i] - '0');
	return len;
}

int http_route_version(const char **path, unsigned min, unsigned max, unsigned *version,
                       struct err *err)
{
	unsigned major = 0, minor = 0;

	*version = 0;
	if (!str_starts(*path, "/v"))
		return 0;
	size_t len = parse_version(*path + 2, &major, &minor);
	if (len == 0)
		return 0;

	/* 2.0 is newer than 1.100, so the parts are compared, not a mixture of them. */
	bool old = major < min / 100 || (major == min / 100 && minor < min % 100);
	bool new = major > max / 100 || (major == max / 100 && minor > max % 100);
	if (old)
		return err_set(err, ERR_INVALID,
		               "client version %u.%u is too old. Minimum supported API version is "
		               "%u.%u, please upgrade your client to a newer version",
		               major, minor, min / 100, min % 100);
	if (new)
		return err_set(err, ERR_INVALID,
		               "client version %u.%u is too new. Maximum supported API version is "
		               "%u.%u",
		               major, minor, max / 100, max % 100);
	*path += 2 + len;
	*version = major * 100 + minor;
	return 0;
}
