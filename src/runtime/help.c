/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/help.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/str.h"
#include "runtime/command.h"

#define COLUMN 34 /* where the words of help begin */

static void show_option(FILE *out, const struct option_entry *o)
{
	char letter[8] = "    ";

	if (o->letter)
		snprintf(letter, sizeof(letter), "-%c, ", o->letter);
	int width = fprintf(out, "  %s--%s%s%s", letter, o->name, o->value ? " " : "",
	                    o->value ? o->value : "");
	fprintf(out, "%*s%s\n", width < COLUMN ? COLUMN - width : 1, "", o->help);
}

static void show_options(FILE *out, const struct option_entry *table)
{
	fputs("\nOptions:\n", out);
	for (; table->name; table++)
		show_option(out, table);
}

void help_program(FILE *out)
{
	fputs("Usage: buoy-runtime [OPTIONS] COMMAND ...\n\nMakes and runs containers from OCI "
	      "bundles.\n\nCommands:\n",
	      out);
	for (size_t i = 0; command_list_all[i]; i++)
		if (!command_list_all[i]->hidden)
			fprintf(out, "  %-12s %s\n", command_list_all[i]->name,
			        command_list_all[i]->summary);
	fprintf(out, "  %-12s %s\n", "serve", "the engine's launcher; not for people");
	show_options(out, command_global_options);
	fputs("\n'buoy-runtime COMMAND --help' tells more about a command.\n", out);
}

void help_command(FILE *out, const struct command *c)
{
	fprintf(out, "Usage: buoy-runtime %s %s\n\n%s\n", c->name, c->arguments, c->summary);
	show_options(out, c->options);
}

/* ---- man page ---- */

/* "\" and "-" mean something to roff, and so does "." or "'" at the start of a line. */
static void roff(FILE *out, const char *text)
{
	if (*text == '.' || *text == '\'')
		fputs("\\&", out);
	for (; *text; text++) {
		if (*text == '-' || *text == '\\')
			fputc('\\', out);
		fputc(*text == '\\' ? 'e' : *text, out);
	}
}

static void man_options(FILE *out, const struct option_entry *table)
{
	for (; table->name; table++) {
		fputs(".TP\n", out);
		if (table->letter)
			fprintf(out, "\\fB\\-%c\\fR, ", table->letter);
		fputs("\\fB\\-\\-", out);
		roff(out, table->name);
		fputs("\\fR", out);
		if (table->value) {
			fputs(" \\fI", out);
			roff(out, table->value);
			fputs("\\fR", out);
		}
		fputc('\n', out);
		roff(out, table->help);
		fputs(".\n", out);
	}
}

static void man_command(FILE *out, const struct command *c)
{
	fprintf(out, ".SS \"%s ", c->name);
	roff(out, c->arguments);
	fputs("\"\n", out);
	roff(out, c->summary);
	fputs(".\n", out);
	man_options(out, c->options);
}

static int manpage(const struct command_globals *g, const void *options, char **words,
                   struct err *err)
{
	(void)g, (void)options;
	if (words[0])
		return err_set(err, ERR_INVALID, "takes no arguments, and '%s' is there", words[0]);
	fputs(".TH BUOY-RUNTIME 8 \"\" \"buoy " BUOY_VERSION
	      "\" \"System Administration\"\n.SH NAME\n"
	      "buoy-runtime \\- OCI container runtime\n.SH SYNOPSIS\n\\fBbuoy-runtime\\fR "
	      "[\\fIOPTIONS\\fR] \\fICOMMAND\\fR ...\n.SH DESCRIPTION\nMakes and runs containers from "
	      "OCI bundles, with the command line that engines expect of a runtime:\n.PP\n    podman "
	      "\\-\\-runtime /usr/bin/buoy\\-runtime run ...\n.PP\nbuoyd uses it as well, by way of "
	      "\\fBserve\\fR. A field of the configuration that is not supported is an error, never "
	      "ignored.\n.SH OPTIONS\n",
	      stdout);
	man_options(stdout, command_global_options);
	fputs(".SH COMMANDS\n", stdout);
	for (size_t i = 0; command_list_all[i]; i++)
		if (!command_list_all[i]->hidden)
			man_command(stdout, command_list_all[i]);
	fputs(".SH EXIT STATUS\nOf \\fBrun\\fR and \\fBexec\\fR: that of the program, 128 and the "
	      "signal's number when it was killed, 127 when it was not found, 126 when it cannot be "
	      "executed. Otherwise 0, or 1 with a message (255 from \\fBexec\\fR).\n.SH SEE ALSO\n"
	      "\\fBbuoyd\\fR(8), \\fBbuoy\\fR(1)\n",
	      stdout);
	return 0;
}

