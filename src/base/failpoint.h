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
 * "@N" after the action counts: only the N-th pass ("exit@3"). "list" prints the names of all
 * failpoints in the program, one a line, and ends it. The variable is read once by
 * failpoint_init() in main; without it a failpoint is one load and one branch.
 *
 * Builds of type "release" have none (option "failpoints"): the macro is 0, the variable is not
 * looked at. Where there are some, it is heard only from who has the program's own rights: not
 * across a set-user-id bit (secure_getenv).
 */

struct err;

/* Reads BUOY_FAILPOINTS. ERR_INVALID says what is wrong with it. */
int failpoint_init(struct err *err);

int failpoint_hit(const char *name, struct err *err);
extern _Bool failpoint_enabled; /* set once, before threads start */

#ifdef BUOY_FAILPOINTS
/* Names stand in a section of their own, where "list" finds them. */
#define FAILPOINT_NAME(name)                                                                       \
	__extension__({                                                                            \
		static const char failpoint_name[] __attribute__((section("failpoints"), used)) =  \
			name;                                                                      \
		failpoint_name;                                                                    \
	})
#define FAILPOINT(name, err)                                                                       \
	(__builtin_expect(failpoint_enabled, 0) ? failpoint_hit(FAILPOINT_NAME(name), err) : 0)
#else
#define FAILPOINT(name, err) ((void)(err), 0)
#endif
