/* SPDX-License-Identifier: Apache-2.0 */
/* nomem - fails each allocation in turn; every one must be reported as ERR_NOMEM. */
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "base/map.h"
#include "base/testing.h"
#include "base/testing_alloc.h"

#define ALLOCATIONS_MAX 500 /* a loop that does not end is a bug of the test */

struct leaf {
	char *name;
	int64_t n;
};

static const struct json_field leaf_fields[] = {
	JSON_FIELD(struct leaf, name, "name", JSON_STRING),
	JSON_FIELD(struct leaf, n, "n", JSON_INT),
	JSON_END,
};
static const struct json_table leaf_table = JSON_TABLE(struct leaf, leaf_fields);

struct tree {
	char *name;
	double d;
	struct json_strings list;
	struct json_array leaves;
	struct json_strmap labels;
	struct leaf *leaf;
	struct json *raw;
};

static const struct json_field tree_fields[] = {
	JSON_FIELD(struct tree, name, "name", JSON_STRING),
	JSON_FIELD(struct tree, d, "d", JSON_DOUBLE),
	JSON_FIELD(struct tree, list, "list", JSON_STRINGS),
	JSON_FIELD(struct tree, leaves, "leaves", JSON_OBJECTS, .table = &leaf_table),
	JSON_FIELD(struct tree, labels, "labels", JSON_STRMAP),
	JSON_FIELD(struct tree, leaf, "leaf", JSON_POINTER, .table = &leaf_table),
	JSON_FIELD(struct tree, raw, "raw", JSON_RAW),
	JSON_END,
};
static const struct json_table tree_table = JSON_TABLE(struct tree, tree_fields);

static const char text[] = "{\"name\":\"a\",\"d\":1.5,\"list\":[\"x\",\"y\"],"
			   "\"leaves\":[{\"name\":\"l\",\"n\":1},{\"name\":\"m\",\"n\":2}],"
			   "\"labels\":{\"k\":\"v\"},\"leaf\":{\"name\":\"p\",\"n\":3},"
			   "\"raw\":[18446744073709551615]}";

static int there_and_back(struct buf *out, struct err *err)
{
	auto_arena struct arena a = ARENA_INIT(1 << 16);
	struct tree tree = {0};

	if (json_decode_text(text, strlen(text), &tree_table, &a, &tree, err) < 0)
		return -1;
	return json_encode_text(&tree_table, &tree, out, err);
}

static void a_document_there_and_back_reports_every_lack(void **state)
{
	(void)state;
	for (long n = 1; n < ALLOCATIONS_MAX; n++) {
		auto_buf struct buf out = BUF_INIT(4096);
		struct err err = ERR_INIT;

		testing_fail_alloc(n);
		int rc = there_and_back(&out, &err);
		if (!testing_alloc_failed()) {
			assert_int_equal(rc, 0);
			assert_string_equal(buf_str(&out), text);
			assert_true(n > 20 || !TESTING_ALLOC);
			return;
		}
		if (rc == 0) /* the C library can do without some */
			assert_string_equal(buf_str(&out), text);
		else
			assert_int_equal(err.kind, ERR_NOMEM);
	}
	fail_msg("more than %d allocations", ALLOCATIONS_MAX);
}

static int fill(struct map *m, struct err *err)
{
	char key[16];

	for (int i = 0; i < 100; i++) {
		snprintf(key, sizeof(key), "%d", i);
		if (map_set(m, key, m, NULL, err) < 0)
			return -1;
	}
	return 0;
}

static void a_map_keeps_what_it_had_when_memory_ends(void **state)
{
	(void)state;
	for (long n = 1; n < ALLOCATIONS_MAX; n++) {
		struct err err = ERR_INIT;

		testing_fail_alloc(n);
		auto_type(map) m = map_create(&err);
		int rc = m ? fill(m, &err) : -1;
		if (!testing_alloc_failed()) {
			assert_int_equal(rc, 0);
			assert_true(n > 100 || !TESTING_ALLOC);
			return;
		}
		/* Growing its table is a courtesy that uthash does without. */
		assert_true(rc == 0 || err.kind == ERR_NOMEM);
		if (m)
			assert_int_equal(fill(m, &err), 0);
		assert_true(!m || map_count(m) == 100);
	}
	fail_msg("more than %d allocations", ALLOCATIONS_MAX);
}

TESTING_MAIN(TEST(a_document_there_and_back_reports_every_lack),
             TEST(a_map_keeps_what_it_had_when_memory_ends))
