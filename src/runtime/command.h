/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * command - the command line of buoy-runtime, one function per verb. OCI engines (podman,
 * containerd, docker) call it as they call runc: names and meanings of options are runc's.
 *
 * Each returns the exit status, or -1 with err. argv[0] is the verb.
 */

#include <stdbool.h>

struct err;

/* The options before the verb. */
struct command_globals {
	const char *root;
	const char *log; /* file for errors, or NULL */
	bool log_json;
	bool debug;
};

int command_create(const struct command_globals *g, int argc, char **argv, struct err *err);
int command_run(const struct command_globals *g, int argc, char **argv, struct err *err);
int command_start(const struct command_globals *g, int argc, char **argv, struct err *err);
int command_exec(const struct command_globals *g, int argc, char **argv, struct err *err);
int command_state(const struct command_globals *g, int argc, char **argv, struct err *err);
int command_list(const struct command_globals *g, int argc, char **argv, struct err *err);
int command_kill(const struct command_globals *g, int argc, char **argv, struct err *err);
int command_delete(const struct command_globals *g, int argc, char **argv, struct err *err);
int command_ps(const struct command_globals *g, int argc, char **argv, struct err *err);
int command_pause(const struct command_globals *g, int argc, char **argv, struct err *err);
int command_resume(const struct command_globals *g, int argc, char **argv, struct err *err);
int command_update(const struct command_globals *g, int argc, char **argv, struct err *err);
int command_spec(const struct command_globals *g, int argc, char **argv, struct err *err);
int command_features(const struct command_globals *g, int argc, char **argv, struct err *err);

int command_events(const struct command_globals *g, int argc, char **argv, struct err *err);

/* Says it on stderr and in the file of --log, where engines look for the reason of a failure. */
void command_report(const struct command_globals *g, const struct err *why);

/* After the options of a verb: exactly one argument, the id. NULL: ERR_INVALID. */
const char *command_take_id(int argc, char **argv, struct err *err);
