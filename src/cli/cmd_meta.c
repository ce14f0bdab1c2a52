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

#define PAGE_MAX 64

static const char *page_of(const struct command *c, char page[PAGE_MAX])
{
	(void)snprintf(page, PAGE_MAX, "buoy-%s%s%s", c->group ? c->group : "", c->group ? "-" : "",
	               c->name);
	return page;
}

/* Prints the page of that name; NULL: the names of all. True: there is one. */
static bool print_page(const char *wanted)
{
	char page[PAGE_MAX];

	for (const struct command *const *table = cli_commands; *table; table++)
		for (const struct command *c = *table; c->name; c++) {
			if (c->hidden)
				continue;
			if (!wanted)
				puts(page_of(c, page));
			else if (str_eq(page_of(c, page), wanted)) {
				help_manpage(stdout, c);
				return true;
			}
		}
	return !wanted;
}

/* Without a word the names of all pages, for the build; "buoy" is the program's own. */
static int run_manpage(struct cli *cli, const struct args *args, struct err *err)
{
	const char *wanted = args->count ? args->words[0] : NULL;

	(void)cli;
	if (!wanted)
		puts("buoy");
	if (str_eq(wanted, "buoy")) {
		help_manpage(stdout, NULL);
		return 0;
	}
	if (!print_page(wanted))
		return err_set(err, ERR_NOT_FOUND, "no such page: %s ('buoy manpage' lists them)",
		               wanted);
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
         .synopsis = "[PAGE]",
         .summary = "Print a manual page",
         .flags = none,
         .hidden = true,
         .max = 1,
         .run = run_manpage},
	{.name = NULL},
};
