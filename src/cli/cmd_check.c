/* SPDX-License-Identifier: Apache-2.0 */
/* system check: are the layers on the disk what their digests say; and mending those that are not. */

#include <inttypes.h>
#include <stdio.h>

#include "base/str.h"
#include "cli/api.h"
#include "cli/auth.h"
#include "cli/commands.h"
#include "cli/out.h"
#include "cli/progress.h"

#define WORDS_MAX (64u << 10)

/* Names in one column: "a, b"; containers by their name. */
static struct json *join(const struct json *list)
{
	auto_buf struct buf text = BUF_INIT(WORDS_MAX);

	for (size_t i = 0; i < json_count(list); i++) {
		const struct json *one = json_at(list, i);
		const char *name = json_str(one) ? json_str(one) : json_get_string(one, "Name");
		buf_addf(&text, "%s%s", i ? ", " : "", name);
	}
	return json_string(text.len ? buf_str(&text) : "-");
}

static struct json *make_row(struct cli *cli, const struct json *d, bool repair)
{
	struct json *r = json_object();
	const char *outcome = json_get_string(d, "Outcome");
	bool repaired = json_get_bool(d, "Repaired", false);

	json_set(r, "Layer", json_string(out_id(cli, json_get_string(d, "Layer"), false)));
	json_set(r, "DiffID", json_string(json_get_string(d, "DiffID")));
	json_set(r, "Blob", json_string(json_get_string(d, "Blob")));
	json_set(r, "Damaged", json_string(json_get_string(d, "Damaged")));
	json_set(r, "Reason", json_string(json_get_string(d, "Reason")));
	json_set(r, "Images", join(json_get(d, "Images")));
	json_set(r, "Containers", join(json_get(d, "Containers")));
	json_set(r, "Repaired", json_bool(repaired));
	json_set(r, "Outcome",
	         json_string(repair ? outcome : "repair with: buoy system check --repair"));
	return r;
}

static int show(struct cli *cli, const struct args *args, const struct json *result,
                struct err *err)
{
	static const struct out_column columns[] = {
		{"Layer", "LAYER"},           {"Damaged", "DAMAGED"},
		{"Reason", "REASON"},         {"Images", "IMAGES"},
		{"Containers", "CONTAINERS"}, {"Outcome", "OUTCOME"},
		{"DiffID", "DIFF ID"},        {"Blob", "BLOB"},
		{"Repaired", "REPAIRED"},     {NULL, NULL}};
	const struct out_listing listing = {columns, 6, NULL};
	const struct json *damage = json_get(result, "Damage");
	int64_t found = json_get_int(result, "Damaged", 0);
	auto_type(json) rows = json_array();
	char size[24];

	for (size_t i = 0; i < json_count(damage); i++)
		json_append(rows, make_row(cli, json_at(damage, i), args_bool(args, "repair")));
	if ((found || args_string(args, "format")) && out_rows(cli, args, &listing, rows, err) < 0)
		return -1;
	fprintf(stderr,
	        "%" PRId64 " layers (%s) verified, %" PRId64 " damaged, %" PRId64 " repaired\n",
	        json_get_int(result, "Layers", 0), out_size(json_get_int(result, "Bytes", 0), size),
	        found, json_get_int(result, "Repaired", 0));
	return found > json_get_int(result, "Repaired", 0);
}

/* Taken before progress_done() lets go of it. */
static int check(struct cli *cli, const char *path, bool quiet, struct json **result,
                 struct err *err)
{
	const char *headers[] = {auth_config_header(cli, err), NULL};
	struct progress progress;

	if (!headers[0])
		return -1;
	progress_init(&progress, cli, stderr);
	progress.quiet = quiet;
	const struct http_call call = {.method = "POST",
	                               .path = path,
	                               .headers = headers,
	                               .write = progress_write,
	                               .write_arg = &progress};
	int rc = api_stream(cli, &call, err);
	if (rc == 0 && progress.aux)
		*result = json_ref(progress.aux);
	if (progress_done(&progress, rc < 0 ? NULL : err) < 0 || rc < 0)
		return -1;
	return *result ? 0 : err_set(err, ERR_INVALID, "the daemon sent no result");
}

static int run(struct cli *cli, const struct args *args, struct err *err)
{
	auto_buf struct buf path = BUF_INIT(API_PATH_MAX);
	auto_type(json) result = NULL;

	api_begin(&path, "/buoy/v1/system/check", NULL, NULL);
	if (args_bool(args, "repair"))
		api_query(&path, "repair", "1");
	if (check(cli, buf_str(&path), args_bool(args, "quiet"), &result, err) < 0)
		return -1;
	return show(cli, args, result, err);
}

static const struct flag flags[] = {
	{"format", 0, FLAG_STRING, "TEMPLATE", "json, a template, or 'table ' and a template"},
	{"quiet", 'q', FLAG_BOOL, NULL, "No progress"},
	{"repair", 0, FLAG_BOOL, NULL,
         "Mend what is damaged: from what is here, else from the registry"},
	{NULL},
};

const struct command command_check[] = {
	{.group = "system",
         .name = "check",
         .synopsis = "[OPTIONS]",
         .summary = "Verify all layers against their digests; exit code 1 if damage remains",
         .flags = flags,
         .run = run},
	{.name = NULL},
};
