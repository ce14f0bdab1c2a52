/* SPDX-License-Identifier: Apache-2.0 */
#include "base/yaml.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "base/testing.h"

static void assert_yaml(const char *yaml, const char *expected)
{
	auto_buf struct buf text = BUF_INIT(1u << 16);
	struct err err = ERR_INIT;
	auto_type(json) doc = yaml_parse(yaml, strlen(yaml), &err);

	if (!doc)
		fail_msg("%s: %s", yaml, err.msg);
	assert_int_equal(json_write(doc, &text, NULL), 0);
	assert_string_equal(buf_str(&text), expected);
}

static void assert_refused(const char *yaml, const char *why)
{
	struct err err = ERR_INIT;
	auto_type(json) doc = yaml_parse(yaml, strlen(yaml), &err);

	if (doc)
		fail_msg("%s: taken", yaml);
	if (!strstr(err.msg, why))
		fail_msg("%s: %s", yaml, err.msg);
}

static void plain_scalars_have_the_types_of_the_core_schema(void **state)
{
	(void)state;
	assert_yaml("", "null");
	assert_yaml("[~, null, '', Null, true, False, yes, on, \"true\"]",
	            "[null,null,\"\",null,true,false,\"yes\",\"on\",\"true\"]");
	assert_yaml("[12, -7, +3, 0x1F, 0o17, 010, \"5\", 1_000, 0, 089, 0x, 12:30:45]",
	            "[12,-7,3,31,15,8,\"5\",\"1_000\",0,89.0,\"0x\",\"12:30:45\"]");
	assert_yaml("[1.5, .5, 1e3, -2.5E-1, ., 1.2.3, e5, 2024-01-01, 1e300]",
	            "[1.5,0.5,1000.0,-0.25,\".\",\"1.2.3\",\"e5\",\"2024-01-01\","
	            "1e+300]");
}

static void blocks_anchors_and_merges_are_resolved(void **state)
{
	(void)state;
	assert_yaml("a: |\n  x\n  y\nb: >-\n  x\n  y\n", "{\"a\":\"x\\ny\\n\",\"b\":\"x y\"}");
	assert_yaml("x: &x {a: 1, b: 2}\ny: {<<: *x, b: 3}\nz: *x",
	            "{\"x\":{\"a\":1,\"b\":2},\"y\":{\"b\":3,\"a\":1},\"z\":{\"a\":1,\"b\":2}}");
	assert_yaml("x: &x {a: 1}\nw: &w {a: 9, c: 2}\ny:\n  <<: [*x, *w]\n",
	            "{\"x\":{\"a\":1},\"w\":{\"a\":9,\"c\":2},\"y\":{\"a\":1,\"c\":2}}");
	assert_yaml("'<<': 1", "{\"<<\":1}");
	assert_yaml("1: a\ntrue: b", "{\"1\":\"a\",\"true\":\"b\"}");
}

static void faults_are_named_with_their_place(void **state)
{
	(void)state;
	assert_refused("a: [1, 2\nb: 3", "line 2");
	assert_refused("a: 1\na: 2", "line 2, column 1: the key stands twice: a");
	assert_refused("a: 1\n<<: 5", "line 2, column 1: << takes a mapping");
	assert_refused("? [a]\n: 1", "a key must be a scalar");
	assert_refused("a: *nobody", "line 1");
	assert_refused("a: \"\\0\"", "NUL");
}

static void bombs_and_rings_end_at_the_ceiling(void **state)
{
	char bomb[2048] = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n";
	char deep[300];

	(void)state;
	for (int i = 1; i < 8; i++)
		snprintf(bomb + strlen(bomb), sizeof(bomb) - strlen(bomb),
		         "a%d: &a%d [*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d]\n", i, i, i - 1,
		         i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1);
	assert_refused(bomb, "too many values");
	assert_refused("a: &a [*a]", "nested too deeply");
	memset(deep, '[', 100);
	memset(deep + 100, ']', 100);
	deep[200] = '\0';
	assert_refused(deep, "nested too deeply");
}

TESTING_MAIN(TEST(plain_scalars_have_the_types_of_the_core_schema),
             TEST(blocks_anchors_and_merges_are_resolved), TEST(faults_are_named_with_their_place),
             TEST(bombs_and_rings_end_at_the_ceiling))
