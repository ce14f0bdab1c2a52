/* SPDX-License-Identifier: Apache-2.0 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/err.h"
#include "runtime/filter.h"
#include "runtime/spec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Oracle: a refusal has words; what is accepted asks for nothing that is outside its own limits, and
 * its seccomp profile compiles or is refused with words. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_arena struct arena arena = ARENA_INIT(16 << 20);
	struct err err = ERR_INIT;
	struct oci_spec *spec = spec_parse((const char *)data, size, &arena, &err);
	struct sock_filter *bpf = NULL;
	size_t len;

	if (!spec) {
		if (err.kind == ERR_NONE || !*err.msg)
			abort();
		return 0;
	}
	if (!spec->process.args.items[0] || *spec->process.cwd != '/' || spec->process.user.uid < 0)
		abort();
	const struct oci_capabilities *caps = &spec->process.capabilities;
	if (caps->mask[SPEC_CAP_EFFECTIVE] & ~caps->mask[SPEC_CAP_PERMITTED])
		abort();
	if (spec->linux_.seccomp && filter_compile(spec->linux_.seccomp, &bpf, &len, &err) < 0 &&
	    !*err.msg)
		abort();
	free(bpf);
	return 0;
}
