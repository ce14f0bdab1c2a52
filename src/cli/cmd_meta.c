/* SPDX-License-Identifier: Apache-2.0 */
/* completion, manpage: what is made from the command tables. */

#include <stdio.h>

#include "base/str.h"
#include "cli/commands.h"
#include "cli/help.h"

static int run_completion(struct cli *cli, const struct args *args, struct err *err)
{
	(void)cli;
	return help_completion(stdout, args->words[0], err);
}

static void list_pages(void)
{
	puts("buoy");
	for (const struct command *const *table = cli_commands; *table; table++)
		for (const struct command *c = *table; c->name; c++)
			if (!c->hidden)
				printf("buoy-%s%s%s\n", c->group ? c->group : "",
				       c->group ? "-" : "", c->name);
}

/* Without a word the names of all pages, for the build; "buoy" is the program's own. */
static int run_manpage(struct cli *cli, const struct args *args, struct err *err)
{
	int used;

	(void)cli;
	if (args->count == 0) {
		list_pages();
		return 0;
	}
	if (str_eq(args->words[0], "buoy")) {
		help_manpage(stdout, NULL);
		return 0;
	}
	const struct command *c = cli_find((int)args->count, (char *const *)args->words, &used);
	if (!c)
		return err_set(err, ERR_NOT_FOUND, "no such command: %s", args->words[0]);
	help_manpage(stdout, c);
	return 0;
}

static const struct flag none[] = {{NULL}};

const struct command command_meta[] = {
	{.name = "completion",
         .synopsis = "bash|zsh|fish",
         .summary = "Print a completion script for a shell",
         .flags = none,
         .min = 1,
         .max = 1,
         .run = run_completion},
	{.name = "manpage",
         .synopsis = "[COMMAND]",
         .summary = "Print a manual page",
         .flags = none,
         .hidden = true,
         .max = 2,
         .run = run_manpage},
	{.name = NULL},
};
