/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/help.h"

#include <string.h>

#include "base/str.h"

#define COLUMN 30 /* where the words of help begin */

const struct flag help_globals[] = {
	{"host", 'H', FLAG_STRING, "URL",
         "Where buoyd listens (default: BUOY_HOST, DOCKER_HOST, " CLI_DEFAULT_HOST ")"},
	{"version", 'v', FLAG_BOOL, NULL, "Show the version"},
	{NULL},
};

static void show_flag(FILE *out, const struct flag *f)
{
	char letter[8] = "    ";
	int width;

	if (f->letter)
		snprintf(letter, sizeof(letter), "-%c, ", f->letter);
	width = fprintf(out, "  %s--%s%s%s", letter, f->name, f->value ? " " : "",
	                f->value ? f->value : "");
	fprintf(out, "%*s%s\n", width < COLUMN ? COLUMN - width : 1, "", f->help);
}

static void show_command(FILE *out, const struct command *c)
{
	fprintf(out, "  %-14s %s\n", c->name, c->summary);
}

/* Is the table's entry the first of its group? */
static bool first_of_group(const struct command *c)
{
	for (const struct command *const *table = cli_commands; *table; table++)
		for (const struct command *other = *table; other->name; other++)
			if (str_eq(other->group, c->group))
				return other == c;
	return false;
}

static void each_command(FILE *out, void (*show)(FILE *, const struct command *), const char *group)
{
	for (const struct command *const *table = cli_commands; *table; table++)
		for (const struct command *c = *table; c->name; c++)
			if (!c->hidden && str_eq(c->group, group))
				show(out, c);
}

static void each_group(FILE *out, void (*show)(FILE *, const char *))
{
	for (const struct command *const *table = cli_commands; *table; table++)
		for (const struct command *c = *table; c->name; c++)
			if (c->group && !c->hidden && first_of_group(c))
				show(out, c->group);
}

static void show_group(FILE *out, const char *group)
{
	fprintf(out, "  %-14s see 'buoy %s --help'\n", group, group);
}

void help_program(FILE *out)
{
	fputs("Usage: buoy [-H URL] COMMAND [OPTIONS] ...\n\nContainers, images and services, by "
	      "way of buoyd.\n\nOptions:\n",
	      out);
	for (const struct flag *f = help_globals; f->name; f++)
		show_flag(out, f);
	fputs("\nCommands:\n", out);
	each_command(out, show_command, NULL);
	fputs("\nGroups:\n", out);
	each_group(out, show_group);
	fputs("\n'buoy COMMAND --help' tells more about a command.\n", out);
}

void help_command(FILE *out, const struct command *c)
{
	fprintf(out, "Usage: buoy %s%s%s %s\n\n%s\n", c->group ? c->group : "", c->group ? " " : "",
	        c->name, c->synopsis, c->summary);
	if (c->alias)
		fprintf(out, "\nAlias: %s\n", c->alias);
	if (!c->flags || !c->flags->name)
		return;
	fputs("\nOptions:\n", out);
	for (const struct flag *f = c->flags; f->name; f++)
		show_flag(out, f);
}

bool help_is_group(const char *group)
{
	for (const struct command *const *table = cli_commands; group && *table; table++)
		for (const struct command *c = *table; c->name; c++)
			if (str_eq(c->group, group))
				return true;
	return false;
}

bool help_group(const char *group)
{
	if (!group || !help_is_group(group))
		return false;
	printf("Usage: buoy %s COMMAND [OPTIONS] ...\n\nCommands:\n", group);
	each_command(stdout, show_command, group);
	return true;
}

/* ---- man pages ---- */

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

static void man_flag(FILE *out, const struct flag *f)
{
	fputs(".TP\n", out);
	if (f->letter)
		fprintf(out, "\\fB\\-%c\\fR, ", f->letter);
	fputs("\\fB\\-\\-", out);
	roff(out, f->name);
	fputs("\\fR", out);
	if (f->value) {
		fputs(" \\fI", out);
		roff(out, f->value);
		fputs("\\fR", out);
	}
	fputc('\n', out);
	roff(out, f->help);
	fputs(".\n", out);
}

