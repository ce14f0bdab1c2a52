/* SPDX-License-Identifier: Apache-2.0 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/arena.h"
#include "build/dockerfile.h"
#include "build/words.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *find(void *arg, const char *name)
{
	(void)arg;
	return *name == 'A' ? "value  of A" : NULL;
}

/* Oracle: what was parsed prints as one line that parses to the same number of arguments. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_arena struct arena arena = ARENA_INIT(8 << 20);
	struct dockerfile file;
	struct words_env env = {.find = find, .escape = '\\'};

	if (dockerfile_parse((const char *)data, size, "f", &arena, &file, NULL) < 0)
		return 0;
	for (size_t i = 0; i < file.count; i++) {
		struct dockerfile_instruction *in = &file.items[i], again;
		struct words_list list;
		if (file.escape == '\\' &&
		    dockerfile_parse_line(in->text, "f", 1, &arena, &again, NULL) == 0 &&
		    again.arg_count != in->arg_count)
			abort();
		for (size_t k = 0; k < in->arg_count; k++) {
			(void)words_expand(in->args[k], &env, &arena, NULL);
			(void)words_split(in->args[k], &env, &arena, &list, NULL);
		}
	}
	return 0;
}
