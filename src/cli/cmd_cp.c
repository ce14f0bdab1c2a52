/* SPDX-License-Identifier: Apache-2.0 */
/* cp: files between a container and here. */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base64.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/str.h"
#include "cli/api.h"
#include "cli/commands.h"
#include "cli/context.h"
#include "cli/out.h"
#include "image/apply.h"

#define STAT_HEADER  "X-Docker-Container-Path-Stat"
#define STAT_MAX     (64u << 10)
#define GO_MODE_DIR  (1ll << 31)
#define GO_MODE_LINK (1ll << 27)

/* One end of a copy. */
struct place {
	const char *container; /* NULL: here */
	const char *path;
};

struct copy {
	struct cli *cli;
	const struct args *args;
	struct place from, to;
	int64_t size; /* bytes copied; -1: not known */
};

/* "name:path"; what begins with "/" or "." is a path of here, "-" a tar on standard input or output. */
static struct place place_of(struct arena *arena, const char *text, struct err *err)
{
	const char *colon = strchr(text, ':');

	if (!colon || *text == '/' || *text == '.' || colon == text)
		return (struct place){NULL, text};
	return (struct place){arena_strndup(arena, text, (size_t)(colon - text), err), colon + 1};
}

static const char *base_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static bool means_content(const char *path)
{
	return str_eq(path, ".") || str_ends(path, "/.");
}

static bool ends_in_slash(const char *path)
{
	return str_ends(path, "/");
}

/* The path without slashes and "/." at its end; "/" stays. In the arena. */
static const char *trimmed(struct arena *arena, const char *path, struct err *err)
{
	size_t n = strlen(path);

	while (n > 1 && (path[n - 1] == '/' || (path[n - 1] == '.' && path[n - 2] == '/')))
		n--;
	return arena_strndup(arena, path, n, err);
}

static const char *parent_of(struct arena *arena, const char *path, struct err *err)
{
	const char *slash = strrchr(path, '/');

	if (!slash)
		return ".";
	return arena_strndup(arena, path, slash == path ? 1 : (size_t)(slash - path), err);
}

/* ---- what is at the other end ---- */

struct remote {
	bool is_dir, is_link;
	char *link_target; /* in the arena */
};

static int read_stat(struct arena *arena, const char *header, struct remote *out, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(STAT_MAX);

	if (!header || base64_decode(header, strlen(header), &text, err) < 0)
		return err_set(err, ERR_INTERNAL, "the daemon's answer lacks " STAT_HEADER);
	auto_type(json) doc = json_parse(buf_str(&text), text.len, err);
	if (!doc)
		return -1;
	int64_t mode = json_get_int(doc, "mode", 0);
	const char *target = json_get_string(doc, "linkTarget");
	out->is_dir = mode & GO_MODE_DIR;
	out->is_link = mode & GO_MODE_LINK;
	out->link_target = arena_strdup(arena, target ? target : "", err);
	return out->link_target ? 0 : -1;
}

static void archive_query(const struct place *place, const char *path, struct buf *out)
{
	api_begin(out, "/containers/", place->container, "/archive");
	api_query(out, "path", path);
}

/* 1: it is there; 0: it is not; -1. */
static int stat_remote(struct cli *cli, const struct place *place, const char *path,
                       struct remote *out, struct err *err)
{
	auto_buf struct buf url = BUF_INIT(API_PATH_MAX);
	struct http_response response = {0};
	struct http_client *client = api_client(cli, err);

	archive_query(place, path, &url);
	if (!client || buf_check(&url, err) < 0)
		return -1;
	int rc = http_call(client, "HEAD", buf_str(&url), NULL, &response, err);
	if (rc == 0 && response.status == 404)
		rc = 0; /* an unknown container fails at the next step */
	else if (rc == 0 && (rc = http_expect(&response, err)) == 0)
		rc = read_stat(&cli->arena, http_response_header(&response, STAT_HEADER), out,
		               err) < 0
		             ? -1
		             : 1;
	http_response_done(&response);
	return rc;
}

