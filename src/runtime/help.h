/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* help - what the table of commands says, for people, shells and man(1). */

#include <stdio.h>

struct command;

void help_program(FILE *out);
void help_command(FILE *out, const struct command *c);
