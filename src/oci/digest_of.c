/* SPDX-License-Identifier: Apache-2.0 */
/* By itself, so that who only reads digests is not linked with what computes them. */
#include <stdio.h>

#include "base/hash.h"
#include "oci/digest.h"

char *digest_of(const void *data, size_t len, char out[DIGEST_TEXT_MAX])
{
	char hex[HASH_HEX_MAX];

	snprintf(out, DIGEST_TEXT_MAX, "sha256:%s", hash_bytes_hex(data, len, hex));
	return out;
}
