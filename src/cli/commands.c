/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/commands.h"

#include <stddef.h>

const struct command *const cli_commands[] = {
	command_run,     command_exec,   command_cp,     command_life,
	command_ps,      command_logs,   command_watch,  command_inspect,
	command_posture, command_build,  command_images, command_transfer,
	command_login,   command_system, command_prune,  command_network,
	command_volume,  command_swarm,  command_node,   command_service,
	command_secret,  command_stack,  command_meta,   command_checkpoint,
	command_check,   command_df,     NULL,
};
