/* SPDX-License-Identifier: Apache-2.0 */
/* system df: what takes how much room; with --verbose each image, container and volume. */

#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "cli/api.h"
#include "cli/commands.h"
#include "cli/out.h"

#define NANO 1000000000LL

/* ---- totals ---- */

struct usage {
	int64_t count, active, size, unused;
};

static struct json *df_row(const char *type, const struct usage *u)
{
	char size[24], unused[24], text[64];
	struct json *r = json_object();

	if (u->size > 0)
		snprintf(text, sizeof(text), "%s (%d%%)", out_size(u->unused, unused),
		         (int)(u->unused * 100 / u->size));
	else
		snprintf(text, sizeof(text), "%s", out_size(u->unused, unused));
	json_set(r, "Type", json_string(type));
	json_set(r, "TotalCount", json_int(u->count));
	json_set(r, "Active", json_int(u->active));
	json_set(r, "Size", json_string(out_size(u->size, size)));
	json_set(r, "Reclaimable", json_string(text));
	return r;
}

static void add(struct usage *u, int64_t size, bool active)
{
	if (size < 0)
		size = 0;
	u->count++;
	u->active += active;
	u->size += size;
	u->unused += active ? 0 : size;
}

static int show_totals(struct cli *cli, const struct args *args, const struct json *doc,
                       struct err *err)
{
	static const struct out_column columns[] = {
		{"Type", "TYPE"}, {"TotalCount", "TOTAL"},        {"Active", "ACTIVE"},
		{"Size", "SIZE"}, {"Reclaimable", "RECLAIMABLE"}, {NULL, NULL}};
	const struct out_listing listing = {columns, 5, NULL};
	struct usage images = {0}, containers = {0}, volumes = {0};
	auto_type(json) rows = json_array();
	const struct json *list;

	list = json_get(doc, "Images");
	for (size_t i = 0; i < json_count(list); i++)
		add(&images, json_get_int(json_at(list, i), "Size", 0),
		    json_get_int(json_at(list, i), "Containers", 0) > 0);
	list = json_get(doc, "Containers");
	for (size_t i = 0; i < json_count(list); i++)
		add(&containers, json_get_int(json_at(list, i), "SizeRw", 0),
		    str_eq(json_get_string(json_at(list, i), "State"), "running"));
	list = json_get(doc, "Volumes");
	for (size_t i = 0; i < json_count(list); i++) {
		const struct json *data = json_get(json_at(list, i), "UsageData");
		add(&volumes, json_get_int(data, "Size", 0), json_get_int(data, "RefCount", 0) > 0);
	}
	json_append(rows, df_row("Images", &images));
	json_append(rows, df_row("Containers", &containers));
	json_append(rows, df_row("Local Volumes", &volumes));
	return out_rows(cli, args, &listing, rows, err);
}

/* ---- one by one ---- */

static struct json *size_of(int64_t bytes)
{
	char text[24];

	return json_string(out_size(bytes < 0 ? 0 : bytes, text));
}

static struct json *ago(const struct json *one)
{
	return out_ago(json_get_int(one, "Created", 0) * NANO);
}

static struct json *image_row(struct cli *cli, const struct json *image)
{
	const char *name = json_str(json_at(json_get(image, "RepoTags"), 0));
	int64_t size = json_get_int(image, "Size", 0),
		shared = json_get_int(image, "SharedSize", 0);
	struct out_image_name split = {"<none>", "<none>"};
	struct json *r = json_object();
	char number[24];

	if (name)
		out_split_tag(name, &split);
	snprintf(number, sizeof(number), "%d", (int)json_get_int(image, "Containers", 0));
	json_set(r, "Repository", json_string(split.repository));
	json_set(r, "Tag", json_string(split.tag));
	json_set(r, "ID", json_string(out_id(cli, json_get_string(image, "Id"), false)));
	json_set(r, "CreatedSince", ago(image));
	json_set(r, "Size", size_of(size));
	json_set(r, "SharedSize", size_of(shared));
	json_set(r, "UniqueSize", size_of(size - shared));
	json_set(r, "Containers", json_string(number));
	return r;
}

static struct json *container_row(struct cli *cli, const struct json *c)
{
	const char *name = json_str(json_at(json_get(c, "Names"), 0));
	const struct json *mounts = json_get(c, "Mounts");
	char number[24];
	struct json *r = json_object();
	int volumes = 0;

