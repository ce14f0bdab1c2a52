/* SPDX-License-Identifier: Apache-2.0 */
/* /containers/{id}/exec and /exec: more processes in a running container. */

#include "engine/exec.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/container.h"
#include "base/arena.h"
#include "base/fs.h"
#include "base/str.h"
#include "daemon/daemon.h"
#include "daemon/relay.h"
#include "daemon/streams.h"
#include "engine/engine.h"
#include "engine/hint.h"

#define EXEC_ARENA  (2u << 20)
#define EXEC_END_MS 2000

static int create(void *ctx, struct http_request *req, struct err *err)
{
	struct daemon *d = ctx;
	auto_arena struct arena arena = ARENA_INIT(EXEC_ARENA);
	auto_type(json) body = http_body_json(req, err);
	struct api_exec_create what = {0};
	char id[ID_HEX_MAX];

	if (!body || json_decode(body, &api_exec_create_table, &arena, &what, err) < 0)
		return -1;
	if (what.cmd.count == 0)
		return err_set(err, ERR_INVALID, "No exec command specified");
	if (exec_create(d->engine, http_arg(req, 0), &what, id, err) < 0)
		return -1;
	struct json *doc = json_object();
	json_set(doc, "Id", json_string(id));
	json_set(doc, "Warnings", hint_exec(d->engine, http_arg(req, 0), what.user, &what.cmd));
	return http_reply_json(req, 201, doc);
}

static void read_console(const struct json *size, struct exec_start *start)
{
	int64_t rows = json_num(json_at(size, 0), 0), cols = json_num(json_at(size, 1), 0);

	start->rows = rows > 0 && rows <= UINT16_MAX ? (uint16_t)rows : 0;
	start->cols = cols > 0 && cols <= UINT16_MAX ? (uint16_t)cols : 0;
}

/* A message in the shape that the client reads: a frame of stderr, or plain to a terminal. */
static void say(int client, bool tty, const char *message)
{
	size_t len = strlen(message) + 2;
	unsigned char head[8] = {2, 0, 0, 0, 0, 0, (unsigned char)(len >> 8), (unsigned char)len};

	if (!tty)
		(void)fs_write_all(client, head, sizeof(head), NULL);
	(void)fs_write_all(client, message, len - 2, NULL);
	(void)fs_write_all(client, "\r\n", 2, NULL);
}

static int start(void *ctx, struct http_request *req, struct err *err)
{
	struct daemon *d = ctx;
	auto_arena struct arena arena = ARENA_INIT(EXEC_ARENA);
	auto_type(json) body = http_body_json(req, err);
	struct exec_view view;
	struct relay_keys keys;

	if (!body || exec_inspect(d->engine, http_arg(req, 0), &arena, &view, err) < 0 ||
	    relay_keys_parse(view.create->detach_keys, &keys, err) < 0)
		return -1;
	struct exec_start what = {
		.detach = json_get_bool(body, "Detach", false),
		.tty = view.create->tty,
	};
	read_console(json_get(body, "ConsoleSize"), &what);
	if (!what.rows)
		read_console(view.create->console_size, &what);
	if (what.detach || view.running ||
	    view.has_exit) { /* the latter two: a conflict, said by the engine */
		int fd = exec_start(d->engine, view.id, &what, err);
		if (fd > 0)
			close(fd);
		return fd < 0 ? -1 : http_reply_empty(req, 200);
	}
	/* The answer goes out before the program runs: some clients lose output that comes together with it. What is
	 * wrong from here on is said in the stream, as dockerd does. */
	int client = http_hijack(req, streams_type(req, what.tty), err);
	if (client < 0)
		return -1;
	struct err why = ERR_INIT;
	auto_close int process = exec_start(d->engine, view.id, &what, &why);
	if (process < 0) {
		say(client, what.tty, why.msg);
		http_hijack_end(req, client);
		return 0;
	}
	if (!view.create->attach_stdin)
		shutdown(process, SHUT_WR);
	/* Clients ask for the exit code as soon as the stream ends. */
	if (!relay_run(client, process, what.tty && view.create->attach_stdin ? &keys : NULL))
		(void)exec_wait(d->engine, view.id, EXEC_END_MS, NULL);
	http_hijack_end(req, client);
	return 0;
}

static int inspect(void *ctx, struct http_request *req, struct err *err)
{
	struct daemon *d = ctx;
	auto_arena struct arena arena = ARENA_INIT(EXEC_ARENA);
	struct exec_view v;

	if (exec_inspect(d->engine, http_arg(req, 0), &arena, &v, err) < 0)
		return -1;
	struct json *arguments = json_array();
	for (size_t i = 1; i < v.create->cmd.count; i++)
		json_append(arguments, json_string(v.create->cmd.items[i]));
	struct json *process = json_object();
	json_set(process, "tty", json_bool(v.create->tty));
	json_set(process, "entrypoint", json_string(v.create->cmd.items[0]));
	json_set(process, "arguments", arguments);
	json_set(process, "privileged", json_bool(v.create->privileged));
	if (!str_empty(v.create->user))
		json_set(process, "user", json_string(v.create->user));

	struct json *doc = json_object();
	json_set(doc, "ID", json_string(v.id));
	json_set(doc, "Running", json_bool(v.running));
	json_set(doc, "ExitCode", v.has_exit ? json_int(v.exit_code) : json_null());
	json_set(doc, "ProcessConfig", process);
	json_set(doc, "OpenStdin", json_bool(v.create->attach_stdin));
	json_set(doc, "OpenStderr", json_bool(v.create->attach_stderr));
	json_set(doc, "OpenStdout", json_bool(v.create->attach_stdout));
	json_set(doc, "CanRemove", json_bool(!v.running));
	json_set(doc, "ContainerID", json_string(v.container_id));
	json_set(doc, "DetachKeys", json_string(""));
	json_set(doc, "Pid", json_int(v.pid));
	return http_reply_json(req, 200, doc);
}

static int resize(void *ctx, struct http_request *req, struct err *err)
{
	struct daemon *d = ctx;
	int64_t rows, cols;

	if (http_query_int(req, "h", 0, &rows, err) < 0 ||
	    http_query_int(req, "w", 0, &cols, err) < 0)
		return -1;
	if (rows < 0 || rows > UINT16_MAX || cols < 0 || cols > UINT16_MAX)
		return err_set(err, ERR_INVALID, "h and w: 0 to 65535");
	if (exec_resize(d->engine, http_arg(req, 0), (uint16_t)rows, (uint16_t)cols, err) < 0)
		return -1;
	return http_reply_empty(req, 200);
}

const struct http_route exec_routes[] = {
	{"POST", "/containers/{}/exec", create, false},
	{"POST", "/exec/{}/start", start, false},
	{"GET", "/exec/{}/json", inspect, false},
	{"POST", "/exec/{}/resize", resize, false},
	{NULL, NULL, NULL, false},
};