/* ---- from a container ---- */

struct receiver {
	int dir_fd, read_fd, write_fd;
	unsigned flags;
	pthread_t thread;
	struct apply_result result;
	int rc;
	struct err err;
};

static ssize_t read_pipe(void *arg, void *data, size_t len, struct err *err)
{
	ssize_t n = context_read_fd(arg, data, len);

	return n < 0 ? err_sys(err, "read") : n;
}

static void *receive(void *arg)
{
	struct receiver *r = arg;
	const struct apply_source source = {.read = read_pipe, .arg = &r->read_fd};

	r->rc = apply_stream(&source, r->dir_fd, r->flags, &APPLY_LIMITS, &r->result, &r->err);
	close(r->read_fd); /* a writer that still writes gets EPIPE */
	return NULL;
}

static int pass_on(void *arg, const void *data, size_t len)
{
	return fs_write_all(*(const int *)arg, data, len, NULL);
}

static int get_archive(struct cli *cli, const struct place *from, const char *path, int out_fd,
                       struct err *err)
{
	auto_buf struct buf url = BUF_INIT(API_PATH_MAX);
	const struct http_call call = {.method = "GET", .write = pass_on, .write_arg = &out_fd};
	struct http_call get = call;

	archive_query(from, path, &url);
	if (buf_check(&url, err) < 0)
		return -1;
	get.path = buf_str(&url);
	return api_stream(cli, &get, err);
}

/* The archive of `path` into a directory of ours. */
static int fetch(struct cli *cli, const struct place *from, const char *path, struct receiver *r,
                 struct err *err)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_sys(err, "pipe");
	r->read_fd = ends[0];
	r->write_fd = ends[1];
	r->err = ERR_INIT;
	errno = pthread_create(&r->thread, NULL, receive, r);
	if (errno != 0) {
		close(ends[0]);
		close(ends[1]);
		return err_sys(err, "start a thread");
	}
	int rc = get_archive(cli, from, path, r->write_fd, err);
	close(r->write_fd);
	pthread_join(r->thread, NULL);
	if (r->rc < 0 && err) /* why the call broke off, if it did */
		*err = r->err;
	return rc < 0 ? -1 : r->rc;
}

static unsigned apply_flags(const struct args *args)
{
	return args_bool(args, "archive") && geteuid() == 0 ? APPLY_OWNERS | APPLY_SPECIAL : 0;
}

static int fetch_dir(struct copy *c, const char *path, struct err *err)
{
	const char *to = c->to.path;
	auto_buf struct buf source = BUF_INIT(PATH_MAX), target = BUF_INIT(PATH_MAX);
	struct receiver r = {.flags = apply_flags(c->args)};
	struct stat st;

	bool there = stat(to, &st) == 0;
	if (there && !S_ISDIR(st.st_mode))
		return err_set(err, ERR_INVALID, "cannot copy a directory over the file %s", to);
	buf_add(&target, to);
	if (there && !means_content(c->from.path))
		buf_addf(&target, "/%s", base_of(path));
	buf_addf(&source, "%s/.", path);
	if (buf_check(&source, err) < 0 || buf_check(&target, err) < 0)
		return -1;
	if (stat(buf_str(&target), &st) == 0)
		r.flags |= APPLY_KEEP_TYPE;
	auto_close int parent =
		fs_trusted_open_dir(parent_of(&c->cli->arena, buf_str(&target), err), false, err);
	if (parent < 0)
		return -1;
	auto_close int dir = fs_mkdir_all(parent, base_of(buf_str(&target)), 0755, err);
	r.dir_fd = dir;
	if (dir < 0 || fetch(c->cli, &c->from, buf_str(&source), &r, err) < 0)
		return -1;
	c->size = r.result.size;
	return 0;
}