static void man_see(FILE *out, const struct command *c)
{
	fprintf(out, ".TP\n\\fBbuoy\\-%s%s%s\\fR(1)\n", c->group ? c->group : "",
	        c->group ? "\\-" : "", c->name);
	roff(out, c->summary);
	fputs(".\n", out);
}

static void man_program(FILE *out)
{
	fputs(".TH BUOY 1 \"\" \"buoy " BUOY_VERSION "\" \"User Commands\"\n.SH NAME\nbuoy \\- "
	      "containers, images and services\n.SH SYNOPSIS\n\\fBbuoy\\fR [\\fB\\-H\\fR "
	      "\\fIURL\\fR] \\fICOMMAND\\fR [\\fIOPTIONS\\fR] ...\n.SH DESCRIPTION\n\\fBbuoy\\fR "
	      "asks \\fBbuoyd\\fR(8) by its HTTP interface, which is Docker's.\n.SH OPTIONS\n",
	      out);
	for (const struct flag *f = help_globals; f->name; f++)
		man_flag(out, f);
	fputs(".SH COMMANDS\n", out);
	for (const struct command *const *table = cli_commands; *table; table++)
		for (const struct command *c = *table; c->name; c++)
			if (!c->hidden)
				man_see(out, c);
	fputs(".SH EXIT STATUS\n0: done. 1: failed. \\fBrun\\fR, \\fBexec\\fR and \\fBstart "
	      "\\-a\\fR: the container's own; 125 when the daemon refused, 126 when the program "
	      "cannot be run, 127 when it was not found.\n",
	      out);
}

void help_manpage(FILE *out, const struct command *c)
{
	if (!c) {
		man_program(out);
		return;
	}
	const char *group = c->group ? c->group : "", *dash = c->group ? "\\-" : "";
	const char *space = c->group ? " " : "";

	fprintf(out,
	        ".TH \"buoy\\-%s%s%s\" 1 \"\" \"buoy " BUOY_VERSION "\" \"User Commands\"\n.SH "
	        "NAME\nbuoy\\-%s%s%s \\- ",
	        group, dash, c->name, group, dash, c->name);
	roff(out, c->summary);
	fprintf(out, "\n.SH SYNOPSIS\n\\fBbuoy %s%s%s\\fR ", group, space, c->name);
	roff(out, c->synopsis);
	fputs("\n.SH DESCRIPTION\n", out);
	roff(out, c->summary);
	fputs(".\n", out);
	if (c->alias)
		fprintf(out, ".PP\nAlso: \\fB%s\\fR.\n", c->alias);
	if (c->flags && c->flags->name)
		fputs(".SH OPTIONS\n", out);
	for (const struct flag *f = c->flags; f && f->name; f++)
		man_flag(out, f);
	fputs(".SH SEE ALSO\n\\fBbuoy\\fR(1), \\fBbuoyd\\fR(8)\n", out);
}

/* ---- completion ---- */

static void list_name(FILE *out, const struct command *c)
{
	fprintf(out, "%s ", c->name);
}

static void list_group(FILE *out, const char *group)
{
	fprintf(out, "%s ", group);
}

static void bash_group(FILE *out, const char *group)
{
	fprintf(out, "\t\t\"%s\") words=\"", group);
	each_command(out, list_name, group);
	fputs("\";;\n", out);
}

static void bash_flags(FILE *out)
{
	for (const struct command *const *table = cli_commands; *table; table++) {
		for (const struct command *c = *table; c->name; c++) {
			if (c->hidden)
				continue;
			fprintf(out, "\t\t\"%s%s%s\") words=\"--help ", c->group ? c->group : "",
			        c->group ? " " : "", c->name);
			for (const struct flag *f = c->flags; f && f->name; f++)
				fprintf(out, "--%s ", f->name);
			fputs("\";;\n", out);
		}
	}
}

