/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/digest.h"

#include <string.h>

#include "base/err.h"
#include "base/str.h"

#define PREFIX     "sha256:"
#define PREFIX_LEN (sizeof(PREFIX) - 1)

/* Both algorithms have prefixes of one length. */
static bool has_form(const char *text, const char *prefix, size_t digits)
{
	if (!text || !str_starts(text, prefix))
		return false;

	const char *hex = text + PREFIX_LEN;
	return strspn(hex, "0123456789abcdef") == digits && hex[digits] == '\0';
}

bool digest_ok(const char *text)
{
	return has_form(text, PREFIX, DIGEST_SHA256 - PREFIX_LEN);
}

bool digest_any_ok(const char *text)
{
	return digest_ok(text) || has_form(text, "sha512:", 2 * (DIGEST_SHA256 - PREFIX_LEN));
}

int digest_check(const char *text, struct err *err)
{
	if (digest_ok(text))
		return 0;
	return err_set(err, ERR_INVALID,
	               "bad digest \"%.*s\": it must be sha256: and 64 lower-case hex digits",
	               DIGEST_TEXT_MAX, text ? text : "");
}

const char *digest_hex(const char *text)
{
	return text + PREFIX_LEN;
}
