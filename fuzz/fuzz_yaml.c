/* SPDX-License-Identifier: Apache-2.0 */
/* Whatever comes is refused with words, or is a document that can be written and read as JSON; never more than
 * the ceiling, however often its aliases stand. */
#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "base/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_buf struct buf text = BUF_INIT(1u << 30);
	struct err err = ERR_INIT;
	auto_type(json) doc = yaml_parse((const char *)data, size, &err);

	if (!doc && (err.kind == ERR_NONE || !err.msg[0]))
		__builtin_trap();
	if (!doc)
		return 0;
	if (json_write(doc, &text, NULL) < 0)
		__builtin_trap();
	auto_type(json) again = json_parse(text.data, text.len, NULL);
	if (!again)
		__builtin_trap();
	return 0;
}
