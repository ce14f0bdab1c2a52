/* SPDX-License-Identifier: Apache-2.0 */
/* run, create, start, attach: containers from an image, and sitting in them. */

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/str.h"
#include "cli/api.h"
#include "cli/body.h"
#include "cli/commands.h"
#include "cli/pull.h"
#include "cli/session.h"

/* Exit codes of run, as everybody's scripts expect them. */
enum {
	EXIT_DAEMON = 125,
	EXIT_NOT_RUNNABLE = 126,
	EXIT_NOT_FOUND = 127
};

/* ---- create ---- */

static int post_create(struct cli *cli, const struct args *args, const struct json *body,
                       struct json **reply, struct err *err)
{
	auto_buf struct buf path = BUF_INIT(API_PATH_MAX);

	api_begin(&path, "/containers/create", NULL, NULL);
	if (args_has(args, "name"))
		api_query(&path, "name", args_string(args, "name"));
	if (args_has(args, "platform"))
		api_query(&path, "platform", args_string(args, "platform"));
	return api_send(cli, "POST", buf_str(&path), json_ref((struct json *)body), reply, err);
}

static int write_cidfile(const char *file, const char *id, struct err *err)
{
	auto_close int fd = fs_trusted_open(file, O_WRONLY | O_CREAT | O_EXCL, 0644, err);

	return fd < 0 ? -1 : fs_write_all(fd, id, strlen(id), err);
}

static int pull_for(struct cli *cli, const struct args *args, struct err *err)
{
	return pull_image(cli, args->words[0], args_string(args, "platform"), stderr,
	                  args_bool(args, "quiet"), err);
}

/* Creates it, fetching the image where that is needed. The id, in the arena. */
static const char *create_container(struct cli *cli, const struct args *args,
                                    const struct body_streams *streams, struct err *err)
{
	const char *when = args_string(args, "pull");
	auto_type(json) body = body_make(args, streams, err);
	struct json *answer = NULL;
	struct err why = ERR_INIT;

	if (when && !str_eq(when, "always") && !str_eq(when, "missing") && !str_eq(when, "never")) {
		err_set(err, ERR_INVALID, "--pull %s: always, missing or never", when);
		return NULL;
	}
	if (!body || (str_eq(when, "always") && pull_for(cli, args, err) < 0))
		return NULL;
	int rc = post_create(cli, args, body, &answer, &why);
	if (rc < 0 && why.kind == ERR_NOT_FOUND && strcasestr(why.msg, "no such image") &&
	    !str_eq(when, "never")) {
		fprintf(stderr, "Unable to find image '%s' locally\n", args->words[0]);
		if (pull_for(cli, args, err) < 0)
			return NULL;
		rc = post_create(cli, args, body, &answer, err);
	} else if (rc < 0 && err) {
		*err = why;
	}
	auto_type(json) reply = answer;
	if (rc < 0)
		return NULL;
	cli_show_warnings(cli, reply);
	const char *id = json_get_string(reply, "Id");
	if (args_has(args, "cidfile") && id &&
	    write_cidfile(args_string(args, "cidfile"), id, err) < 0)
		return NULL;
	return id ? arena_strdup(&cli->arena, id, err) : NULL;
}

/* -a stdout -a stderr; without any: output, and input if -i. */
static int choose_streams(const struct args *args, bool attached, struct body_streams *out,
                          struct err *err)
{
	bool interactive = args_bool(args, "interactive");

	*out = (struct body_streams){attached && interactive, attached, attached};
	if (args_count(args, "attach") > 0)
		*out = (struct body_streams){0};
	for (size_t i = 0; i < args_count(args, "attach"); i++) {
		const char *name = args_at(args, "attach", i);
		if (strcasecmp(name, "stdin") == 0)
			out->in = true;
		else if (strcasecmp(name, "stdout") == 0)
			out->out = true;
		else if (strcasecmp(name, "stderr") == 0)
			out->err = true;
		else
			return err_set(err, ERR_INVALID, "--attach %s: stdin, stdout or stderr",
			               name);
	}
	return 0;
}

