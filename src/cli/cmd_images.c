/* SPDX-License-Identifier: Apache-2.0 */
/* images, tag, rmi, history: what is in the store. */

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/str.h"
#include "cli/api.h"
#include "cli/commands.h"
#include "cli/images_tree.h"
#include "cli/out.h"
#include "oci/reference.h"

#define NANO 1000000000LL

static const char *digest_for(const struct json *image, const char *repository)
{
	const struct json *digests = json_get(image, "RepoDigests");

	for (size_t i = 0; i < json_count(digests); i++) {
		const char *text = json_str(json_at(digests, i));
		const char *at = text ? strchr(text, '@') : NULL;
		if (at && strlen(repository) == (size_t)(at - text) &&
		    strncmp(text, repository, (size_t)(at - text)) == 0)
			return at + 1;
	}
	return "<none>";
}

static struct json *row(struct cli *cli, const struct json *image,
                        const struct out_image_name *names, bool full)
{
	int64_t created = json_get_int(image, "Created", 0) * NANO;
	char when[CLOCK_TEXT_MAX], size[24];
	struct json *r = json_object();

	json_set(r, "Repository", json_string(names->repository));
	json_set(r, "Tag", json_string(names->tag));
	json_set(r, "ID", json_string(out_id(cli, json_get_string(image, "Id"), full)));
	json_set(r, "Digest", json_string(digest_for(image, names->repository)));
	json_set(r, "CreatedSince", out_ago(created));
	json_set(r, "CreatedAt", json_string(clock_format(created, when)));
	json_set(r, "Size", json_string(out_size(json_get_int(image, "Size", 0), size)));
	return r;
}

static void add_rows(struct cli *cli, const struct json *image, bool full, bool one,
                     struct json *rows)
{
	const struct json *tags = json_get(image, "RepoTags");
	struct out_image_name names = {"<none>", "<none>"};

	if (json_count(tags) == 0)
		json_append(rows, row(cli, image, &names, full));
	for (size_t i = 0; i < json_count(tags) && !(one && i > 0); i++) {
		out_split_tag(json_str(json_at(tags, i)), &names);
		json_append(rows, row(cli, image, &names, full));
	}
}

static int run_images(struct cli *cli, const struct args *args, struct err *err)
{
	static const struct out_column plain[] = {
		{"Repository", "REPOSITORY"}, {"Tag", "TAG"},   {"ID", "IMAGE ID"},
		{"CreatedSince", "CREATED"},  {"Size", "SIZE"}, {"Digest", "DIGEST"},
		{"CreatedAt", "CREATED AT"},  {NULL, NULL}};
	static const struct out_column digests[] = {
		{"Repository", "REPOSITORY"}, {"Tag", "TAG"},
		{"Digest", "DIGEST"},         {"ID", "IMAGE ID"},
		{"CreatedSince", "CREATED"},  {"Size", "SIZE"},
		{"CreatedAt", "CREATED AT"},  {NULL, NULL}};
	bool with = args_bool(args, "digests"), quiet = args_bool(args, "quiet");
	const struct out_listing listing = {with ? digests : plain, with ? 6 : 5, "ID"};
	auto_buf struct buf path = BUF_INIT(API_PATH_MAX);

	api_begin(&path, "/images/json", NULL, NULL);
	if (args_bool(args, "all"))
		api_query(&path, "all", "1");
	static const char *const apart[] = {"digests", "format", "no-trunc", "quiet"};
	for (size_t i = 0; args_bool(args, "tree") && i < ARRAY_LEN(apart); i++)
		if (args_has(args, apart[i]))
			return err_set(err, ERR_INVALID, "--tree and --%s exclude each other",
			               apart[i]);
	if (api_filters_and(&path, args, args->count ? "reference" : NULL,
	                    args->count ? args->words[0] : NULL, err) < 0)
		return -1;
	auto_type(json) list = api_get(cli, buf_str(&path), err);
	if (!list)
		return -1;
	if (args_bool(args, "tree"))
		return images_tree(cli, args, list, err);
	auto_type(json) rows = json_array();
	for (size_t i = 0; i < json_count(list); i++)
		add_rows(cli, json_at(list, i), args_bool(args, "no-trunc"),
		         quiet && !args_has(args, "format"), rows);
	return out_rows(cli, args, &listing, rows, err);
}

static int run_tag(struct cli *cli, const struct args *args, struct err *err)
{
	auto_buf struct buf path = BUF_INIT(API_PATH_MAX);
	char repo[REFERENCE_MAX];
	struct reference ref;

	if (reference_parse(args->words[1], &ref, err) < 0)
		return -1;
	if (*ref.digest)
		return err_set(err, ERR_INVALID, "%s: a tag cannot have a digest", args->words[1]);
	api_begin(&path, "/images/", args->words[0], "/tag");
	api_query(&path, "repo", reference_familiar_name(&ref, repo));
	api_query(&path, "tag", ref.tag);
	return api_send(cli, "POST", buf_str(&path), NULL, NULL, err);
}