const struct command command_manpage = {
	.name = "manpage",
	.arguments = "",
	.summary = "print the man page",
	.options = command_no_options,
	.run = manpage,
	.hidden = true,
	.failed_exit = 1,
};

/* ---- completion ---- */

static void complete_names(const struct option_entry *table)
{
	for (; table->name; table++)
		printf(" --%s", table->name);
}

/* The values of options behind a command ("": before any): their words, or files. */
static void complete_values(const char *command, const struct option_entry *table)
{
	for (; table->name; table++) {
		if (table->kind == OPTION_CHOICE) {
			printf("\t%s:--%s) words=\"", command, table->name);
			for (const char *p = table->value; *p; p++)
				putchar(*p == '|' ? ' ' : *p);
			puts("\" ;;");
		} else if (table->value) {
			printf("\t%s:--%s) files=1 ;;\n", command, table->name);
		}
	}
}

static int completion(const struct command_globals *g, const void *options, char **words,
                      struct err *err)
{
	(void)g, (void)options;
	if (!str_eq(words[0], "bash") || words[1])
		return err_set(err, ERR_INVALID, "completion: takes the name of a shell: bash");
	puts("# bash completion of buoy-runtime\n_buoy_runtime() {\n\tlocal command= words= "
	     "files= i\n\tfor ((i = 1; i < COMP_CWORD; i++)); do\n\t\tcase ${COMP_WORDS[i]} in");
	for (size_t i = 0; command_list_all[i]; i++)
		if (!command_list_all[i]->hidden)
			printf("\t\t%s) command=%s; break ;;\n", command_list_all[i]->name,
			       command_list_all[i]->name);
	puts("\t\tesac\n\tdone\n\tcase $command:$3 in");
	complete_values("", command_global_options);
	for (size_t i = 0; command_list_all[i]; i++)
		complete_values(command_list_all[i]->name, command_list_all[i]->options);
	puts("\tesac\n\tif [ -n \"$files\" ]; then\n\t\tCOMPREPLY=($(compgen -f -- \"$2\"))\n\t\t"
	     "return\n\tfi\n\t[ -n \"$words\" ] || case $command in");
	for (size_t i = 0; command_list_all[i]; i++) {
		printf("\t%s) words=\"", command_list_all[i]->name);
		complete_names(command_list_all[i]->options);
		puts("\" ;;");
	}
	printf("\t*) words=\"");
	complete_names(command_global_options);
	for (size_t i = 0; command_list_all[i]; i++)
		if (!command_list_all[i]->hidden)
			printf(" %s", command_list_all[i]->name);
	puts("\" ;;\n\tesac\n\tCOMPREPLY=($(compgen -W \"$words\" -- \"$2\"))\n}\ncomplete -F "
	     "_buoy_runtime buoy-runtime");
	return 0;
}

const struct command command_completion = {
	.name = "completion",
	.arguments = "bash",
	.summary = "print what makes a shell complete our options",
	.options = command_no_options,
	.run = completion,
	.hidden = true,
	.failed_exit = 1,
};
