/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * failpoint - named places where a test can make the program fail.
 *
 *	if (FAILPOINT("state.commit.before", err) < 0)
 *		return -1;
 *
 * BUOY_FAILPOINTS="state.commit.before=exit,pull.write=errno:28,x=sleep:200" turns
 * them on: exit (as kill -9 would), errno:N (the call fails), sleep:MS;
 * "@N" after the action counts: only the N-th pass ("exit@3"). The variable is
 * read once by failpoint_init() in main; without it a failpoint is one load and
 * one branch.
 */

struct err;

/* Reads BUOY_FAILPOINTS. ERR_INVALID says what is wrong with it. */
int failpoint_init(struct err *err);

int failpoint_hit(const char *name, struct err *err);
extern _Bool failpoint_enabled; /* set once, before threads start */

#define FAILPOINT(name, err) (__builtin_expect(failpoint_enabled, 0) ? failpoint_hit(name, err) : 0)