static int run_create(struct cli *cli, const struct args *args, struct err *err)
{
	struct body_streams streams;

	if (choose_streams(args, true, &streams, err) < 0)
		return -1;
	const char *id = create_container(cli, args, &streams, err);
	if (!id)
		return -1;
	printf("%s\n", id);
	return 0;
}

/* ---- sitting in it ---- */

struct seat {
	const char *id;
	bool tty;
	struct body_streams streams;
	const char *keys;                        /* --detach-keys, or NULL */
	bool proxy;                              /* signals go to the container */
	const char *condition;                   /* of the wait; NULL: the container runs already */
	const char *checkpoint, *checkpoint_dir; /* what it goes on from; NULL: nothing */
};

static int attach_stream(struct cli *cli, const struct seat *seat, struct err *err)
{
	auto_buf struct buf path = BUF_INIT(API_PATH_MAX);

	api_begin(&path, "/containers/", seat->id, "/attach");
	api_query(&path, "stream", "1");
	if (seat->streams.in)
		api_query(&path, "stdin", "1");
	if (seat->streams.out)
		api_query(&path, "stdout", "1");
	if (seat->streams.err)
		api_query(&path, "stderr", "1");
	if (seat->keys)
		api_query(&path, "detachKeys", seat->keys);
	return api_hijack(cli, buf_str(&path), NULL, err);
}

static int start_container(struct cli *cli, const char *id, const char *checkpoint,
                           const char *checkpoint_dir, struct err *err)
{
	auto_buf struct buf path = BUF_INIT(API_PATH_MAX);

	api_begin(&path, "/containers/", id, "/start");
	if (checkpoint)
		api_query(&path, "checkpoint", checkpoint);
	if (checkpoint_dir)
		api_query(&path, "checkpoint-dir", checkpoint_dir);
	return api_send(cli, "POST", buf_str(&path), NULL, NULL, err);
}

/* What kept the program from starting decides the exit code, by the daemon's words. */
static int start_failure(const struct err *err)
{
	static const char *const missing[] = {"not found", "no such file"};
	static const char *const refused[] = {"permission denied", "is a directory", "exec format"};

	for (size_t i = 0; i < ARRAY_LEN(refused); i++)
		if (strcasestr(err->msg, refused[i]))
			return EXIT_NOT_RUNNABLE;
	for (size_t i = 0; i < ARRAY_LEN(missing); i++)
		if (strcasestr(err->msg, missing[i]))
			return EXIT_NOT_FOUND;
	return EXIT_DAEMON;
}

static int sit(struct cli *cli, const struct seat *seat, struct session *s, struct waiter *waiter,
               struct err *err)
{
	if (s->tty)
		session_resize(cli, s->resize);
	if (session_run(cli, s, err) < 0)
		return -1;
	if (s->detached)
		return 0;
	/* The output is over; the process may live on without it. */
	if (s->fd >= 0) {
		struct session rest = *s;
		rest.fd = -1;
		rest.in = false;
		if (session_run(cli, &rest, err) < 0)
			return -1;
	}
	(void)seat;
	return waiter_join(waiter, err);
}

/* attach, wait, start, in this order: nothing that it says or how it ends is missed. */
static int start_and_sit(struct cli *cli, const struct seat *seat, struct err *err)
{
	struct waiter waiter;
	struct err why = ERR_INIT;

	if (session_block_signals(err) < 0)
		return -1;
	auto_close int fd = attach_stream(cli, seat, err);
	if (fd < 0 || waiter_start(&waiter, cli, seat->id, seat->condition, err) < 0)
		return -1;
	if (start_container(cli, seat->id, seat->checkpoint, seat->checkpoint_dir, &why) < 0) {
		cli_complain(cli, &why);
		return start_failure(&why);
	}
	struct session s = {
		.fd = fd,
		.tty = seat->tty,
		.in = seat->streams.in,
		.resize = api_path(cli, "/containers/", seat->id, "/resize", err),
		.kill = seat->proxy ? api_path(cli, "/containers/", seat->id, "/kill", err) : NULL,
		.wait_fd = waiter.done_fd[0],
	};
	return sit(cli, seat, &s, &waiter, err);
}

