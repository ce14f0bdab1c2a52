/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/images_tree.h"

#include "base/arena.h"
#include "cli/cli.h"
#include "cli/json_testing.h"

#define ARENA_SIZE (1u << 20)

/* The names that are shown, one line each with what the image adds to the one above it. */
static void expect(const char *images, const char *expected)
{
	struct cli cli = {.arena = ARENA_INIT(ARENA_SIZE)};
	auto_buf struct buf text = BUF_INIT(4096);
	auto_type(json) list = json_parse(images, strlen(images), NULL);
	assert_non_null(list);
	auto_type(json) rows = images_tree_rows(&cli, list, NULL);

	for (size_t i = 0; i < json_count(rows); i++)
		buf_addf(&text, "%s %s\n", json_get_string(json_at(rows, i), "Image"),
		         json_get_string(json_at(rows, i), "Own"));
	assert_string_equal(buf_str(&text), expected);
	arena_done(&cli.arena);
}

/* Layers are digests, so strings. */
#define IMAGE(id, parent, names, size, layers)                                                     \
	"{\"Id\":\"" id "\",\"Parent\":\"" parent "\",\"RepoTags\":[" names "],\"Size\":" size     \
	",\"RootFS\":{\"Layers\":[" layers "]}}"
#define L1 "\"a\""
#define L2 L1 ",\"b\""
#define L3 L2 ",\"c\""

static void an_image_stands_below_the_longest_that_it_begins_with(void **state)
{
	(void)state;
	/* clang-format off */
	expect("[" IMAGE("4", "", "\"app:2\"", "400", L2 ",\"d\"") ","
	           IMAGE("1", "", "\"base:1\",\"base:2\"", "100", L1) ","
	           IMAGE("3", "", "", "350", L3) ","
	           IMAGE("2", "", "\"mid:1\"", "300", L2) ","
	           IMAGE("6", "", "\"side:1\"", "101", L1 ",\"e\"") ","
	           IMAGE("5", "", "\"other:1\"", "70", "\"b\"") "]",
	       "base:1, base:2 100B\n"
	       "\xe2\x94\x9c\xe2\x94\x80 mid:1 200B\n"
	       "\xe2\x94\x82  \xe2\x94\x9c\xe2\x94\x80 app:2 100B\n"
	       "\xe2\x94\x82  \xe2\x94\x94\xe2\x94\x80 <none> 50B\n"
	       "\xe2\x94\x94\xe2\x94\x80 side:1 1B\n"
	       "other:1 70B\n");
	/* clang-format on */
}

static void with_the_same_layers_the_parent_is_the_one_that_is_named(void **state)
{
	(void)state;
	expect("[" IMAGE("2", "1", "\"labelled:1\"", "9", L1) "," IMAGE("1", "", "\"plain:1\"", "9",
	                                                                L1) "]",
	       "plain:1 9B\n\xe2\x94\x94\xe2\x94\x80 labelled:1 0B\n");
	/* Not by others, and not without layers at all. */
	expect("[" IMAGE("2", "", "\"x:1\"", "9", L1) "," IMAGE("1", "", "\"y:1\"", "9", L1) "]",
	       "x:1 9B\ny:1 9B\n");
	expect("[" IMAGE("2", "1", "\"x:1\"", "0", "") "," IMAGE("1", "", "\"y:1\"", "0", "") "]",
	       "x:1 0B\ny:1 0B\n");
	expect("[]", "");
}

TESTING_MAIN(TEST(an_image_stands_below_the_longest_that_it_begins_with),
             TEST(with_the_same_layers_the_parent_is_the_one_that_is_named))
