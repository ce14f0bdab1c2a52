/* SPDX-License-Identifier: Apache-2.0 */
/* build: a Dockerfile and what is around it become an image. */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/id.h"
#include "base/str.h"
#include "cli/api.h"
#include "cli/auth.h"
#include "cli/commands.h"
#include "cli/context.h"
#include "cli/progress.h"
#include "cli/spec.h"

#define DOCKERFILE_MAX (4u << 20)
#define EXTRA_NAME     ".buoy-dockerfile" /* a Dockerfile from outside, inside the context */

/* Where the context comes from. */
struct source {
	struct context context;
	struct buf extra;
	int tar_fd; /* a tar on standard input; -1: none */
	int dir_fd;
};

/* KEY=VALUE pairs as a JSON query; KEY alone takes the value from our environment (build args). */
static int query_map(struct buf *path, const struct args *args, const char *flag, const char *key,
                     struct err *err)
{
	auto_type(json) map = json_object();
	auto_buf struct buf text = BUF_INIT(API_PATH_MAX);
	size_t count = args_count(args, flag);

	for (size_t i = 0; i < count; i++) {
		const char *pair = args_at(args, flag, i);
		const char *value = getenv(pair);
		if (!strchr(pair, '=') && str_eq(flag, "build-arg"))
			json_set(map, pair, value ? json_string(value) : json_null());
		else if (spec_label(pair, map, err) < 0)
			return -1;
	}
	if (count == 0)
		return 0;
	if (json_write(map, &text, err) < 0)
		return -1;
	api_query(path, key, buf_str(&text));
	return 0;
}

static int query_sizes(struct buf *path, const struct args *args, struct err *err)
{
	static const struct {
		const char *flag, *key;
	} sizes[] = {{"memory", "memory"}, {"shm-size", "shmsize"}};
	int64_t bytes;

	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		if (!args_has(args, sizes[i].flag))
			continue;
		if (id_parse_size(args_string(args, sizes[i].flag), &bytes, err) < 0)
			return -1;
		api_query_int(path, sizes[i].key, bytes);
	}
	return 0;
}

static int make_query(struct buf *path, const struct args *args, const char *dockerfile,
                      struct err *err)
{
	static const struct {
		const char *flag, *key;
	} plain[] = {{"tag", "t"},         {"network", "networkmode"}, {"platform", "platform"},
	             {"target", "target"}, {"add-host", "extrahosts"}, {"mount", "mount"},
	             {"volume", "mount"}};

	api_begin(path, "/build", NULL, NULL);
	api_query(path, "version", "1");
	api_query(path, "dockerfile", dockerfile);
	for (size_t i = 0; i < ARRAY_LEN(plain); i++)
		for (size_t k = 0; k < args_count(args, plain[i].flag); k++)
			api_query(path, plain[i].key, args_at(args, plain[i].flag, k));
	if (args_bool(args, "no-cache"))
		api_query(path, "nocache", "1");
	if (args_bool(args, "pull"))
		api_query(path, "pull", "1");
	if (args_bool(args, "quiet"))
		api_query(path, "q", "1");
	api_query(path, "rm", "1");
	if (query_map(path, args, "build-arg", "buildargs", err) < 0 ||
	    query_map(path, args, "label", "labels", err) < 0)
		return -1;
	return query_sizes(path, args, err);
}

/* The Dockerfile is not below the context: it travels as a file of its own. */
static int take_extra(struct source *s, const char *file, struct err *err)
{
	int rc = str_eq(file, "-") ? fs_read_fd(STDIN_FILENO, DOCKERFILE_MAX, &s->extra, err)
	                           : fs_trusted_read(file, DOCKERFILE_MAX, &s->extra, err);

	s->context.dockerfile = EXTRA_NAME;
	s->context.extra = buf_str(&s->extra);
	s->context.extra_len = s->extra.len;
	return rc < 0 ? err_wrap(err, "Dockerfile") : 0;
}

/* -f as docker takes it: relative to where we are, and usually below the context. */
static int find_dockerfile(struct cli *cli, struct source *s, const char *dir, const char *file,
                           struct err *err)
{
	auto_free char *top = realpath(dir, NULL);
	auto_free char *full = str_eq(file, "-") ? NULL : realpath(file, NULL);
	size_t len = top ? strlen(top) : 0;

	if (full && top && strncmp(full, top, len) == 0 && (full[len] == '/' || len == 1)) {
		s->context.dockerfile =
			arena_strdup(&cli->arena, full + len + (full[len] == '/'), err);
		return s->context.dockerfile ? 0 : -1;
	}
	if (!full && !str_eq(file, "-") && *file != '/' && fs_exists(s->dir_fd, file)) {
		s->context.dockerfile = file; /* relative to the context will do as well */
		return 0;
	}
	return take_extra(s, file, err);
}

static int open_source(struct cli *cli, const struct args *args, struct source *s, struct err *err)
{
	const char *dir = args->words[0], *file = args_string(args, "file");

	*s = (struct source){.extra = BUF_INIT(DOCKERFILE_MAX), .tar_fd = -1, .dir_fd = -1};
	s->context.dir_fd = -1;
	s->context.dockerfile = file ? file : "Dockerfile";
	if (str_eq(dir, "-")) {
		s->tar_fd = STDIN_FILENO;
		return 0;
	}
	s->dir_fd = fs_trusted_open_dir(dir, false, err);
	if (s->dir_fd < 0)
		return err_wrap(err, "build context");
	s->context.dir_fd = s->dir_fd;
	if (file)
		return find_dockerfile(cli, s, dir, file, err);
	if (!fs_exists(s->dir_fd, "Dockerfile"))
		return err_set(err, ERR_NOT_FOUND,
		               "no Dockerfile in %s: give its place with -f FILE", dir);
	return 0;
}

