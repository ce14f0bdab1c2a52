/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/str.h"
#include "cli/args.h"
#include "cli/help.h"
#include "cli/out.h"
#include "http/client.h"

#define ARENA_MAX (256u << 20)

/* "container ls" is "ps": what docker groups, we have at the top as well. */
static const struct {
	const char *group, *name, *top;
} same[] = {
	{"container", "ls", "ps"},   {"container", "list", "ps"}, {"image", "ls", "images"},
	{"image", "list", "images"}, {"image", "rm", "rmi"},      {"image", "remove", "rmi"},
};

static const struct command *find_in(const char *group, const char *name)
{
	for (const struct command *const *table = cli_commands; *table; table++)
		for (const struct command *c = *table; c->name; c++)
			if (str_eq(c->group, group) &&
			    (str_eq(c->name, name) || str_eq(c->alias, name)))
				return c;
	return NULL;
}

static const struct command *find_grouped(const char *group, const char *name)
{
	const struct command *c = find_in(group, name);

	for (size_t i = 0; !c && i < ARRAY_LEN(same); i++)
		if (str_eq(same[i].group, group) && str_eq(same[i].name, name))
			return find_in(NULL, same[i].top);
	if (!c && (str_eq(group, "container") || str_eq(group, "image")))
		return find_in(NULL, name);
	return c;
}

const struct command *cli_find(int count, char *const *words, int *used)
{
	const struct command *c = count > 0 ? find_in(NULL, words[0]) : NULL;

	*used = 1;
	if (!c && count > 1) {
		c = find_grouped(words[0], words[1]);
		*used = 2;
	}
	return c;
}

void cli_complain(const struct cli *cli, const struct err *err)
{
	fputs("buoy: ", stderr);
	out_text(stderr, err->msg, cli->err_tty);
	fputc('\n', stderr);
}

void cli_show_warnings(const struct cli *cli, const struct json *reply)
{
	const struct json *warnings = json_get(reply, "Warnings");

	for (size_t i = 0; i < json_count(warnings); i++) {
		struct err warning = ERR_INIT;
		(void)err_set(&warning, ERR_INVALID, "warning: %s", json_str(json_at(warnings, i)));
		cli_complain(cli, &warning);
	}
}

int cli_each(struct cli *cli, const struct args *args,
             int (*one)(struct cli *cli, const struct args *args, const char *name,
                        struct err *err))
{
	int code = 0;

	for (size_t i = 0; i < args->count; i++) {
		struct err err = ERR_INIT;
		if (one(cli, args, args->words[i], &err) < 0) {
			fflush(stdout);
			cli_complain(cli, &err);
			code = 1;
		}
	}
	return code;
}

/* ---- the program's own flags ---- */

static const struct command self = {.name = "",
                                    .synopsis = "COMMAND",
                                    .flags = help_globals,
                                    .max = CLI_ARGS_ANY,
                                    .passes_on = true};

static const char *choose_host(const struct args *args)
{
	const char *host = args_string(args, "host");

	for (size_t i = 0; str_empty(host) && i < 2; i++)
		host = getenv(i == 0 ? "BUOY_HOST" : "DOCKER_HOST");
	return str_empty(host) ? CLI_DEFAULT_HOST : host;
}

static int run_command(struct cli *cli, const struct command *c, int argc, char *const *argv)
{
	struct err err = ERR_INIT;
	struct args args;
	int failure = c->failure ? c->failure : 1;

	if (args_parse(c, argc, argv, &cli->arena, &args, &err) < 0) {
		cli_complain(cli, &err);
		fprintf(stderr, "See 'buoy %s%s%s --help'.\n", c->group ? c->group : "",
		        c->group ? " " : "", c->name);
		return failure;
	}
	if (args.help) {
		help_command(stdout, c);
		return 0;
	}
	int code = c->run(cli, &args, &err);
	if (fflush(stdout) != 0 && code == 0)
		code = 1;
	if (code >= 0)
		return code;
	cli_complain(cli, &err);
	return failure;
}

static int choose_command(struct cli *cli, const struct args *args)
{
	char *const *words = (char *const *)args->words;
	int used;
	const struct command *c = cli_find((int)args->count, words, &used);

	if (c)
		return run_command(cli, c, (int)args->count - used, words + used);
	if (help_group(args->count > 1 && !str_starts(words[1], "-") ? NULL : words[0]))
		return args->count > 1 ? 0 : 1;
	struct err err = ERR_INIT;
	(void)err_set(&err, ERR_INVALID, "no such command: %s%s%s (see 'buoy --help')", words[0],
	              args->count > 1 && help_is_group(words[0]) ? " " : "",
	              args->count > 1 && help_is_group(words[0]) ? words[1] : "");
	cli_complain(cli, &err);
	return 1;
}

int cli_main(int argc, char **argv)
{
	struct cli cli = {
		.arena = ARENA_INIT(ARENA_MAX),
		.out_tty = isatty(STDOUT_FILENO),
		.err_tty = isatty(STDERR_FILENO),
	};
	struct err err = ERR_INIT;
	struct args args;
	int code;

	signal(SIGPIPE, SIG_IGN);
	if (args_parse(&self, argc - 1, argv + 1, &cli.arena, &args, &err) < 0) {
		cli_complain(&cli, &err);
		code = 125;
	} else if (args_bool(&args, "version")) {
		printf("buoy %s\n", BUOY_VERSION);
		code = 0;
	} else if (args.help || args.count == 0 || str_eq(args.words[0], "help")) {
		help_program(stdout);
		code = args.help || args.count ? 0 : 1;
	} else {
		cli.host = choose_host(&args);
		code = choose_command(&cli, &args);
	}
	http_client_free(cli.client);
	arena_done(&cli.arena);
	return code;
}
