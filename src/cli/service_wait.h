/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * service_wait - shows how a service becomes what it shall be, and returns when it is.
 *
 *	service_wait(cli, id, false, false, err);
 *
 * It has converged when every task of the newest spec runs, on nodes that are there, and stays so for
 * the time in which an update is watched. On a terminal the lines are drawn over; else each change is
 * a line. Asks the daemon several times a second; blocks without limit (a task that never starts is
 * waited for: interrupt it, the service goes on).
 */

#include <stdbool.h>

struct cli;
struct err;

/* ref: its id or name. rollback: one was asked for. ERR_CONFLICT when the update was paused, or undone
 * without being asked for. */
int service_wait(struct cli *cli, const char *ref, bool quiet, bool rollback, struct err *err);
