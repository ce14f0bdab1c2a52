/* SPDX-License-Identifier: Apache-2.0 */
/* pull, push, import, load, save, export, commit: images on the move. */

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/str.h"
#include "cli/api.h"
#include "cli/auth.h"
#include "cli/commands.h"
#include "cli/context.h"
#include "cli/progress.h"
#include "cli/pull.h"
#include "oci/reference.h"

static int run_pull(struct cli *cli, const struct args *args, struct err *err)
{
	bool quiet = args_bool(args, "quiet");
	struct reference ref;
	char name[REFERENCE_MAX];

	if (reference_parse(args->words[0], &ref, err) < 0 ||
	    pull_image(cli, args->words[0], args_string(args, "platform"), stdout, quiet, err) < 0)
		return -1;
	printf("%s\n", reference_format(&ref, name));
	return 0;
}

static int run_push(struct cli *cli, const struct args *args, struct err *err)
{
	auto_buf struct buf path = BUF_INIT(API_PATH_MAX);
	const char *headers[] = {auth_header(cli, args->words[0], err), NULL};
	struct progress progress;
	struct reference ref;
	char repo[REFERENCE_MAX];

	if (!headers[0] || reference_parse(args->words[0], &ref, err) < 0)
		return -1;
	api_begin(&path, "/images/", reference_familiar_name(&ref, repo), "/push");
	api_query(&path, "tag", ref.tag);
	progress_init(&progress, cli, stdout);
	progress.quiet = args_bool(args, "quiet");
	const struct http_call call = {.method = "POST",
	                               .path = buf_str(&path),
	                               .headers = headers,
	                               .write = progress_write,
	                               .write_arg = &progress};
	int rc = api_stream(cli, &call, err);
	return progress_done(&progress, rc < 0 ? NULL : err) < 0 || rc < 0 ? -1 : 0;
}

/* "-" and NULL are standard input. */
static int open_input(const char *name, struct err *err)
{
	if (!name || str_eq(name, "-"))
		return dup(STDIN_FILENO);
	return fs_trusted_open(name, O_RDONLY, 0, err);
}

static int send_tar(struct cli *cli, const char *path, int fd, struct progress *progress,
                    struct err *err)
{
	static const char *const headers[] = {"Content-Type: application/x-tar", NULL};
	const struct http_call call = {.method = "POST",
	                               .path = path,
	                               .headers = headers,
	                               .read = context_read_fd,
	                               .read_arg = &fd,
	                               .body_len = SIZE_MAX,
	                               .write = progress_write,
	                               .write_arg = progress};
	int rc = api_stream(cli, &call, err);

	return progress_done(progress, rc < 0 ? NULL : err) < 0 || rc < 0 ? -1 : 0;
}

static int run_import(struct cli *cli, const struct args *args, struct err *err)
{
	auto_buf struct buf path = BUF_INIT(API_PATH_MAX);
	auto_close int fd = open_input(args->words[0], err);
	struct progress progress;

	if (fd < 0)
		return -1;
	api_begin(&path, "/images/create", NULL, NULL);
	api_query(&path, "fromSrc", "-");
	if (args->count > 1) {
		struct reference ref;
		char repo[REFERENCE_MAX];
		if (reference_parse(args->words[1], &ref, err) < 0)
			return -1;
		api_query(&path, "repo", reference_familiar_name(&ref, repo));
		api_query(&path, "tag", ref.tag);
	}
	for (size_t i = 0; i < args_count(args, "change"); i++)
		api_query(&path, "changes", args_at(args, "change", i));
	if (args_has(args, "message"))
		api_query(&path, "message", args_string(args, "message"));
	progress_init(&progress, cli, stdout);
	return send_tar(cli, buf_str(&path), fd, &progress, err);
}

static int run_load(struct cli *cli, const struct args *args, struct err *err)
{
	const char *input = args_string(args, "input");
	auto_buf struct buf path = BUF_INIT(API_PATH_MAX);
	struct progress progress;

	if (!input && isatty(STDIN_FILENO))
		return err_set(
			err, ERR_INVALID,
			"load reads a tar from standard input, which is a terminal; or use -i FILE");
	auto_close int fd = open_input(input, err);
	if (fd < 0)
		return -1;
	api_begin(&path, "/images/load", NULL, NULL);
	api_query(&path, "quiet", args_bool(args, "quiet") || !cli->out_tty ? "1" : "0");
	progress_init(&progress, cli, stdout);
	return send_tar(cli, buf_str(&path), fd, &progress, err);
}

static int write_fd(void *arg, const void *data, size_t len)
{
	return fs_write_all(*(int *)arg, data, len, NULL);
}

/* The answer goes to a file, or to standard output if that is no terminal. */
static int receive(struct cli *cli, const char *path, const char *output, struct err *err)
{
	if (!output && cli->out_tty)
		return err_set(err, ERR_INVALID,
		               "a tar does not belong on a terminal: use -o FILE or a pipe");
	auto_close int fd =
		output ? fs_trusted_open(output, O_WRONLY | O_CREAT | O_TRUNC, 0644, err)
		       : dup(STDOUT_FILENO);
	if (fd < 0)
		return -1;
	const struct http_call call = {
		.method = "GET", .path = path, .write = write_fd, .write_arg = &fd};
	return api_stream(cli, &call, err);
}

