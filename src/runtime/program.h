/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* program - finding and executing the user's program, with the words that users know. */

struct err;
struct oci_process;

/* Whether program_exec() would find something to execute: the same errors, earlier. */
int program_check(const struct oci_process *process, struct err *err);

/* Returns only on failure: ERR_NOT_FOUND (`exec: "x": executable file not found in $PATH`),
 * ERR_DENIED (`exec: "x": permission denied`), or ERR_SYSTEM. */
int program_exec(const struct oci_process *process, struct err *err);

/* The exit status for a failed program_exec(): 127 or 126. */
int program_exit_status(const struct err *err);
