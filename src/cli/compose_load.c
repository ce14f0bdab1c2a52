/* SPDX-License-Identifier: Apache-2.0 */
/* Compose files from the disk: YAML, variables, and one file over the other. */

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/str.h"
#include "base/yaml.h"
#include "cli/compose.h"

#define TEXT_MAX (1u << 20)
#define NEST_MAX 8 /* ${A:-${B:-...}} */

/* ---- variables: $NAME ${NAME} ${NAME:-default} ${NAME-default} ${NAME:?message} ${NAME:+other} $$ ---- */

static int fill(const char *text, size_t len, int depth, struct buf *out, struct err *err);

static bool in_name(char c)
{
	return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c >= '0' && c <= '9');
}

/* What ends the brace that is open at text[0], which is behind "${"; SIZE_MAX: nothing. */
static size_t find_end(const char *text, size_t len)
{
	int open = 1;

	for (size_t i = 0; i < len; i++) {
		if (text[i] == '$' && i + 1 < len && text[i + 1] == '{')
			open++;
		else if (text[i] == '}' && --open == 0)
			return i;
	}
	return SIZE_MAX;
}

/* "NAME:-word" and its like, without the braces. */
static int fill_braces(const char *text, size_t len, int depth, struct buf *out, struct err *err)
{
	size_t name_len = 0;
	char name[256];

	while (name_len < len && in_name(text[name_len]))
		name_len++;
	if (name_len == 0 || name_len >= sizeof(name))
		return err_set(err, ERR_INVALID, "${%.*s}: not a name", (int)(len > 60 ? 60 : len),
		               text);
	memcpy(name, text, name_len);
	name[name_len] = '\0';
	const char *value = getenv(name), *rest = text + name_len;
	size_t left = len - name_len;
	bool colon = left > 0 && *rest == ':';
	if (colon)
		rest++, left--;
	bool there = value && (!colon || *value);
	char how = '\0';
	if (left > 0)
		how = *rest;
	if (how == '\0' && !colon) {
		buf_add(out, value ? value : "");
		return 0;
	}
	if (how == '+')
		return there ? fill(rest + 1, left - 1, depth + 1, out, err) : 0;
	if (how != '-' && how != '?')
		return err_set(err, ERR_INVALID, "${%.*s}: not :-, :? or :+ behind the name",
		               (int)(len > 60 ? 60 : len), text);
	if (there) {
		buf_add(out, value);
		return 0;
	}
	if (how == '?')
		return err_set(err, ERR_INVALID, "variable %s must be set%s%.*s", name,
		               left > 1 ? ": " : "", (int)(left > 200 ? 200 : left - 1), rest + 1);
	return fill(rest + 1, left - 1, depth + 1, out, err);
}

/* What stands behind a dollar at text[0..len): *used is its length. */
static int fill_dollar(const char *text, size_t len, int depth, size_t *used, struct buf *out,
                       struct err *err)
{
	size_t n = 0;

	if (len > 0 && *text == '$') {
		*used = 1;
		buf_add(out, "$");
		return 0;
	}
	if (len > 0 && *text == '{') {
		n = find_end(text + 1, len - 1);
		if (n == SIZE_MAX)
			return err_set(err, ERR_INVALID, "'${%.60s': not closed", text + 1);
		*used = n + 2;
		return fill_braces(text + 1, n, depth, out, err);
	}
	while (n < len && in_name(text[n]))
		n++;
	*used = n;
	if (n == 0)
		return err_set(err, ERR_INVALID, "'$%.60s': no name behind $ ($$ is a dollar)",
		               text);
	return fill_braces(text, n, depth, out, err);
}

static int fill(const char *text, size_t len, int depth, struct buf *out, struct err *err)
{
	if (depth > NEST_MAX)
		return err_set(err, ERR_LIMIT, "variables nested deeper than %d", NEST_MAX);
	for (size_t i = 0, used; i < len; i++) {
		if (text[i] != '$') {
			buf_add_mem(out, text + i, 1);
			continue;
		}
		if (fill_dollar(text + i + 1, len - i - 1, depth, &used, out, err) < 0)
			return -1;
		i += used;
	}
	return buf_check(out, err);
}

/* A copy with the variables in all its texts filled in; not in keys. */
static struct json *interpolate(const struct json *doc, struct err *err)
{
	void *iter = NULL;
	const char *key;
	struct json *item;

