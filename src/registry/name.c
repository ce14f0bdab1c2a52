/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/name.h"

#include <stdio.h>
#include <string.h>

#include "base/id.h"
#include "base/str.h"

static bool is_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* Bytes of a separator at p: ".", "_", "__" or any number of "-". 0: none. */
static size_t separator(const char *p)
{
	if (*p == '.')
		return 1;
	if (*p == '_')
		return p[1] == '_' ? 2 : 1;
	return strspn(p, "-");
}

bool name_ok(const char *name)
{
	const char *p = name;

	if (!name || strlen(name) > NAME_MAX_BYTES)
		return false;
	for (;;) {
		if (!is_alnum(*p))
			return false;
		while (is_alnum(*p))
			p++;
		if (*p == '\0')
			return true;
		size_t n = *p == '/' ? 1 : separator(p);
		if (n == 0)
			return false;
		p += n;
	}
}

static char *translate(const char *from, char *to, char what, char into)
{
	size_t i = 0;

	for (; from[i] && i < NAME_FILE_MAX - 1; i++)
		if (from[i] == what)
			to[i] = into;
		else
			to[i] = from[i];
	to[i] = '\0';
	return to;
}

char *name_to_file(const char *name, char file[NAME_FILE_MAX])
{
	return translate(name, file, '/', '+');
}

char *name_of_file(const char *file, char name[NAME_FILE_MAX])
{
	return translate(file, name, '+', '/');
}

char *name_to_blob(const char *digest, char path[NAME_BLOB_MAX])
{
	snprintf(path, NAME_BLOB_MAX, "blobs/%.6s/%s", digest, digest + 7);
	return path;
}

bool name_media_type(const char *text, char type[NAME_TYPE_MAX])
{
	size_t n = text ? strcspn(text, "; \t") : 0;

	if (n == 0 || n >= NAME_TYPE_MAX)
		return false;
	for (size_t i = 0; i < n; i++) {
		char c = text[i];

		if (c < '!' || c > '~' || c == '"' || c == '\\')
			return false;
		type[i] = c;
	}
	type[n] = '\0';
	return memchr(type, '/', n) != NULL;
}

/* A number of digits only; *p moves behind it. */
static bool digits(const char **p, uint64_t *value)
{
	return **p >= '0' && **p <= '9' && id_scan_u64(p, value);
}

enum name_range name_range(const char *header, uint64_t size, uint64_t *first, uint64_t *last)
{
	uint64_t a = 0, b = 0;
	const char *p = header;

	if (!p || !str_starts(p, "bytes="))
		return NAME_RANGE_NONE;
	p += strlen("bytes=");
	if (*p == '-') { /* the last n bytes */
		p++;
		if (!digits(&p, &b) || *p)
			return NAME_RANGE_NONE;
		if (b == 0 || size == 0)
			return NAME_RANGE_UNMET;
		*first = b < size ? size - b : 0;
		*last = size - 1;
		return NAME_RANGE_OK;
	}
	if (!digits(&p, &a) || *p++ != '-')
		return NAME_RANGE_NONE;
	b = UINT64_MAX;
	if (*p && (!digits(&p, &b) || *p || b < a))
		return NAME_RANGE_NONE;
	if (a >= size)
		return NAME_RANGE_UNMET;
	*first = a;
	*last = b < size ? b : size - 1;
	return NAME_RANGE_OK;
}

bool name_chunk_range(const char *header, uint64_t *first, uint64_t *last)
{
	uint64_t a = 0, b = 0;
	const char *p = header;

	if (!p)
		return false;
	if (str_starts(p, "bytes "))
		p += strlen("bytes ");
	if (!digits(&p, &a) || *p++ != '-' || !digits(&p, &b) || (*p && *p != '/') || b < a ||
	    b == UINT64_MAX)
		return false;
	*first = a;
	*last = b;
	return true;
}
