/* SPDX-License-Identifier: Apache-2.0 */
/* version, info, events, system df, and the prunes. */

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/str.h"
#include "cli/api.h"
#include "cli/commands.h"
#include "cli/out.h"
#include "cli/template.h"
#include "cli/template_eval.h"
#include "cli/when.h"

#define TEXT_MAX (16u << 20)
#define NANO     1000000000LL

/* --format over one document; false when none was asked for. */
static int show_formatted(struct cli *cli, const struct args *args, const struct json *doc,
                          bool *shown, struct err *err)
{
	const char *format = args_string(args, "format");
	auto_buf struct buf text = BUF_INIT(TEXT_MAX);

	*shown = !str_empty(format);
	if (!*shown)
		return 0;
	auto_type(template) t = template_parse(str_eq(format, "json") ? "{{json .}}" : format, err);
	if (!t || template_write(t, doc, &text, err) < 0 || buf_check(&text, err) < 0)
		return -1;
	out_text(stdout, buf_str(&text), cli->out_tty);
	fputc('\n', stdout);
	return 0;
}

/* "Label: value" from a key; nothing when it is absent. */
static void line(const struct cli *cli, const char *label, const struct json *doc, const char *key)
{
	auto_buf struct buf text = BUF_INIT(TEXT_MAX);
	const struct json *value = json_get(doc, key);

	if (!value || json_is_null(value) || str_eq(json_str(value), ""))
		return;
	template_print(value, &text);
	printf("%s: ", label);
	out_text(stdout, buf_str(&text), cli->out_tty);
	fputc('\n', stdout);
}

/* ---- version ---- */

static struct json *client_version(void)
{
	struct json *client = json_object();

	json_set(client, "Version", json_string(BUOY_VERSION));
	json_set(client, "ApiVersion", json_string(API_VERSION_NUMBER));
	json_set(client, "Os", json_string("linux"));
	return client;
}

static int run_version(struct cli *cli, const struct args *args, struct err *err)
{
	struct err why = ERR_INIT;
	auto_type(json) doc = json_object();
	const char *path = api_path(cli, "/version", NULL, NULL, err);
	struct json *server = path ? api_get(cli, path, &why) : NULL;
	bool shown = false;

	json_set(doc, "Client", client_version());
	if (server)
		json_set(doc, "Server", server);
	if (show_formatted(cli, args, doc, &shown, err) < 0)
		return -1;
	if (!shown) {
		printf("Client:\n Version: %s\n API version: %s\n", BUOY_VERSION,
		       API_VERSION_NUMBER);
		if (server) {
			printf("\nServer:\n");
			line(cli, " Version", server, "Version");
			line(cli, " API version", server, "ApiVersion");
			line(cli, " Minimum API version", server, "MinAPIVersion");
			line(cli, " OS", server, "Os");
			line(cli, " Architecture", server, "Arch");
			line(cli, " Kernel", server, "KernelVersion");
		}
	}
	if (server)
		return 0;
	if (err)
		*err = why;
	return -1;
}

/* ---- info ---- */

static void show_swarm(const struct cli *cli, const struct json *swarm)
{
	line(cli, "Swarm", swarm, "LocalNodeState");
	if (str_eq(json_get_string(swarm, "LocalNodeState"), "active")) {
		line(cli, " Node ID", swarm, "NodeID");
		line(cli, " Manager", swarm, "ControlAvailable");
		line(cli, " Managers", swarm, "Managers");
		line(cli, " Nodes", swarm, "Nodes");
		line(cli, " Address", swarm, "NodeAddr");
	}
}

static int run_info(struct cli *cli, const struct args *args, struct err *err)
{
	const char *path = api_path(cli, "/info", NULL, NULL, err);
	auto_type(json) doc = path ? api_get(cli, path, err) : NULL;
	bool shown = false;
	char size[24];

	if (!doc || show_formatted(cli, args, doc, &shown, err) < 0)
		return -1;
	if (shown)
		return 0;
	line(cli, "Containers", doc, "Containers");
	line(cli, " Running", doc, "ContainersRunning");
	line(cli, " Paused", doc, "ContainersPaused");
	line(cli, " Stopped", doc, "ContainersStopped");
	line(cli, "Images", doc, "Images");
	line(cli, "Server version", doc, "ServerVersion");
	line(cli, "Storage driver", doc, "Driver");
	line(cli, "Logging driver", doc, "LoggingDriver");
	line(cli, "Cgroup driver", doc, "CgroupDriver");
	line(cli, "Cgroup version", doc, "CgroupVersion");
	show_swarm(cli, json_get(doc, "Swarm"));
	line(cli, "Runtime", doc, "DefaultRuntime");
	line(cli, "Kernel", doc, "KernelVersion");
	line(cli, "Operating system", doc, "OperatingSystem");
	line(cli, "Architecture", doc, "Architecture");
	line(cli, "CPUs", doc, "NCPU");
	printf("Memory: %s\n", out_size_binary(json_get_int(doc, "MemTotal", 0), size));
	line(cli, "Name", doc, "Name");
	line(cli, "ID", doc, "ID");
	line(cli, "Root", doc, "DockerRootDir");
	for (size_t i = 0; i < json_count(json_get(doc, "Warnings")); i++)
		fprintf(stderr, "WARNING: %s\n", json_str(json_at(json_get(doc, "Warnings"), i)));
	return 0;
}

