/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * serve - `buoy-runtime serve`, the launcher: forks a supervisor for each request.
 *
 * Started by launcher_start() with its connection as descriptor PROTOCOL_LAUNCHER_FD and the run
 * directory as PROTOCOL_RUN_DIR_FD; not for people. One thread, no state but those two and its spares; ends
 * when the connection is closed, which the supervisors do not notice.
 */

/* The command's entry in buoy-runtime's table. Returns the exit status. */
int serve_main(int argc, char **argv);
