/* SPDX-License-Identifier: Apache-2.0 */
/* What json_parse() takes, json_write() writes so that it is read again and written the
 * same; and whatever comes, decoding by a table ends with a struct or with words. */
#include <stdint.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"

struct node {
	char *name;
	int64_t n;
	uint64_t u;
	double d;
	bool b;
	struct json_strings list;
	struct json_strmap map;
	struct json_array children;
	struct node *next;
	struct json *raw;
};

static const struct json_table node_table;
static const struct json_field node_fields[] = {
	JSON_FIELD(struct node, name, "name", JSON_STRING),
	JSON_FIELD(struct node, n, "n", JSON_INT),
	JSON_FIELD(struct node, u, "u", JSON_UINT, .required = true),
	JSON_FIELD(struct node, d, "d", JSON_DOUBLE),
	JSON_FIELD(struct node, b, "b", JSON_BOOL),
	JSON_FIELD(struct node, list, "list", JSON_STRINGS),
	JSON_FIELD(struct node, map, "map", JSON_STRMAP, .empty = JSON_EMPTY_OMIT),
	JSON_FIELD(struct node, children, "children", JSON_OBJECTS, .table = &node_table),
	JSON_FIELD(struct node, next, "next", JSON_POINTER, .table = &node_table),
	JSON_FIELD(struct node, raw, "raw", JSON_RAW, .empty = JSON_EMPTY_OMIT),
	JSON_END,
};
static const struct json_table node_table = JSON_TABLE_STRICT(struct node, node_fields);

static void check_rewriting(const struct json *doc, size_t limit)
{
	auto_buf struct buf once = BUF_INIT(limit);
	auto_buf struct buf twice = BUF_INIT(limit);

	if (json_write(doc, &once, NULL) < 0)
		__builtin_trap();
	auto_type(json) again = json_parse(once.data, once.len, NULL);
	if (!again || json_write(again, &twice, NULL) < 0 ||
	    strcmp(buf_str(&once), buf_str(&twice)) != 0)
		__builtin_trap();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_arena struct arena arena = ARENA_INIT(1 << 20);
	struct err err = ERR_INIT;
	auto_type(json) doc = json_parse((const char *)data, size, &err);
	struct node node = {0};

	if (!doc && err.kind == ERR_NONE)
		__builtin_trap();
	if (!doc)
		return 0;
	check_rewriting(doc, 8 * size + 64);
	if (json_decode(doc, &node_table, &arena, &node, &err) < 0)
		return err.kind == ERR_NONE ? __builtin_trap(), 0 : 0;

	auto_buf struct buf out = BUF_INIT(1 << 22);
	(void)json_encode_text(&node_table, &node, &out, NULL); /* may nest too deep */
	return 0;
}
