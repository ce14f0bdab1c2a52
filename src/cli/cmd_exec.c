/* SPDX-License-Identifier: Apache-2.0 */
/* exec: one more process in a running container. */

#include <stdio.h>
#include <unistd.h>

#include "cli/api.h"
#include "cli/commands.h"
#include "cli/session.h"
#include "cli/spec.h"
#include "cli/terminal.h"

static void set_console(struct json *doc)
{
	uint16_t rows, cols;
	struct json *size;

	if (!terminal_size(&rows, &cols))
		return;
	size = json_array();
	json_append(size, json_int(rows));
	json_append(size, json_int(cols));
	json_set(doc, "ConsoleSize", size);
}

static struct json *make_body(const struct args *args, struct err *err)
{
	bool detach = args_bool(args, "detach"), tty = args_bool(args, "tty");
	auto_type(json) doc = json_object();
	struct json *command = json_array();
	struct json *env = json_array();

	for (size_t i = 1; i < args->count; i++)
		json_append(command, json_string(args->words[i]));
	json_set(doc, "Cmd", command);
	json_set(doc, "Env", env);
	for (size_t i = 0; i < args_count(args, "env-file"); i++)
		if (spec_env_file(args_at(args, "env-file", i), env, err) < 0)
			return NULL;
	for (size_t i = 0; i < args_count(args, "env"); i++)
		if (spec_env(args_at(args, "env", i), env, err) < 0)
			return NULL;
	json_set(doc, "AttachStdin", json_bool(!detach && args_bool(args, "interactive")));
	json_set(doc, "AttachStdout", json_bool(!detach));
	json_set(doc, "AttachStderr", json_bool(!detach));
	json_set(doc, "Tty", json_bool(tty));
	json_set(doc, "Privileged", json_bool(args_bool(args, "privileged")));
	if (args_has(args, "user"))
		json_set(doc, "User", json_string(args_string(args, "user")));
	if (args_has(args, "workdir"))
		json_set(doc, "WorkingDir", json_string(args_string(args, "workdir")));
	if (args_has(args, "detach-keys"))
		json_set(doc, "DetachKeys", json_string(args_string(args, "detach-keys")));
	if (tty)
		set_console(doc);
	return move_ptr(doc);
}

static struct json *start_body(const struct args *args, bool detach)
{
	struct json *doc = json_object();

	json_set(doc, "Detach", json_bool(detach));
	json_set(doc, "Tty", json_bool(args_bool(args, "tty")));
	if (args_bool(args, "tty"))
		set_console(doc);
	return doc;
}

static int exit_code(struct cli *cli, const char *id, struct err *err)
{
	const char *path = api_path(cli, "/exec/", id, "/json", err);
	auto_type(json) doc = path ? api_get(cli, path, err) : NULL;

	if (!doc)
		return -1;
	return (int)(json_get_int(doc, "ExitCode", 0) & 0xff);
}

static int run(struct cli *cli, const struct args *args, struct err *err)
{
	bool detach = args_bool(args, "detach"), tty = args_bool(args, "tty");
	const char *path = api_path(cli, "/containers/", args->words[0], "/exec", err);
	struct json *body = make_body(args, err);
	struct json *answer = NULL;

	if (tty && args_bool(args, "interactive") && !detach && !isatty(STDIN_FILENO)) {
		json_free(body);
		return err_set(err, ERR_INVALID, "the input device is not a TTY");
	}
	if (!path || !body || api_send(cli, "POST", path, body, &answer, err) < 0)
		return -1;
	auto_type(json) reply = answer;
	cli_show_warnings(cli, reply);
	const char *id = json_get_string(reply, "Id");
	const char *start = id ? api_path(cli, "/exec/", id, "/start", err) : NULL;
	if (!start)
		return -1;
	if (detach)
		return api_send(cli, "POST", start, start_body(args, true), NULL, err);
	if (session_block_signals(err) < 0)
		return -1;
	auto_close int fd = api_hijack(cli, start, start_body(args, false), err);
	if (fd < 0)
		return -1;
	struct session s = {
		.fd = fd,
		.tty = tty,
		.in = args_bool(args, "interactive"),
		.resize = api_path(cli, "/exec/", id, "/resize", err),
		.wait_fd = -1,
	};
	if (tty)
		session_resize(cli, s.resize);
	if (session_run(cli, &s, err) < 0)
		return -1;
	return exit_code(cli, id, err);
}

static const struct flag flags[] = {
	{"detach", 'd', FLAG_BOOL, NULL, "Run in the background"},
	{"detach-keys", 0, FLAG_STRING, "KEYS", "Keys that leave the process"},
	{"env", 'e', FLAG_LIST, "KEY[=VALUE]", "Set a variable"},
	{"env-file", 0, FLAG_LIST, "FILE", "Read variables from a file"},
	{"interactive", 'i', FLAG_BOOL, NULL, "Pass our input on"},
	{"privileged", 0, FLAG_BOOL, NULL, "All capabilities"},
	{"tty", 't', FLAG_BOOL, NULL, "Give it a terminal"},
	{"user", 'u', FLAG_STRING, "USER[:GROUP]", "User of the process"},
	{"workdir", 'w', FLAG_STRING, "PATH", "Working directory"},
	{NULL},
};

const struct command command_exec[] = {
	{.name = "exec",
         .synopsis = "[OPTIONS] CONTAINER COMMAND [ARG...]",
         .summary = "Run a command in a running container",
         .flags = flags,
         .min = 2,
         .max = CLI_ARGS_ANY,
         .passes_on = true,
         .run = run},
	{.name = NULL},
};
