/* SPDX-License-Identifier: Apache-2.0 */
/* inspect: everything the daemon knows about something, whatever it is. */

#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "cli/api.h"
#include "cli/commands.h"
#include "cli/inspect.h"
#include "cli/out.h"
#include "cli/template.h"

#define TEXT_MAX (64u << 20)

/* In the order in which a bare name is looked for. */
static const struct kind {
	const char *name, *before, *after;
} kinds[] = {
	{"container", "/containers/", "/json"},
	{"image", "/images/", "/json"},
	{"network", "/networks/", NULL},
	{"volume", "/volumes/", NULL},
	{"service", "/services/", NULL},
	{"node", "/nodes/", NULL},
	{"task", "/tasks/", NULL},
	{"secret", "/secrets/", NULL},
	{"config", "/configs/", NULL},
};

/* "self" is the node that answers. */
static struct json *find_self(struct cli *cli, struct err *err)
{
	auto_buf struct buf path = BUF_INIT(API_PATH_MAX);
	auto_type(json) info = api_get(cli, "/info", err);
	const char *id = json_get_string(json_get(info, "Swarm"), "NodeID");

	if (!info)
		return NULL;
	if (str_empty(id))
		return err_set(err, ERR_NOT_FOUND, "this machine is not part of a swarm"), NULL;
	api_begin(&path, "/nodes/", id, NULL);
	return api_get(cli, buf_str(&path), err);
}

static struct json *find(struct cli *cli, const struct args *args, const char *type,
                         const char *name, struct err *err)
{
	bool known = false;

	if (type && str_eq(type, "node") && str_eq(name, "self"))
		return find_self(cli, err);
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		struct err why = ERR_INIT;
		auto_buf struct buf path = BUF_INIT(API_PATH_MAX);
		if (type && !str_eq(type, kinds[i].name))
			continue;
		known = true;
		api_begin(&path, kinds[i].before, name, kinds[i].after);
		if (args_bool(args, "size") && i == 0)
			api_query(&path, "size", "1");
		struct json *doc = api_get(cli, buf_str(&path), &why);
		if (doc)
			return doc;
		/* Not a manager is "not found" for a bare name. */
		if (type || (why.kind != ERR_NOT_FOUND && i < 4)) {
			if (err)
				*err = why;
			return NULL;
		}
	}
	err_set(err, known ? ERR_NOT_FOUND : ERR_INVALID,
	        known ? "no such object: %s"
	              : "--type %s: container, image, network, volume, "
	                "service, node, task, secret or config",
	        known ? name : type);
	return NULL;
}

static int show_formatted(struct cli *cli, const struct template *t, const struct json *doc,
                          struct err *err)
{
	auto_buf struct buf text = BUF_INIT(TEXT_MAX);

	if (template_write(t, doc, &text, err) < 0 || buf_check(&text, err) < 0)
		return -1;
	out_text(stdout, buf_str(&text), cli->out_tty);
	fputc('\n', stdout);
	return 0;
}

static int show_all(struct cli *cli, const struct json *list, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(TEXT_MAX);

	if (json_write_pretty(list, &text, err) < 0)
		return -1;
	out_text(stdout, buf_str(&text), cli->out_tty);
	fputc('\n', stdout);
	return 0;
}

int inspect_run(struct cli *cli, const struct args *args, const char *type, struct err *err)
{
	const char *format = args_string(args, "format");
	auto_type(template) t = NULL;
	auto_type(json) list = json_array();
	int code = 0;

	if (str_eq(format, "json"))
		format = "{{json .}}";
	if (!str_empty(format) && !(t = template_parse(format, err)))
		return -1;
	for (size_t i = 0; i < args->count; i++) {
		struct err why = ERR_INIT;
		struct json *doc = find(cli, args, type, args->words[i], &why);
		if (doc && t && show_formatted(cli, t, doc, &why) < 0) {
			json_free(doc);
			doc = NULL;
		}
		if (!doc) {
			fflush(stdout);
			cli_complain(cli, &why);
			code = 1;
			continue;
		}
		json_append(list, doc);
	}
	if (!t && show_all(cli, list, err) < 0)
		return -1;
	return code;
}

static int run(struct cli *cli, const struct args *args, struct err *err)
{
	return inspect_run(cli, args, args_string(args, "type"), err);
}

static const struct flag flags[] = {
	INSPECT_FLAGS,
	{"size", 's', FLAG_BOOL, NULL, "Sizes of a container"},
	{"type", 0, FLAG_STRING, "TYPE",
         "container, image, network, volume, service, node, task, secret, config"},
	{NULL},
};

static int run_image(struct cli *cli, const struct args *args, struct err *err)
{
	return inspect_run(cli, args, "image", err);
}

static int run_container(struct cli *cli, const struct args *args, struct err *err)
{
	return inspect_run(cli, args, "container", err);
}

const struct command command_inspect[] = {
	{.name = "inspect",
         .synopsis = "[OPTIONS] NAME|ID [NAME|ID...]",
         .summary =
                 "Show everything about containers, images, networks, volumes, services, nodes, secrets",
         .flags = flags,
         .min = 1,
         .max = CLI_ARGS_ANY,
         .run = run},
	{.group = "container",
         .name = "inspect",
         .synopsis = "[OPTIONS] CONTAINER [CONTAINER...]",
         .summary = "Show everything about containers",
         .flags = flags,
         .min = 1,
         .max = CLI_ARGS_ANY,
         .run = run_container},
	{.group = "image",
         .name = "inspect",
         .synopsis = "[OPTIONS] IMAGE [IMAGE...]",
         .summary = "Show everything about images",
         .flags = flags,
         .min = 1,
         .max = CLI_ARGS_ANY,
         .run = run_image},
	{.name = NULL},
};