/* Flags for "-...", the group's commands behind a group, else names of containers and images. */
static void bash(FILE *out)
{
	fputs("_buoy() {\n\tlocal cur=${COMP_WORDS[COMP_CWORD]} words= i=1 top= sub=\n"
	      "\twhile [[ $i -lt $COMP_CWORD && ${COMP_WORDS[i]} == -* ]]; do\n"
	      "\t\t[[ ${COMP_WORDS[i]} == -H || ${COMP_WORDS[i]} == --host ]] && i=$((i + 1))\n"
	      "\t\ti=$((i + 1))\n\tdone\n"
	      "\t[[ $i -lt $COMP_CWORD ]] && top=${COMP_WORDS[i]}\n"
	      "\t[[ $((i + 1)) -lt $COMP_CWORD ]] && sub=${COMP_WORDS[i + 1]}\n"
	      "\tif [[ -z $top ]]; then\n\t\twords=\"",
	      out);
	each_command(out, list_name, NULL);
	each_group(out, list_group);
	fputs("\"\n\telif [[ $cur == -* ]]; then\n\t\tcase \"$top\" in\n", out);
	bash_flags(out);
	fputs("\t\tesac\n\t\t[[ -n $words ]] || case \"$top $sub\" in\n", out);
	bash_flags(out);
	fputs("\t\tesac\n\telse\n\t\tcase \"$top${sub:+ done}\" in\n", out);
	each_group(out, bash_group);
	fputs("\t\tbuild|import*|load|save) ;;\n"
	      "\t\trun*|create*|rmi*|tag*|push*|pull*|history*)\n"
	      "\t\t\twords=$(buoy images --format '{{.Repository}}:{{.Tag}}' 2>/dev/null);;\n"
	      "\t\t*) words=$(buoy ps -a --format '{{.Names}}' 2>/dev/null);;\n"
	      "\t\tesac\n\tfi\n"
	      "\tCOMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
	      "\t[[ ${#COMPREPLY[@]} -gt 0 ]] || COMPREPLY=($(compgen -f -- \"$cur\"))\n"
	      "}\ncomplete -o filenames -F _buoy buoy\n",
	      out);
}

static void fish_text(FILE *out, const char *text)
{
	for (; *text; text++)
		fprintf(out, "%s%c", *text == '\'' || *text == '\\' ? "\\" : "", *text);
}

static void fish_command(FILE *out, const struct command *c)
{
	fprintf(out, "complete -c buoy -n '%s%s' -f -a %s -d '",
	        c->group ? "__fish_seen_subcommand_from " : "__fish_use_subcommand",
	        c->group ? c->group : "", c->name);
	fish_text(out, c->summary);
	fputs("'\n", out);
	for (const struct flag *f = c->flags; f && f->name; f++) {
		fprintf(out, "complete -c buoy -n '__fish_seen_subcommand_from %s' -l %s", c->name,
		        f->name);
		if (f->letter)
			fprintf(out, " -s %c", f->letter);
		fprintf(out, "%s -d '", f->value ? " -r" : "");
		fish_text(out, f->help);
		fputs("'\n", out);
	}
}

static void fish(FILE *out)
{
	for (const struct command *const *table = cli_commands; *table; table++)
		for (const struct command *c = *table; c->name; c++)
			if (!c->hidden)
				fish_command(out, c);
}

int help_completion(FILE *out, const char *shell, struct err *err)
{
	if (str_eq(shell, "bash")) {
		bash(out);
	} else if (str_eq(shell, "zsh")) {
		fputs("#compdef buoy\nautoload -U +X bashcompinit && bashcompinit\n", out);
		bash(out);
	} else if (str_eq(shell, "fish")) {
		fish(out);
	} else {
		return err_set(err, ERR_INVALID, "completion for %s: bash, zsh or fish", shell);
	}
	return 0;
}