/* A file or link: beside its place first, since it may replace something. */
static int fetch_one(struct copy *c, const char *path, struct err *err)
{
	const char *to = c->to.path;
	struct receiver r = {.flags = apply_flags(c->args)};
	char id[ID_HEX_MAX], name[32];
	struct stat st;

	bool into = stat(to, &st) == 0 && S_ISDIR(st.st_mode);
	if (!into && ends_in_slash(to))
		return err_set(err, ERR_NOT_FOUND, "no such directory: %s", to);
	auto_close int parent =
		fs_trusted_open_dir(into ? to : parent_of(&c->cli->arena, to, err), false, err);
	if (parent < 0)
		return -1;
	(void)snprintf(name, sizeof(name), ".buoy-cp-%.12s", id_make_hex(id));
	if (fs_mkdir(parent, name, 0700, err) < 0)
		return -1;
	auto_close int dir = fs_open_dir(parent, name, err);
	r.dir_fd = dir;
	int rc = dir < 0 ? -1 : fetch(c->cli, &c->from, path, &r, err);
	if (rc == 0)
		rc = fs_rename(dir, base_of(path), parent, into ? base_of(path) : base_of(to), err);
	(void)fs_remove_tree(parent, name, NULL);
	c->size = r.result.size;
	return rc;
}

static int copy_from(struct copy *c, struct err *err)
{
	const char *path = trimmed(&c->cli->arena, c->from.path, err);
	struct remote remote = {0};

	if (!path)
		return -1;
	if (str_eq(c->to.path, "-")) {
		if (isatty(STDOUT_FILENO))
			return err_set(err, ERR_INVALID,
			               "a tar does not go to a terminal: redirect it");
		c->size = -1;
		return get_archive(c->cli, &c->from, c->from.path, STDOUT_FILENO, err);
	}
	int there = stat_remote(c->cli, &c->from, path, &remote, err);
	if (there == 0)
		return get_archive(c->cli, &c->from, path, -1, err); /* for the daemon's words */
	if (there > 0 && remote.is_link &&
	    (args_bool(c->args, "follow-link") || !str_eq(path, c->from.path))) {
		path = remote.link_target;
		there = stat_remote(c->cli, &c->from, path, &remote, err);
	}
	if (there <= 0)
		return there < 0 ? -1
		                 : err_set(err, ERR_NOT_FOUND, "%s leads nowhere", c->from.path);
	return remote.is_dir ? fetch_dir(c, path, err) : fetch_one(c, path, err);
}

/* ---- to a container ---- */

static int put_archive(const struct copy *c, const char *dir,
                       ssize_t (*read)(void *, void *, size_t), void *arg, struct err *err)
{
	static const char *const headers[] = {"Content-Type: application/x-tar", NULL};
	auto_buf struct buf url = BUF_INIT(API_PATH_MAX);

	archive_query(&c->to, dir, &url);
	api_query(&url, "noOverwriteDirNonDir", "true");
	if (args_bool(c->args, "archive"))
		api_query(&url, "copyUIDGID", "true");
	if (buf_check(&url, err) < 0)
		return -1;
	const struct http_call call = {.method = "PUT",
	                               .path = buf_str(&url),
	                               .headers = headers,
	                               .read = read,
	                               .read_arg = arg,
	                               .body_len = SIZE_MAX};
	return api_stream(c->cli, &call, err);
}

struct counted {
	struct context context;
	int64_t bytes;
};

static ssize_t read_counted(void *arg, void *data, size_t len)
{
	struct counted *c = arg;
	ssize_t n = context_read(&c->context, data, len);

	c->bytes += n > 0 ? n : 0;
	return n;
}

/* dir: of the container; as: what the thing is to be called in it; NULL: its content alone. */
static int send_local(struct copy *c, const char *from, const char *dir, const char *as,
                      struct err *err)
{
	struct counted counted = {.context = {.plain = true, .dockerfile = "", .as = as}};
	const char *path = as ? parent_of(&c->cli->arena, from, err) : from;
	auto_close int fd = path ? fs_trusted_open_dir(path, false, err) : -1;