static int rmi_one(struct cli *cli, const struct args *args, const char *name, struct err *err)
{
	auto_buf struct buf path = BUF_INIT(API_PATH_MAX);
	struct json *answer = NULL;

	api_begin(&path, "/images/", name, NULL);
	if (args_bool(args, "force"))
		api_query(&path, "force", "1");
	if (args_bool(args, "no-prune"))
		api_query(&path, "noprune", "1");
	if (api_send(cli, "DELETE", buf_str(&path), NULL, &answer, err) < 0)
		return -1;
	for (size_t i = 0; i < json_count(answer); i++) {
		const char *untagged = json_get_string(json_at(answer, i), "Untagged");
		const char *deleted = json_get_string(json_at(answer, i), "Deleted");
		printf("%s: %s\n", untagged ? "Untagged" : "Deleted",
		       untagged  ? untagged
		       : deleted ? deleted
		                 : "");
	}
	json_free(answer);
	return 0;
}

static int run_rmi(struct cli *cli, const struct args *args, struct err *err)
{
	(void)err;
	return cli_each(cli, args, rmi_one);
}

static struct json *history_row(struct cli *cli, const struct json *step, const struct args *args)
{
	int64_t created = json_get_int(step, "Created", 0) * NANO;
	bool full = args_bool(args, "no-trunc");
	const char *id = json_get_string(step, "Id"), *by = json_get_string(step, "CreatedBy");
	char when[CLOCK_TEXT_MAX], size[24], words[64];
	struct json *r = json_object();

	snprintf(words, sizeof(words), "%.44s\xe2\x80\xa6", by ? by : "");
	json_set(r, "ID", json_string(str_eq(id, "<missing>") ? id : out_id(cli, id, full)));
	json_set(r, "CreatedSince", out_ago(created));
	json_set(r, "CreatedAt", json_string(clock_format(created, when)));
	json_set(r, "CreatedBy",
	         json_string(full || !by || strlen(by) <= 45 ? (by ? by : "") : words));
	json_set(r, "Size", json_string(out_size(json_get_int(step, "Size", 0), size)));
	json_set(r, "Comment", json_ref(json_get(step, "Comment")));
	return r;
}

static int run_history(struct cli *cli, const struct args *args, struct err *err)
{
	static const struct out_column columns[] = {
		{"ID", "IMAGE"},  {"CreatedSince", "CREATED"}, {"CreatedBy", "CREATED BY"},
		{"Size", "SIZE"}, {"Comment", "COMMENT"},      {"CreatedAt", "CREATED AT"},
		{NULL, NULL}};
	const struct out_listing listing = {columns, 5, "ID"};
	const char *path = api_path(cli, "/images/", args->words[0], "/history", err);
	auto_type(json) list = path ? api_get(cli, path, err) : NULL;

	if (!list)
		return -1;
	auto_type(json) rows = json_array();
	for (size_t i = 0; i < json_count(list); i++)
		json_append(rows, history_row(cli, json_at(list, i), args));
	return out_rows(cli, args, &listing, rows, err);
}

static const struct flag images_flags[] = {
	{"all", 'a', FLAG_BOOL, NULL, "Also the images between the steps of builds"},
	{"digests", 0, FLAG_BOOL, NULL, "Show digests"},
	{"filter", 'f', FLAG_LIST, "KEY=VALUE",
         "Only those that fit: before, dangling, label, reference, since, until"},
	{"format", 0, FLAG_STRING, "TEMPLATE", "json, a template, or 'table ' and a template"},
	{"no-trunc", 0, FLAG_BOOL, NULL, "Do not shorten ids"},
	{"quiet", 'q', FLAG_BOOL, NULL, "Ids only"},
	{"tree", 0, FLAG_BOOL, NULL, "Show which is built on which, and what each adds"},
	{NULL},
};
static const struct flag none[] = {{NULL}};
static const struct flag rmi_flags[] = {
	{"force", 'f', FLAG_BOOL, NULL, "Also if it has several names or is in use"},
	{"no-prune", 0, FLAG_BOOL, NULL, "Keep its nameless parents"},
	{NULL},
};
static const struct flag history_flags[] = {
	{"format", 0, FLAG_STRING, "TEMPLATE", "json, a template, or 'table ' and a template"},
	{"no-trunc", 0, FLAG_BOOL, NULL, "Do not shorten"},
	{"quiet", 'q', FLAG_BOOL, NULL, "Ids only"},
	{NULL},
};

const struct command command_images[] = {
	{.name = "images",
         .synopsis = "[OPTIONS] [REPOSITORY[:TAG]]",
         .summary = "List images",
         .flags = images_flags,
         .max = 1,
         .run = run_images},
	{.name = "tag",
         .synopsis = "IMAGE NAME[:TAG]",
         .summary = "Give an image a further name",
         .flags = none,
         .min = 2,
         .max = 2,
         .run = run_tag},
	{.name = "rmi",
         .synopsis = "[OPTIONS] IMAGE [IMAGE...]",
         .summary = "Remove names of images, and images without a name",
         .flags = rmi_flags,
         .min = 1,
         .max = CLI_ARGS_ANY,
         .run = run_rmi},
	{.name = "history",
         .synopsis = "[OPTIONS] IMAGE",
         .summary = "Show the steps that made an image",
         .flags = history_flags,
         .min = 1,
         .max = 1,
         .run = run_history},
	{.name = NULL},
};
