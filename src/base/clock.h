/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * clock - monotonic time for decisions, wall time for people.
 *
 * Time-outs, leases and back-off use clock_mono_ms(); the wall clock may jump
 * and is only shown or stored. Step functions of the control plane take `now`
 * as an argument and never call this.
 */

#include <stddef.h>
#include <stdint.h>

struct err;

#define CLOCK_TEXT_MAX 36                     /* bytes; RFC 3339 with nanoseconds and NUL */
#define CLOCK_ZERO     "0001-01-01T00:00:00Z" /* Docker's "never" */

int64_t clock_mono_ms(void); /* CLOCK_MONOTONIC */
int64_t clock_mono_ns(void);
int64_t clock_boot_ms(void); /* CLOCK_BOOTTIME */
int64_t clock_wall_ns(void); /* since 1970, UTC */

/* "2026-01-02T03:04:05.678901234Z"; 0 gives CLOCK_ZERO. Returns text. */
char *clock_format(int64_t wall_ns, char text[CLOCK_TEXT_MAX]);

/* RFC 3339 with any fraction and offset, or a Unix time "1700000000.25"; CLOCK_ZERO gives 0. */
int clock_parse(const char *text, int64_t *wall_ns, struct err *err);

/* Go's durations: "1h30m", "1.5s", "300ms", "0". ERR_INVALID names the text. */
int clock_parse_duration(const char *text, int64_t *ns, struct err *err);

void clock_sleep_ms(int64_t ms);
