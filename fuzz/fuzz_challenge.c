/* SPDX-License-Identifier: Apache-2.0 */
/* WWW-Authenticate of a registry. Whatever is understood names a scheme, and a Bearer realm is a URL; who may see a password
 * is decided without looking at more than the origin: it never leaves for a realm with user info in it. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "image/challenge.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char base[] = "https://registry.example.com";
	auto_free char *text = strndup((const char *)data, size);
	struct err err = ERR_INIT;
	struct challenge c;

	if (!text)
		return 0;
	if (challenge_parse(text, &c, &err) < 0) {
		assert(err.kind == ERR_INVALID || err.kind == ERR_UNSUPPORTED);
		return 0;
	}
	assert(c.scheme == CHALLENGE_BASIC || c.scheme == CHALLENGE_BEARER);
	assert(strlen(c.realm) < sizeof(c.realm) && strlen(c.service) < sizeof(c.service));
	if (c.scheme != CHALLENGE_BEARER)
		return 0;
	assert(strncmp(c.realm, "https://", 8) == 0 || strncmp(c.realm, "http://", 7) == 0);
	if (!challenge_trusts(&c, base))
		return 0;
	/* Trusted: https, without user info, at a host below example.com. */
	const char *host = c.realm + strlen("https://");
	size_t n = strcspn(host, ":/?#");

	assert(strncmp(c.realm, "https://", 8) == 0 && !memchr(host, '@', strcspn(host, "/?#")));
	assert(n >= 11 && strncasecmp(host + n - 11, "example.com", 11) == 0);
	assert(n == 11 || host[n - 12] == '.');
	return 0;
}