static int run_save(struct cli *cli, const struct args *args, struct err *err)
{
	auto_buf struct buf path = BUF_INIT(API_PATH_MAX);

	api_begin(&path, "/images/get", NULL, NULL);
	for (size_t i = 0; i < args->count; i++)
		api_query(&path, "names", args->words[i]);
	return receive(cli, buf_str(&path), args_string(args, "output"), err);
}

static int run_export(struct cli *cli, const struct args *args, struct err *err)
{
	const char *path = api_path(cli, "/containers/", args->words[0], "/export", err);

	return path ? receive(cli, path, args_string(args, "output"), err) : -1;
}

static int run_commit(struct cli *cli, const struct args *args, struct err *err)
{
	auto_buf struct buf path = BUF_INIT(API_PATH_MAX);
	struct json *answer = NULL;

	api_begin(&path, "/commit", NULL, NULL);
	api_query(&path, "container", args->words[0]);
	if (args->count > 1) {
		struct reference ref;
		char repo[REFERENCE_MAX];
		if (reference_parse(args->words[1], &ref, err) < 0)
			return -1;
		api_query(&path, "repo", reference_familiar_name(&ref, repo));
		api_query(&path, "tag", ref.tag);
	}
	if (args_has(args, "author"))
		api_query(&path, "author", args_string(args, "author"));
	if (args_has(args, "message"))
		api_query(&path, "comment", args_string(args, "message"));
	if (args_has(args, "pause"))
		api_query(&path, "pause", args_bool(args, "pause") ? "1" : "0");
	for (size_t i = 0; i < args_count(args, "change"); i++)
		api_query(&path, "changes", args_at(args, "change", i));
	if (api_send(cli, "POST", buf_str(&path), json_object(), &answer, err) < 0)
		return -1;
	const char *id = json_get_string(answer, "Id");
	printf("%s\n", id ? id : "");
	json_free(answer);
	return 0;
}

static const struct flag pull_flags[] = {
	{"platform", 0, FLAG_STRING, "OS/ARCH", "Of an image for several platforms"},
	{"quiet", 'q', FLAG_BOOL, NULL, "Show no progress"},
	{NULL},
};
static const struct flag push_flags[] = {
	{"quiet", 'q', FLAG_BOOL, NULL, "Show no progress"},
	{NULL},
};
static const struct flag import_flags[] = {
	{"change", 'c', FLAG_LIST, "INSTRUCTION",
         "Dockerfile instruction to apply, as in 'CMD sh'"},
	{"message", 'm', FLAG_STRING, "TEXT", "Comment of the image"},
	{NULL},
};
static const struct flag load_flags[] = {
	{"input", 'i', FLAG_STRING, "FILE", "Read from a file instead of standard input"},
	{"quiet", 'q', FLAG_BOOL, NULL, "Show no progress"},
	{NULL},
};
static const struct flag output_flags[] = {
	{"output", 'o', FLAG_STRING, "FILE", "Write to a file instead of standard output"},
	{NULL},
};
static const struct flag commit_flags[] = {
	{"author", 'a', FLAG_STRING, "NAME", "Author of the image"},
	{"change", 'c', FLAG_LIST, "INSTRUCTION",
         "Dockerfile instruction to apply, as in 'CMD sh'"},
	{"message", 'm', FLAG_STRING, "TEXT", "Comment of the image"},
	{"pause", 'p', FLAG_BOOL, NULL, "Freeze the container meanwhile (default true)"},
	{NULL},
};

const struct command command_transfer[] = {
	{.name = "pull",
         .synopsis = "[OPTIONS] NAME[:TAG|@DIGEST]",
         .summary = "Fetch an image from a registry",
         .flags = pull_flags,
         .min = 1,
         .max = 1,
         .run = run_pull},
	{.name = "push",
         .synopsis = "[OPTIONS] NAME[:TAG]",
         .summary = "Send an image to a registry",
         .flags = push_flags,
         .min = 1,
         .max = 1,
         .run = run_push},
	{.name = "import",
         .synopsis = "[OPTIONS] FILE|- [NAME[:TAG]]",
         .summary = "Make an image from the tar of a root file system",
         .flags = import_flags,
         .min = 1,
         .max = 2,
         .run = run_import},
	{.name = "load",
         .synopsis = "[OPTIONS]",
         .summary = "Read images from a tar, as made by save",
         .flags = load_flags,
         .run = run_load},
	{.name = "save",
         .synopsis = "[OPTIONS] IMAGE [IMAGE...]",
         .summary = "Write images as a tar",
         .flags = output_flags,
         .min = 1,
         .max = CLI_ARGS_ANY,
         .run = run_save},
	{.name = "export",
         .synopsis = "[OPTIONS] CONTAINER",
         .summary = "Write a container's file system as a tar",
         .flags = output_flags,
         .min = 1,
         .max = 1,
         .run = run_export},
	{.name = "commit",
         .synopsis = "[OPTIONS] CONTAINER [NAME[:TAG]]",
         .summary = "Make an image from what a container changed",
         .flags = commit_flags,
         .min = 1,
         .max = 2,
         .run = run_commit},
	{.name = NULL},
};
