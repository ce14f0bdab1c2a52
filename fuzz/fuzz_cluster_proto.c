/* SPDX-License-Identifier: Apache-2.0 */
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "cluster/proto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What a peer may send, and specs from the API: refused in words or read, never a crash. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_arena struct arena arena = ARENA_INIT(MODEL_ARENA_MAX);
	const char *text = (const char *)data;
	struct proto_hello hello;
	struct proto_report report;
	struct proto_assignments set;
	struct service_spec spec;
	struct err err = ERR_INIT;
	auto_type(json) doc = json_parse(text, size, NULL);

	(void)proto_hello_decode(text, size, &arena, &hello, &err);
	(void)proto_report_decode(text, size, &arena, &report, &err);
	(void)proto_assignments_decode(text, size, &arena, &set, &err);
	if (doc && service_spec_decode(doc, &arena, &spec, &err) == 0)
		(void)service_spec_check(&spec, &err);
	return 0;
}
