/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * id - identifiers: made from the kernel's random bytes, and checked.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;

#define ID_HEX_MAX   65 /* 64 lower-case hex digits and NUL: containers, networks, execs */
#define ID_SHORT     12 /* digits shown to people */
#define ID_SWARM_MAX 26 /* 25 of [a-z0-9] and NUL: nodes, services, tasks */

void id_random(void *bytes, size_t len); /* getrandom(2); cannot fail after boot */
char *id_make_hex(char text[ID_HEX_MAX]);
char *id_make_swarm(char text[ID_SWARM_MAX]);

/* Names of containers, volumes, networks: [a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}.
 * `what` ("container name") goes into the message, with what is allowed. ERR_INVALID. */
int id_check_name(const char *name, const char *what, struct err *err);
bool id_is_hex(const char *text, size_t min, size_t max); /* only [0-9a-f], length in range */

/* The one parser of numeric ids: all digits, 0 to 2^32-2 (uid_t -1 means "no change").
 * "+1", " 1", "1x", "" and what is too big are ERR_INVALID, never 0. */
int id_parse_u32(const char *text, uint32_t *value, struct err *err);

/* Decimal numbers in [min, max], whole text. `what` goes into the message. */
int id_parse_int(const char *text, const char *what, int64_t min, int64_t max, int64_t *value,
                 struct err *err);

/* For text of a fixed form, such as the kernel's: blanks, then a decimal number; *at moves behind
 * it. False, and nothing changes, if there is none or it is over 2^64-1. */
bool id_scan_u64(const char **at, uint64_t *value);

/* Sizes for people: "64m", "1.5GiB", "1g", "1024" (bytes). Suffixes are powers of 1024. ERR_INVALID. */
int id_parse_size(const char *text, int64_t *bytes, struct err *err);