/* ---- run ---- */

static int run_detached(struct cli *cli, const char *id, struct err *err)
{
	struct err why = ERR_INIT;

	(void)err;
	if (start_container(cli, id, NULL, NULL, &why) < 0) {
		cli_complain(cli, &why);
		return start_failure(&why);
	}
	printf("%s\n", id);
	return 0;
}

static int run(struct cli *cli, const struct args *args, struct err *err)
{
	bool detach = args_bool(args, "detach");
	struct seat seat = {
		.tty = args_bool(args, "tty"),
		.keys = args_string(args, "detach-keys"),
		.proxy = !args_has(args, "sig-proxy") || args_bool(args, "sig-proxy"),
		.condition = args_bool(args, "rm") ? "removed" : "next-exit",
	};

	if (detach && args_has(args, "attach"))
		return err_set(err, ERR_INVALID, "--detach and --attach exclude each other");
	if (choose_streams(args, !detach, &seat.streams, err) < 0)
		return -1;
	if (seat.tty && seat.streams.in && !isatty(STDIN_FILENO))
		return err_set(err, ERR_INVALID, "the input device is not a TTY");
	seat.id = create_container(cli, args, &seat.streams, err);
	if (!seat.id)
		return -1;
	return detach ? run_detached(cli, seat.id, err) : start_and_sit(cli, &seat, err);
}

/* ---- start and attach ---- */

static struct json *inspect(struct cli *cli, const char *name, struct err *err)
{
	const char *path = api_path(cli, "/containers/", name, "/json", err);

	return path ? api_get(cli, path, err) : NULL;
}

static int start_one(struct cli *cli, const struct args *args, const char *name, struct err *err)
{
	if (start_container(cli, name, args_string(args, "checkpoint"),
	                    args_string(args, "checkpoint-dir"), err) < 0)
		return -1;
	printf("%s\n", name);
	return 0;
}

static int run_start(struct cli *cli, const struct args *args, struct err *err)
{
	bool in = args_bool(args, "interactive");

	if (args_has(args, "checkpoint-dir") && !args_has(args, "checkpoint"))
		return err_set(err, ERR_INVALID, "--checkpoint-dir: needs --checkpoint");
	if (args_has(args, "checkpoint") && args->count > 1)
		return err_set(err, ERR_INVALID,
		               "start: only one container can go on from a checkpoint");
	if (!in && !args_bool(args, "attach"))
		return cli_each(cli, args, start_one);
	if (args->count > 1)
		return err_set(err, ERR_INVALID, "start: only one container can be attached to");
	auto_type(json) doc = inspect(cli, args->words[0], err);
	if (!doc)
		return -1;
	const struct json *config = json_get(doc, "Config");
	const struct json *host = json_get(doc, "HostConfig");
	const struct seat seat = {
		.id = arena_strdup(&cli->arena, json_get_string(doc, "Id"), err),
		.tty = json_get_bool(config, "Tty", false),
		.streams = {in && json_get_bool(config, "OpenStdin", false), true, true},
		.keys = args_string(args, "detach-keys"),
		.proxy = true,
		.condition = json_get_bool(host, "AutoRemove", false) ? "removed" : "next-exit",
		.checkpoint = args_string(args, "checkpoint"),
		.checkpoint_dir = args_string(args, "checkpoint-dir"),
	};
	return seat.id ? start_and_sit(cli, &seat, err) : -1;
}

