/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/tasklist.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"
#include "cli/api.h"
#include "cli/out.h"

#define ERROR_MAX 30 /* characters shown */
#define TEXT_MAX  (64u << 10)

const char *tasklist_word(struct cli *cli, const char *state)
{
	char *text = arena_strdup(&cli->arena, state ? state : "", NULL);

	if (!text)
		return "";
	*text = (char)toupper((unsigned char)*text);
	return text;
}

struct json *tasklist_ports(const struct json *ports, const char *mode)
{
	auto_buf struct buf text = BUF_INIT(TEXT_MAX);

	for (size_t i = 0; i < json_count(ports); i++) {
		const struct json *p = json_at(ports, i);
		const char *protocol = json_get_string(p, "Protocol");
		const char *own = json_get_string(p, "PublishMode");
		if (json_get_int(p, "PublishedPort", 0) == 0 ||
		    !str_eq(str_empty(own) ? "ingress" : own, mode))
			continue;
		buf_addf(&text, "%s*:%d->%d/%s", text.len ? ", " : "",
		         (int)json_get_int(p, "PublishedPort", 0),
		         (int)json_get_int(p, "TargetPort", 0), protocol ? protocol : "tcp");
	}
	return json_string(buf_str(&text));
}

/* ---- getting them ---- */

struct json *tasklist_get(struct cli *cli, const struct args *args, const char *key,
                          struct json *ids, struct err *err)
{
	auto_buf struct buf path = BUF_INIT(API_PATH_MAX);

	api_begin(&path, "/tasks", NULL, NULL);
	if (api_filters_among(&path, args, key, ids, err) < 0 || buf_check(&path, err) < 0)
		return NULL;
	return api_get(cli, buf_str(&path), err);
}

/* ---- order ---- */

static int64_t created(const struct json *row)
{
	int64_t ns = 0;

	(void)clock_parse(json_get_string(row, "Created"), &ns, NULL);
	return ns;
}

/* "web.2" before "web.10". */
static int compare_names(const char *a, const char *b)
{
	return strverscmp(a ? a : "", b ? b : "");
}

static int compare_rows(const void *a, const void *b)
{
	const struct json *x = *(struct json *const *)a, *y = *(struct json *const *)b;
	int order = compare_names(json_get_string(x, "Plain"), json_get_string(y, "Plain"));

	if (order != 0)
		return order;
	int64_t p = created(x), q = created(y);
	return p == q ? 0 : p > q ? -1 : 1;
}

static struct json **items_of(const struct json *rows)
{
	size_t count = json_count(rows);
	struct json **items = calloc(count + 1, sizeof(struct json *));

	for (size_t i = 0; items && i < count; i++)
		items[i] = json_at(rows, i);
	return items;
}

struct pair {
	struct json *item;
	const char *text;
};

static int compare_pairs(const void *a, const void *b)
{
	const struct pair *x = a, *y = b;

	return compare_names(x->text, y->text);
}

struct json *tasklist_sort(const struct json *rows, const char *key)
{
	size_t count = json_count(rows);
	auto_free struct pair *pairs = calloc(count + 1, sizeof(*pairs));
	struct json *sorted = json_array();

	for (size_t i = 0; pairs && i < count; i++)
		pairs[i] = (struct pair){json_at(rows, i), json_get_string(json_at(rows, i), key)};
	if (pairs)
		qsort(pairs, count, sizeof(*pairs), compare_pairs);
	for (size_t i = 0; pairs && i < count; i++)
		json_append(sorted, json_ref(pairs[i].item));
	return sorted;
}

/* ---- rows ---- */

/* What ids are called: looked up once each. */
struct names {
	struct cli *cli;
	bool ids; /* --no-resolve */
	struct json *known;
};

static const char *name_of(struct names *n, const char *before, const char *id, bool node)
{
	if (str_empty(id) || n->ids)
		return id ? id : "";
	if (!json_get_string(n->known, id)) {
		const char *path = api_path(n->cli, before, id, NULL, NULL);
		auto_type(json) doc = path ? api_get(n->cli, path, NULL) : NULL;
		const char *name = json_get_string(json_get(doc, "Spec"), "Name");
		if (node)
			name = json_get_string(json_get(doc, "Description"), "Hostname");
		json_set(n->known, id, json_string(str_empty(name) ? id : name));
	}
	return json_get_string(n->known, id);
}

static struct json *error_text(const char *text, bool full)
{
	auto_buf struct buf out = BUF_INIT(TEXT_MAX);

	if (str_empty(text))
		return json_string("");
	if (full || strlen(text) <= ERROR_MAX) {
		buf_addf(&out, "\"%s\"", text);
	} else {
		int len = ERROR_MAX - 1;
		while (len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80)
			len--;
		buf_addf(&out, "\"%.*s\xe2\x80\xa6\"", len, text);
	}
	return json_string(buf_str(&out));
}

