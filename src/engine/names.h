/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* names - a name for a container that was given none: "brisk_beacon". */

#define NAMES_MAX 48

/* attempt > 0 adds digits, more of them each time. */
char *names_make(char name[NAMES_MAX], int attempt);