	if (json_is_string(doc)) {
		auto_buf struct buf text = BUF_INIT(TEXT_MAX);
		const char *from = json_str(doc);
		if (!strchr(from, '$'))
			return json_ref((struct json *)doc);
		return fill(from, strlen(from), 0, &text, err) < 0 ? NULL
		                                                   : json_string(buf_str(&text));
	}
	if (json_is_object(doc)) {
		auto_type(json) out = json_object();
		while (json_next(doc, &iter, &key, &item)) {
			struct json *value = interpolate(item, err);
			if (!value)
				return err_wrap(err, "%s", key), NULL;
			json_set(out, key, value);
		}
		return json_ref(out);
	}
	if (!json_is_array(doc))
		return json_ref((struct json *)doc);
	auto_type(json) out = json_array();
	for (size_t i = 0; i < json_count(doc); i++) {
		struct json *value = interpolate(json_at(doc, i), err);
		if (!value)
			return NULL;
		json_append(out, value);
	}
	return json_ref(out);
}

/* ---- one file over another ---- */

static bool replaces(const char *key)
{
	return str_eq(key, "command") || str_eq(key, "entrypoint") || str_eq(key, "test");
}

static bool holds(const struct json *list, const struct json *item)
{
	auto_buf struct buf a = BUF_INIT(TEXT_MAX);

	(void)json_write(item, &a, NULL);
	for (size_t i = 0; i < json_count(list); i++) {
		auto_buf struct buf b = BUF_INIT(TEXT_MAX);
		(void)json_write(json_at(list, i), &b, NULL);
		if (str_eq(buf_str(&a), buf_str(&b)))
			return true;
	}
	return false;
}

/* Mappings are merged, lists joined, all else (and commands) replaced. The caller owns the result. */
static struct json *overlay(struct json *below, struct json *above)
{
	void *iter = NULL;
	const char *key;
	struct json *item;

	if (json_is_object(below) && json_is_object(above)) {
		struct json *out = json_object();
		while (json_next(below, &iter, &key, &item))
			json_set(out, key, json_ref(item));
		for (iter = NULL; json_next(above, &iter, &key, &item);) {
			struct json *old = replaces(key) ? NULL : json_get(out, key);
			json_set(out, key, old ? overlay(old, item) : json_ref(item));
		}
		return out;
	}
	if (!json_is_array(below) || !json_is_array(above))
		return json_ref(above);
	struct json *out = json_array();
	for (size_t i = 0; i < json_count(below); i++)
		json_append(out, json_ref(json_at(below, i)));
	for (size_t i = 0; i < json_count(above); i++)
		if (!holds(out, json_at(above, i)))
			json_append(out, json_ref(json_at(above, i)));
	return out;
}

static struct json *load_one(const char *path, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(COMPOSE_FILE_MAX);
	bool input = str_eq(path, "-");

	if ((input ? fs_read_fd(STDIN_FILENO, COMPOSE_FILE_MAX, &text, err)
	           : fs_trusted_read(path, COMPOSE_FILE_MAX, &text, err)) < 0)
		return NULL;
	auto_type(json) doc = yaml_parse(text.data, text.len, err);
	struct json *filled = doc ? interpolate(doc, err) : NULL;
	if (!filled)
		err_wrap(err, "%s", input ? "standard input" : path);
	return filled;
}

static char *directory_of(const char *path, struct err *err)
{
	auto_free char *full = str_eq(path, "-") ? getcwd(NULL, 0) : realpath(path, NULL);
	char *slash = full ? strrchr(full, '/') : NULL;

	if (!full)
		return err_sys(err, "%s", path), NULL;
	if (!str_eq(path, "-") && slash)
		slash[slash == full] = '\0';
	return move_ptr(full);
}

void compose_done(struct compose *file)
{
	json_free(file->doc);
	free(file->dir);
	*file = (struct compose){0};
}

int compose_load(const char *const *paths, size_t count, struct compose *out, struct err *err)
{
	out->dir = directory_of(paths[0], err);
	if (!out->dir)
		return -1;
	for (size_t i = 0; i < count; i++) {
		auto_type(json) doc = load_one(paths[i], err);
		if (!doc)
			return -1;
		struct json *both = out->doc ? overlay(out->doc, doc) : json_ref(doc);
		json_free(out->doc);
		out->doc = both;
	}
	return 0;
}
