/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* help - what the command tables say, for people, shells and man(1). */

#include <stdbool.h>
#include <stdio.h>

#include "cli/cli.h"

extern const struct flag help_globals[]; /* the program's own flags */

void help_program(FILE *out);
void help_command(FILE *out, const struct command *c);
/* Lists the group's commands; false if there is no such group (or it is NULL). */
bool help_group(const char *group);
bool help_is_group(const char *group);
/* A page in man(7); c NULL: the page of the program. */
void help_manpage(FILE *out, const struct command *c);
/* "bash", "zsh" or "fish". ERR_INVALID for another shell. */
int help_completion(FILE *out, const char *shell, struct err *err);
