/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/reference.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/str.h"

#define DEFAULT_DOMAIN "docker.io"
#define LEGACY_DOMAIN  "index.docker.io"
#define LIBRARY        "library/"
#define NAME_MAX_LEN   255 /* bytes of domain, slash and path */
#define TAG_MAX_LEN    128
#define ID_LEN         64

/* Not the locale's idea of letters: these become file names and URLs. */
#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGIT "0123456789"

/* A piece of the text being parsed; borrowed. */
struct span {
	const char *data;
	size_t len;
};

static size_t run_of(struct span s, size_t from, const char *set)
{
	size_t n = 0;

	while (from + n < s.len && s.data[from + n] && strchr(set, s.data[from + n]))
		n++;
	return n;
}

static bool span_eq(struct span s, const char *text)
{
	return s.len == strlen(text) && memcmp(s.data, text, s.len) == 0;
}

/* alnum { sep alnum }, where sep is one of "." "_" "__" or any number of "-". */
static bool path_component_ok(struct span s)
{
	size_t at = 0;

	for (;;) {
		size_t n = run_of(s, at, LOWER DIGIT);
		if (n == 0)
			return false;
		at += n;
		if (at == s.len)
			return true;

		size_t dashes = run_of(s, at, "-");
		size_t lines = run_of(s, at, "_");
		if (dashes > 0)
			at += dashes;
		else if (lines > 0 && lines <= 2)
			at += lines;
		else if (s.data[at] == '.')
			at++;
		else
			return false;
	}
}

static bool path_ok(struct span s)
{
	size_t start = 0;

	for (size_t i = 0; i <= s.len; i++) {
		if (i < s.len && s.data[i] != '/')
			continue;
		if (!path_component_ok((struct span){s.data + start, i - start}))
			return false;
		start = i + 1;
	}
	return true;
}

/* Letters and digits, with dashes inside; parts joined by single dots. */
static bool host_name_ok(struct span s)
{
	char before = '.';

	for (size_t i = 0; i < s.len; i++) {
		char c = s.data[i];

		if (c == '.' || c == '-') {
			if (before == '.' || (c == '.' && before == '-'))
				return false;
		} else if (!c || !strchr(LOWER UPPER DIGIT, c)) {
			return false;
		}
		before = c;
	}
	return before != '.' && before != '-';
}

static bool domain_ok(struct span s)
{
	size_t host_len = 0;

	if (s.len > 0 && s.data[0] == '[') {
		size_t n = run_of(s, 1, DIGIT "abcdefABCDEF:");

		if (n < 2 || n + 1 >= s.len || s.data[n + 1] != ']')
			return false;
		host_len = n + 2;
	} else {
		host_len = run_of(s, 0, LOWER UPPER DIGIT ".-");
		if (!host_name_ok((struct span){s.data, host_len}))
			return false;
	}
	if (host_len == s.len)
		return true;

	size_t digits = run_of(s, host_len + 1, DIGIT);
	return s.data[host_len] == ':' && digits > 0 && digits <= 5 &&
	       host_len + 1 + digits == s.len;
}

/* Does this first component name a registry rather than a part of the path? */
static bool looks_like_domain(struct span s)
{
	return memchr(s.data, '.', s.len) || memchr(s.data, ':', s.len) || span_eq(s, "localhost");
}

static bool looks_like_id(struct span s)
{
	return s.len == ID_LEN && run_of(s, 0, DIGIT "abcdef") == ID_LEN;
}

static bool tag_ok(struct span s)
{
	return s.len > 0 && s.len <= TAG_MAX_LEN && s.data[0] != '.' && s.data[0] != '-' &&
	       run_of(s, 0, LOWER UPPER DIGIT "_.-") == s.len;
}

bool reference_tag_ok(const char *tag)
{
	return tag && tag_ok((struct span){tag, strlen(tag)});
}

/* Cuts "@digest" and then ":tag" off the end of *rest. */
static int take_tag_and_digest(struct span *rest, struct reference *ref, struct err *err)
{
	const char *at = memchr(rest->data, '@', rest->len);

	if (at) {
		if (digest_check(at + 1, err) < 0)
			return -1;
		memcpy(ref->digest, at + 1, strlen(at + 1) + 1);
		rest->len = (size_t)(at - rest->data);
	}

	const char *slash = memrchr(rest->data, '/', rest->len);
	const char *colon = memrchr(rest->data, ':', rest->len);
	if (!colon || (slash && colon < slash))
		return 0;

	struct span tag = {colon + 1, rest->len - (size_t)(colon + 1 - rest->data)};
	if (!tag_ok(tag))
		return err_set(err, ERR_INVALID,
		               "bad tag \"%.*s\": up to 128 letters, digits, _ . and -, "
		               "not beginning with . or -",
		               (int)tag.len, tag.data);
	memcpy(ref->tag, tag.data, tag.len);
	ref->tag[tag.len] = '\0';
	rest->len = (size_t)(colon - rest->data);
	return 0;
}

