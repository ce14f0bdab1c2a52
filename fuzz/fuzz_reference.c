/* SPDX-License-Identifier: Apache-2.0 */

/* Whatever is taken for a reference must read back as the same one in every form. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "oci/reference.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must_be_same(const struct reference *ref, const char *text)
{
	struct reference again = {0};

	if (reference_parse_bare(text, &again, NULL) < 0 || memcmp(ref, &again, sizeof(again)) != 0)
		__builtin_trap();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_free char *text = strndup((const char *)data, size);
	struct reference ref = {0};
	char out[REFERENCE_MAX];

	if (!text || reference_parse_bare(text, &ref, NULL) < 0)
		return 0;
	if (strstr(ref.path, "..") || strstr(ref.path, "//") || ref.path[0] == '/')
		__builtin_trap();
	must_be_same(&ref, reference_format(&ref, out));
	must_be_same(&ref, reference_familiar(&ref, out));
	return 0;
}