static int run_attach(struct cli *cli, const struct args *args, struct err *err)
{
	auto_type(json) doc = inspect(cli, args->words[0], err);
	struct waiter waiter;

	if (!doc)
		return -1;
	if (!json_get_bool(json_get(doc, "State"), "Running", false))
		return err_set(err, ERR_CONFLICT,
		               "cannot attach to %s: it does not run; start it first",
		               args->words[0]);
	const struct json *config = json_get(doc, "Config");
	const struct seat seat = {
		.id = json_get_string(doc, "Id"),
		.tty = json_get_bool(config, "Tty", false),
		.streams = {!args_bool(args, "no-stdin") &&
	                            json_get_bool(config, "OpenStdin", false),
	                    true, true},
		.keys = args_string(args, "detach-keys"),
	};
	bool proxy = !args_has(args, "sig-proxy") || args_bool(args, "sig-proxy");
	if (session_block_signals(err) < 0 ||
	    waiter_start(&waiter, cli, seat.id, "not-running", err) < 0)
		return -1;
	auto_close int fd = attach_stream(cli, &seat, err);
	if (fd < 0)
		return -1;
	struct session s = {
		.fd = fd,
		.tty = seat.tty,
		.in = seat.streams.in,
		.resize = api_path(cli, "/containers/", seat.id, "/resize", err),
		.kill = proxy ? api_path(cli, "/containers/", seat.id, "/kill", err) : NULL,
		.wait_fd = waiter.done_fd[0],
	};
	return sit(cli, &seat, &s, &waiter, err);
}

static const struct flag run_flags[] = {
	{"detach", 'd', FLAG_BOOL, NULL, "Run in the background and print the id"},
	{"sig-proxy", 0, FLAG_BOOL, NULL, "Pass signals on to the process (default true)"},
	BODY_FLAGS,
	{NULL},
};

static const struct flag create_flags[] = {
	BODY_FLAGS,
	{NULL},
};

static const struct flag start_flags[] = {
	{"attach", 'a', FLAG_BOOL, NULL, "Attach to its output"},
	{"interactive", 'i', FLAG_BOOL, NULL, "Attach to its input"},
	{"detach-keys", 0, FLAG_STRING, "KEYS", "Keys that leave the container"},
	{"checkpoint", 0, FLAG_STRING, "NAME", "Go on from this checkpoint"},
	{"checkpoint-dir", 0, FLAG_STRING, "DIR",
         "Directory of the checkpoint on the daemon's machine"},
	{NULL},
};

static const struct flag attach_flags[] = {
	{"detach-keys", 0, FLAG_STRING, "KEYS", "Keys that leave the container"},
	{"no-stdin", 0, FLAG_BOOL, NULL, "Do not attach to its input"},
	{"sig-proxy", 0, FLAG_BOOL, NULL, "Pass signals on to the process (default true)"},
	{NULL},
};

const struct command command_run[] = {
	{.name = "run",
         .synopsis = "[OPTIONS] IMAGE [COMMAND] [ARG...]",
         .summary = "Run a command in a new container",
         .flags = run_flags,
         .min = 1,
         .max = CLI_ARGS_ANY,
         .passes_on = true,
         .failure = EXIT_DAEMON,
         .run = run},
	{.name = "create",
         .synopsis = "[OPTIONS] IMAGE [COMMAND] [ARG...]",
         .summary = "Make a container without starting it",
         .flags = create_flags,
         .min = 1,
         .max = CLI_ARGS_ANY,
         .passes_on = true,
         .run = run_create},
	{.name = "start",
         .synopsis = "[OPTIONS] CONTAINER [CONTAINER...]",
         .summary = "Start containers that do not run",
         .flags = start_flags,
         .min = 1,
         .max = CLI_ARGS_ANY,
         .run = run_start},
	{.name = "attach",
         .synopsis = "[OPTIONS] CONTAINER",
         .summary = "Sit in a running container: its input and output become ours",
         .flags = attach_flags,
         .min = 1,
         .max = 1,
         .run = run_attach},
	{.name = NULL},
};