/* "Running 3 seconds ago". */
static struct json *current_state(struct cli *cli, const struct json *status)
{
	const char *word = tasklist_word(cli, json_get_string(status, "State"));
	const char *when = json_get_string(status, "Timestamp");
	char age[40], text[120];
	int64_t ns = 0;

	(void)clock_parse(when ? when : "", &ns, NULL);
	out_age(clock_wall_ns() - ns, age);
	age[0] = (char)tolower((unsigned char)age[0]);
	if (ns == 0)
		snprintf(text, sizeof(text), "%.40s", word);
	else
		snprintf(text, sizeof(text), "%.40s %s ago", word, age);
	return json_string(text);
}

static const char *image_name(struct cli *cli, const char *image, bool full)
{
	const char *at = image ? strstr(image, "@sha256:") : NULL;
	char *text;

	if (!at || full || at == image)
		return image ? image : "";
	text = arena_strndup(&cli->arena, image, (size_t)(at - image), NULL);
	return text ? text : image;
}

static struct json *make_row(struct names *n, const struct json *t, bool full)
{
	struct cli *cli = n->cli;
	const struct json *status = json_get(t, "Status");
	const struct json *container = json_get(json_get(t, "Spec"), "ContainerSpec");
	const char *service = name_of(n, "/services/", json_get_string(t, "ServiceID"), false);
	int64_t slot = json_get_int(t, "Slot", 0);
	const char *node = json_get_string(t, "NodeID");
	struct json *row = json_object();
	auto_buf struct buf name = BUF_INIT(TEXT_MAX);

	if (n->ids && !str_empty(json_get_string(t, "ID")))
		buf_add(&name, json_get_string(t, "ID"));
	else if (slot > 0)
		buf_addf(&name, "%s.%lld", service, (long long)slot);
	else
		buf_addf(&name, "%s.%s", service, node ? node : "");
	json_set(row, "ID", json_string(out_id(cli, json_get_string(t, "ID"), full)));
	json_set(row, "Name", json_string(buf_str(&name)));
	json_set(row, "Plain", json_string(buf_str(&name)));
	json_set(row, "Image",
	         json_string(image_name(cli, json_get_string(container, "Image"), full)));
	json_set(row, "Node", json_string(name_of(n, "/nodes/", node, true)));
	json_set(row, "DesiredState",
	         json_string(tasklist_word(cli, json_get_string(t, "DesiredState"))));
	json_set(row, "CurrentState", current_state(cli, status));
	json_set(row, "Error", error_text(json_get_string(status, "Err"), full));
	json_set(row, "Ports",
	         tasklist_ports(json_get(json_get(status, "PortStatus"), "Ports"), "host"));
	json_set(row, "Created", json_ref(json_get(t, "CreatedAt")));
	return row;
}

/* Sorted; `table`: what has the name of the one above is indented. */
static struct json *arrange(const struct json *rows, bool table)
{
	size_t count = json_count(rows);
	auto_free struct json **items = items_of(rows);
	struct json *out = json_array();
	const char *above = NULL;

	if (!items)
		return out;
	/* NOLINTNEXTLINE(bugprone-sizeof-expression): pointers are what is sorted */
	qsort(items, count, sizeof(*items), compare_rows);
	for (size_t i = 0; i < count; i++) {
		const char *name = json_get_string(items[i], "Plain");
		if (table && name && str_eq(name, above)) {
			auto_buf struct buf text = BUF_INIT(TEXT_MAX);
			buf_addf(&text, " \\_ %s", name);
			json_set(items[i], "Name", json_string(buf_str(&text)));
		}
		above = name;
		json_append(out, json_ref(items[i]));
	}
	return out;
}

int tasklist_show(struct cli *cli, const struct args *args, const char *key, struct json *ids,
                  struct err *err)
{
	static const struct out_column columns[] = {{"ID", "ID"},
	                                            {"Name", "NAME"},
	                                            {"Image", "IMAGE"},
	                                            {"Node", "NODE"},
	                                            {"DesiredState", "DESIRED STATE"},
	                                            {"CurrentState", "CURRENT STATE"},
	                                            {"Error", "ERROR"},
	                                            {"Ports", "PORTS"},
	                                            {NULL, NULL}};
	const struct out_listing listing = {columns, 8, "ID"};
	const char *format = args_string(args, "format");
	/* Ids alone are for programs: whole. */
	bool full = args_bool(args, "no-trunc") || args_bool(args, "quiet");
	auto_type(json) tasks = tasklist_get(cli, args, key, ids, err);
	auto_type(json) known = json_object();
	auto_type(json) rows = json_array();
	struct names names = {.cli = cli, .ids = args_bool(args, "no-resolve"), .known = known};

	if (!tasks)
		return -1;
	for (size_t i = 0; i < json_count(tasks); i++)
		json_append(rows, make_row(&names, json_at(tasks, i), full));
	auto_type(json) sorted = arrange(rows, str_empty(format) || str_starts(format, "table"));
	return out_rows(cli, args, &listing, sorted, err);
}
