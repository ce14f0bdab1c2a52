/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* commands - the tables, one per file; commands.c puts them in the order of the help. */

#include "cli/args.h"
#include "cli/cli.h"

extern const struct command command_run[], command_cp[], command_exec[], command_life[],
	command_ps[], command_logs[], command_watch[], command_inspect[], command_posture[],
	command_images[], command_build[], command_transfer[], command_login[], command_system[],
	command_prune[], command_network[], command_volume[], command_swarm[], command_node[],
	command_service[], command_secret[], command_stack[], command_meta[], command_checkpoint[],
	command_check[], command_df[];