	for (size_t i = 0; i < json_count(mounts); i++)
		volumes += str_eq(json_get_string(json_at(mounts, i), "Type"), "volume");
	snprintf(number, sizeof(number), "%d", volumes);
	json_set(r, "ID", json_string(out_id(cli, json_get_string(c, "Id"), false)));
	json_set(r, "Image", json_string(json_get_string(c, "Image")));
	json_set(r, "Command", out_command(json_get_string(c, "Command"), false));
	json_set(r, "LocalVolumes", json_string(number));
	json_set(r, "Size", size_of(json_get_int(c, "SizeRw", 0)));
	json_set(r, "CreatedSince", ago(c));
	json_set(r, "Status", json_string(json_get_string(c, "Status")));
	json_set(r, "Names", json_string(name && *name == '/' ? name + 1 : name));
	return r;
}

static struct json *volume_row(struct cli *cli, const struct json *v)
{
	const struct json *usage = json_get(v, "UsageData");
	struct json *r = json_object();
	char links[24];

	(void)cli;
	snprintf(links, sizeof(links), "%d", (int)json_get_int(usage, "RefCount", 0));
	json_set(r, "Name", json_string(json_get_string(v, "Name")));
	json_set(r, "Links", json_string(links));
	json_set(r, "Size", size_of(json_get_int(usage, "Size", 0)));
	return r;
}

static int show_each(struct cli *cli, const struct args *args, const struct json *doc,
                     struct err *err)
{
	static const struct out_column images[] = {{"Repository", "REPOSITORY"},
	                                           {"Tag", "TAG"},
	                                           {"ID", "IMAGE ID"},
	                                           {"CreatedSince", "CREATED"},
	                                           {"Size", "SIZE"},
	                                           {"SharedSize", "SHARED SIZE"},
	                                           {"UniqueSize", "UNIQUE SIZE"},
	                                           {"Containers", "CONTAINERS"},
	                                           {NULL, NULL}};
	static const struct out_column containers[] = {{"ID", "CONTAINER ID"},
	                                               {"Image", "IMAGE"},
	                                               {"Command", "COMMAND"},
	                                               {"LocalVolumes", "LOCAL VOLUMES"},
	                                               {"Size", "SIZE"},
	                                               {"CreatedSince", "CREATED"},
	                                               {"Status", "STATUS"},
	                                               {"Names", "NAMES"},
	                                               {NULL, NULL}};
	static const struct out_column volumes[] = {
		{"Name", "VOLUME NAME"}, {"Links", "LINKS"}, {"Size", "SIZE"}, {NULL, NULL}};
	static const struct {
		const char *heading, *key;
		struct out_listing listing;
		struct json *(*row)(struct cli *cli, const struct json *one);
	} parts[] = {
		{"Images", "Images", {images, 8, NULL}, image_row},
		{"Containers", "Containers", {containers, 8, NULL}, container_row},
		{"Local Volumes", "Volumes", {volumes, 3, NULL}, volume_row},
	};

	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		const struct json *list = json_get(doc, parts[i].key);
		auto_type(json) rows = json_array();
		for (size_t n = 0; n < json_count(list); n++)
			json_append(rows, parts[i].row(cli, json_at(list, n)));
		printf("%s%s space usage:\n\n", i ? "\n" : "", parts[i].heading);
		if (out_rows(cli, args, &parts[i].listing, rows, err) < 0)
			return -1;
	}
	return 0;
}

static int run(struct cli *cli, const struct args *args, struct err *err)
{
	bool verbose = args_bool(args, "verbose");

	if (verbose && args_has(args, "format"))
		return err_set(err, ERR_INVALID, "--verbose and --format exclude each other");
	const char *path = api_path(cli, "/system/df", NULL, NULL, err);
	auto_type(json) doc = path ? api_get(cli, path, err) : NULL;
	if (!doc)
		return -1;
	return verbose ? show_each(cli, args, doc, err) : show_totals(cli, args, doc, err);
}

static const struct flag flags[] = {
	{"format", 0, FLAG_STRING, "TEMPLATE", "json, a template, or 'table ' and a template"},
	{"verbose", 'v', FLAG_BOOL, NULL, "Each image, container and volume"},
	{NULL},
};

const struct command command_df[] = {
	{.group = "system",
         .name = "df",
         .synopsis = "[OPTIONS]",
         .summary = "Show what takes how much room",
         .flags = flags,
         .run = run},
	{.name = NULL},
};
