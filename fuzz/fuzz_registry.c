/* SPDX-License-Identifier: Apache-2.0 */
/* What a registry reads of a request: names, digests, ranges, types, manifests. The first byte chooses. Whatever is
 * accepted must hold what the headers promise: a name is one file name, a range lies inside. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "registry/manifest.h"
#include "registry/name.h"
#include "registry/settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_name(const char *text)
{
	char file[NAME_FILE_MAX], back[NAME_FILE_MAX], blob[NAME_BLOB_MAX];

	if (name_ok(text)) {
		assert(!strchr(name_to_file(text, file), '/') && file[0] != '.');
		assert(strcmp(name_of_file(file, back), text) == 0);
	}
	if (digest_any_ok(text))
		assert(!strstr(name_to_blob(text, blob), ".."));
}

static void fuzz_ranges(const char *text, uint64_t total)
{
	uint64_t first = 0, last = 0;
	char type[NAME_TYPE_MAX];

	if (name_range(text, total, &first, &last) == NAME_RANGE_OK)
		assert(first <= last && last < total);
	if (name_chunk_range(text, &first, &last))
		assert(first <= last && last < UINT64_MAX);
	if (name_media_type(text, type))
		assert(!strpbrk(type, "\"\\ ;\r\n"));
}

static int check_part(void *arg, enum manifest_part part, const char *digest)
{
	(void)arg, (void)part;
	assert(digest_any_ok(digest));
	return 0;
}

static void fuzz_manifest(const char *text, size_t len)
{
	struct manifest m;
	struct err err = ERR_INIT;

	if (manifest_parse(text, len, NULL, &m, &err) < 0) {
		assert(err.kind != ERR_NONE);
		return;
	}
	assert(m.type[0] && (!m.subject || digest_any_ok(m.subject)));
	assert(manifest_each(&m, check_part, NULL) == 0);
	manifest_done(&m);
}

static void fuzz_settings(char *text)
{
	struct settings s = {.arena = ARENA_INIT(1 << 20)};

	(void)settings_parse_text(text, "fuzz", &s, NULL);
	settings_done(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;

	char *text = strndup((const char *)data + 1, size - 1);
	if (!text)
		return 0;
	if (data[0] == 'n')
		fuzz_name(text);
	else if (data[0] == 'r')
		fuzz_ranges(text, 1000);
	else if (data[0] == 'm')
		fuzz_manifest((const char *)data + 1, size - 1);
	else if (data[0] == 's')
		fuzz_settings(text);
	free(text);
	return 0;
}