static void close_source(struct source *s)
{
	buf_free(&s->extra);
	if (s->dir_fd >= 0)
		close(s->dir_fd);
}

/* Sends it; the reason why the context could not be read comes before "canceled". */
static int send_build(struct cli *cli, const char *path, struct source *s,
                      struct progress *progress, struct err *err)
{
	const char *headers[] = {"Content-Type: application/x-tar", auth_config_header(cli, err),
	                         NULL};
	struct http_call call = {.method = "POST",
	                         .path = path,
	                         .headers = headers,
	                         .read = context_read_fd,
	                         .read_arg = &s->tar_fd,
	                         .body_len = SIZE_MAX,
	                         .write = progress_write,
	                         .write_arg = progress};
	struct err why = ERR_INIT;

	if (!headers[1])
		return -1;
	if (s->tar_fd >= 0)
		return api_stream(cli, &call, err);
	if (context_start(&s->context, err) < 0)
		return -1;
	call.read = context_read;
	call.read_arg = &s->context;
	int rc = api_stream(cli, &call, err);
	if (context_finish(&s->context, &why) < 0 && (rc == 0 || err_is(err, ERR_CANCELED)) && err)
		*err = why;
	return rc;
}

static int write_iidfile(const char *file, const struct json *aux, struct err *err)
{
	const char *id = json_get_string(aux, "ID");
	auto_close int fd = -1;

	if (!id)
		return err_set(err, ERR_UNSUPPORTED, "--iidfile: the daemon did not say the id");
	fd = fs_trusted_open(file, O_WRONLY | O_CREAT | O_TRUNC, 0644, err);
	return fd < 0 ? -1 : fs_write_all(fd, id, strlen(id), err);
}

static int run(struct cli *cli, const struct args *args, struct err *err)
{
	auto_buf struct buf path = BUF_INIT(API_PATH_MAX);
	struct progress progress;
	struct source source;
	int rc = open_source(cli, args, &source, err);

	if (rc == 0)
		rc = make_query(&path, args, source.context.dockerfile, err);
	if (rc == 0) {
		progress_init(&progress, cli, stdout);
		rc = send_build(cli, buf_str(&path), &source, &progress, err);
		if (rc == 0 && args_has(args, "iidfile") && progress.err.kind == ERR_NONE)
			rc = write_iidfile(args_string(args, "iidfile"), progress.aux, err);
		if (progress_done(&progress, rc < 0 ? NULL : err) < 0)
			rc = -1;
	}
	close_source(&source);
	return rc;
}

static const struct flag flags[] = {
	{"add-host", 0, FLAG_LIST, "HOST:IP", "Add a line to /etc/hosts of RUN steps"},
	{"build-arg", 0, FLAG_LIST, "KEY[=VALUE]", "Value of an ARG"},
	{"file", 'f', FLAG_STRING, "FILE",
         "The Dockerfile (default DIR/Dockerfile); -: standard input"},
	{"iidfile", 0, FLAG_STRING, "FILE", "Write the image's id to a file"},
	{"label", 0, FLAG_LIST, "KEY=VALUE", "Set a label"},
	{"memory", 'm', FLAG_STRING, "SIZE", "Most memory of a RUN step"},
	{"mount", 0, FLAG_LIST, "SRC:DST[:ro]", "Bind a directory of the machine into RUN steps"},
	{"network", 0, FLAG_STRING, "NETWORK", "Network of RUN steps: also none, host"},
	{"no-cache", 0, FLAG_BOOL, NULL, "Run all steps again"},
	{"platform", 0, FLAG_STRING, "OS/ARCH", "Platform of images that are pulled"},
	{"pull", 0, FLAG_BOOL, NULL, "Ask the registry for newer images"},
	{"quiet", 'q', FLAG_BOOL, NULL, "Print the id only"},
	{"rm", 0, FLAG_BOOL, NULL, "Accepted; containers of steps are always removed"},
	{"force-rm", 0, FLAG_BOOL, NULL, "Accepted; containers of steps are always removed"},
	{"shm-size", 0, FLAG_STRING, "SIZE", "Size of /dev/shm in RUN steps"},
	{"tag", 't', FLAG_LIST, "NAME[:TAG]", "Name of the image"},
	{"target", 0, FLAG_STRING, "STAGE", "Stop after this stage"},
	{"volume", 'v', FLAG_LIST, "SRC:DST[:ro]", "The same as --mount"},
	{NULL},
};

const struct command command_build[] = {
	{.name = "build",
         .synopsis = "[OPTIONS] DIR|-",
         .summary = "Build an image from a Dockerfile",
         .flags = flags,
         .min = 1,
         .max = 1,
         .run = run},
	{.group = "image",
         .name = "build",
         .synopsis = "[OPTIONS] DIR|-",
         .summary = "Build an image from a Dockerfile",
         .flags = flags,
         .hidden = true,
         .min = 1,
         .max = 1,
         .run = run},
	{.name = NULL},
};
