/* SPDX-License-Identifier: Apache-2.0 */
/* service logs: the frames of all tasks, each line with its origin. A part of service_show. */

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/str.h"
#include "cli/api.h"
#include "cli/demux.h"
#include "cli/out.h"
#include "cli/service_show.h"
#include "cli/when.h"

#define FRAME_MAX (4u << 20)
#define HEAD_SIZE 8

struct logs {
	struct cli *cli;
	struct cli names; /* a connection of its own: the stream holds the other */
	const struct args *args;
	struct json *known; /* task id -> the text before its lines */
	struct buf pending;
	size_t width; /* of the widest origin so far */
	struct err err;
};

/* The value of KEY in "a=b,KEY=value,c=d", into text. */
static const char *detail(const char *details, size_t len, const char *key, char text[128])
{
	size_t key_len = strlen(key);

	for (const char *p = details; p < details + len;) {
		size_t n = strcspn(p, ", ");
		if (n > key_len && strncmp(p, key, key_len) == 0 && p[key_len] == '=') {
			snprintf(text, 128, "%.*s", (int)(n - key_len - 1), p + key_len + 1);
			return text;
		}
		p += n + 1;
	}
	*text = '\0';
	return text;
}

/* "web.1.abcdef@node": the name, the task's id (short), the node. */
static struct json *origin(struct logs *l, const char *task_id, const char *node_id)
{
	bool ids = args_bool(l->args, "no-resolve"), full = args_bool(l->args, "no-trunc");
	struct cli *cli = &l->names;
	const char *task_path = api_path(cli, "/tasks/", task_id, NULL, NULL);
	const char *node_path = api_path(cli, "/nodes/", node_id, NULL, NULL);
	auto_type(json) task = task_path && !ids ? api_get(cli, task_path, NULL) : NULL;
	auto_type(json) node = node_path && !ids ? api_get(cli, node_path, NULL) : NULL;
	const char *service_id = json_get_string(task, "ServiceID");
	const char *service_path =
		service_id ? api_path(cli, "/services/", service_id, NULL, NULL) : NULL;
	auto_type(json) service = service_path ? api_get(cli, service_path, NULL) : NULL;
	const char *name = json_get_string(json_get(service, "Spec"), "Name");
	const char *host = json_get_string(json_get(node, "Description"), "Hostname");
	auto_buf struct buf text = BUF_INIT(4096);

	if (!name) {
		buf_add(&text, out_id(l->cli, task_id, full || ids));
	} else {
		int64_t slot = json_get_int(task, "Slot", 0);
		buf_addf(&text, "%s.", name);
		if (slot > 0)
			buf_addf(&text, "%lld", (long long)slot);
		else
			buf_add(&text, node_id);
		if (!args_bool(l->args, "no-task-ids"))
			buf_addf(&text, ".%s", out_id(l->cli, task_id, full));
	}
	buf_addf(&text, "@%s", host ? host : node_id);
	return json_string(buf_str(&text));
}

/* [TIME ]DETAILS MESSAGE */
static void print_record(struct logs *l, FILE *out, const char *data, size_t len)
{
	bool times = args_bool(l->args, "timestamps");
	const char *end = data + len, *p = data;
	const char *after_time = times ? memchr(p, ' ', len) : NULL;
	const char *details = after_time ? after_time + 1 : p;
	const char *space = memchr(details, ' ', (size_t)(end - details));
	char task[128], node[128];

	if (!space) {
		fwrite(data, 1, len, out);
		return;
	}
	detail(details, (size_t)(space - details), "com.docker.swarm.task.id", task);
	detail(details, (size_t)(space - details), "com.docker.swarm.node.id", node);
	if (!json_get(l->known, task))
		json_set(l->known, task, origin(l, task, node));
	const char *from = json_get_string(l->known, task);
	size_t width = strlen(from ? from : "");
	l->width = width > l->width ? width : l->width;
	if (after_time)
		fwrite(data, 1, (size_t)(details - data), out);
	fprintf(out, "%s%*s    | ", from ? from : "", (int)(l->width - width), "");
	fwrite(space + 1, 1, (size_t)(end - space - 1), out);
	if (end[-1] != '\n')
		fputc('\n', out);
}

/* As the write function of an http_call: prints the frames that are whole. */
static int feed(void *arg, const void *data, size_t len)
{
	struct logs *l = arg;
	struct buf *b = &l->pending;
	size_t at = 0;

	buf_add_mem(b, data, len);
	if (buf_check(b, &l->err) < 0)
		return -1;
	while (b->len - at >= HEAD_SIZE) {
		const unsigned char *head = (const unsigned char *)b->data + at;
		size_t size = (size_t)head[4] << 24 | (size_t)head[5] << 16 | (size_t)head[6] << 8 |
		              head[7];
		if (head[0] > 2 || size > FRAME_MAX)
			return err_set(&l->err, ERR_INVALID, "the daemon sent no frame of a log");
		if (b->len - at - HEAD_SIZE < size)
			break;
		if (size > 0)
			print_record(l, head[0] == 2 ? stderr : stdout,
			             (const char *)head + HEAD_SIZE, size);
		at += HEAD_SIZE + size;
	}
	memmove(b->data, b->data + at, b->len - at);
	b->len -= at;
	fflush(stdout);
	return 0;
}

/* Whether the name is a service or else a task, and has a terminal. */
static int find(struct cli *cli, const char *name, const char **before, bool *tty, struct err *err)
{
	static const char *const kinds[] = {"/services/", "/tasks/"};
	struct err why = ERR_INIT;

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		const char *path = api_path(cli, kinds[i], name, NULL, err);
		auto_type(json) doc = path ? api_get(cli, path, &why) : NULL;
		if (doc) {
			const struct json *spec = json_get(doc, "Spec");
			const struct json *task = i == 0 ? json_get(spec, "TaskTemplate") : spec;
			*before = kinds[i];
			*tty = json_get_bool(json_get(task, "ContainerSpec"), "TTY", false);
			return 0;
		}
		if (why.kind != ERR_NOT_FOUND) {
			if (err)
				*err = why;
			return -1;
		}
	}
	return err_set(err, ERR_NOT_FOUND, "no such task or service: %s", name);
}

int service_logs_run(struct cli *cli, const struct args *args, struct err *err)
{
	auto_buf struct buf path = BUF_INIT(API_PATH_MAX);
	auto_type(json) known = json_object();
	const char *before;
	bool tty;

	if (find(cli, args->words[0], &before, &tty, err) < 0)
		return -1;
	bool raw = tty || args_bool(args, "raw");
	struct demux demux = {.raw = tty};
	struct logs logs = {.cli = cli,
	                    .names = {.host = cli->host, .arena = ARENA_INIT(64u << 20)},
	                    .args = args,
	                    .known = known,
	                    .pending = BUF_INIT(2 * FRAME_MAX)};
	api_begin(&path, before, args->words[0], "/logs");
	if (when_logs(&path, args, err) < 0)
		return -1;
	if (!raw)
		api_query(&path, "details", "1");
	const struct http_call call = {.method = "GET",
	                               .path = buf_str(&path),
	                               .write = raw ? demux_write : feed,
	                               .write_arg = raw ? (void *)&demux : (void *)&logs};
	int rc = api_stream(cli, &call, err);
	if (rc < 0 && logs.err.kind != ERR_NONE && err)
		*err = logs.err;
	http_client_free(logs.names.client);
	arena_done(&logs.names.arena);
	buf_free(&logs.pending);
	return rc;
}