/* ---- events ---- */

struct events {
	struct cli *cli;
	struct template *format; /* NULL: the usual line */
	struct buf line;
	struct err err;
};

/* 2026-01-02T03:04:05.6Z container start 0123... (image=debian, name=web) */
static void plain_event(const struct json *e, struct buf *out)
{
	const struct json *actor = json_get(e, "Actor");
	const char *id = json_get_string(actor, "ID"), *key, *before = " (";
	char when[CLOCK_TEXT_MAX];
	struct json *value;
	void *iter = NULL;

	buf_addf(out, "%s %s %s %s",
	         clock_format(json_get_int(e, "timeNano", json_get_int(e, "time", 0) * NANO), when),
	         json_get_string(e, "Type") ? json_get_string(e, "Type") : "",
	         json_get_string(e, "Action") ? json_get_string(e, "Action") : "", id ? id : "");
	while (json_next(json_get(actor, "Attributes"), &iter, &key, &value)) {
		buf_addf(out, "%s%s=%s", before, key, json_str(value) ? json_str(value) : "");
		before = ", ";
	}
	buf_add(out, *before == ',' ? ")" : "");
}

static int show_event(struct events *e)
{
	auto_type(json) doc = json_parse(buf_str(&e->line), e->line.len, &e->err);
	auto_buf struct buf text = BUF_INIT(TEXT_MAX);

	if (!doc)
		return -1;
	if (!e->format)
		plain_event(doc, &text);
	else if (template_write(e->format, doc, &text, &e->err) < 0)
		return -1;
	out_text(stdout, buf_str(&text), e->cli->out_tty);
	fputc('\n', stdout);
	fflush(stdout);
	return 0;
}

static int take_events(void *arg, const void *data, size_t len)
{
	struct events *e = arg;
	const char *text = data;

	for (size_t i = 0; i < len; i++) {
		if (text[i] != '\n')
			buf_add_mem(&e->line, text + i, 1);
		else if (e->line.len > 0 && show_event(e) < 0)
			return -1;
		else
			buf_clear(&e->line);
	}
	return buf_check(&e->line, &e->err);
}

static int run_events(struct cli *cli, const struct args *args, struct err *err)
{
	const char *format = args_string(args, "format");
	auto_buf struct buf path = BUF_INIT(API_PATH_MAX);
	auto_type(template) t = NULL;
	struct events events = {.cli = cli, .line = BUF_INIT(1u << 20), .err = ERR_INIT};

	if (!str_empty(format) &&
	    !(t = template_parse(str_eq(format, "json") ? "{{json .}}" : format, err)))
		return -1;
	events.format = t;
	api_begin(&path, "/events", NULL, NULL);
	if (when_query(&path, args, "since", err) < 0 ||
	    when_query(&path, args, "until", err) < 0 || api_filters(&path, args, err) < 0)
		return -1;
	const struct http_call call = {.method = "GET",
	                               .path = buf_str(&path),
	                               .write = take_events,
	                               .write_arg = &events};
	int rc = api_stream(cli, &call, err);
	if (rc < 0 && events.err.kind != ERR_NONE && err)
		*err = events.err;
	buf_free(&events.line);
	return rc;
}

static const struct flag format_flags[] = {
	{"format", 'f', FLAG_STRING, "TEMPLATE", "json, or a template over the keys"},
	{NULL},
};
static const struct flag events_flags[] = {
	{"filter", 'f', FLAG_LIST, "KEY=VALUE", "Only those that fit: type, event, container, ..."},
	{"format", 0, FLAG_STRING, "TEMPLATE", "json, or a template over the keys"},
	{"since", 0, FLAG_STRING, "TIME", "From then on: a time, or 10m ago"},
	{"until", 0, FLAG_STRING, "TIME", "Up to then, and end"},
	{NULL},
};

#define SYSTEM(name_, summary_, flags_, run_)                                                      \
	{                                                                                          \
		.group = "system", .name = (name_), .synopsis = "[OPTIONS]",                       \
		.summary = (summary_), .flags = (flags_), .run = (run_)                            \
	}

const struct command command_system[] = {
	{.name = "version",
         .synopsis = "[OPTIONS]",
         .summary = "Show the versions of client and daemon",
         .flags = format_flags,
         .run = run_version},
	{.name = "info",
         .synopsis = "[OPTIONS]",
         .summary = "Show what the daemon knows about itself and its machine",
         .flags = format_flags,
         .run = run_info},
	{.name = "events",
         .synopsis = "[OPTIONS]",
         .summary = "Show what happens, as it happens",
         .flags = events_flags,
         .run = run_events},
	SYSTEM("info", "The same as info", format_flags, run_info),
	SYSTEM("events", "The same as events", events_flags, run_events),
	{.name = NULL},
};
