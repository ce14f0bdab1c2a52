/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * challenge - WWW-Authenticate as registries send it (RFC 9110, 11.6.1; the distribution project's
 * token scheme), and whether the token server it names may see our password.
 */

#include <stdbool.h>

struct err;

enum challenge_scheme {
	CHALLENGE_BASIC,
	CHALLENGE_BEARER
};

struct challenge {
	enum challenge_scheme scheme;
	char realm[1024]; /* Bearer: URL of the token server */
	char service[256];
};

/* ERR_INVALID, ERR_UNSUPPORTED (another scheme). */
int challenge_parse(const char *header, struct challenge *out, struct err *err);

/* May credentials for the registry at `base` ("https://host:port") go to the realm? Same origin: yes. Else
 * only over https and under the same registrable name. */
bool challenge_trusts(const struct challenge *c, const char *base);
