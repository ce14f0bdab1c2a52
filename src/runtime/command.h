/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * command - the command line of buoy-runtime. OCI engines (podman, containerd, docker) call it as they call
 * runc: names and meanings of options are those of runc and crun.
 *
 * A command is one entry: a struct command, beside the function that does it. main.c has the list; parsing, --help, the
 * man page and completion all go by the entry.
 */

#include <stdbool.h>
#include <stddef.h>

#include "runtime/options.h"
#include "runtime/place.h"

struct err;
struct json;

#define COMMAND_ROOT "/run/buoy-runtime"

/* The options before the command. */
struct command_globals {
	const char *root;
	const char *log; /* file for errors, or NULL */
	const char *log_format;
	const char *cgroup_manager;
	enum place_manager manager; /* what that says */
	const char *rootless;
	const char *criu; /* the program, or NULL */
	bool is_rootless; /* we have gone into a user namespace of the user's own */
	bool debug, version, systemd_cgroup;
	char default_root[256];
};

struct command {
	const char *name, *arguments;
	const char *summary;
	const struct option_entry *options;
	size_t options_size; /* of the struct that they fill */
	/* options: filled by the table. words: what is no option, up to NULL. Returns the exit status, or -1 with err. */
	int (*run)(const struct command_globals *g, const void *options, char **words,
	           struct err *err);
	bool enters;          /* runs inside a container: our program file must be out of reach */
	bool joins;           /* enters one that is there, named by the first word */
	bool first_word_ends; /* options end at the first word */
	bool hidden;
	int failed_exit; /* status for an error of ours */
};

extern const struct command command_create, command_run, command_start, command_exec, command_state,
	command_list, command_kill, command_delete, command_ps, command_pause, command_resume,
	command_update, command_spec, command_features, command_events, command_checkpoint,
	command_restore, command_manpage, command_completion;

/* main.c: all commands in the order of the help, up to NULL; the options before them. */
extern const struct command *const command_list_all[];
extern const struct option_entry command_global_options[];

/* Options of a command that has none. */
extern const struct option_entry command_no_options[];

/* Says it on stderr and in the file of --log, where engines look for the reason of a failure. */
void command_report(const struct command_globals *g, const struct err *why);
/* A warning, on stderr alone. */
void command_warn(const struct err *why);

/* Exactly one word, the id. NULL: ERR_INVALID. */
const char *command_take_id(char **words, struct err *err);
int command_print_json(const struct json *j, struct err *err);
