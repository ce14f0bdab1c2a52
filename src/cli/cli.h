/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * cli - what a command of `buoy` is, and what it gets to work with.
 *
 * A command is one entry of a table: its words, its flags and the function that runs it.
 *
 *	static int run(struct cli *cli, const struct args *args, struct err *err)
 *	{
 *		auto_type(json) info = api_get(cli, "/info", err);
 *		...
 *		return 0;
 *	}
 *	const struct command command_info[] = {
 *		{.name = "info", .synopsis = "[OPTIONS]", .summary = "...", .flags = flags, .run = run},
 *		{NULL},
 *	};
 *
 * commands.c lists the tables. Help, completion and the man pages are made from them (help.h), so a
 * flag is described once. A command talks to buoyd by its HTTP interface only (api.h).
 *
 * Text that a command makes lives in cli->arena until the program ends. One thread uses a struct cli.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/err.h"

struct http_client;

#define CLI_DEFAULT_HOST "unix:///run/buoy/buoy.sock"
#define CLI_ARGS_ANY     (-1)

enum flag_type {
	FLAG_BOOL,   /* --name, --name=false */
	FLAG_STRING, /* the last one wins */
	FLAG_LIST,   /* may be given several times */
	FLAG_INT,    /* checked by the parser */
};

struct flag {
	const char *name; /* long; NULL ends the table */
	char letter;      /* short, or 0 */
	enum flag_type type;
	const char *value; /* what the help calls it; NULL for FLAG_BOOL */
	const char *help;
};

struct cli;
struct args;

struct command {
	const char *group; /* "swarm", or NULL */
	const char *name;  /* NULL ends the table */
	const char *alias; /* another name, or NULL */
	const char *synopsis;
	const char *summary;
	const struct flag *flags; /* or NULL */
	int min, max;             /* words behind the flags; max CLI_ARGS_ANY: no limit */
	bool passes_on;           /* what follows the first word belongs to the container */
	bool hidden;
	int failure; /* exit code when run() fails; 0: 1 */
	/* The exit code, or -1 with err: then "buoy: <err>" is shown. */
	int (*run)(struct cli *cli, const struct args *args, struct err *err);
};

extern const struct command *const cli_commands[]; /* NULL-terminated tables */
/* NULL: no such command. *used: how many words (1 or 2) name it. */
const struct command *cli_find(int count, char *const *words, int *used);

struct cli {
	const char *host;
	struct http_client *client; /* made by the first call: see api.h */
	struct arena arena;
	bool out_tty, err_tty; /* is it a terminal? */
};

/* The whole program: the exit code. */
int cli_main(int argc, char **argv);

/* Runs one(...) for each word; a failure is shown and does not stop the rest. The exit code. */
int cli_each(struct cli *cli, const struct args *args,
             int (*one)(struct cli *cli, const struct args *args, const char *name,
                        struct err *err));
/* "buoy: <err>" on stderr. */
void cli_complain(const struct cli *cli, const struct err *err);
/* The same for the "Warnings" of an answer. */
struct json;
void cli_show_warnings(const struct cli *cli, const struct json *reply);