static int check_name(struct span domain, struct span path, struct err *err)
{
	if (domain.len > 0 && !domain_ok(domain))
		return err_set(err, ERR_INVALID,
		               "bad registry \"%.*s\": it must be a host name or address, "
		               "with an optional :port",
		               (int)domain.len, domain.data);
	if (run_of(path, 0, LOWER UPPER DIGIT "/._-") == path.len &&
	    run_of(path, 0, LOWER DIGIT "/._-") < path.len)
		return err_set(err, ERR_INVALID, "bad image name \"%.*s\": it must be lower-case",
		               (int)path.len, path.data);
	if (!path_ok(path))
		return err_set(err, ERR_INVALID,
		               "bad image name \"%.*s\": parts between slashes are lower-case "
		               "letters and digits, joined by . _ __ or -",
		               (int)path.len, path.data);
	return 0;
}

static int set_name(struct reference *ref, struct span domain, struct span path, struct err *err)
{
	bool official = domain.len == 0 || span_eq(domain, DEFAULT_DOMAIN) ||
	                span_eq(domain, LEGACY_DOMAIN);
	const char *prefix = official && !memchr(path.data, '/', path.len) ? LIBRARY : "";

	if (official)
		domain = (struct span){DEFAULT_DOMAIN, strlen(DEFAULT_DOMAIN)};
	if (domain.len + 1 + strlen(prefix) + path.len > NAME_MAX_LEN)
		return err_set(err, ERR_INVALID, "image name is longer than %d bytes",
		               NAME_MAX_LEN);
	snprintf(ref->domain, sizeof(ref->domain), "%.*s", (int)domain.len, domain.data);
	snprintf(ref->path, sizeof(ref->path), "%s%.*s", prefix, (int)path.len, path.data);
	return 0;
}

int reference_parse_bare(const char *text, struct reference *ref, struct err *err)
{
	struct reference parsed = {0};
	struct span rest = {text, strlen(text)};

	if (rest.len == 0)
		return err_set(err, ERR_INVALID, "empty image reference");
	if (rest.len >= REFERENCE_MAX)
		return err_set(err, ERR_INVALID, "image reference is longer than %d bytes",
		               REFERENCE_MAX - 1);
	if (take_tag_and_digest(&rest, &parsed, err) < 0)
		return err_wrap(err, "invalid reference \"%s\"", text);

	struct span domain = {text, 0}, path = rest;
	const char *slash = memchr(rest.data, '/', rest.len);
	if (slash && looks_like_domain((struct span){text, (size_t)(slash - text)})) {
		domain.len = (size_t)(slash - text);
		path = (struct span){slash + 1, rest.len - domain.len - 1};
	}
	if (!slash && looks_like_id(path))
		return err_set(err, ERR_INVALID,
		               "invalid reference \"%s\": 64 hex digits are an id, not a name",
		               text);
	if (check_name(domain, path, err) < 0 || set_name(&parsed, domain, path, err) < 0)
		return err_wrap(err, "invalid reference \"%s\"", text);
	*ref = parsed;
	return 0;
}

int reference_parse(const char *text, struct reference *ref, struct err *err)
{
	if (reference_parse_bare(text, ref, err) < 0)
		return -1;
	if (ref->tag[0] == '\0' && ref->digest[0] == '\0')
		memcpy(ref->tag, "latest", sizeof("latest"));
	return 0;
}

char *reference_name(const struct reference *ref, char text[REFERENCE_MAX])
{
	snprintf(text, REFERENCE_MAX, "%s/%s", ref->domain, ref->path);
	return text;
}

/* What people may leave out, as long as the rest still reads back as the same name. */
char *reference_familiar_name(const struct reference *ref, char text[REFERENCE_MAX])
{
	if (strcmp(ref->domain, DEFAULT_DOMAIN) != 0)
		return reference_name(ref, text);

	const char *path = ref->path;
	if (str_starts(path, LIBRARY)) {
		const char *rest = path + strlen(LIBRARY);
		struct span tail = {rest, strlen(rest)};

		if (!memchr(rest, '/', tail.len) && !looks_like_id(tail))
			path = rest;
	}

	const char *slash = strchr(path, '/');
	if (slash && looks_like_domain((struct span){path, (size_t)(slash - path)}))
		return reference_name(ref, text);
	snprintf(text, REFERENCE_MAX, "%s", path);
	return text;
}

static char *add_tag_and_digest(const struct reference *ref, char text[REFERENCE_MAX])
{
	size_t len = strlen(text);

	if (ref->tag[0])
		len += (size_t)snprintf(text + len, REFERENCE_MAX - len, ":%s", ref->tag);
	if (ref->digest[0])
		snprintf(text + len, REFERENCE_MAX - len, "@%s", ref->digest);
	return text;
}

char *reference_format(const struct reference *ref, char text[REFERENCE_MAX])
{
	return add_tag_and_digest(ref, reference_name(ref, text));
}

char *reference_familiar(const struct reference *ref, char text[REFERENCE_MAX])
{
	return add_tag_and_digest(ref, reference_familiar_name(ref, text));
}
