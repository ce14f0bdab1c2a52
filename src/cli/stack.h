/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* stack - what cmd_stack.c, stack_deploy.c and stack_plan.c share. A stack is what has its label. */

#include "base/json.h"
#include "cli/args.h"

struct err;

/* "com.docker.stack.namespace=NAME" in the arena. ERR_INVALID: no name for a stack. */
const char *stack_label(struct cli *cli, const char *name, struct err *err);
/* GET /KIND (services, networks, secrets, configs) of a stack; all stacks with name NULL. Owned. */
struct json *stack_list(struct cli *cli, const char *kind, const char *name, struct err *err);
/* The object of that list whose name (of its Spec, or its own) is `name`. */
struct json *stack_find(const struct json *list, const char *name);
const char *stack_name_of(const struct json *object);
/* What `service update --force` has counted stays, or a deploy would undo it. old: NULL is fine. */
void stack_keep_force(const struct json *old, struct json *spec);
/* The files of -c as a stack (compose.h); says what is ignored. Owned. */
struct json *stack_read(struct cli *cli, const struct args *args, const char *name,
                        struct err *err);

/* stack_deploy.c, stack_plan.c: commands; the exit code, or -1. */
int stack_deploy_run(struct cli *cli, const struct args *args, struct err *err);
int stack_plan_run(struct cli *cli, const struct args *args, struct err *err);
