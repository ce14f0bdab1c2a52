/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * seccomp - from a profile in Docker's form (rules with conditions on capabilities, architecture and kernel)
 * to the plain list of the OCI config.
 *
 * The default profile is seccomp_default.json, built in. Only this machine's own ABI is allowed: 32-bit and x32
 * system calls are refused, which also closes what socketcall(2) hides from filters.
 */

#include "base/json.h"

struct err;

/* caps: the container's bounding set, NULL-terminated "CAP_X". The caller owns the result. */
struct json *seccomp_default(const char *const *caps, struct err *err);
/* A user's profile: ERR_INVALID says what is wrong with it. */
struct json *seccomp_profile(const char *text, const char *const *caps, struct err *err);
