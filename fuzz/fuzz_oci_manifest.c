/* SPDX-License-Identifier: Apache-2.0 */

/* Manifests, indexes and configs from a registry. No text may be taken for two kinds, and what
 * is taken can be written and read again. */

#include <stdint.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/buf.h"
#include "oci/digest.h"
#include "oci/image.h"

#define ROOM (16u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_layers(const struct oci_manifest *m)
{
	const struct oci_descriptor *d = m->layers.items;

	for (size_t i = 0; i < m->layers.count; i++)
		if (!digest_ok(d[i].digest) || d[i].size < 0 || !d[i].media_type)
			__builtin_trap();
}

static void check_again(const struct oci_manifest *m, struct arena *arena)
{
	auto_buf struct buf out = BUF_INIT(ROOM);
	struct oci_manifest again = {0};

	if (json_encode_text(&oci_manifest_table, m, &out, NULL) < 0 ||
	    oci_manifest_parse(out.data, out.len, arena, &again, NULL) < 0 ||
	    again.layers.count != m->layers.count)
		__builtin_trap();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_arena struct arena arena = ARENA_INIT(ROOM);
	const char *text = (const char *)data;
	struct oci_manifest manifest = {0};
	struct oci_index index = {0};
	struct oci_config config = {0};
	enum oci_kind kind = OCI_KIND_MANIFEST;

	int known = oci_kind_of(text, size, NULL, &kind, NULL);
	int is_manifest = oci_manifest_parse(text, size, &arena, &manifest, NULL);
	int is_index = oci_index_parse(text, size, &arena, &index, NULL);
	if (is_manifest == 0 && (is_index == 0 || known < 0 || kind != OCI_KIND_MANIFEST))
		__builtin_trap();
	if (is_index == 0 && (known < 0 || kind != OCI_KIND_INDEX))
		__builtin_trap();
	if (is_manifest == 0) {
		check_layers(&manifest);
		check_again(&manifest, &arena);
	}
	if (is_index == 0)
		(void)oci_index_select(&index, "linux/arm64", NULL);
	if (oci_config_parse(text, size, &arena, &config, NULL) == 0) {
		char chain[72];

		(void)oci_chain_id(&config.rootfs.diff_ids, config.rootfs.diff_ids.count, chain);
	}
	return 0;
}