	counted.context.dir_fd = fd;
	counted.context.only = as ? base_of(from) : NULL;
	if (fd < 0 || context_start(&counted.context, err) < 0)
		return -1;
	int rc = put_archive(c, dir, read_counted, &counted, err);
	struct err why = ERR_INIT;
	/* A daemon that refuses reads no further: then its answer counts, not our broken pipe. */
	if (context_finish(&counted.context, &why) < 0 && (rc == 0 || err_is(err, ERR_CANCELED))) {
		*err = why;
		rc = -1;
	}
	c->size = counted.bytes;
	return rc;
}

/* Where the path in the container leads, over links at its end. */
static int stat_target(struct cli *cli, const struct place *to, const char **path,
                       struct remote *remote, struct err *err)
{
	int there = stat_remote(cli, to, *path, remote, err);

	if (there == 1 && remote->is_link) {
		*path = remote->link_target;
		there = stat_remote(cli, to, *path, remote, err);
	}
	return there;
}

static int copy_to(struct copy *c, struct err *err)
{
	const struct place *to = &c->to;
	const char *from = c->from.path;
	struct arena *arena = &c->cli->arena;
	const char *target = trimmed(arena, to->path, err), *source = trimmed(arena, from, err);
	struct remote remote = {0};
	struct stat st;

	if (!target || !source)
		return -1;
	if (str_eq(from, "-")) {
		int fd = STDIN_FILENO;
		c->size = -1;
		return put_archive(c, to->path, context_read_fd, &fd, err);
	}
	bool follow = args_bool(c->args, "follow-link") || !str_eq(source, from);
	auto_free char *real = follow ? realpath(source, NULL) : NULL;
	if ((follow && !real) || lstat(real ? real : source, &st) < 0)
		return err_sys(err, "%s", from);
	int there = stat_target(c->cli, to, &target, &remote, err);
	if (there < 0)
		return -1;
	if (there && remote.is_dir)
		return send_local(
			c, real ? real : source, target,
			means_content(from) && S_ISDIR(st.st_mode) ? NULL : base_of(source), err);
	if (!S_ISDIR(st.st_mode) && ends_in_slash(to->path))
		return err_set(err, ERR_NOT_FOUND, "no such directory in the container: %s",
		               to->path);
	if (there && S_ISDIR(st.st_mode))
		return err_set(err, ERR_INVALID, "cannot copy a directory over the file %s",
		               to->path);
	return send_local(c, real ? real : source, parent_of(arena, target, err), base_of(target),
	                  err);
}

static int run_cp(struct cli *cli, const struct args *args, struct err *err)
{
	struct copy c = {.cli = cli,
	                 .args = args,
	                 .from = place_of(&cli->arena, args->words[0], err),
	                 .to = place_of(&cli->arena, args->words[1], err)};
	char text[24];

	if (!c.from.container == !c.to.container)
		return err_set(err, ERR_INVALID,
		               "one of the two has to be in a container: write it as NAME:PATH");
	int rc = c.from.container ? copy_from(&c, err) : copy_to(&c, err);
	if (rc == 0 && c.size >= 0 && !args_bool(args, "quiet") && isatty(STDERR_FILENO))
		fprintf(stderr, "Copied %s to %s\n", out_size(c.size, text), args->words[1]);
	return rc;
}

static const struct flag cp_flags[] = {
	{"archive", 'a', FLAG_BOOL, NULL, "Keep owners, too"},
	{"follow-link", 'L', FLAG_BOOL, NULL, "Copy what a symbolic link leads to"},
	{"quiet", 'q', FLAG_BOOL, NULL, "Say nothing of what was copied"},
	{NULL},
};

const struct command command_cp[] = {
	{.name = "cp",
         .synopsis = "[OPTIONS] CONTAINER:SOURCE TARGET|-\n"
                     "[OPTIONS] SOURCE|- CONTAINER:TARGET",
         .summary = "Copy files between a container and here",
         .flags = cp_flags,
         .min = 2,
         .max = 2,
         .run = run_cp},
	{.name = NULL},
};
