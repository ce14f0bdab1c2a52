/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/images_tree.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "cli/api.h"
#include "cli/out.h"

#define NAME_MAX_BYTES (64u << 10)                 /* branches, and all the names of one image */
#define BRANCH         "\xe2\x94\x9c\xe2\x94\x80 " /* ├─ */
#define LAST           "\xe2\x94\x94\xe2\x94\x80 " /* └─ */
#define BESIDE         "\xe2\x94\x82  "            /* │ */
#define BELOW_LAST     "   "

struct leaf {
	const struct json *image, *layers;
	size_t parent; /* count of leaves: it stands on none */
};

struct tree {
	struct cli *cli;
	struct leaf *leaves; /* owned */
	size_t count;
	struct json *rows;
	struct err *err;
};

/* ---- who stands on whom ---- */

static bool begins_with(const struct json *layers, const struct json *first)
{
	for (size_t i = 0; i < json_count(first); i++)
		if (!str_eq(json_str(json_at(layers, i)), json_str(json_at(first, i))))
			return false;
	return true;
}

/* Of two with the same layers, as after a step that changes the configuration alone, the parent is who the other names. */
static bool is_below(const struct leaf *leaf, const struct leaf *other)
{
	size_t own = json_count(leaf->layers), its = json_count(other->layers);
	const char *parent = json_get_string(leaf->image, "Parent");

	if (its == 0 || its > own || !begins_with(leaf->layers, other->layers))
		return false;
	return its < own || (parent && str_eq(parent, json_get_string(other->image, "Id")));
}

static size_t find_parent(const struct tree *t, size_t which)
{
	size_t best = t->count;

	for (size_t i = 0; i < t->count; i++) {
		if (i == which || !is_below(&t->leaves[which], &t->leaves[i]))
			continue;
		if (best == t->count ||
		    json_count(t->leaves[i].layers) > json_count(t->leaves[best].layers))
			best = i;
	}
	return best;
}

/* ---- rows ---- */

static void add_names(struct buf *text, const struct json *image)
{
	const struct json *tags = json_get(image, "RepoTags");

	if (json_count(tags) == 0)
		buf_add(text, "<none>");
	for (size_t i = 0; i < json_count(tags); i++)
		buf_addf(text, "%s%s", i ? ", " : "", json_str(json_at(tags, i)));
}

static int64_t size_of(const struct json *image)
{
	return json_get_int(image, "Size", 0);
}

static int add_row(struct tree *t, const struct leaf *leaf, const char *branches)
{
	auto_buf struct buf name = BUF_INIT(NAME_MAX_BYTES);
	char size[24], own[24];
	int64_t below = leaf->parent < t->count ? size_of(t->leaves[leaf->parent].image) : 0;
	struct json *row = json_object();

	buf_add(&name, branches);
	add_names(&name, leaf->image);
	json_set(row, "Image", json_string(buf_str(&name)));
	json_set(row, "ID", json_string(out_id(t->cli, json_get_string(leaf->image, "Id"), false)));
	json_set(row, "Size", json_string(out_size(size_of(leaf->image), size)));
	json_set(row, "Own", json_string(out_size(size_of(leaf->image) - below, own)));
	json_append(t->rows, row);
	return buf_check(&name, t->err);
}

static size_t next_below(const struct tree *t, size_t parent, size_t from)
{
	while (from < t->count && t->leaves[from].parent != parent)
		from++;
	return from;
}

/* `above`: what stands before the branches of those below. As deep as there are layers: the daemon has a ceiling for them. */
static int add_below(struct tree *t, size_t parent, const char *above)
{
	for (size_t i = next_below(t, parent, 0), next; i < t->count; i = next) {
		auto_buf struct buf branch = BUF_INIT(NAME_MAX_BYTES);
		auto_buf struct buf beside = BUF_INIT(NAME_MAX_BYTES);
		bool root = parent == t->count;

		next = next_below(t, parent, i + 1);
		buf_addf(&branch, "%s%s", above, root ? "" : next < t->count ? BRANCH : LAST);
		buf_addf(&beside, "%s%s", above, root ? "" : next < t->count ? BESIDE : BELOW_LAST);
		if (buf_check(&branch, t->err) < 0 || buf_check(&beside, t->err) < 0 ||
		    add_row(t, &t->leaves[i], buf_str(&branch)) < 0 ||
		    add_below(t, i, buf_str(&beside)) < 0)
			return -1;
	}
	return 0;
}

struct json *images_tree_rows(struct cli *cli, const struct json *images, struct err *err)
{
	struct tree t = {.cli = cli, .count = json_count(images), .err = err};

	t.leaves = calloc(t.count + 1, sizeof(*t.leaves));
	t.rows = json_array();
	if (!t.leaves || !t.rows) {
		free(t.leaves);
		json_free(t.rows);
		err_nomem(err);
		return NULL;
	}
	for (size_t i = 0; i < t.count; i++) {
		t.leaves[i].image = json_at(images, i);
		t.leaves[i].layers = json_get(json_get(t.leaves[i].image, "RootFS"), "Layers");
	}
	for (size_t i = 0; i < t.count; i++)
		t.leaves[i].parent = find_parent(&t, i);
	int rc = add_below(&t, t.count, "");
	free(t.leaves);
	if (rc < 0)
		json_free(t.rows);
	return rc < 0 ? NULL : t.rows;
}

int images_tree(struct cli *cli, const struct args *args, const struct json *list, struct err *err)
{
	static const struct out_column columns[] = {{"Image", "IMAGE"},
	                                            {"ID", "IMAGE ID"},
	                                            {"Size", "SIZE"},
	                                            {"Own", "OWN"},
	                                            {NULL, NULL}};
	const struct out_listing listing = {columns, 4, NULL};
	auto_type(json) images = json_array();

	for (size_t i = 0; i < json_count(list); i++) {
		const char *id = json_get_string(json_at(list, i), "Id");
		const char *path = api_path(cli, "/images/", id, "/json", err);
		struct err why = ERR_INIT;
		struct json *image = path ? api_get(cli, path, &why) : NULL;

		if (image)
			json_append(images, image);
		else if (why.kind != ERR_NOT_FOUND) { /* removed in between: nobody misses it */
			if (err && path)
				*err = why;
			return -1;
		}
	}
	auto_type(json) rows = images_tree_rows(cli, images, err);
	return rows ? out_rows(cli, args, &listing, rows, err) : -1;
}
