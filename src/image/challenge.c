/* SPDX-License-Identifier: Apache-2.0 */
#include "image/challenge.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "base/str.h"

/* One "key=value" or key="quoted value" at *p; moves *p behind it and its comma. */
static bool next_param(const char **p, char key[32], char value[1024])
{
	const char *s = *p + strspn(*p, " \t,");
	size_t n = strcspn(s, "= \t,"), used = 0;

	if (n == 0 || n >= 32 || s[n] != '=')
		return false;
	memcpy(key, s, n);
	key[n] = '\0';
	s += n + 1;
	bool quoted = *s == '"';
	s += quoted;
	while (*s && (quoted ? *s != '"' : !strchr(", \t", *s))) {
		if (quoted && *s == '\\' && s[1])
			s++;
		if (used + 1 >= 1024)
			return false;
		value[used++] = *s++;
	}
	if (quoted && *s++ != '"')
		return false;
	value[used] = '\0';
	*p = s;
	return true;
}

int challenge_parse(const char *header, struct challenge *out, struct err *err)
{
	size_t n = strcspn(header, " \t");
	char key[32], value[1024];
	const char *p = header + n;

	*out = (struct challenge){0};
	if (n == 5 && strncasecmp(header, "Basic", n) == 0)
		out->scheme = CHALLENGE_BASIC;
	else if (n == 6 && strncasecmp(header, "Bearer", n) == 0)
		out->scheme = CHALLENGE_BEARER;
	else
		return err_set(err, ERR_UNSUPPORTED,
		               "registry wants authentication \"%.*s\"; Basic and Bearer are known",
		               (int)(n < 40 ? n : 40), header);
	while (next_param(&p, key, value)) {
		if (strcasecmp(key, "realm") == 0)
			(void)snprintf(out->realm, sizeof(out->realm), "%s", value);
		else if (strcasecmp(key, "service") == 0)
			(void)snprintf(out->service, sizeof(out->service), "%.255s", value);
	}
	if (out->scheme == CHALLENGE_BEARER && !str_starts(out->realm, "https://") &&
	    !str_starts(out->realm, "http://"))
		return err_set(err, ERR_INVALID, "registry names no usable token server");
	return 0;
}

/* Host of a URL without port; its length. User info is no part of a realm that we trust. */
static const char *host_of(const char *url, size_t *len)
{
	const char *host = strstr(url, "://");

	host = host ? host + 3 : url;
	size_t authority = strcspn(host, "/?#");
	if (memchr(host, '@', authority)) {
		*len = 0;
		return host;
	}
	*len = host[0] == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":/?#");
	return host;
}

/* The part of a name from its n-th last label on; the whole name if it has fewer. */
static const char *last_labels(const char *host, size_t len, int n, size_t *tail)
{
	for (size_t i = len; i > 0; i--)
		if (host[i - 1] == '.' && n-- == 1) {
			*tail = len - i;
			return host + i;
		}
	*tail = len;
	return host;
}

/* What one owner has registered: two labels, or three below names like co.uk and com.au. */
static const char *registrable(const char *host, size_t len, size_t *tail)
{
	const char *two = last_labels(host, len, 2, tail);
	const char *dot = memchr(two, '.', *tail);

	if (dot && dot - two <= 3 && two + *tail - dot <= 3)
		return last_labels(host, len, 3, tail);
	return two;
}

static bool is_address(const char *host, size_t len)
{
	return host[0] == '[' || strspn(host, "0123456789.") >= len;
}

bool challenge_trusts(const struct challenge *c, const char *base)
{
	size_t base_len = strlen(base), a_len, b_len, a_tail, b_tail;

	if (strncasecmp(c->realm, base, base_len) == 0 && strchr("/?#", c->realm[base_len]))
		return true; /* the same origin; strchr() finds the terminator as well */
	const char *a = host_of(base, &a_len), *b = host_of(c->realm, &b_len);
	if (a_len == 0 || b_len == 0)
		return false;
	if (!str_starts(base, "https://") || !str_starts(c->realm, "https://"))
		/* Plain http is for loopback and what the administrator named: the same host only. */
		return str_starts(base, "http://") && a_len == b_len &&
		       strncasecmp(a, b, a_len) == 0;
	if (is_address(a, a_len) || is_address(b, b_len))
		return a_len == b_len && strncasecmp(a, b, a_len) == 0;
	const char *x = registrable(a, a_len, &a_tail), *y = registrable(b, b_len, &b_tail);
	return a_tail == b_tail && memchr(x, '.', a_tail) && strncasecmp(x, y, a_tail) == 0;
}
