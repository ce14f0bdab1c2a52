/* SPDX-License-Identifier: Apache-2.0 */
/* secret, config: ls, create, rm, inspect. What services are told beside their image. */

#include <stdio.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/str.h"
#include "cli/api.h"
#include "cli/commands.h"
#include "cli/inspect.h"
#include "cli/out.h"
#include "cli/spec.h"

/* What the two have in common, and where they differ. */
struct kind {
	const char *name;   /* "secret" */
	const char *prefix; /* of paths, before a name */
	size_t max;         /* bytes: the daemon's own ceiling */
	const struct out_listing *listing;
};

static const struct out_column secret_columns[] = {{"ID", "ID"},
                                                   {"Name", "NAME"},
                                                   {"Driver", "DRIVER"},
                                                   {"CreatedAt", "CREATED"},
                                                   {"UpdatedAt", "UPDATED"},
                                                   {"Labels", "LABELS"},
                                                   {NULL, NULL}};
static const struct out_column config_columns[] = {
	{"ID", "ID"},         {"Name", "NAME"}, {"CreatedAt", "CREATED"}, {"UpdatedAt", "UPDATED"},
	{"Labels", "LABELS"}, {NULL, NULL}};
static const struct out_listing secret_listing = {secret_columns, 5, "ID"};
static const struct out_listing config_listing = {config_columns, 4, "ID"};
static const struct kind secrets = {"secret", "/secrets/", 500 << 10, &secret_listing};
static const struct kind configs = {"config", "/configs/", 1000 << 10, &config_listing};

/* ---- ls ---- */

static struct json *ago(const char *when)
{
	int64_t ns = 0;

	return clock_parse(when ? when : "", &ns, NULL) < 0 ? json_string("") : out_ago(ns);
}

/* {"a": "b", "c": ""} as "a=b,c=". */
static struct json *labels_text(const struct json *labels)
{
	auto_buf struct buf text = BUF_INIT(1u << 20);
	void *iter = NULL;
	const char *name;
	struct json *value;

	while (json_next(labels, &iter, &name, &value))
		buf_addf(&text, "%s%s=%s", text.len ? "," : "", name, json_str(value));
	return json_string(buf_str(&text));
}

static struct json *row(const struct json *doc)
{
	const struct json *spec = json_get(doc, "Spec");
	const char *driver = json_get_string(json_get(spec, "Driver"), "Name");
	struct json *r = json_object();

	/* Whole, as docker shows it: what names a secret is not cut. */
	json_set(r, "ID", json_ref(json_get(doc, "ID")));
	json_set(r, "Name", json_ref(json_get(spec, "Name")));
	json_set(r, "Driver", json_string(driver ? driver : ""));
	json_set(r, "CreatedAt", ago(json_get_string(doc, "CreatedAt")));
	json_set(r, "UpdatedAt", ago(json_get_string(doc, "UpdatedAt")));
	json_set(r, "Labels", labels_text(json_get(spec, "Labels")));
	return r;
}

static int ls(struct cli *cli, const struct args *args, const struct kind *kind, struct err *err)
{
	char list_path[16];
	auto_buf struct buf path = BUF_INIT(API_PATH_MAX);
	auto_type(json) rows = json_array();

	snprintf(list_path, sizeof(list_path), "/%ss", kind->name);
	api_begin(&path, list_path, NULL, NULL);
	if (api_filters(&path, args, err) < 0)
		return -1;
	auto_type(json) list = api_get(cli, buf_str(&path), err);
	if (!list)
		return -1;
	for (size_t i = 0; i < json_count(list); i++)
		json_append(rows, row(json_at(list, i)));
	return out_rows(cli, args, kind->listing, rows, err);
}

/* ---- create ---- */

static int read_data(const struct kind *kind, const char *file, struct buf *data, struct err *err)
{
	bool input = str_eq(file, "-");
	int rc = input ? fs_read_fd(STDIN_FILENO, kind->max, data, err)
	               : fs_trusted_read(file, kind->max, data, err);

	return rc < 0 ? err_wrap(err, "%s %s", kind->name, input ? "(standard input)" : file) : 0;
}

static int add_labels(const struct args *args, struct json *spec, struct err *err)
{
	auto_type(json) labels = json_object();

	for (size_t i = 0; i < args_count(args, "label"); i++)
		if (spec_label(args_at(args, "label", i), labels, err) < 0)
			return err_wrap(err, "--label");
	return json_set(spec, "Labels", json_ref(labels)) < 0 ? err_nomem(err) : 0;
}

static int create(struct cli *cli, const struct args *args, const struct kind *kind,
                  struct err *err)
{
	const char *path = api_path(cli, kind->prefix, "create", NULL, err);
	auto_type(json) spec = json_object();
	auto_buf struct buf data = BUF_INIT(kind->max);
	struct json *answer = NULL;

	json_set(spec, "Name", json_string(args->words[0]));
	if (!path || add_labels(args, spec, err) < 0 ||
	    read_data(kind, args->count > 1 ? args->words[1] : "-", &data, err) < 0 ||
	    spec_data(&data, args_string(args, "template-driver"), spec, err) < 0 ||
	    api_send(cli, "POST", path, json_ref(spec), &answer, err) < 0)
		return -1;
	const char *id = json_get_string(answer, "ID");
	printf("%s\n", id ? id : "");
	json_free(answer);
	return 0;
}

/* ---- rm ---- */

static int rm_one(struct cli *cli, const char *prefix, const char *name, struct err *err)
{
	const char *path = api_path(cli, prefix, name, NULL, err);

	if (!path || api_send(cli, "DELETE", path, NULL, NULL, err) < 0)
		return -1;
	printf("%s\n", name);
	return 0;
}

static int rm_secret(struct cli *cli, const struct args *args, const char *name, struct err *err)
{
	(void)args;
	return rm_one(cli, secrets.prefix, name, err);
}

static int rm_config(struct cli *cli, const struct args *args, const char *name, struct err *err)
{
	(void)args;
	return rm_one(cli, configs.prefix, name, err);
}

/* ---- the tables ---- */

static int run_secret_ls(struct cli *cli, const struct args *args, struct err *err)
{
	return ls(cli, args, &secrets, err);
}

static int run_config_ls(struct cli *cli, const struct args *args, struct err *err)
{
	return ls(cli, args, &configs, err);
}

static int run_secret_create(struct cli *cli, const struct args *args, struct err *err)
{
	return create(cli, args, &secrets, err);
}

static int run_config_create(struct cli *cli, const struct args *args, struct err *err)
{
	return create(cli, args, &configs, err);
}

static int run_secret_rm(struct cli *cli, const struct args *args, struct err *err)
{
	(void)err;
	return cli_each(cli, args, rm_secret);
}

static int run_config_rm(struct cli *cli, const struct args *args, struct err *err)
{
	(void)err;
	return cli_each(cli, args, rm_config);
}

static int run_secret_inspect(struct cli *cli, const struct args *args, struct err *err)
{
	return inspect_run(cli, args, "secret", err);
}

static int run_config_inspect(struct cli *cli, const struct args *args, struct err *err)
{
	return inspect_run(cli, args, "config", err);
}

static const struct flag ls_flags[] = {
	{"filter", 'f', FLAG_LIST, "KEY=VALUE", "Only those that fit: id, name, label"},
	{"format", 0, FLAG_STRING, "TEMPLATE", "json, a template, or 'table ' and a template"},
	{"quiet", 'q', FLAG_BOOL, NULL, "IDs only"},
	{NULL},
};
static const struct flag create_flags[] = {
	{"label", 'l', FLAG_LIST, "KEY=VALUE", "Set a label"},
	{"template-driver", 0, FLAG_STRING, "NAME",
         "golang: fill in {{.Task.Slot}} etc. on the node"},
	{NULL},
};
static const struct flag inspect_flags[] = {INSPECT_FLAGS, {NULL}};

#define TABLE(kind, what)                                                                          \
	{.group = #kind,                                                                           \
	 .name = "ls",                                                                             \
	 .alias = "list",                                                                          \
	 .synopsis = "[OPTIONS]",                                                                  \
	 .summary = "List " #kind "s",                                                             \
	 .flags = ls_flags,                                                                        \
	 .run = run_##kind##_ls},                                                                  \
		{.group = #kind,                                                                   \
	         .name = "create",                                                                 \
	         .synopsis = "[OPTIONS] NAME [FILE|-]",                                            \
	         .summary = "Make a " #kind " of a file, or of standard input" what,               \
	         .flags = create_flags,                                                            \
	         .min = 1,                                                                         \
	         .max = 2,                                                                         \
	         .run = run_##kind##_create},                                                      \
		{.group = #kind,                                                                   \
	         .name = "rm",                                                                     \
	         .alias = "remove",                                                                \
	         .synopsis = "NAME [NAME...]",                                                     \
	         .summary = "Remove " #kind "s that no service uses",                              \
	         .min = 1,                                                                         \
	         .max = CLI_ARGS_ANY,                                                              \
	         .run = run_##kind##_rm},                                                          \
	{                                                                                          \
		.group = #kind, .name = "inspect", .synopsis = "[OPTIONS] NAME [NAME...]",         \
		.summary = "Show everything about " #kind "s", .flags = inspect_flags, .min = 1,   \
		.max = CLI_ARGS_ANY, .run = run_##kind##_inspect                                   \
	}

const struct command command_secret[] = {
	TABLE(secret, "; nobody can read it back"),
	TABLE(config, ""),
	{.name = NULL},
};
